//! Users: who there is, and whether somebody who logs in is who they say.
//!
//! A user is a definition, so it survives a restart and comes with definitions files. Everything that changes users
//! takes the name of whoever asks for it and leaves a line in the audit log (the log target `audit`), which never holds
//! a password or a hash. RabbitMQ's description: <https://www.rabbitmq.com/docs/access-control>.

mod accounts;
mod attempts;
mod failures;
mod first_start;
mod password;
mod slow_checks;
mod verified;

use std::sync::OnceLock;

use parking_lot::Mutex;

pub use self::{
    accounts::{MAX_USER_TAGS, NewPassword},
    attempts::{Attempts, LoginAttempts, LoginProtocol, LoginSource},
    failures::{Asking, LoginFailures, network_of},
    first_start::FirstStart,
    password::{ARGON2ID, SHA_256, SHA_512, check_hash, hash_password, hash_public_password},
};
use self::{slow_checks::SlowChecks, verified::Verified};
use crate::{
    authentication::Chain,
    broker::Broker,
    definitions::{Kind, UserDefinition},
};

/// Who the broker itself is in the audit log.
pub const BROKER: &str = "leveret";

/// A user with this tag may publish in the name of others.
pub const IMPERSONATOR: &str = "impersonator";

/// What the broker keeps in memory about its users, besides their definitions.
#[derive(Default)]
pub(crate) struct Accounts {
    /// Taken while users, permissions, vhosts or limits change, so that nothing is granted to what is being deleted.
    pub(crate) turn: Mutex<()>,
    pub(crate) failures: LoginFailures,
    attempts: LoginAttempts,
    verified: Verified,
    slow_checks: SlowChecks,
    /// Who checks logins; the own users unless somebody says otherwise.
    pub(crate) chain: OnceLock<Chain>,
}

impl Broker {
    /// Failed logins by source address.
    pub fn login_failures(&self) -> &LoginFailures {
        &self.accounts.failures
    }

    /// How many logins there were.
    pub fn login_attempts(&self) -> &LoginAttempts {
        &self.accounts.attempts
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<UserDefinition> {
        let key = UserDefinition::key_of(name);
        let definition = self.definitions().get(Kind::User, &key)?;
        definition.record().ok()
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<UserDefinition> {
        let all = self.definitions().list(Kind::User);
        let records = all.iter().filter_map(|definition| definition.record().ok());
        let mut users: Vec<UserDefinition> = records.collect();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users
    }

    /// Checks the password of one of the broker's own users. This can take some tens of milliseconds, and longer when
    /// many are checked.
    pub fn authenticate(&self, user: &str, password: &[u8]) -> bool {
        let user = self.user(user);
        user.is_some_and(|user| self.is_password_of(&user, password))
    }

    /// The same for a user who has been looked up.
    pub(crate) fn is_password_of(&self, user: &UserDefinition, password: &[u8]) -> bool {
        if let Some(known) = self.is_password_of_now(user, password) {
            return known;
        }
        let turn = self.accounts.slow_checks.wait();
        let matches = password::password_matches(user, password);
        drop(turn);
        if matches {
            self.accounts.verified.note(user, password);
        }
        matches
    }

    /// The same if that takes no time; `None` if [`Self::is_password_of`] has to be asked where nobody waits.
    pub(crate) fn is_password_of_now(
        &self,
        user: &UserDefinition,
        password: &[u8],
    ) -> Option<bool> {
        if password::is_slow(user) {
            let known = self.accounts.verified.knows(user, password);
            return known.then_some(true);
        }
        Some(password::password_matches(user, password))
    }
}
