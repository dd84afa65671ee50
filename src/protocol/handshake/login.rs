//! Who the client is: what it says in `connection.start-ok`, who checks it, and how it hears that it is refused.

use std::sync::Arc;

use amqp_codec::{AMQPValue, FieldTable, parse_table, protocol::connection};
use broker_core::{
    authentication::{Credentials, Identity, Refusal, Verdict},
    queue::Millis,
    users::LoginProtocol,
};

use super::{Awaited, Failed, Handshake, Opened, START_OK, Surroundings};
use crate::protocol::{
    authorization::may_log_in_from,
    batch::Batch,
    exception::Exception,
    inquiry::{Finding, Inquiry, Secret},
    session::ClientCapabilities,
};

/// A user and the password, if one is needed.
type Claim = (String, Option<Vec<u8>>);

impl Handshake {
    /// Takes what the client says of itself.
    ///
    /// # Errors
    /// It logs in as nobody does, or too many logins from its address have failed.
    pub(super) fn log_in(
        &mut self,
        method: &connection::StartOk,
        around: &Surroundings<'_>,
        batch: &mut Batch,
    ) -> Result<(), Failed> {
        self.agreed.client = capabilities(&method.client_properties);
        let claim = self.claim(method, around)?;
        let ip = around.peer.ip();
        if !around.failures().admits(ip, batch.now) {
            return Err(self.turn_away(around));
        }
        let Some((user, password)) = claim else {
            self.refuse_later("malformed response", around, batch.now);
            return Ok(());
        };
        self.agreed.user = user.into();
        let credentials = Credentials {
            user: &self.agreed.user,
            password: password.as_deref(),
        };
        match around.broker.log_in_now(&credentials) {
            Some(Ok(identity)) => self.handle_login(identity, around, batch),
            Some(Err(Refusal(why))) => self.refuse_later(&why, around, batch.now),
            None => {
                self.awaited = Awaited::Answer;
                self.inquiry = Some(Inquiry::Login {
                    peer: ip,
                    user: Arc::clone(&self.agreed.user),
                    password: password.as_deref().map(Secret::new),
                });
            }
        }
        Ok(())
    }

    /// Who the client says it is, and the password; none is needed if its certificate says it. `None` if that cannot be
    /// read.
    fn claim(
        &mut self,
        method: &connection::StartOk,
        around: &Surroundings<'_>,
    ) -> Result<Option<Claim>, Exception> {
        let response = method.response.as_bytes();
        let with_password = |(user, password)| (user, Some(password));
        match (method.mechanism.as_str(), around.certificate) {
            ("PLAIN", _) => {
                self.mechanism = "PLAIN";
                Ok(plain(response).map(with_password))
            }
            ("AMQPLAIN", _) => {
                self.mechanism = "AMQPLAIN";
                Ok(amqplain(response).map(with_password))
            }
            ("EXTERNAL", Some(certificate)) => {
                self.mechanism = "EXTERNAL";
                let name = certificate.name.as_ref();
                Ok(name.map(|name| (name.to_string(), None)))
            }
            (other, _) => {
                let text = format!("unknown authentication mechanism '{other}'");
                Err(Exception::command_invalid(&text, START_OK))
            }
        }
    }

    /// Takes what came out of an [`Inquiry`]; gives what was agreed once the connection is open.
    ///
    /// # Errors
    /// The user may not open the vhost.
    pub fn handle_finding(
        &mut self,
        finding: Finding,
        around: &Surroundings<'_>,
        batch: &mut Batch,
    ) -> Result<Option<Opened>, Failed> {
        match finding {
            Finding::Login(Verdict::Admitted(identity)) => {
                self.handle_login(identity, around, batch);
            }
            Finding::Login(Verdict::Refused { why, tell_at }) => {
                self.refuse_at(tell_at, &why.0, around);
            }
            Finding::Login(Verdict::NotLookedAt) => return Err(self.turn_away(around)),
            Finding::Permission(answered) => {
                if let Some(opening) = &self.opening {
                    opening.access.learn(answered);
                }
                return self.check_vhost(around, batch);
            }
            Finding::Renewal(_) | Finding::Lost => {
                self.refuse_later("the login could not be checked", around, batch.now);
            }
        }
        Ok(None)
    }

