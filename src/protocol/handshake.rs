//! From the protocol header to `connection.open-ok` (AMQP 0-9-1, 2.2.4).
//!
//! ```text
//! header -> start ──start-ok──> (asking) ──> tune ──tune-ok──> open ──connection.open──> (asking) ──> running
//!                                  └──> (refusing) ──time──> closed
//! ```
//! A password whose hash is slow by design, a token and whatever somebody outside has to be asked for are the driver's to
//! check, where nobody else waits ([`Handshake::poll_inquiry`]). A refusal is held back for the time that
//! [`LoginFailures`] says.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use amqp_codec::{
    AMQPClass, AMQPValue, FieldTable, Method, encode, encode_table, parse_method, parse_table,
    protocol::connection::{self, AMQPMethod},
};
use broker_core::{
    Error,
    authentication::{Credentials, Identity, Refusal},
    broker::{Broker, Place},
    permissions::Access,
    queue::Millis,
    users::{LoginFailures, LoginProtocol},
    vhost::Vhost,
};

use super::{
    Settings,
    authorization::may_log_in_from,
    batch::Batch,
    exception::Exception,
    inquiry::{Finding, Inquiry, Secret},
    server_properties::server_properties,
    session::ClientCapabilities,
};

const START_OK: (u16, u16) = (10, 11);
const TUNE: (u16, u16) = (10, 30);
const OPEN: (u16, u16) = (10, 40);

/// The smallest frame size that AMQP 0-9-1 allows to negotiate (1.4.2.6).
const SMALLEST_FRAME_MAX: u32 = 4096;

/// What the client has to say next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    StartOk,
    /// Nothing of the client: what somebody says who was asked.
    Answer,
    /// Nothing of the client: the time at which it hears that it is refused.
    Refusal(Millis),
    TuneOk,
    Open,
}

/// A certificate that the client has shown, and that was verified.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The user that it stands for; `None` if it names none.
    pub name: Option<Arc<str>>,
}

/// What the handshake has agreed on.
#[derive(Debug, Clone)]
pub struct Agreed {
    /// Who logged in.
    pub user: Arc<str>,
    /// What the client understands.
    pub client: ClientCapabilities,
    /// What it says of itself, encoded.
    pub client_properties: Box<[u8]>,
    /// The largest frame in bytes.
    pub frame_max: u32,
    /// The highest channel number.
    pub channel_max: u16,
    /// Seconds between heartbeats, 0 for none.
    pub heartbeat: u16,
}

/// What comes out of a handshake.
pub struct Opened {
    /// What was agreed on.
    pub agreed: Agreed,
    /// How the client logged in.
    pub mechanism: &'static str,
    /// The vhost.
    pub vhost: Arc<Vhost>,
    /// The connection's place among those that are limited.
    pub place: Place,
    /// Who logged in.
    pub identity: Arc<Identity>,
    /// What they may do in the vhost.
    pub access: Arc<Access>,
}

/// A handshake under way.
pub struct Handshake {
    awaited: Awaited,
    agreed: Agreed,
    mechanism: &'static str,
    /// Waits for the driver to take it.
    inquiry: Option<Inquiry>,
    /// Who logged in, once that is known.
    identity: Option<Arc<Identity>>,
    /// What comes out of it, if the user may open the vhost.
    opening: Option<Box<Opened>>,
}

/// Why a handshake failed.
#[derive(Debug)]
pub enum Failed {
    /// The client is told.
    Exception(Exception),
    /// The client would not understand an answer: the socket is just closed.
    Silently,
}

impl From<Exception> for Failed {
    fn from(exception: Exception) -> Self {
        Self::Exception(exception)
    }
}

/// A user and the password, if one is needed.
type Claim = (String, Option<Vec<u8>>);

/// What a handshake needs to know of its surroundings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// What may be granted.
    pub settings: &'a Settings,
    /// Where the client is.
    pub peer: SocketAddr,
    /// Its certificate, if it has shown one.
    pub certificate: Option<&'a Certificate>,
}

