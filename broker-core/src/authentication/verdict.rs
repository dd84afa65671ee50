//! Logins that take time, of clients that may be guessing.

use std::{net::IpAddr, sync::Arc};

use super::{Credentials, Identity, Refusal};
use crate::{broker::Broker, queue::Millis};

/// What became of a login.
#[derive(Debug)]
pub enum Verdict {
    /// This is who is there.
    Admitted(Arc<Identity>),
    /// Nobody whom a backend lets in. The failure is counted.
    Refused {
        /// Why, for the log.
        why: Refusal,
        /// When the client may hear of it.
        tell_at: Millis,
    },
    /// Too many logins from the client's address have failed: no backend was asked.
    NotLookedAt,
}

impl Broker {
    /// [`Self::log_in`] of a client at this address. A failure is counted before the next login of the address can
    /// begin in its place, and whether the client still waits or not.
    pub fn log_in_from(
        &self,
        peer: IpAddr,
        credentials: &Credentials<'_>,
        clock: impl Fn() -> Millis,
    ) -> Verdict {
        let failures = self.login_failures();
        let Some(_asking) = failures.begin(peer, clock()) else {
            return Verdict::NotLookedAt;
        };
        match self.log_in(credentials) {
            Ok(identity) => Verdict::Admitted(identity),
            Err(why) => Verdict::Refused {
                why,
                tell_at: failures.failed(peer, clock()),
            },
        }
    }
}