    /// Takes who is there.
    fn handle_login(
        &mut self,
        identity: Arc<Identity>,
        around: &Surroundings<'_>,
        batch: &mut Batch,
    ) {
        self.agreed.user = Arc::clone(identity.name());
        let (user, ip) = (&*self.agreed.user, around.peer.ip());
        if !may_log_in_from(ip, user, &around.settings.loopback_users) {
            let why = "this user can only connect from the broker's own machine";
            return self.refuse_later(why, around, batch.now);
        }
        let mechanism = self.mechanism;
        let attempts = around.broker.login_attempts();
        attempts.count(LoginProtocol::Amqp, ip, user, true);
        let (span, peer) = (around.span(), around.peer);
        span.in_scope(|| tracing::info!(target: "audit", %peer, user, mechanism, "login accepted"));
        self.identity = Some(identity);
        self.awaited = Awaited::TuneOk;
        self.tune(around.settings, batch);
    }

    fn refuse_later(&mut self, why: &str, around: &Surroundings<'_>, now: Millis) {
        let tell_at = around.failures().failed(around.peer.ip(), now);
        self.refuse_at(tell_at, why, around);
    }

    /// The login has failed, which is counted already.
    fn refuse_at(&mut self, tell_at: Millis, why: &str, around: &Surroundings<'_>) {
        self.log_refusal(around, why);
        let attempts = around.broker.login_attempts();
        let (user, ip) = (&*self.agreed.user, around.peer.ip());
        attempts.count(LoginProtocol::Amqp, ip, user, false);
        self.awaited = Awaited::Refusal(tell_at);
    }

    /// The login is not looked at: too many from the client's address have failed.
    fn turn_away(&self, around: &Surroundings<'_>) -> Failed {
        self.log_refusal(around, "too many failed logins from this address");
        Failed::Silently
    }

    fn log_refusal(&self, around: &Surroundings<'_>, why: &str) {
        let (user, mechanism) = (&*self.agreed.user, self.mechanism);
        let (span, peer) = (around.span(), around.peer);
        span.in_scope(
            || tracing::warn!(target: "audit", %peer, user, mechanism, "login refused: {why}"),
        );
    }

    /// The time has come to tell the client that it is refused.
    pub fn handle_refusal_time(&mut self) -> Failed {
        self.awaited = Awaited::StartOk;
        self.refuse(self.mechanism)
    }

    fn refuse(&self, mechanism: &str) -> Failed {
        if self.agreed.client.authentication_failure_close {
            Failed::Refused(Exception::login_refused(mechanism, (0, 0)))
        } else {
            Failed::Silently
        }
    }
}

fn capabilities(properties: &FieldTable) -> ClientCapabilities {
    let Some(AMQPValue::FieldTable(table)) = properties.inner().get("capabilities") else {
        return ClientCapabilities::default();
    };
    let has = |name: &str| matches!(table.inner().get(name), Some(AMQPValue::Boolean(true)));
    ClientCapabilities {
        authentication_failure_close: has("authentication_failure_close"),
        consumer_cancel_notify: has("consumer_cancel_notify"),
        connection_blocked: has("connection.blocked"),
    }
}

/// SASL PLAIN (RFC 4616): authorization identity, user and password with zero bytes between them.
fn plain(response: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut parts = response.splitn(3, |&byte| byte == 0);
    let (_, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let user = String::from_utf8(user.to_vec()).ok()?;
    Some((user, password.to_vec()))
}

/// RabbitMQ's AMQPLAIN: a field table without its length.
fn amqplain(response: &[u8]) -> Option<(String, Vec<u8>)> {
    let table = parse_table(response).ok()?;
    let text = |name: &str| match table.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    let user = String::from_utf8(text("LOGIN")?).ok()?;
    Some((user, text("PASSWORD")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_response_has_user_and_password_behind_zero_bytes() {
        let expected = Some(("guest".to_owned(), b"se\0cret".to_vec()));
        assert_eq!(plain(b"\0guest\0se\0cret"), expected);
        assert_eq!(plain(b"guest"), None);
    }
}
