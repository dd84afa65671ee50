//! From the TCP connection to connection.open-ok: protocol header, credentials, negotiation, virtual host.

use crate::leveret_only;
use crate::support::handshake::{amqplain, plain};
use crate::support::table::{field, text};
use crate::support::{AMQPValue, Broker, Login, Peer, channel, connection, foreign_broker, unique};
use std::time::Instant;

const REFUSED_PLAIN: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism \
                             PLAIN. For details see the broker logfile.";

/// Connection.start and start-ok are done, tune comes next.
fn authenticated(login: &Login) -> Peer {
    let mut peer = Peer::tcp();
    peer.greet();
    peer.send(0, login.start_ok());
    peer
}

/// Everything up to tune-ok is done, open comes next.
fn tuned(login: &Login) -> Peer {
    let mut peer = authenticated(login);
    peer.tune(login);
    peer
}

fn open(vhost: &str) -> connection::Open {
    connection::Open {
        virtual_host: vhost.into(),
    }
}

#[test]
fn start_offers_version_0_9_and_both_mechanisms() {
    let start = Peer::tcp().greet();
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    let mechanisms = start.mechanisms.to_string();
    for mechanism in ["PLAIN", "AMQPLAIN"] {
        assert!(
            mechanisms.split(' ').any(|offered| offered == mechanism),
            "{mechanism} is not in {mechanisms}"
        );
    }
    assert_eq!(start.locales.to_string(), "en_US");
}

