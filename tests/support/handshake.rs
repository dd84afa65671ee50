//! Opening a connection, in one step or in its steps.

use super::broker::Broker;
use super::table::{longstr, table};
use super::{AMQPValue, FieldTable, LongString, Peer, connection};
use amq_protocol::frame::{AMQPFrame, WriteContext};

/// What the client says while a connection is opened.
pub struct Login {
    /// The SASL mechanism.
    pub mechanism: &'static str,
    /// Its first response.
    pub response: LongString,
    /// The virtual host asked for.
    pub vhost: &'static str,
    /// As in tune-ok.
    pub channel_max: u16,
    /// As in tune-ok.
    pub frame_max: u32,
    /// As in tune-ok, in seconds; 0 is none.
    pub heartbeat: u16,
    /// What the client announces in its `capabilities`.
    pub capabilities: &'static [&'static str],
}

impl Default for Login {
    fn default() -> Self {
        Login {
            mechanism: "PLAIN",
            response: plain("guest", "guest"),
            vhost: "/",
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 0,
            capabilities: &[
                "authentication_failure_close",
                "basic.nack",
                "connection.blocked",
                "consumer_cancel_notify",
                "publisher_confirms",
            ],
        }
    }
}

impl Login {
    /// What goes into start-ok.
    pub fn start_ok(&self) -> connection::StartOk {
        let capabilities = self
            .capabilities
            .iter()
            .map(|name| ((*name).into(), AMQPValue::Boolean(true)));
        let capabilities =
            FieldTable::from(capabilities.collect::<std::collections::BTreeMap<_, _>>());
        connection::StartOk {
            client_properties: table([
                ("product", longstr("Leveret's conformance tests")),
                ("capabilities", AMQPValue::FieldTable(capabilities)),
            ]),
            mechanism: self.mechanism.into(),
            response: self.response.clone(),
            locale: "en_US".into(),
        }
    }
}

/// A PLAIN response.
pub fn plain(user: &str, password: &str) -> LongString {
    format!("\0{user}\0{password}").into_bytes().into()
}

/// An AMQPLAIN response: a field table without its length.
pub fn amqplain(user: &str, password: &str) -> LongString {
    let fields = table([("LOGIN", longstr(user)), ("PASSWORD", longstr(password))]);
    let context = WriteContext::from(Vec::new());
    let generate = amq_protocol::types::generation::gen_field_table(&fields);
    let bytes = generate(context).expect("a table").into_inner().0;
    bytes[4..].to_vec().into()
}

impl Peer {
    /// An open connection to the shared broker, channel 1 open, as guest in vhost `/`.
    pub fn connect() -> Peer {
        let mut peer = Peer::login(&Login::default());
        peer.open_channel(1);
        peer
    }

    /// An open connection to the shared broker.
    pub fn login(login: &Login) -> Peer {
        Peer::tcp().opened(login)
    }

    /// An open connection to a broker of the test's own, channel 1 open.
    pub fn connect_to(broker: &Broker) -> Peer {
        let mut peer = Peer::tcp_to(broker.amqp_address()).opened(&Login::default());
        peer.open_channel(1);
        peer
    }

    /// Goes through the whole handshake.
    #[track_caller]
    pub fn opened(mut self, login: &Login) -> Peer {
        self.greet();
        self.send(0, login.start_ok());
        self.tune(login);
        self.send(
            0,
            connection::Open {
                virtual_host: login.vhost.into(),
            },
        );
        self.expect::<connection::OpenOk>(0);
        self
    }

    /// Sends the protocol header and expects start.
    #[track_caller]
    pub fn greet(&mut self) -> connection::Start {
        self.send_bytes(b"AMQP\x00\x00\x09\x01");
        self.expect(0)
    }

    /// Expects tune and answers it.
    #[track_caller]
    pub fn tune(&mut self, login: &Login) -> connection::Tune {
        let tune = self.expect(0);
        let tune_ok = connection::TuneOk {
            channel_max: login.channel_max,
            frame_max: login.frame_max,
            heartbeat: login.heartbeat,
        };
        self.frame_max = login.frame_max as usize;
        self.send(0, tune_ok);
        tune
    }
}