impl Surroundings<'_> {
    fn failures(&self) -> &LoginFailures {
        self.broker.login_failures()
    }
}

impl Handshake {
    /// Answers a good protocol header.
    pub fn start(settings: &Settings, certificate: bool, batch: &mut Batch) -> Self {
        let mechanisms = match certificate {
            true => "PLAIN AMQPLAIN EXTERNAL",
            false => "PLAIN AMQPLAIN",
        };
        send(
            AMQPMethod::Start(connection::Start {
                version_major: 0,
                version_minor: 9,
                server_properties: server_properties(&settings.cluster_name),
                mechanisms: mechanisms.into(),
                locales: "en_US".into(),
            }),
            batch,
        );
        Self {
            awaited: Awaited::StartOk,
            agreed: Agreed {
                user: "".into(),
                client: ClientCapabilities::default(),
                client_properties: Box::default(),
                frame_max: settings.frame_max,
                channel_max: settings.channel_max,
                heartbeat: settings.heartbeat,
            },
            mechanism: "",
            inquiry: None,
            identity: None,
            opening: None,
        }
    }

    /// Whether the client has to wait before more of it is looked at.
    pub fn waits(&self) -> bool {
        matches!(self.awaited, Awaited::Answer | Awaited::Refusal(_))
    }

    /// When [`Self::handle_refusal_time`] is to be called.
    pub fn poll_refusal_time(&self) -> Option<Millis> {
        match self.awaited {
            Awaited::Refusal(at) => Some(at),
            _ => None,
        }
    }

    /// Takes what somebody has to be asked; [`Self::handle_finding`] has to follow.
    pub fn poll_inquiry(&mut self) -> Option<Inquiry> {
        self.inquiry.take()
    }

    /// Takes the next method; gives what was agreed and the vhost once the connection is open.
    ///
    /// # Errors
    /// What RabbitMQ refuses at this stage.
    pub fn handle_method(
        &mut self,
        payload: &[u8],
        around: &Surroundings<'_>,
        batch: &mut Batch,
    ) -> Result<Option<Opened>, Failed> {
        let method = parse_method(payload).map_err(Exception::from)?;
        let id = method.id();
        let Method::Other(AMQPClass::Connection(method)) = method else {
            return Err(self.out_of_order(id).into());
        };
        match (self.awaited, method) {
            (Awaited::StartOk, AMQPMethod::StartOk(method)) => {
                self.log_in(&method, around, batch)?;
                Ok(None)
            }
            (Awaited::TuneOk, AMQPMethod::TuneOk(method)) => {
                self.agree(&method, around.settings)?;
                self.awaited = Awaited::Open;
                Ok(None)
            }
            (Awaited::Open, AMQPMethod::Open(method)) => {
                self.open(method.virtual_host.as_str(), around)?;
                Ok(self.check_vhost(around, batch)?)
            }
            _ => Err(self.out_of_order(id).into()),
        }
    }