#[test]
fn server_properties_name_the_product_and_the_cluster() {
    let properties = Peer::tcp().greet().server_properties;
    for key in ["platform", "copyright", "information", "cluster_name"] {
        assert!(!text(&properties, key).is_empty(), "{key}");
    }
    leveret_only!("another product");
    assert_eq!(text(&properties, "product"), "Leveret");
    assert_eq!(text(&properties, "version"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_extension_of_rabbitmq_is_announced() {
    let properties = Peer::tcp().greet().server_properties;
    let AMQPValue::FieldTable(capabilities) = field(&properties, "capabilities") else {
        panic!("no capabilities in {properties:?}");
    };
    for capability in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        let announced = field(capabilities, capability);
        assert_eq!(announced, &AMQPValue::Boolean(true), "{capability}");
    }
}

#[test]
fn another_protocol_header_is_answered_with_ours_and_the_end() {
    for header in [
        b"AMQP\x00\x00\x08\x00",
        b"AMQP\x01\x01\x08\x00",
        b"AMQP\x00\x01\x00\x00",
        b"GET / HT",
        b"\x16\x03\x01\x00\xc8\x01\x00\x00",
        b"ABCDEFGH",
    ] {
        // RabbitMQ speaks AMQP 1.0 too, and 3.x took 0-8 for 0-9: no measure for these headers.
        if foreign_broker() && [[1, 0, 0], [1, 8, 0]].contains(&[header[5], header[6], header[7]]) {
            continue;
        }
        let mut peer = Peer::tcp();
        peer.send_bytes(header);
        assert_eq!(peer.read_bytes(8), b"AMQP\x00\x00\x09\x01", "{header:?}");
        peer.expect_end();
    }
}

#[test]
fn the_header_of_amqp_0_9_is_accepted_too() {
    let mut peer = Peer::tcp();
    peer.send_bytes(b"AMQP\x01\x01\x00\x09");
    peer.expect::<connection::Start>(0);
}

#[test]
fn plain_and_amqplain_log_in() {
    for (mechanism, response) in [
        ("PLAIN", plain("guest", "guest")),
        ("AMQPLAIN", amqplain("guest", "guest")),
    ] {
        let login = Login {
            mechanism,
            response,
            ..Login::default()
        };
        Peer::login(&login).close();
    }
}

#[test]
fn wrong_credentials_are_403_with_the_mechanism_in_the_text() {
    for (user, password) in [("guest", "wrong"), ("nobody", "guest"), ("", "")] {
        let mut peer = authenticated(&Login {
            response: plain(user, password),
            ..Login::default()
        });
        let close = peer.expect_close_with_code(403);
        assert_eq!(close.reply_text.as_str(), REFUSED_PLAIN);
        assert_eq!((close.class_id, close.method_id), (0, 0));
        peer.time_to_end();
    }
    let mut peer = authenticated(&Login {
        mechanism: "AMQPLAIN",
        response: amqplain("guest", "wrong"),
        ..Login::default()
    });
    let close = peer.expect_close_with_code(403);
    let expected = REFUSED_PLAIN.replace("PLAIN", "AMQPLAIN");
    assert_eq!(close.reply_text.as_str(), expected);
}

#[test]
fn wrong_credentials_only_end_the_stream_for_a_client_without_authentication_failure_close() {
    let mut peer = authenticated(&Login {
        response: plain("guest", "wrong"),
        capabilities: &["publisher_confirms"],
        ..Login::default()
    });
    peer.expect_end();
}

#[test]
fn a_login_that_cannot_be_understood_never_reaches_tune() {
    for (mechanism, response) in [
        ("GSSAPI", plain("guest", "guest")),
        ("PLAIN", "guest:guest".as_bytes().to_vec().into()),
        ("PLAIN", "".as_bytes().to_vec().into()),
        ("AMQPLAIN", "guest".as_bytes().to_vec().into()),
        ("AMQPLAIN", "".as_bytes().to_vec().into()),
    ] {
        let mut peer = authenticated(&Login {
            mechanism,
            response,
            ..Login::default()
        });
        // RabbitMQ keeps silent; a connection.close that says why is as good.
        let deadline = Instant::now() + crate::support::PATIENCE;
        if let Some(frame) = peer.read_frame(deadline, "the end") {
            assert!(format!("{frame:?}").contains("Close"), "{frame:?}");
        }
    }
}

#[test]
fn tune_proposes_2047_channels_frames_of_128_kib_and_a_heartbeat_of_60_s() {
    let tune = authenticated(&Login::default()).tune(&Login::default());
    assert_eq!(
        (tune.channel_max, tune.frame_max, tune.heartbeat),
        (2047, 131_072, 60)
    );
}

#[test]
fn a_client_may_negotiate_less_and_any_heartbeat() {
    let login = Login {
        channel_max: 1,
        frame_max: 4096,
        heartbeat: 600,
        ..Login::default()
    };
    let mut peer = Peer::login(&login);
    peer.open_channel(1);
    peer.close();
}

#[test]
fn tune_ok_beyond_the_offer_is_530() {
    let beyond = |channel_max, frame_max, text: &str| {
        let mut peer = tuned(&Login {
            channel_max,
            frame_max,
            ..Login::default()
        });
        if foreign_broker() {
            // RabbitMQ 3.10 still kept silent.
            peer.time_to_end();
            return;
        }
        let close = peer.expect_close_with_code(530);
        assert_eq!(close.reply_text.as_str(), format!("NOT_ALLOWED - {text}"));
        assert_eq!((close.class_id, close.method_id), (10, 30));
        peer.time_to_end();
    };
    beyond(
        2048,
        131_072,
        "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
    );
    beyond(
        0,
        131_072,
        "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
    );
    beyond(
        2047,
        131_073,
        "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
    );
    beyond(
        2047,
        0,
        "negotiated frame_max = 0 is higher than the maximum allowed value (131072)",
    );
    // RabbitMQ 4.1 and later refuse less than 8192; the specification's least value is 4096.
    beyond(
        2047,
        4095,
        "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)",
    );
}

#[test]
fn an_unknown_vhost_is_530() {
    let mut peer = tuned(&Login::default());
    peer.send(0, open("of-nobody"));
    peer.expect_connection_close::<connection::Open>(
        530,
        "NOT_ALLOWED - vhost of-nobody not found",
    );
}

#[test]
fn a_method_out_of_order_before_the_login_ends_the_stream() {
    let mut peer = Peer::tcp();
    peer.greet();
    peer.send(0, open("/"));
    peer.time_to_end();
}

#[test]
fn a_method_out_of_order_after_the_login_is_504() {
    let login = Login::default();
    let mut peer = tuned(&login);
    peer.send(0, login.start_ok());
    peer.expect_connection_close::<connection::StartOk>(
        504,
        "CHANNEL_ERROR - unexpected method in connection state opening",
    );

    let mut peer = Peer::connect();
    peer.send(0, open("/"));
    peer.expect_connection_close::<connection::Open>(
        504,
        "CHANNEL_ERROR - unexpected method in connection state running",
    );

    let mut peer = Peer::connect();
    peer.send(0, channel::Open {});
    peer.expect_connection_close::<channel::Open>(
        504,
        "CHANNEL_ERROR - unexpected method in connection state running",
    );
}

#[test]
fn a_channel_before_the_connection_is_open_is_505() {
    let mut peer = tuned(&Login::default());
    peer.send(1, channel::Open {});
    let close = peer.expect_close_with_code(505);
    assert_eq!(
        close.reply_text.as_str(),
        "UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>"
    );
}

#[test]
fn close_is_answered_and_ends_the_stream() {
    let mut peer = Peer::connect();
    let close = connection::Close {
        reply_code: 200,
        reply_text: "bye".into(),
        ..connection::Close::default()
    };
    peer.call::<_, connection::CloseOk>(0, close);
    leveret_only!("RabbitMQ leaves it to the client to end the stream");
    peer.expect_end();
}

#[test]
fn update_secret_is_answered_and_the_connection_goes_on() {
    let mut peer = Peer::connect();
    let update = connection::UpdateSecret {
        new_secret: "a new token".as_bytes().to_vec().into(),
        reason: "it expired".into(),
    };
    peer.call::<_, connection::UpdateSecretOk>(0, update);
    peer.fresh_queue(1, "after-update-secret");
    peer.close();
}

#[test]
fn the_handshake_works_byte_by_byte() {
    let login = Login::default();
    let mut peer = Peer::tcp();
    for byte in b"AMQP\x00\x00\x09\x01" {
        peer.send_bytes(&[*byte]);
    }
    peer.expect::<connection::Start>(0);
    for byte in crate::support::peer::method_bytes(0, login.start_ok()) {
        peer.send_bytes(&[byte]);
    }
    peer.tune(&login);
    peer.send(0, open("/"));
    peer.expect::<connection::OpenOk>(0);
}

#[test]
fn a_client_may_send_everything_up_to_channel_open_at_once() {
    let login = Login::default();
    let mut bytes = b"AMQP\x00\x00\x09\x01".to_vec();
    bytes.extend(crate::support::peer::method_bytes(0, login.start_ok()));
    let tune_ok = connection::TuneOk {
        channel_max: login.channel_max,
        frame_max: login.frame_max,
        heartbeat: 0,
    };
    bytes.extend(crate::support::peer::method_bytes(0, tune_ok));
    bytes.extend(crate::support::peer::method_bytes(0, open("/")));
    bytes.extend(crate::support::peer::method_bytes(1, channel::Open {}));
    let mut peer = Peer::tcp();
    peer.send_bytes(&bytes);
    peer.expect::<connection::Start>(0);
    peer.expect::<connection::Tune>(0);
    peer.expect::<connection::OpenOk>(0);
    peer.expect::<channel::OpenOk>(1);
}

#[test]
fn a_login_that_does_not_finish_in_time_is_dropped() {
    leveret_only!("the time is configured");
    let broker = Broker::start_with_options(&[("LEVERET_AMQP_LOGIN_TIMEOUT_SECONDS", "1")]);
    let mut silent = Peer::tcp_to(broker.amqp_address());
    let mut halfway = Peer::tcp_to(broker.amqp_address());
    halfway.greet();
    for peer in [&mut silent, &mut halfway] {
        peer.time_to_end();
    }
    Peer::connect_to(&broker).close();
}

#[test]
fn a_vhost_name_is_part_of_the_text_as_it_is() {
    let vhost = unique("vhost");
    let mut peer = tuned(&Login::default());
    peer.send(0, open(&vhost));
    let close = peer.expect_close_with_code(530);
    assert_eq!(
        close.reply_text.as_str(),
        format!("NOT_ALLOWED - vhost {vhost} not found")
    );
}

#[test]
fn guest_is_refused_from_another_machine() {
    leveret_only!("it would have to listen on all addresses");
    let mut broker = Broker::start_with(&["--amqp-listen", "0.0.0.0:0"]);
    let Some(address) = own_address() else {
        eprintln!("this machine has no address but the loopback");
        return;
    };
    let line = broker.await_line("where it listens", |line| line.contains("0.0.0.0:"));
    let (_, port) = line.split_once("0.0.0.0:").expect("just found");
    let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
    let port = digits.parse().expect("a port");
    let mut peer = Peer::tcp_to((address, port).into());
    peer.greet();
    peer.send(0, Login::default().start_ok());
    let close = peer.expect_close_with_code(403);
    assert_eq!(close.reply_text.as_str(), REFUSED_PLAIN);
    broker.kill();
}

/// An address of this machine that is not the loopback: the one it would send from. Nothing is sent.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
