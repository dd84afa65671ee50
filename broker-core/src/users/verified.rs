//! Passwords that were right a moment ago, so that a client that connects again and again pays for the slow hash once.
//!
//! What is kept is a fast hash under a random key that never leaves the process: a copy of the memory tells no more than
//! one of the definitions would. It is bound to the stored hash, so a changed password is compared anew.

use std::collections::HashMap;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::definitions::UserDefinition;

/// Users that are remembered at most. Beyond it the memory starts over.
const CAPACITY: usize = 10_000;

/// The last right password of each user, hashed.
#[derive(Debug)]
pub(super) struct Verified {
    key: [u8; 32],
    digests: Mutex<HashMap<String, [u8; 32]>>,
}

impl Default for Verified {
    fn default() -> Self {
        Self {
            key: rand::random(),
            digests: Mutex::default(),
        }
    }
}

impl Verified {
    /// Whether this was the user's password the last time. `false` says nothing.
    pub(super) fn knows(&self, user: &UserDefinition, password: &[u8]) -> bool {
        let digest = self.digest(user, password);
        let digests = self.digests.lock();
        let known = digests.get(&user.name);
        known.is_some_and(|known| known.ct_eq(&digest).into())
    }

    /// Notes that this is the user's password.
    pub(super) fn note(&self, user: &UserDefinition, password: &[u8]) {
        let digest = self.digest(user, password);
        let mut digests = self.digests.lock();
        if digests.len() >= CAPACITY {
            digests.clear();
        }
        digests.insert(user.name.clone(), digest);
    }

    fn digest(&self, user: &UserDefinition, password: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [&self.key, user.password_hash.as_bytes(), password] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_noted_password_of_the_noted_hash_is_known() {
        let verified = Verified::default();
        let user = |name: &str, hash: &str| UserDefinition {
            name: name.to_owned(),
            password_hash: hash.to_owned(),
            ..UserDefinition::default()
        };
        assert!(!verified.knows(&user("a", "h"), b"secret"));
        verified.note(&user("a", "h"), b"secret");
        assert!(verified.knows(&user("a", "h"), b"secret"));
        assert!(!verified.knows(&user("a", "h"), b"Secret"));
        assert!(!verified.knows(&user("a", "changed"), b"secret"));
        assert!(!verified.knows(&user("b", "h"), b"secret"));
    }
}
