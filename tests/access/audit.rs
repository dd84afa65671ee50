//! The audit log: who did what to what, and from where. Machines read it, so it is looked at as JSON.

use serde_json::{Value, json};

use crate::{
    leveret_only,
    support::{Broker, Login, Peer, exchange, handshake::plain, http::Http, queue},
};

/// What an event says under this name: the event itself, or the connection, channel or request that it is about.
fn said_of(event: &Value, name: &str) -> String {
    let around = event["spans"].as_array().into_iter().flatten();
    let said = std::iter::once(event).chain(around);
    let mut found = said.filter_map(|it| it[name].as_str());
    found.next().unwrap_or_default().to_owned()
}

/// The password, and what it is changed to.
const SECRETS: [&str; 2] = ["hush-hush", "mum-is-the-word"];

fn scene() -> Broker {
    Broker::start_with_options(&[("LEVERET_LOG_FORMAT", "json")])
}

struct Events<'a>(&'a Broker);

impl Events<'_> {
    /// The event with this message and these fields.
    #[track_caller]
    fn expect(&self, message: &str, fields: &[(&str, &str)]) -> Value {
        let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        let line = self.0.await_line(&format!("{message} {fields:?}"), |line| {
            let event = parsed(line);
            let said = event["message"].as_str();
            said.is_some_and(|said| said.starts_with(message))
                && fields
                    .iter()
                    .all(|(name, value)| said_of(&event, name) == *value)
        });
        let event = parsed(&line);
        assert_eq!(event["target"], "audit");
        event
    }

    /// The same of something that was asked for over HTTP by this user.
    #[track_caller]
    fn expect_request(&self, user: &str, message: &str, fields: &[(&str, &str)]) {
        let event = self.expect(message, fields);
        let request = &event["span"];
        assert_eq!(request["user"], user, "{event}");
        let peer = request["peer"].as_str().unwrap_or_default();
        assert!(peer.starts_with("127.0.0.1:"), "{event}");
    }

    fn hold_no_secrets(&self) {
        let log = self.0.log();
        for secret in SECRETS {
            let shown = log.iter().find(|line| line.contains(secret));
            assert!(shown.is_none(), "a password in the log: {shown:?}");
        }
    }
}

#[test]
fn logins_and_refusals_say_who_from_where_and_what() {
    leveret_only!("its log is read");
    let broker = scene();
    let http = Http::guest(&broker);
    http.done(
        "PUT",
        "/api/users/ann",
        Some(json!({ "password": SECRETS[0], "tags": "management" })),
    );
    let nothing = json!({ "configure": "", "write": "", "read": "" });
    http.done("PUT", "/api/permissions/%2F/ann", Some(nothing));
    let login = |password: &str| Login {
        response: plain("ann", password),
        ..Login::default()
    };
    let mut wrong = Peer::tcp_to(broker.amqp_address());
    wrong.greet();
    wrong.send(0, login(SECRETS[1]).start_ok());
    wrong.expect_close_with_code(403);
    let mut ann = Peer::tcp_to(broker.amqp_address()).opened(&login(SECRETS[0]));
    ann.open_channel(1);
    let declare = queue::Declare {
        queue: "q".into(),
        ..queue::Declare::default()
    };
    ann.send(1, declare);
    let text = "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'ann'";
    ann.expect_channel_close::<queue::Declare>(1, 403, text);
    let ann = Http::user(&broker, "ann", SECRETS[0]);
    assert_eq!(ann.send("GET", "/api/users", None).status, 401);
    let refused = ann.send("PUT", "/api/queues/%2F/q", Some(json!({})));
    assert_eq!(refused.status, 401, "{refused:?}");
    let stranger = Http::user(&broker, "bob", SECRETS[1]);
    assert_eq!(stranger.send("GET", "/api/whoami", None).status, 401);

    let events = Events(&broker);
    let from_here = |event: Value, field: &str| {
        let address = said_of(&event, field);
        assert!(address.starts_with("127.0.0.1"), "{event}");
    };
    let ann = [("user", "ann"), ("mechanism", "PLAIN")];
    from_here(events.expect("login refused", &ann), "peer");
    from_here(events.expect("login accepted", &ann), "peer");
    let bob = [("user", "bob"), ("mechanism", "HTTP")];
    from_here(events.expect("login refused", &bob), "peer");
    let of_ann = [("user", "ann"), ("vhost", "/")];
    let message = format!("channel exception: {text}");
    from_here(events.expect(&message, &of_ann), "connection");
    for (reason, path) in [
        ("Not administrator user", "/api/users"),
        ("Access refused.", "/api/queues/%2F/q"),
    ] {
        let fields = [("reason", reason)];
        events.expect_request("ann", "HTTP access denied", &fields);
        let event = events.expect("HTTP access denied", &fields);
        assert_eq!(event["span"]["path"], path);
    }
    events.hold_no_secrets();
}

