//! What lines of the log say about whom: the connection, by its name and its client's, the channel, or the request.

use serde_json::{Value, json};

use crate::support::{
    Broker, Login, Peer, connection,
    handshake::plain,
    http::Http,
    operations::durable_queue,
    queue,
    table::{longstr, table},
};

/// A broker that logs warnings only, as JSON.
fn scene() -> Broker {
    let broker = Broker::start_with_options(&[("LEVERET_LOG_FORMAT", "json")]);
    let level = Some(json!({ "level": "warn" }));
    Http::guest(&broker).done("PUT", "/api/leveret/log-level", level);
    broker
}

/// A client that comes with a wrong password, and the name of its connection.
fn refused_login(broker: &Broker) -> String {
    let mut peer = Peer::tcp_to(broker.amqp_address());
    let name = format!("{} -> {}", peer.local_address(), broker.amqp_address());
    peer.greet();
    let wrong = Login {
        response: plain("guest", "wrong"),
        ..Login::default()
    };
    peer.send(0, wrong.start_ok());
    peer.expect_close_with_code(403);
    name
}

/// A connection whose client calls it `orders`, and RabbitMQ's name for it.
fn named(broker: &Broker) -> (Peer, String) {
    let login = Login::default();
    let mut peer = Peer::tcp_to(broker.amqp_address());
    let name = format!("{} -> {}", peer.local_address(), broker.amqp_address());
    peer.greet();
    let start_ok = connection::StartOk {
        client_properties: table([("connection_name", longstr("orders"))]),
        ..login.start_ok()
    };
    peer.send(0, start_ok);
    peer.tune(&login);
    let virtual_host = login.vhost.into();
    peer.send(0, connection::Open { virtual_host });
    peer.expect::<connection::OpenOk>(0);
    (peer, name)
}

/// The line with this message.
#[track_caller]
fn event(broker: &Broker, message: &str) -> Value {
    let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
    let said = |line: &str| {
        let event = parsed(line);
        let text = event["message"].as_str();
        text.is_some_and(|text| text.starts_with(message))
    };
    parsed(&broker.await_line(message, said))
}

fn missing_queue() -> queue::Declare {
    queue::Declare {
        passive: true,
        ..durable_queue("missing")
    }
}

#[test]
fn a_line_about_a_channel_has_its_number_and_its_connection_in_spans() {
    let broker = scene();
    let (mut peer, name) = named(&broker);
    peer.open_channel(7);
    peer.send(7, missing_queue());
    let text = "NOT_FOUND - no queue 'missing' in vhost '/'";
    peer.expect_channel_close::<queue::Declare>(7, 404, text);
    let event = event(&broker, &format!("channel exception: {text}"));
    let connection = json!({
        "name": "connection", "connection": name, "client": "orders", "user": "guest", "vhost": "/"
    });
    let channel = json!({ "name": "channel", "channel": 7 });
    assert_eq!(event["spans"], json!([connection, channel]), "{event}");
}

#[test]
fn lines_about_a_connection_have_its_name_in_a_span_from_its_first_byte_to_its_last() {
    let broker = scene();
    let refused = refused_login(&broker);
    let (mut failing, failed) = named(&broker);
    failing.send(3, missing_queue());
    failing.expect_close_with_code(504);
    let (lost, lost_name) = named(&broker);
    lost.cut();
    for (message, name) in [
        ("login refused", refused),
        ("connection closed: CHANNEL_ERROR", failed),
        ("client unexpectedly closed TCP connection", lost_name),
    ] {
        let event = event(&broker, message);
        assert_eq!(event["spans"][0]["connection"], name, "{event}");
    }
}

#[test]
fn text_begins_with_the_connection_and_the_channel() {
    let broker = Broker::start();
    let (mut peer, name) = named(&broker);
    peer.open_channel(7);
    peer.send(7, missing_queue());
    peer.next_method(7, "channel.close");
    let around = format!(
        "connection{{connection=\"{name}\" user=\"guest\" vhost=\"/\" client=\"orders\"}}:channel{{channel=7}}: leveret::"
    );
    broker.await_line(&around, |line| {
        line.contains(&around) && line.contains("NOT_FOUND")
    });
}

#[test]
fn a_line_about_a_request_has_it_in_a_span_whatever_the_level() {
    let broker = scene();
    let stranger = Http::user(&broker, "nobody", "knows");
    assert_eq!(stranger.send("GET", "/api/whoami", None).status, 401);
    let event = event(&broker, "login refused");
    assert_eq!(event["spans"][0]["path"], "/api/whoami", "{event}");
}

#[test]
fn a_refused_login_or_vhost_and_a_stop_are_one_line_each_however_many_connections() {
    let mut broker = scene();
    let open = |vhost| Login {
        vhost,
        ..Login::default()
    };
    Http::guest(&broker).done("PUT", "/api/vhosts/closed", None);
    Http::guest(&broker).done("DELETE", "/api/permissions/closed/guest", None);
    refused_login(&broker);
    let mut outside = Peer::tcp_to(broker.amqp_address());
    outside.greet();
    outside.send(0, open("closed").start_ok());
    outside.tune(&open("closed"));
    let virtual_host = "closed".into();
    outside.send(0, connection::Open { virtual_host });
    outside.expect_close_with_code(530);
    let clients: Vec<Peer> = (0..5).map(|_| named(&broker).0).collect();
    let stopping = std::thread::spawn(move || {
        for mut client in clients {
            client.expect_close_with_code(320);
        }
    });
    assert!(broker.stop().success());
    stopping.join().unwrap();
    let texts = broker.log().into_iter().filter_map(|line| {
        let event: Value = serde_json::from_str(&line).ok()?;
        let warning = event["level"] == "WARN";
        warning.then(|| event["message"].to_string())
    });
    let texts: Vec<String> = texts.filter(|text| !text.contains("log level")).collect();
    assert_eq!(texts.len(), 2, "{texts:#?}");
}
