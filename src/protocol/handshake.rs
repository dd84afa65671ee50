//! From the protocol header to `connection.open-ok` (AMQP 0-9-1, 2.2.4).
//!
//! ```text
//! header -> start ──start-ok──> (asking) ──> tune ──tune-ok──> open ──connection.open──> (asking) ──> running
//!                                  └──> (refusing) ──time──> closed
//! ```
//! A password whose hash is slow by design, a token and whatever somebody outside has to be asked for are the driver's to
//! check, where nobody else waits ([`Handshake::poll_inquiry`]). A refusal is held back for the time that
//! [`LoginFailures`] says.

mod login;
mod open;

use std::{net::SocketAddr, sync::Arc};

use amqp_codec::{
    AMQPClass, Method, encode, parse_method,
    protocol::connection::{self, AMQPMethod},
};
use broker_core::{
    authentication::Identity,
    broker::{Broker, Place},
    permissions::Access,
    queue::Millis,
    users::LoginFailures,
    vhost::Vhost,
};
use tracing::Span;

use super::{
    Settings, batch::Batch, exception::Exception, inquiry::Inquiry, session::ClientCapabilities,
    spans,
};

/// Octets of the class and the method at the start of a method's payload.
const METHOD_ID: usize = 4;

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
    /// The client is told. What it is refused, and why, is in the log already.
    Refused(Exception),
    /// The client would not understand an answer: the socket is just closed.
    Silently,
}

impl From<Exception> for Failed {
    fn from(exception: Exception) -> Self {
        Self::Exception(exception)
    }
}

/// What a handshake needs to know of its surroundings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// What may be granted.
    pub settings: &'a Settings,
    /// Where the client is.
    pub peer: SocketAddr,
    /// Where it has reached the broker.
    pub local: SocketAddr,
    /// Its certificate, if it has shown one.
    pub certificate: Option<&'a Certificate>,
}

impl Surroundings<'_> {
    fn failures(&self) -> &LoginFailures {
        self.broker.login_failures()
    }

    /// What lines of the log about the client stand in.
    fn span(&self) -> Span {
        spans::of_socket(self.peer, self.local)
    }
}

impl Handshake {
    /// Answers a good protocol header.
    pub fn start(settings: &Settings, certificate: bool, batch: &mut Batch) -> Self {
        let greeting = settings.greeting.frame(certificate);
        batch.out.frames.extend_from_slice(greeting);
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
                self.agreed.client_properties = first_table(payload);
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
                self.check_vhost(around, batch)
            }
            _ => Err(self.out_of_order(id).into()),
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
}

/// The entries of the table that a method begins with, as they came: no need to encode again what was parsed.
fn first_table(payload: &[u8]) -> Box<[u8]> {
    let arguments = payload.get(METHOD_ID..).unwrap_or_default();
    let Some((length, rest)) = arguments.split_first_chunk::<4>() else {
        return Box::default();
    };
    let length = u32::from_be_bytes(*length) as usize;
    rest.get(..length).unwrap_or_default().into()
}

/// Writes a method of class `connection`.
pub fn send(method: AMQPMethod, batch: &mut Batch) {
    if let Err(error) = encode::method(&mut batch.out.frames, 0, &AMQPClass::Connection(method)) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