#[test]
fn changes_and_deletions_say_who_from_where_and_what() {
    leveret_only!("its log is read");
    let broker = scene();
    let http = Http::guest(&broker);
    let put = |path: &str, body: Value| http.done("PUT", path, Some(body));
    let delete = |path: &str| http.done("DELETE", path, None);
    put("/api/vhosts/v", json!({}));
    put(
        "/api/users/ann",
        json!({ "password": SECRETS[0], "tags": "" }),
    );
    put(
        "/api/users/ann",
        json!({ "password": SECRETS[1], "tags": "monitoring" }),
    );
    put(
        "/api/permissions/v/ann",
        json!({ "configure": "^a", "write": "^b", "read": "^c" }),
    );
    put(
        "/api/topic-permissions/v/ann",
        json!({ "exchange": "amq.topic", "write": "^d", "read": "^e" }),
    );
    put("/api/user-limits/ann/max-channels", json!({ "value": 7 }));
    put("/api/queues/v/by-http", json!({}));
    delete("/api/queues/v/by-http");
    let mut guest = Peer::connect_to(&broker);
    guest.declare(
        1,
        queue::Declare {
            queue: "by-amqp".into(),
            ..queue::Declare::default()
        },
    );
    guest.call::<_, queue::DeleteOk>(
        1,
        queue::Delete {
            queue: "by-amqp".into(),
            ..queue::Delete::default()
        },
    );
    guest.call::<_, exchange::DeclareOk>(
        1,
        exchange::Declare {
            exchange: "x-by-amqp".into(),
            kind: "fanout".into(),
            ..exchange::Declare::default()
        },
    );
    guest.call::<_, exchange::DeleteOk>(
        1,
        exchange::Delete {
            exchange: "x-by-amqp".into(),
            ..exchange::Delete::default()
        },
    );
    delete("/api/topic-permissions/v/ann");
    delete("/api/permissions/v/ann");
    delete("/api/users/ann");
    delete("/api/vhosts/v");

    let events = Events(&broker);
    let by_guest = |message: &str, fields: &[(&str, &str)]| {
        events.expect_request("guest", message, fields);
        events.expect(message, &[&[("by", "guest")], fields].concat());
    };
    let ann = ("user", "ann");
    let there = [ann, ("vhost", "v")];
    by_guest("vhost created", &[("vhost", "v")]);
    by_guest("user created", &[ann]);
    by_guest("user changed", &[ann, ("tags", "monitoring")]);
    by_guest("permissions set", &there);
    by_guest("topic permissions set", &there);
    by_guest("user limits set", &[ann]);
    by_guest("queue deleted", &[("vhost", "v"), ("name", "by-http")]);
    by_guest("topic permissions cleared", &there);
    by_guest("permissions cleared", &there);
    by_guest("user deleted", &[ann]);
    by_guest("vhost deleted", &[("vhost", "v")]);
    for (message, name) in [
        ("queue deleted", "by-amqp"),
        ("exchange deleted", "x-by-amqp"),
    ] {
        let event = events.expect(message, &[("name", name), ("user", "guest")]);
        let connection = said_of(&event, "connection");
        assert!(connection.starts_with("127.0.0.1:"), "{event}");
    }
    events.hold_no_secrets();
}
