//! Tokens from their signature to what they permit, with keys that are made here.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use broker_core::{
    authentication::NotRenewed,
    permissions::{About, Answer, Operation, Question},
};
use jsonwebtoken::Algorithm;
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA512, RsaKeyPair,
    },
};
use serde_json::{Value, json};

use super::*;
use crate::client::ClientOptions;

/// Options of a broker that is `rabbitmq` in tokens.
pub(super) fn options() -> Options {
    let names = ["sub", "client_id"];
    Options {
        resource_server_id: "rabbitmq".to_owned(),
        verify_audience: true,
        require_expiry: true,
        leeway: 0,
        issuer: String::new(),
        scope_prefix: "{resource_server_id}.".to_owned(),
        scope_aliases: BTreeMap::new(),
        additional_scopes_key: String::new(),
        preferred_username_claims: names.map(str::to_owned).to_vec(),
        pattern_syntax: PatternSyntax::Wildcard,
        algorithms: ["RS256", "PS512", "ES256", "ES384", "EdDSA"]
            .map(|name| algorithm(name).unwrap())
            .to_vec(),
        default_key: String::new(),
        keys: KeySource::File(String::new()),
        client: ClientOptions {
            ca_file: String::new(),
            timeout: Duration::from_secs(60),
        },
    }
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn text(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of each kind: the algorithm, what the public sees of it, and how it signs.
fn ed25519() -> (&'static str, Value, Sign) {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key()) });
    let sign = move |message: &[u8]| pair.sign(message).as_ref().to_vec();
    ("EdDSA", jwk, Box::new(sign))
}

fn ecdsa(name: &'static str) -> (&'static str, Value, Sign) {
    let (algorithm, curve) = match name {
        "ES256" => (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        _ => (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
    };
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) });
    let sign = move |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
    (name, jwk, Box::new(sign))
}

/// ring makes no keys for RSA.
fn rsa(name: &'static str) -> (&'static str, Value, Sign) {
    let arguments = ["genpkey", "-algorithm", "RSA", "-outform", "DER"];
    let made = Command::new("openssl").args(arguments).output();
    let made = made.expect("openssl").stdout;
    let pair = RsaKeyPair::from_pkcs8(&made).or_else(|_| RsaKeyPair::from_der(&made));
    let pair = pair.unwrap();
    let public: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public().into();
    let jwk = json!({ "kty": "RSA", "n": text(public.n), "e": text(public.e) });
    let sign = move |message: &[u8]| {
        let mut signed = vec![0; pair.public().modulus_len()];
        let random = SystemRandom::new();
        let signs = match name {
            "RS256" => pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signed),
            _ => pair.sign(&RSA_PSS_SHA512, &random, message, &mut signed),
        };
        signs.unwrap();
        signed
    };
    (name, jwk, Box::new(sign))
}

/// An issuer of tokens.
struct Issuer {
    algorithm: &'static str,
    jwk: Value,
    sign: Sign,
}

