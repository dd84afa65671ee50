//! Users and what they may do.
//!
//! Passwords are kept as RabbitMQ keeps them: four bytes of salt and the SHA-256 of salt and password, in base64
//! (<https://www.rabbitmq.com/docs/passwords>).

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::definitions::UserDefinition;

/// RabbitMQ's name for the hash.
pub const SHA_256: &str = "rabbit_password_hashing_sha256";

const SALT: usize = 4;

/// Hashes a new password with a random salt.
pub fn hash_password(password: &str) -> String {
    let salt: [u8; SALT] = rand::random();
    let mut salted = salt.to_vec();
    salted.extend_from_slice(&digest(&salt, password.as_bytes()));
    BASE64_STANDARD.encode(salted)
}

/// Whether `password` is the user's, in time that does not depend on how much of it is right. Nobody logs in with an
/// empty password.
pub fn password_matches(user: &UserDefinition, password: &[u8]) -> bool {
    if user.hashing_algorithm != SHA_256 || password.is_empty() {
        return false;
    }
    let Ok(salted) = BASE64_STANDARD.decode(&user.password_hash) else {
        return false;
    };
    let Some((salt, expected)) = salted.split_at_checked(SALT) else {
        return false;
    };
    bool::from(digest(salt, password).ct_eq(expected))
}

fn digest(salt: &[u8], password: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(password);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(password_hash: String) -> UserDefinition {
        UserDefinition {
            name: "guest".to_owned(),
            password_hash,
            hashing_algorithm: SHA_256.to_owned(),
            tags: Vec::new(),
        }
    }

    #[test]
    fn password_matches_only_itself() {
        let user = user(hash_password("secret"));
        assert!(password_matches(&user, b"secret"));
        assert!(!password_matches(&user, b"Secret"));
    }

    #[test]
    fn password_hash_of_rabbitmq_is_understood() {
        // From RabbitMQ's documentation page "Credentials and Passwords".
        let user = user("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR".to_owned());
        assert!(password_matches(&user, b"test12"));
    }

    #[test]
    fn user_without_password_cannot_log_in() {
        let user = user(String::new());
        assert!(!password_matches(&user, b""));
    }
}