    fn log_in(
        &mut self,
        method: &connection::StartOk,
        around: &Surroundings<'_>,
        batch: &mut Batch,
    ) -> Result<(), Failed> {
        self.agreed.client = capabilities(&method.client_properties);
        self.agreed.client_properties = encoded(&method.client_properties);
        let claim = self.claim(method, around)?;
        let ip = around.peer.ip();
        if !around.failures().admits(ip) {
            self.log_refusal(around, "too many failed logins from this address");
            return Err(Failed::Silently);
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
            Some(found) => self.handle_login(found, around, batch),
            None => {
                self.awaited = Awaited::Answer;
                self.inquiry = Some(Inquiry::Login {
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
            Finding::Login(found) => self.handle_login(found, around, batch),
            Finding::Permission(answered) => {
                if let Some(opening) = &self.opening {
                    opening.access.learn(answered);
                }
                return Ok(self.check_vhost(around, batch)?);
            }
            Finding::Renewal(_) | Finding::Lost => {
                let why = Refusal::new("the login could not be checked");
                self.handle_login(Err(why), around, batch);
            }
        }
        Ok(None)
    }

    /// Takes who is there, or why nobody is let in.
    fn handle_login(
        &mut self,
        found: Result<Arc<Identity>, Refusal>,
        around: &Surroundings<'_>,
        batch: &mut Batch,
    ) {
        let identity = match found {
            Ok(identity) => identity,
            Err(Refusal(why)) => return self.refuse_later(&why, around, batch.now),
        };
        self.agreed.user = Arc::clone(identity.name());
        let (user, ip) = (&*self.agreed.user, around.peer.ip());
        if !may_log_in_from(ip, user, &around.settings.loopback_users) {
            let why = "this user can only connect from the broker's own machine";
            return self.refuse_later(why, around, batch.now);
        }
        let mechanism = self.mechanism;
        around
            .broker
            .login_attempts()
            .count(LoginProtocol::Amqp, true);
        tracing::info!(target: "audit", peer = %around.peer, user, mechanism, "login accepted");
        self.identity = Some(identity);
        self.awaited = Awaited::TuneOk;
        self.tune(around.settings, batch);
    }

    fn refuse_later(&mut self, why: &str, around: &Surroundings<'_>, now: Millis) {
        self.log_refusal(around, why);
        around
            .broker
            .login_attempts()
            .count(LoginProtocol::Amqp, false);
        let at = around.failures().failed(around.peer.ip(), now);
        self.awaited = Awaited::Refusal(at);
    }

    fn log_refusal(&self, around: &Surroundings<'_>, why: &str) {
        let (user, mechanism) = (&*self.agreed.user, self.mechanism);
        tracing::warn!(target: "audit", peer = %around.peer, user, mechanism, "login refused: {why}");
    }

    /// The time has come to tell the client that it is refused.
    pub fn handle_refusal_time(&mut self, around: &Surroundings<'_>) -> Failed {
        self.give_up(around.broker, around.peer.ip());
        self.refuse(self.mechanism)
    }

    /// The connection ends before the client was told: its refusal no longer counts as held back.
    pub fn give_up(&mut self, broker: &Broker, peer: IpAddr) {
        if matches!(self.awaited, Awaited::Refusal(_)) {
            self.awaited = Awaited::StartOk;
            broker.login_failures().released(peer);
        }
    }

    fn out_of_order(&self, id: (u16, u16)) -> Exception {
        let state = match self.awaited {
            Awaited::StartOk | Awaited::Answer | Awaited::Refusal(_) => "starting",
            Awaited::TuneOk => "tuning",
            Awaited::Open => "opening",
        };
        let text = format!("unexpected method in connection state {state}");
        Exception::channel_error(&text, id)
    }

    fn refuse(&self, mechanism: &str) -> Failed {
        if self.agreed.client.authentication_failure_close {
            Failed::Exception(Exception::login_refused(mechanism, (0, 0)))
        } else {
            Failed::Silently
        }
    }

    fn tune(&self, settings: &Settings, batch: &mut Batch) {
        send(
            AMQPMethod::Tune(connection::Tune {
                channel_max: settings.channel_max,
                frame_max: settings.frame_max,
                heartbeat: settings.heartbeat,
            }),
            batch,
        );
    }

    fn agree(&mut self, method: &connection::TuneOk, settings: &Settings) -> Result<(), Exception> {
        let frame_max = u64::from(method.frame_max);
        let smallest = u64::from(SMALLEST_FRAME_MAX);
        check_negotiated("frame_max", frame_max, smallest, settings.frame_max.into())?;
        let channel_max = u64::from(method.channel_max);
        check_negotiated("channel_max", channel_max, 1, settings.channel_max.into())?;
        self.agreed.frame_max = method.frame_max;
        self.agreed.channel_max = match method.channel_max {
            0 => u16::MAX,
            channel_max => channel_max,
        };
        self.agreed.heartbeat = method.heartbeat;
        Ok(())
    }

    fn open(&mut self, name: &str, around: &Surroundings<'_>) -> Result<(), Exception> {
        let broker = around.broker;
        let Some(vhost) = broker.vhost(name) else {
            let text = format!("vhost {name} not found");
            return Err(Exception::not_allowed(&text, OPEN));
        };
        let Some(identity) = self.identity.clone() else {
            return Err(self.out_of_order(OPEN));
        };
        let limit = around.settings.connection_max;
        let place = broker.admit(identity.name(), &vhost.name, limit);
        let place = place.map_err(|error| self.vhost_refused(name, &error, around))?;
        self.opening = Some(Box::new(Opened {
            agreed: self.agreed.clone(),
            mechanism: self.mechanism,
            access: broker.access_of(&identity, &vhost.name),
            vhost,
            place,
            identity,
        }));
        Ok(())
    }

    /// Opens the vhost if that is permitted, or has it asked for.
    fn check_vhost(
        &mut self,
        around: &Surroundings<'_>,
        batch: &mut Batch,
    ) -> Result<Option<Opened>, Exception> {
        let Some(opening) = self.opening.take() else {
            return Ok(None);
        };
        let Err(error) = opening.access.check_vhost(Some(around.peer.ip())) else {
            opening.access.forget_answers();
            send(AMQPMethod::OpenOk(connection::OpenOk {}), batch);
            return Ok(Some(*opening));
        };
        let Some(inquiry) = opening.access.take_inquiry() else {
            return Err(self.vhost_refused(&opening.vhost.name, &error, around));
        };
        self.inquiry = Some(Inquiry::Permission(inquiry));
        self.awaited = Awaited::Answer;
        self.opening = Some(opening);
        Ok(None)
    }

    fn vhost_refused(&self, vhost: &str, error: &Error, around: &Surroundings<'_>) -> Exception {
        let (peer, user) = (around.peer, &*self.agreed.user);
        tracing::warn!(target: "audit", %peer, user, vhost, "vhost refused: {error}");
        Exception::of(error, OPEN)
    }
}

/// Writes a method of class `connection`.
pub fn send(method: AMQPMethod, batch: &mut Batch) {
    if let Err(error) = encode::method(&mut batch.out, 0, &AMQPClass::Connection(method)) {
        tracing::error!(%error, "cannot encode a method");
    }
}

/// RabbitMQ: `rabbit_reader:validate_negotiated_integer_value`. 0 stands for no limit.
fn check_negotiated(field: &str, client: u64, min: u64, server: u64) -> Result<(), Exception> {
    let complaint = if client != 0 && client < min {
        format!("lower than the minimum allowed value ({min})")
    } else if server != 0 && (client == 0 || client > server) {
        format!("higher than the maximum allowed value ({server})")
    } else {
        return Ok(());
    };
    let detail = match (field, client) {
        ("channel_max", 0) => " (no limit)",
        _ => "",
    };
    let text = format!("negotiated {field} = {client}{detail} is {complaint}");
    Err(Exception::not_allowed(&text, TUNE))
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

/// A table that was parsed can be encoded again.
fn encoded(table: &FieldTable) -> Box<[u8]> {
    let mut bytes = Vec::new();
    match encode_table(table, &mut bytes) {
        Ok(_) => bytes.into(),
        Err(_) => Box::default(),
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

    #[test]
    fn negotiated_value_outside_the_limits_is_refused_with_rabbitmqs_text() {
        let refused = check_negotiated("frame_max", 100, 4096, 131_072).unwrap_err();
        let Exception::Connection(reply) = refused else {
            panic!("not a connection exception");
        };
        assert_eq!(
            reply.text,
            "NOT_ALLOWED - negotiated frame_max = 100 is lower than the minimum allowed value (4096)"
        );
        assert!(check_negotiated("frame_max", 131_073, 4096, 131_072).is_err());
        assert!(check_negotiated("channel_max", 0, 1, 2047).is_err());
        assert!(check_negotiated("frame_max", 4096, 4096, 131_072).is_ok());
    }
}
