//! From the protocol header to `connection.open-ok` (AMQP 0-9-1, 2.2.4).
//!
//! ```text
//! header -> start ──start-ok──> tune ──tune-ok──> open ──connection.open──> running
//! ```

use std::{net::SocketAddr, sync::Arc};

use amqp_codec::{
    AMQPClass, AMQPValue, FieldTable, Method, encode, parse_method, parse_table,
    protocol::connection::{self, AMQPMethod},
};
use broker_core::{broker::Broker, vhost::Vhost};

use super::{
    Settings,
    authorization::{check_vhost_access, may_log_in_from},
    batch::Batch,
    exception::Exception,
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
    TuneOk,
    Open,
}

/// What the handshake has agreed on.
#[derive(Debug, Clone)]
pub struct Agreed {
    /// Who logged in.
    pub user: Arc<str>,
    /// What the client understands.
    pub client: ClientCapabilities,
    /// The largest frame in bytes.
    pub frame_max: u32,
    /// The highest channel number.
    pub channel_max: u16,
    /// Seconds between heartbeats, 0 for none.
    pub heartbeat: u16,
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    awaited: Awaited,
    agreed: Agreed,
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

/// What a handshake needs to know of its surroundings.
pub struct Surroundings<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// What may be granted.
    pub settings: &'a Settings,
    /// Where the client is.
    pub peer: SocketAddr,
}

impl Handshake {
    /// Answers a good protocol header.
    pub fn start(settings: &Settings, batch: &mut Batch) -> Self {
        send(
            AMQPMethod::Start(connection::Start {
                version_major: 0,
                version_minor: 9,
                server_properties: server_properties(&settings.cluster_name),
                mechanisms: "PLAIN AMQPLAIN".into(),
                locales: "en_US".into(),
            }),
            batch,
        );
        Self {
            awaited: Awaited::StartOk,
            agreed: Agreed {
                user: "".into(),
                client: ClientCapabilities::default(),
                frame_max: settings.frame_max,
                channel_max: settings.channel_max,
                heartbeat: settings.heartbeat,
            },
        }
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
    ) -> Result<Option<(Agreed, Arc<Vhost>)>, Failed> {
        let method = parse_method(payload).map_err(Exception::from)?;
        let id = method.id();
        let Method::Other(AMQPClass::Connection(method)) = method else {
            return Err(self.out_of_order(id).into());
        };
        match (self.awaited, method) {
            (Awaited::StartOk, AMQPMethod::StartOk(method)) => {
                self.log_in(&method, around)?;
                self.awaited = Awaited::TuneOk;
                self.tune(around.settings, batch);
                Ok(None)
            }
            (Awaited::TuneOk, AMQPMethod::TuneOk(method)) => {
                self.agree(&method, around.settings)?;
                self.awaited = Awaited::Open;
                Ok(None)
            }
            (Awaited::Open, AMQPMethod::Open(method)) => {
                let vhost = self.open(method.virtual_host.as_str(), around.broker)?;
                send(AMQPMethod::OpenOk(connection::OpenOk {}), batch);
                Ok(Some((self.agreed.clone(), vhost)))
            }
            _ => Err(self.out_of_order(id).into()),
        }
    }

    fn log_in(
        &mut self,
        method: &connection::StartOk,
        around: &Surroundings<'_>,
    ) -> Result<(), Failed> {
        self.agreed.client = capabilities(&method.client_properties);
        let mechanism = method.mechanism.as_str();
        let response = method.response.as_bytes();
        let credentials = match mechanism {
            "PLAIN" => plain(response),
            "AMQPLAIN" => amqplain(response),
            other => {
                let text = format!("unknown authentication mechanism '{other}'");
                return Err(Exception::command_invalid(&text, START_OK).into());
            }
        };
        let Some((user, password)) = credentials else {
            tracing::warn!(peer = %around.peer, mechanism, "malformed login refused");
            return Err(self.refuse(mechanism));
        };
        if !may_log_in_from(around.peer.ip(), &user, &around.settings.loopback_users) {
            tracing::warn!(
                peer = %around.peer,
                user,
                "login refused: this user can only connect from the broker's own machine"
            );
            return Err(self.refuse(mechanism));
        }
        if !around.broker.authenticate(&user, &password) {
            tracing::warn!(peer = %around.peer, user, "login refused: invalid credentials");
            return Err(self.refuse(mechanism));
        }
        self.agreed.user = user.into();
        Ok(())
    }

    fn out_of_order(&self, id: (u16, u16)) -> Exception {
        let state = match self.awaited {
            Awaited::StartOk => "starting",
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

    fn open(&self, name: &str, broker: &Broker) -> Result<Arc<Vhost>, Exception> {
        let Some(vhost) = broker.vhost(name) else {
            let text = format!("vhost {name} not found");
            return Err(Exception::not_allowed(&text, OPEN));
        };
        check_vhost_access(broker, &self.agreed.user, name, OPEN)?;
        Ok(vhost)
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
