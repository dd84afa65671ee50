//! Logging in with tokens, of an issuer that the tests are, over real sockets.

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::{
    leveret_only,
    served::Served,
    support::{
        Broker, Login, PATIENCE, Peer, basic, certificates::Authority, connection,
        handshake::plain, queue, with_time_enough,
    },
    web,
};

/// Somebody who signs tokens, and tells the keys.
#[derive(Clone)]
struct Issuer {
    keys: Arc<Mutex<HashMap<String, Ed25519KeyPair>>>,
    address: String,
    /// How often the keys were asked for.
    asked: Arc<AtomicUsize>,
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs()
}

impl Issuer {
    fn start() -> Self {
        let keys = Arc::new(Mutex::new(HashMap::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, counted) = (Arc::clone(&keys), Arc::clone(&asked));
        let address = web::serve(move |request| match request.path.as_str() {
            "/keys" => {
                counted.fetch_add(1, Ordering::SeqCst);
                (200, jwks(&told.lock().unwrap()))
            }
            _ => (404, String::new()),
        });
        let issuer = Self {
            keys,
            address: format!("http://{address}"),
            asked,
        };
        issuer.change_key("first");
        issuer
    }

    /// Only this key counts from now on.
    fn change_key(&self, name: &str) {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        *self.keys.lock().unwrap() = HashMap::from([(name.to_owned(), pair)]);
    }

    fn token(&self, claims: &Value) -> String {
        let keys = self.keys.lock().unwrap();
        let (name, pair) = keys.iter().next().unwrap();
        let header = json!({ "alg": "EdDSA", "kid": name });
        let message = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        let signature = text(pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// A token of this user that is good for so many seconds.
    fn token_of(&self, user: &str, seconds: u64, scope: &str) -> String {
        self.token(&json!({
            "sub": user, "aud": "rabbitmq", "exp": now() + seconds, "scope": scope,
        }))
    }

    fn options(&self) -> Vec<(String, String)> {
        let options = [
            ("LEVERET_AUTH_BACKENDS", "oauth2,internal".to_owned()),
            ("LEVERET_OAUTH2_RESOURCE_SERVER_ID", "rabbitmq".to_owned()),
            ("LEVERET_OAUTH2_JWKS_URL", format!("{}/keys", self.address)),
        ];
        options
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }
}

fn jwks(keys: &HashMap<String, Ed25519KeyPair>) -> String {
    let keys = keys.iter().map(|(name, pair)| {
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": name, "x": text(pair.public_key()) })
    });
    json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
}

fn login(token: &str) -> Login {
    Login {
        response: plain("", token),
        ..Login::default()
    }
}

fn attempt(served: &Served, token: &str) -> Peer {
    let mut peer = served.tcp();
    peer.greet();
    peer.send(0, login(token).start_ok());
    peer
}

fn connected(served: &Served, token: &str) -> Peer {
    let mut peer = served.tcp().opened(&login(token));
    peer.open_channel(1);
    peer
}

const EVERYTHING: &str = "rabbitmq.configure:*/* rabbitmq.write:*/*/* rabbitmq.read:*/*/*";

#[test]
fn a_token_in_place_of_the_password_lets_its_bearer_do_what_its_scopes_say() {
    let issuer = Issuer::start();
    let served = Served::start_configured(issuer.options());
    let scope = "rabbitmq.configure:%2F/mine* rabbitmq.write:%2F/* rabbitmq.write:%2F/amq.topic/a.* rabbitmq.read:%2F/*";
    let mut peer = connected(&served, &issuer.token_of("ann", 100, scope));
    let entry = &served.broker.connections()[0];
    assert_eq!(&*entry.user, "ann");
    let declare = |name: &str| queue::Declare {
        queue: name.into(),
        ..queue::Declare::default()
    };
    peer.declare(1, declare("mine"));
    peer.publish(1, "", "mine", "hello");
    assert_eq!(peer.drain(1, "mine"), ["hello"]);
    peer.publish(1, "amq.topic", "a.b", "allowed");
    peer.send(1, declare("yours"));
    let text =
        "ACCESS_REFUSED - configure access to queue 'yours' in vhost '/' refused for user 'ann'";
    peer.expect_channel_close::<queue::Declare>(1, 403, text);
    peer.open_channel(1);
    peer.publish(1, "amq.topic", "b.a", "refused");
    let text = "ACCESS_REFUSED - write access to topic 'b.a' in exchange topic 'amq.topic' in vhost '/' refused for \
                user 'ann'";
    peer.expect_channel_close::<basic::Publish>(1, 403, text);
    // A user of the broker's own logs in as ever.
    served.connect("guest").round_trip();
}

#[test]
fn a_token_without_permissions_in_the_vhost_does_not_open_it() {
    let issuer = Issuer::start();
    let served = Served::start_configured(issuer.options());
    let mut peer = attempt(
        &served,
        &issuer.token_of("ann", 100, "rabbitmq.read:other/*"),
    );
    peer.tune(&Login::default());
    let vhost = connection::Open {
        virtual_host: "/".into(),
    };
    peer.send(0, vhost);
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'ann'";
    peer.expect_connection_close::<connection::Open>(530, text);
}

/// Seconds that a token is good for that ends in a test.
const SOON: [u64; 3] = [3, 12, 48];

#[test]
fn a_connection_ends_with_its_token_and_lives_on_with_a_new_one() {
    with_time_enough(SOON, a_connection_ends_with_its_token);
}

fn a_connection_ends_with_its_token(seconds: u64) {
    let issuer = Issuer::start();
    let served = Served::start_configured(issuer.options());
    let start = Instant::now();
    let mut renewed = connected(&served, &issuer.token_of("ann", seconds, EVERYTHING));
    let mut ending = connected(&served, &issuer.token_of("ann", seconds, EVERYTHING));
    let update = connection::UpdateSecret {
        new_secret: issuer.token_of("ann", 1000, EVERYTHING).as_str().into(),
        reason: "it ends soon".into(),
    };
    renewed.call::<_, connection::UpdateSecretOk>(0, update);
    let close = ending.expect_close_with_code(320);
    assert_eq!(
        close.reply_text.as_str(),
        "CONNECTION_FORCED - credential expired"
    );
    assert!(start.elapsed() > Duration::from_millis(1500));
    renewed.round_trip();
    renewed.fresh_queue(1, "still");
}

/// RabbitMQ: `rabbit_access_control:expiry_timestamp` asks those who say what a user may do.
#[test]
fn a_login_lasts_as_long_as_whoever_says_what_the_user_may_do_says() {
    with_time_enough(SOON, a_login_lasts_as_long_as_its_token);
}

fn a_login_lasts_as_long_as_its_token(seconds: u64) {
    let issuer = Issuer::start();
    let mut options = issuer.options();
    let chain = "oauth2:internal,oauth2".to_owned();
    options.push(("LEVERET_AUTH_BACKENDS".to_owned(), chain));
    let served = Served::start_configured(options);
    served.user("ann", [".*"; 3]);
    let mut ann = connected(&served, &issuer.token_of("ann", seconds, EVERYTHING));
    // Not a user of the broker's own: the token says what he may do.
    let mut bob = connected(&served, &issuer.token_of("bob", seconds, EVERYTHING));
    bob.expect_close_with_code(320);
    // Her token is over too; the broker's own permissions are not.
    ann.round_trip();
    ann.fresh_queue(1, "still");
}

#[test]
fn only_the_same_users_token_renews() {
    let issuer = Issuer::start();
    let served = Served::start_configured(issuer.options());
    let refused = "NOT_ALLOWED - New secret was refused by one of the backends";
    let failed = "NOT_ALLOWED - Secret update failed";
    let expired = "NOT_ALLOWED - access to vhost '/' refused for user 'ann', backend rabbit_auth_backend_oauth2 \
                   returned an error: \"Provided JWT token has expired at timestamp ";
    for (secret, text) in [
        (issuer.token_of("bob", 100, EVERYTHING), refused),
        (Issuer::start().token_of("ann", 100, EVERYTHING), refused),
        ("no token".to_owned(), failed),
        (issuer.token_of("ann", 0, EVERYTHING), expired),
        (
            issuer.token_of("ann", 100, "rabbitmq.read:other/*"),
            "NOT_ALLOWED - access to vhost '/' refused for user 'ann'",
        ),
    ] {
        let mut peer = connected(&served, &issuer.token_of("ann", 100, EVERYTHING));
        let update = connection::UpdateSecret {
            new_secret: secret.as_str().into(),
            reason: String::new().into(),
        };
        peer.send(0, update);
        let close = peer.expect_close_with_code(530);
        assert!(
            close.reply_text.as_str().starts_with(text),
            "{}",
            close.reply_text
        );
    }
}

#[test]
fn tokens_that_are_over_forged_or_for_others_are_refused() {
    let issuer = Issuer::start();
    let served = Served::start_configured(issuer.options());
    let good = issuer.token_of("ann", 100, EVERYTHING);
    attempt(&served, &good).expect::<connection::Tune>(0);
    let other_audience = issuer.token(&json!({
        "sub": "ann", "aud": "others", "exp": now() + 100, "scope": EVERYTHING,
    }));
    let forged = good.replace(good.split('.').nth(1).unwrap(), &text("{}"));
    for token in [
        issuer.token_of("ann", 0, EVERYTHING),
        other_audience,
        forged,
    ] {
        let close = attempt(&served, &token).expect_close_with_code(403);
        let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the \
                    broker logfile.";
        assert_eq!(close.reply_text.as_str(), text);
    }
}

#[test]
fn keys_are_asked_for_once_and_again_when_the_issuer_has_changed_them() {
    let issuer = Issuer::start();
    let served = Served::start_configured(issuer.options());
    for _ in 0..5 {
        connected(&served, &issuer.token_of("ann", 100, EVERYTHING));
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    let old = issuer.token_of("ann", 100, EVERYTHING);
    issuer.change_key("second");
    connected(&served, &issuer.token_of("ann", 100, EVERYTHING));
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 2);
    attempt(&served, &old).expect_close_with_code(403);
    attempt(&served, &old).expect_close_with_code(403);
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 3);
}

#[test]
fn the_program_takes_tokens_from_its_configuration_and_over_http_too() {
    leveret_only!("it is configured");
    let issuer = Issuer::start();
    let options = issuer.options();
    let options: Vec<_> = options
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let broker = Broker::start_with_options(&options);
    let scope = format!("{EVERYTHING} rabbitmq.tag:administrator");
    let token = issuer.token_of("ann", 100, &scope);
    let mut peer = Peer::tcp_to(broker.amqp_address()).opened(&login(&token));
    peer.open_channel(1);
    peer.fresh_queue(1, "by-token");
    let whoami = |authorization: &str| {
        let mut stream = std::net::TcpStream::connect(broker.http_address().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET /api/whoami HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {authorization}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = whoami(&format!("Bearer {token}"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains(r#""name":"ann""#) && answer.contains("administrator"),
        "{answer}"
    );
    let answer = whoami(&format!("Bearer {token}x"));
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    broker.await_line("her login", |line| {
        line.contains("login accepted") && line.contains("user=\"ann\"")
    });
    let log = broker.log().join("\n");
    let secret = token.rsplit('.').next().unwrap();
    assert!(!log.contains(secret), "a token in the log");
}

#[test]
fn what_is_wrong_with_the_configuration_is_said_at_once() {
    let check = |options: &[(&str, &str)]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_leveret"))
            .args(["config", "check"])
            .envs(options.iter().copied())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{options:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors.lines().count(), 1, "{errors}");
        errors
    };
    let backend = ("LEVERET_AUTH_BACKENDS", "oauth2");
    let id = ("LEVERET_OAUTH2_RESOURCE_SERVER_ID", "rabbitmq");
    let url = ("LEVERET_OAUTH2_JWKS_URL", "http://localhost/keys");
    let says = |options: &[(&str, &str)], what: &str| {
        let errors = check(options);
        assert!(errors.contains(what), "{errors}");
    };
    says(&[backend, url], "oauth2.resource_server_id must say");
    says(
        &[backend, id],
        "oauth2.jwks_url or oauth2.jwks_file must say",
    );
    says(
        &[backend, id, ("LEVERET_OAUTH2_JWKS_FILE", "/nowhere/keys")],
        "/nowhere/keys: ",
    );
    says(
        &[backend, id, url, ("LEVERET_OAUTH2_CA_FILE", "/nowhere/ca")],
        "/nowhere/ca: ",
    );
    says(
        &[backend, id, url, ("LEVERET_OAUTH2_SCOPE_ALIASES", "x")],
        "name=scopes",
    );
    says(
        &[("LEVERET_AUTH_BACKENDS", "ldap")],
        "auth.backends must be a list of internal, oauth2",
    );
    let secret = ("LEVERET_OAUTH2_JWKS_URL", "https://user:secret@host/keys");
    let errors = check(&[backend, id, secret]);
    assert!(errors.contains("must not hold a user or password") && !errors.contains("secret"));
    let http = ("LEVERET_AUTH_BACKENDS", "http");
    says(
        &[http, ("LEVERET_AUTH_HTTP_USER_PATH", "ftp://x")],
        "auth_http.user_path must be",
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, "{}").unwrap();
    let file = ("LEVERET_OAUTH2_JWKS_FILE", file.to_str().unwrap());
    says(&[backend, id, file], "is no set of keys");
}

/// Serves the keys over TLS.
fn serve_securely(issuer: &Issuer, authority: &Authority) -> String {
    let pair = authority.server("issuer");
    let chain = vec![CertificateDer::from_pem_file(&pair.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let keys = Arc::clone(&issuer.keys);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(tls, stream);
            let mut asked = [0; 4096];
            if stream.read(&mut asked).is_err() {
                continue;
            }
            let keys = jwks(&keys.lock().unwrap());
            let length = keys.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{keys}"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("https://localhost:{port}/keys")
}

#[test]
fn keys_come_over_tls_from_somebody_whose_certificate_is_good_and_from_nobody_else() {
    let (issuer, authority) = (Issuer::start(), Authority::new());
    let url = serve_securely(&issuer, &authority);
    let with = |further: Option<&str>| {
        let mut options = issuer.options();
        options.retain(|(name, _)| name != "LEVERET_OAUTH2_JWKS_URL");
        options.push(("LEVERET_OAUTH2_JWKS_URL".to_owned(), url.clone()));
        let roots = further.map(|path| ("LEVERET_OAUTH2_CA_FILE".to_owned(), path.to_owned()));
        options.extend(roots);
        Served::start_configured(options)
    };
    let root = authority.root();
    let trusting = with(root.to_str());
    connected(&trusting, &issuer.token_of("ann", 100, EVERYTHING));
    let wary = with(None);
    attempt(&wary, &issuer.token_of("ann", 100, EVERYTHING)).expect_close_with_code(403);
}