impl Issuer {
    fn new((algorithm, jwk, sign): (&'static str, Value, Sign)) -> Self {
        Self {
            algorithm,
            jwk,
            sign,
        }
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        let signature = text((self.sign)(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn token(&self, claims: &Value) -> String {
        self.signed(&json!({ "alg": self.algorithm, "kid": "key" }), claims)
    }

    /// A broker that knows this issuer's key.
    fn backend(&self, change: impl FnOnce(&mut Options)) -> Arc<OAuth2> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let mut jwk = self.jwk.clone();
        jwk["kid"] = json!("key");
        fs::write(&path, json!({ "keys": [jwk] }).to_string()).unwrap();
        let mut options = options();
        options.keys = KeySource::File(path.to_str().unwrap().to_owned());
        change(&mut options);
        OAuth2::new(options).unwrap()
    }
}

fn claims(scope: &str) -> Value {
    json!({ "sub": "ann", "aud": "rabbitmq", "exp": unix_time() + 100, "scope": scope })
}

fn log_in(backend: &OAuth2, token: &str) -> Result<Admitted, String> {
    let credentials = Credentials {
        user: "ignored",
        password: Some(token.as_bytes()),
    };
    let found = backend.authenticate(&credentials);
    found.map_err(|refusal| {
        let secret = token.len() > 10 && refusal.0.contains(token);
        assert!(!secret, "a secret in {refusal}");
        let reason = refusal.0;
        let start = "Authentication using OAuth 2/JWT token failed: ";
        reason.strip_prefix(start).expect(&reason).to_owned()
    })
}

fn answer(admitted: &Admitted, about: About) -> Answer {
    let user = broker_core::authentication::Identity::internal("ann", Vec::new());
    let vhost = "/".into();
    let question = Question { vhost, about };
    admitted.authoriser.answer_now(&user, &question).unwrap()
}

fn queue(name: &str, operation: Operation) -> About {
    About::Resource {
        kind: "queue",
        name: name.to_owned(),
        operation,
    }
}

#[test]
fn tokens_of_all_kinds_of_keys_are_accepted_and_changed_ones_are_not() {
    for key in [
        ed25519(),
        ecdsa("ES256"),
        ecdsa("ES384"),
        rsa("RS256"),
        rsa("PS512"),
    ] {
        let issuer = Issuer::new(key);
        let backend = issuer.backend(|_| {});
        let token = issuer.token(&claims("rabbitmq.tag:management rabbitmq.read:*/*"));
        let ann = log_in(&backend, &token).expect(issuer.algorithm);
        assert_eq!(&*ann.name, "ann");
        assert_eq!(ann.tags, ["management"]);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let more = text(claims("rabbitmq.tag:administrator").to_string());
        let forged = format!("{header}.{more}.{signature}");
        assert_eq!(log_in(&backend, &forged).unwrap_err(), "signature_invalid");
        let another = Issuer::new(ed25519());
        let foreign = another.token(&claims("rabbitmq.tag:administrator"));
        assert!(log_in(&backend, &foreign).is_err());
    }
}

#[test]
fn what_is_not_signed_or_signed_in_another_way_is_refused() {
    let issuer = Issuer::new(ecdsa("ES256"));
    let backend = issuer.backend(|_| {});
    let claims = claims("rabbitmq.tag:administrator");
    for header in [
        json!({ "alg": "none", "kid": "key" }),
        json!({ "alg": "HS256", "kid": "key" }),
        json!({ "alg": "ES384", "kid": "key" }),
        json!({ "alg": "EdDSA", "kid": "key" }),
        json!({ "kid": "key" }),
    ] {
        assert!(
            log_in(&backend, &issuer.signed(&header, &claims)).is_err(),
            "{header}"
        );
    }
    let unknown = issuer.signed(&json!({ "alg": "ES256", "kid": "other" }), &claims);
    assert_eq!(log_in(&backend, &unknown).unwrap_err(), "key_not_found");
    for token in ["", "guest", "a.b.c", "..", "a.b"] {
        assert_eq!(
            log_in(&backend, token).unwrap_err(),
            "provided token is invalid"
        );
    }
    // The public key as a secret: the oldest trick.
    let backend = issuer.backend(|options| options.algorithms.push(Algorithm::HS256));
    let header = json!({ "alg": "HS256", "kid": "key" });
    assert!(log_in(&backend, &issuer.signed(&header, &claims)).is_err());
}

#[test]
fn a_token_without_a_name_of_its_key_is_checked_with_the_one_that_is_configured() {
    let issuer = Issuer::new(ed25519());
    let token = issuer.signed(&json!({ "alg": "EdDSA" }), &claims(""));
    let backend = issuer.backend(|_| {});
    assert_eq!(log_in(&backend, &token).unwrap_err(), "key_not_found");
    let backend = issuer.backend(|options| options.default_key = "key".to_owned());
    assert!(log_in(&backend, &token).is_ok());
}

#[test]
fn a_token_that_is_over_or_for_others_is_refused() {
    let issuer = Issuer::new(ed25519());
    let backend = issuer.backend(|_| {});
    let with = |name: &str, value: Value| {
        let mut claims = claims("rabbitmq.read:*/*");
        claims[name] = value;
        log_in(&backend, &issuer.token(&claims)).unwrap_err()
    };
    let over = with("exp", json!(unix_time()));
    assert!(
        over.starts_with("Provided JWT token has expired at timestamp "),
        "{over}"
    );
    assert_eq!(
        with("exp", Value::Null),
        "Provided JWT token has an invalid exp claim: value is not a number"
    );
    assert_eq!(with("aud", json!(["others"])), "no_matching_aud_found");
    assert!(with("nbf", json!(unix_time() + 100)).contains("is good from"));
}

#[test]
fn scopes_are_permissions() {
    let issuer = Issuer::new(ed25519());
    let backend = issuer.backend(|_| {});
    let scopes = "rabbitmq.read:%2F/a-* rabbitmq.write:*/* rabbitmq.write:%2F/amq.topic/{sub}.* other.configure:*/*";
    let ann = log_in(&backend, &issuer.token(&claims(scopes))).unwrap();
    let allowed = |about| answer(&ann, about) == Answer::Allowed;
    assert!(allowed(About::Vhost(None)));
    assert!(allowed(queue("a-1", Operation::Read)));
    assert!(!allowed(queue("b", Operation::Read)));
    assert!(allowed(queue("b", Operation::Write)));
    assert!(!allowed(queue("a-1", Operation::Configure)));
    let topic = |key: &str, operation| About::Topic {
        exchange: "amq.topic".to_owned(),
        routing_key: key.to_owned(),
        operation,
    };
    assert!(allowed(topic("ann.x", Operation::Write)));
    assert!(!allowed(topic("bob.x", Operation::Write)));
    assert!(!allowed(topic("ann.x", Operation::Read)));
    let nothing = log_in(&backend, &issuer.token(&claims("openid"))).unwrap();
    assert_eq!(answer(&nothing, About::Vhost(None)), Answer::Refused);
}

#[test]
fn a_token_that_is_over_permits_nothing_and_says_so() {
    let issuer = Issuer::new(ed25519());
    let backend = issuer.backend(|_| {});
    let claims = claims("rabbitmq.read:*/*");
    let end = claims["exp"].as_u64().unwrap();
    let claims = claims.as_object().unwrap().clone();
    let bearer = backend.bearer(claims).unwrap();
    assert_eq!(bearer.name().as_ref(), "ann");
    let question = Question {
        vhost: "/".into(),
        about: About::Vhost(None),
    };
    assert_eq!(bearer.answer_at(&question, end - 1), Answer::Allowed);
    let text =
        format!("\"Provided JWT token has expired at timestamp {end} (validated at {end})\"");
    assert_eq!(bearer.answer_at(&question, end), Answer::Failed(text));
}

#[test]
fn a_new_token_of_the_same_user_takes_the_place_of_the_old_one() {
    let issuer = Issuer::new(ed25519());
    let backend = issuer.backend(|_| {});
    let ann = log_in(&backend, &issuer.token(&claims("rabbitmq.read:*/*"))).unwrap();
    let end = ann.authoriser.expires_at().unwrap();
    let mut longer = claims("rabbitmq.tag:management");
    longer["exp"] = json!(end + 50);
    let renewal = ann
        .authoriser
        .renew(issuer.token(&longer).as_bytes())
        .unwrap();
    assert_eq!(renewal.authoriser.expires_at(), Some(end + 50));
    assert_eq!(renewal.tags, ["management"]);

    let mut bobs = claims("rabbitmq.read:*/*");
    bobs["sub"] = json!("bob");
    let renew = |token: &str| ann.authoriser.renew(token.as_bytes()).unwrap_err();
    let text = "Not allowed to change username on refreshed token";
    let refused = NotRenewed::Refused(text.to_owned());
    assert_eq!(renew(&issuer.token(&bobs)), refused);
    let another = Issuer::new(ed25519());
    assert!(matches!(
        renew(&another.token(&longer)),
        NotRenewed::Refused(_)
    ));
    assert!(matches!(renew("no token"), NotRenewed::Failed(_)));
}

#[test]
fn keys_that_are_known_are_checked_at_once_and_so_is_what_is_no_token() {
    let issuer = Issuer::new(ed25519());
    let backend = issuer.backend(|_| {});
    let now = |token: &str| {
        backend.authenticate_now(&Credentials {
            user: "",
            password: Some(token.as_bytes()),
        })
    };
    assert!(now("a password").unwrap().is_err());
    assert!(now(&issuer.token(&claims(""))).unwrap().is_ok());
    let other = issuer.signed(&json!({ "alg": "EdDSA", "kid": "other" }), &claims(""));
    assert!(now(&other).is_none());
}

#[test]
fn options_without_which_tokens_cannot_be_checked_are_missed_at_once() {
    let mut missing = options();
    missing.resource_server_id.clear();
    let error = OAuth2::new(missing).unwrap_err().to_string();
    assert!(error.starts_with("oauth2.resource_server_id "), "{error}");
    let mut absent = options();
    absent.keys = KeySource::File("/nowhere/jwks.json".to_owned());
    let error = OAuth2::new(absent).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/jwks.json: "), "{error}");
    let mut roots = options();
    roots.client.ca_file = "/nowhere/ca.pem".to_owned();
    let error = OAuth2::new(roots).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/ca.pem: "), "{error}");
}
