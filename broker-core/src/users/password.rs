//! Passwords as they are kept: as salted hashes, never as they are.
//!
//! New ones are hashed with argon2id, in the form that its authors gave it (`$argon2id$v=19$...`). Users that come from
//! RabbitMQ bring RabbitMQ's hashes: four bytes of salt, then the SHA-256 or SHA-512 of salt and password, in base64
//! (<https://www.rabbitmq.com/docs/passwords>).

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::{Error, definitions::UserDefinition};

/// RabbitMQ's name for salted SHA-256.
pub const SHA_256: &str = "rabbit_password_hashing_sha256";

/// RabbitMQ's name for salted SHA-512.
pub const SHA_512: &str = "rabbit_password_hashing_sha512";

/// The name of the hash that new passwords get. RabbitMQ has no such hash.
pub const ARGON2ID: &str = "argon2id";

const SALT: usize = 4;

/// Hashes a new password with a random salt, slowly: whoever steals the hashes shall have trouble to guess. Takes some
/// tens of milliseconds and 19 MiB of memory.
///
/// # Errors
/// The system has no random numbers.
pub fn hash_password(password: &[u8]) -> Result<String, Error> {
    let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password);
    let hash = hash.map_err(|error| Error::Internal(format!("cannot hash a password: {error}")))?;
    Ok(hash.to_string())
}

/// Hashes a password that everybody knows anyway, such as that of `guest`: it is not worth the time of
/// [`hash_password`].
pub fn hash_public_password(password: &[u8]) -> String {
    let salt: [u8; SALT] = rand::random();
    let mut salted = salt.to_vec();
    salted.extend_from_slice(&salted_digest::<Sha256>(&salt, password));
    BASE64_STANDARD.encode(salted)
}

/// Checks that a hash from elsewhere, of a definitions file for example, can be compared with passwords. An empty one
/// is good too: such a user has no password.
///
/// # Errors
/// 406: the algorithm is unknown, or the hash is not one of it.
pub fn check_hash(hash: &str, algorithm: &str) -> Result<(), Error> {
    let good = hash.is_empty()
        || match algorithm {
            SHA_256 => salt_and_digest(hash, Sha256::output_size()).is_some(),
            SHA_512 => salt_and_digest(hash, Sha512::output_size()).is_some(),
            ARGON2ID => PasswordHash::new(hash).is_ok(),
            other => {
                let text = format!("unknown password hashing algorithm '{other}'");
                return Err(Error::PreconditionFailed(text));
            }
        };
    if good {
        return Ok(());
    }
    let text = format!("the password hash is not one of {algorithm}");
    Err(Error::PreconditionFailed(text))
}

/// Whether comparing with this user's hash takes so long that it has to be done where nobody waits.
pub fn is_slow(user: &UserDefinition) -> bool {
    user.hashing_algorithm == ARGON2ID
}

/// Whether `password` is the user's, in time that does not depend on how much of it is right. Nobody logs in with an
/// empty password, and with none if the user has none.
pub fn password_matches(user: &UserDefinition, password: &[u8]) -> bool {
    if password.is_empty() {
        return false;
    }
    let hash = &user.password_hash;
    match user.hashing_algorithm.as_str() {
        SHA_256 => salted_matches::<Sha256>(hash, password),
        SHA_512 => salted_matches::<Sha512>(hash, password),
        ARGON2ID => PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
        _ => false,
    }
}

fn salted_matches<D: Digest>(hash: &str, password: &[u8]) -> bool {
    let Some((salt, expected)) = salt_and_digest(hash, <D as Digest>::output_size()) else {
        return false;
    };
    bool::from(salted_digest::<D>(&salt, password).ct_eq(&expected))
}

fn salt_and_digest(hash: &str, digest: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let salted = BASE64_STANDARD.decode(hash).ok()?;
    let (salt, expected) = salted.split_at_checked(SALT)?;
    (expected.len() == digest).then(|| (salt.to_vec(), expected.to_vec()))
}

fn salted_digest<D: Digest>(salt: &[u8], password: &[u8]) -> Vec<u8> {
    let mut hash = D::new();
    hash.update(salt);
    hash.update(password);
    hash.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(password_hash: &str, hashing_algorithm: &str) -> UserDefinition {
        UserDefinition {
            name: "somebody".to_owned(),
            password_hash: password_hash.to_owned(),
            hashing_algorithm: hashing_algorithm.to_owned(),
            tags: Vec::new(),
        }
    }

    #[test]
    fn a_new_password_matches_only_itself_and_is_hashed_with_argon2id() {
        let hash = hash_password(b"secret").unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        let user = user(&hash, ARGON2ID);
        assert!(password_matches(&user, b"secret"));
        assert!(!password_matches(&user, b"Secret"));
        assert!(is_slow(&user));
    }

    #[test]
    fn a_public_password_matches_only_itself() {
        let user = user(&hash_public_password(b"guest"), SHA_256);
        assert!(password_matches(&user, b"guest"));
        assert!(!password_matches(&user, b"Guest"));
    }

    #[test]
    fn password_hashes_of_rabbitmq_are_understood() {
        // From RabbitMQ's documentation page "Credentials and Passwords".
        let sha_256 = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
        assert!(password_matches(&user(sha_256, SHA_256), b"test12"));
        assert!(!password_matches(&user(sha_256, SHA_512), b"test12"));
        let mut salted = vec![1, 2, 3, 4];
        salted.extend(Sha512::digest(b"\x01\x02\x03\x04test12"));
        let sha_512 = BASE64_STANDARD.encode(salted);
        assert!(password_matches(&user(&sha_512, SHA_512), b"test12"));
        assert!(!password_matches(&user(&sha_512, SHA_512), b"test13"));
    }

    #[test]
    fn a_user_without_password_cannot_log_in_with_one() {
        for algorithm in [SHA_256, SHA_512, ARGON2ID] {
            assert!(!password_matches(&user("", algorithm), b""));
            assert!(!password_matches(&user("", algorithm), b"x"));
        }
    }

    #[test]
    fn nobody_logs_in_with_an_empty_password() {
        let user = user(&hash_public_password(b""), SHA_256);
        assert!(!password_matches(&user, b""));
    }

    #[test]
    fn a_hash_that_no_password_could_match_is_refused() {
        check_hash("", SHA_256).unwrap();
        check_hash(&hash_public_password(b"x"), SHA_256).unwrap();
        check_hash(&hash_password(b"x").unwrap(), ARGON2ID).unwrap();
        for (hash, algorithm) in [
            ("???", SHA_256),
            ("AAAA", SHA_256),
            (&*hash_public_password(b"x"), SHA_512),
            ("$argon2id$", ARGON2ID),
            ("AAAA", "rabbit_password_hashing_md5"),
        ] {
            assert!(check_hash(hash, algorithm).is_err(), "{hash} {algorithm}");
        }
    }
}
