//! Signatures of tokens (RFC 7515, RFC 7518), checked by ring, which also does the broker's TLS.

use std::ops::Not as _;

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    decode,
    errors::{ErrorKind, Result},
    signature::{Error, Verifier},
};
use ring::{hmac, signature};

use super::{Claims, Invalid, keys::Key};

/// Lets `jsonwebtoken` check signatures by ring, in this whole process.
pub(super) fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: no_signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    // The second time it is there already.
    let _ = PROVIDER.install_default();
}

/// What a token says whose signature is that of one of these keys.
pub(super) fn verify(token: &str, keys: &[Key]) -> std::result::Result<Claims, Invalid> {
    let mut refused = Invalid::wrong("key_not_found");
    for key in keys {
        match verify_with(token, key) {
            Ok(claims) => return Ok(claims),
            Err(why) => refused = why,
        }
    }
    Err(refused)
}

fn verify_with(token: &str, key: &Key) -> std::result::Result<Claims, Invalid> {
    let header = jsonwebtoken::decode_header(token);
    let header = header.map_err(|_| Invalid::NotForUs("provided token is invalid".to_owned()))?;
    // RFC 7515, 4.1.11: what is critical and not understood makes the token invalid. Nothing of it is understood here.
    if header.crit.is_some() {
        return Err(Invalid::wrong("critical extensions are not supported"));
    }
    if key
        .algorithm
        .is_some_and(|algorithm| algorithm != header.alg)
    {
        return Err(Invalid::wrong("the key is for another algorithm"));
    }
    let mut validation = Validation::new(header.alg);
    // What a token says is looked at as RabbitMQ does it, in `claims`.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let decoded = decode::<Claims>(token, &key.key, &validation);
    let decoded = decoded.map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => Invalid::wrong("signature_invalid"),
        other => Invalid::Wrong(format!("{other:?}")),
    })?;
    Ok(decoded.claims)
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        key: key.clone(),
    }))
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                let parameters = rsa(self.algorithm).ok_or_else(Error::new)?;
                let key = signature::RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, signed)
            }
            DecodingKeyKind::SecretOrDer(bytes) => match secret(self.algorithm) {
                Some(algorithm) => hmac::verify(&hmac::Key::new(algorithm, bytes), message, signed),
                None => {
                    let algorithm = curve(self.algorithm).ok_or_else(Error::new)?;
                    signature::UnparsedPublicKey::new(algorithm, bytes).verify(message, signed)
                }
            },
        };
        verified.map_err(|_| Error::new())
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn curve(algorithm: Algorithm) -> Option<&'static dyn signature::VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &signature::ED25519,
        _ => return None,
    })
}

fn secret(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    Some(match algorithm {
        Algorithm::HS256 => hmac::HMAC_SHA256,
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        _ => return None,
    })
}

/// The algorithm of this name (RFC 7518), if it is one that can be checked.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    name.parse().ok().filter(|_| name.is_empty().not())
}
