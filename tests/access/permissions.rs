//! The table of permissions, case by case: what each operation needs, and what is answered when one thing of it is
//! missing. The table is RabbitMQ's, <https://www.rabbitmq.com/docs/access-control#authorisation>.

use amq_protocol::frame::AMQPFrame;

use crate::{
    served::{Served, TEST},
    support::{
        AMQPClass, AMQPProperties, FieldTable, Login, Peer, basic, channel, connection,
        content::{publish_bytes, publish_to},
        exchange,
        handshake::plain,
        longstr,
        operations::consume_from,
        peer::method_bytes,
        queue, table,
    },
};

const USER: &str = "somebody";

/// A right to do something with a resource: `("write", "exchange", "x")`.
type Right = (&'static str, &'static str, &'static str);

/// An operation and all that it needs, in the order in which RabbitMQ asks for it.
struct Case {
    operation: &'static str,
    needs: &'static [Right],
    bytes: Vec<u8>,
}

fn case<M: crate::support::Method>(
    operation: &'static str,
    needs: &'static [Right],
    method: M,
) -> Case {
    let bytes = method_bytes(1, method);
    Case {
        operation,
        needs,
        bytes,
    }
}

fn declare_exchange(name: &str, arguments: FieldTable) -> exchange::Declare {
    exchange::Declare {
        exchange: name.into(),
        kind: "direct".into(),
        arguments,
        ..exchange::Declare::default()
    }
}

fn declare_queue(name: &str, arguments: FieldTable) -> queue::Declare {
    queue::Declare {
        queue: name.into(),
        arguments,
        ..queue::Declare::default()
    }
}

fn publish(operation: &'static str, needs: &'static [Right], exchange: &str) -> Case {
    let properties = AMQPProperties::default();
    let bytes = publish_bytes(1, publish_to(exchange, "key"), properties, b"body");
    Case {
        operation,
        needs,
        bytes,
    }
}

fn exchange_cases() -> Vec<Case> {
    let plain = FieldTable::default;
    let alternate = || table([("alternate-exchange", longstr("alt"))]);
    vec![
        case(
            "exchange.declare",
            &[("configure", "exchange", "new-x")],
            declare_exchange("new-x", plain()),
        ),
        case(
            "exchange.declare with an alternate exchange",
            &[
                ("configure", "exchange", "new-alt-x"),
                ("read", "exchange", "new-alt-x"),
                ("write", "exchange", "alt"),
            ],
            declare_exchange("new-alt-x", alternate()),
        ),
        case(
            "exchange.declare of one that exists, where the alternate exchange does not count",
            &[("configure", "exchange", "x")],
            declare_exchange("x", alternate()),
        ),
        case(
            "exchange.bind",
            &[("write", "exchange", "y"), ("read", "exchange", "x")],
            exchange::Bind {
                destination: "y".into(),
                source: "x".into(),
                ..exchange::Bind::default()
            },
        ),
        case(
            "exchange.unbind",
            &[("write", "exchange", "y"), ("read", "exchange", "x")],
            exchange::Unbind {
                destination: "y".into(),
                source: "x".into(),
                ..exchange::Unbind::default()
            },
        ),
        case(
            "exchange.delete",
            &[("configure", "exchange", "doomed-x")],
            exchange::Delete {
                exchange: "doomed-x".into(),
                ..exchange::Delete::default()
            },
        ),
    ]
}

fn queue_cases() -> Vec<Case> {
    let plain = FieldTable::default;
    let dead_letters = || table([("x-dead-letter-exchange", longstr("dlx"))]);
    vec![
        case(
            "queue.declare",
            &[("configure", "queue", "new-q")],
            declare_queue("new-q", plain()),
        ),
        case(
            "queue.declare with a dead-letter exchange",
            &[
                ("configure", "queue", "new-dl-q"),
                ("read", "queue", "new-dl-q"),
                ("write", "exchange", "dlx"),
            ],
            declare_queue("new-dl-q", dead_letters()),
        ),
        case(
            "queue.declare of one that exists, where the dead-letter exchange does not count",
            &[("configure", "queue", "dl-q")],
            declare_queue("dl-q", dead_letters()),
        ),
        case(
            "queue.bind",
            &[("write", "queue", "q"), ("read", "exchange", "x")],
            queue::Bind {
                queue: "q".into(),
                exchange: "x".into(),
                ..queue::Bind::default()
            },
        ),
        case(
            "queue.unbind",
            &[("write", "queue", "q"), ("read", "exchange", "x")],
            queue::Unbind {
                queue: "q".into(),
                exchange: "x".into(),
                ..queue::Unbind::default()
            },
        ),
        case(
            "queue.purge",
            &[("read", "queue", "q")],
            queue::Purge {
                queue: "q".into(),
                ..queue::Purge::default()
            },
        ),
        case(
            "queue.delete",
            &[("configure", "queue", "doomed-q")],
            queue::Delete {
                queue: "doomed-q".into(),
                ..queue::Delete::default()
            },
        ),
    ]
}

fn message_cases() -> Vec<Case> {
    vec![
        case(
            "basic.get",
            &[("read", "queue", "empty-q")],
            basic::Get {
                queue: "empty-q".into(),
                ..basic::Get::default()
            },
        ),
        case(
            "basic.consume",
            &[("read", "queue", "empty-q")],
            consume_from("empty-q", ""),
        ),
        case(
            "basic.consume of direct replies",
            &[],
            basic::Consume {
                no_ack: true,
                ..consume_from("amq.rabbitmq.reply-to", "")
            },
        ),
        publish("basic.publish", &[("write", "exchange", "x")], "x"),
        publish(
            "basic.publish to the default exchange",
            &[("write", "exchange", "amq.default")],
            "",
        ),
        case("tx.select", &[], crate::support::tx::Select {}),
    ]
}

/// A broker with everything that the cases are about, and the user of the cases.
fn scene() -> (Served, Peer) {
    scene_on(Served::start())
}

fn scene_on(served: Served) -> (Served, Peer) {
    let mut guest = served.connect("guest");
    for name in ["x", "y", "alt", "dlx", "doomed-x"] {
        let arguments = match name {
            "x" => table([("alternate-exchange", longstr("alt"))]),
            _ => FieldTable::default(),
        };
        guest.call::<_, exchange::DeclareOk>(1, declare_exchange(name, arguments));
    }
    for name in ["q", "dl-q", "empty-q", "doomed-q"] {
        let arguments = match name {
            "dl-q" => table([("x-dead-letter-exchange", longstr("dlx"))]),
            _ => FieldTable::default(),
        };
        guest.declare(1, declare_queue(name, arguments));
    }
    served.user(USER, [".*"; 3]);
    (served, guest)
}

/// Sends an operation and asks for an answer to something that needs no permission; gives the exception, if there is
/// one instead, and opens the channel again.
fn outcome(peer: &mut Peer, bytes: &[u8]) -> Result<(), channel::Close> {
    let qos = basic::Qos {
        prefetch_count: 1,
        ..basic::Qos::default()
    };
    peer.send_bytes(bytes);
    peer.send_bytes(&method_bytes(1, qos));
    loop {
        match peer.next_frame(1, "the outcome") {
            AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::QosOk(_))) => return Ok(()),
            AMQPFrame::Method(_, AMQPClass::Channel(channel::AMQPMethod::Close(close))) => {
                peer.send(1, channel::CloseOk {});
                peer.open_channel(1);
                return Err(close);
            }
            _ => {}
        }
    }
}

/// The patterns of configure, write and read that match exactly these names.
fn exactly(rights: &[Right]) -> [String; 3] {
    ["configure", "write", "read"].map(|operation| {
        let names = rights.iter().filter(|right| right.0 == operation);
        let names: Vec<_> = names.map(|right| right.2.replace('.', r"\.")).collect();
        match names.is_empty() {
            true => String::new(),
            false => format!("^({})$", names.join("|")),
        }
    })
}

fn permit(served: &Served, patterns: &[String; 3]) {
    let [configure, write, read] = patterns;
    served.permit(USER, "/", [configure, write, read]);
}

#[track_caller]
fn check(case: &Case, served: &Served, peer: &mut Peer) {
    for missing in case.needs {
        let rest: Vec<_> = case
            .needs
            .iter()
            .filter(|r| *r != missing)
            .copied()
            .collect();
        permit(served, &exactly(&rest));
        let close = outcome(peer, &case.bytes).expect_err(case.operation);
        let (operation, kind, name) = missing;
        assert_eq!(close.reply_code, 403, "{}", case.operation);
        assert_eq!(
            close.reply_text.as_str(),
            format!(
                "ACCESS_REFUSED - {operation} access to {kind} '{name}' in vhost '/' refused for user '{USER}'"
            ),
            "{}",
            case.operation
        );
    }
    permit(served, &exactly(case.needs));
    if let Err(close) = outcome(peer, &case.bytes) {
        panic!("{} was refused: {}", case.operation, close.reply_text);
    }
}

/// Whoever decides, the broker itself or somebody outside, the rules are the same.
fn check_all(cases: fn() -> Vec<Case>) {
    for served in [Served::start(), Served::start_outside()] {
        let (served, _guest) = scene_on(served);
        // The permissions change under this one connection all the time.
        let mut peer = served.connect(USER);
        for case in &cases() {
            check(case, &served, &mut peer);
        }
    }
}

#[test]
fn each_operation_on_exchanges_needs_what_the_table_says() {
    check_all(exchange_cases);
}

#[test]
fn each_operation_on_queues_needs_what_the_table_says() {
    check_all(queue_cases);
}

#[test]
fn each_operation_on_messages_needs_what_the_table_says() {
    check_all(message_cases);
}

#[test]
fn a_passive_declaration_needs_any_permission() {
    a_passive_declaration_needs_any_permission_on(Served::start());
    a_passive_declaration_needs_any_permission_on(Served::start_outside());
}

fn a_passive_declaration_needs_any_permission_on(served: Served) {
    let (served, _guest) = scene_on(served);
    let mut peer = served.connect(USER);
    let queue = queue::Declare {
        passive: true,
        ..declare_queue("q", FieldTable::default())
    };
    let exchange = exchange::Declare {
        passive: true,
        ..declare_exchange("x", FieldTable::default())
    };
    let cases = [
        ("queue", "q", method_bytes(1, queue)),
        ("exchange", "x", method_bytes(1, exchange)),
    ];
    for (kind, name, bytes) in &cases {
        for operation in ["configure", "write", "read"] {
            permit(&served, &exactly(&[(operation, kind, name)]));
            outcome(&mut peer, bytes).expect(operation);
        }
        permit(&served, &exactly(&[]));
        let close = outcome(&mut peer, bytes).expect_err(name);
        assert_eq!(
            close.reply_text.as_str(),
            format!(
                "ACCESS_REFUSED - configure access to {kind} '{name}' in vhost '/' refused for user '{USER}'"
            )
        );
    }
}

#[test]
fn permission_is_asked_for_before_existence() {
    let (served, _guest) = scene();
    let mut peer = served.connect(USER);
    let get = basic::Get {
        queue: "nowhere".into(),
        ..basic::Get::default()
    };
    let get = method_bytes(1, get);
    assert_eq!(outcome(&mut peer, &get).expect_err("none").reply_code, 404);
    permit(&served, &exactly(&[]));
    assert_eq!(outcome(&mut peer, &get).expect_err("none").reply_code, 403);
}

#[test]
fn a_name_that_the_broker_chooses_has_to_be_permitted_too() {
    a_name_that_the_broker_chooses_has_to_be_permitted_too_on(Served::start());
    a_name_that_the_broker_chooses_has_to_be_permitted_too_on(Served::start_outside());
}

fn a_name_that_the_broker_chooses_has_to_be_permitted_too_on(served: Served) {
    let (served, _guest) = scene_on(served);
    let mut peer = served.connect(USER);
    let declare = method_bytes(1, declare_queue("", FieldTable::default()));
    served.permit(USER, "/", [r"^amq\.gen-", "", ""]);
    outcome(&mut peer, &declare).expect("a server-named queue");
    served.permit(USER, "/", ["^mine", "", ""]);
    let close = outcome(&mut peer, &declare).expect_err("a server-named queue");
    let text = close.reply_text.as_str();
    let start = "ACCESS_REFUSED - configure access to queue 'amq.gen-";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn a_publisher_that_repeats_itself_is_refused_once_its_permission_is_gone() {
    a_publisher_that_repeats_itself_is_refused_once_its_permission_is_gone_on(Served::start());
    a_publisher_that_repeats_itself_is_refused_once_its_permission_is_gone_on(
        Served::start_outside(),
    );
}

fn a_publisher_that_repeats_itself_is_refused_once_its_permission_is_gone_on(served: Served) {
    let (served, mut guest) = scene_on(served);
    guest.bind(1, "q", "x", "key");
    let mut peer = served.connect(USER);
    let message = publish("a publish", &[], "x").bytes;
    for _ in 0..3 {
        outcome(&mut peer, &message).expect("permitted");
    }
    served.permit(USER, "/", [".*", "^y$", ".*"]);
    let close = outcome(&mut peer, &message).expect_err("revoked");
    assert_eq!(close.reply_code, 403);
    served.permit(USER, "/", [".*", ".*", ".*"]);
    outcome(&mut peer, &message).expect("permitted again");
    assert_eq!(guest.drain(1, "q"), ["body"; 4]);
}

#[test]
fn a_new_secret_ends_the_consumers_of_a_user_who_may_not_read_any_more() {
    let (served, _guest) = scene();
    let mut peer = served.connect(USER);
    peer.call::<_, basic::ConsumeOk>(1, consume_from("q", "reader"));
    served.permit(USER, "/", [".*", ".*", "^x$"]);
    let update = connection::UpdateSecret {
        new_secret: "a password is not looked at".as_bytes().to_vec().into(),
        reason: "rotation".into(),
    };
    peer.send(0, update);
    assert_eq!(
        peer.expect::<basic::Cancel>(1).consumer_tag.as_str(),
        "reader"
    );
    peer.expect::<connection::UpdateSecretOk>(0);
}

#[test]
fn without_permissions_the_vhost_is_closed_to_new_connections_and_everything_to_open_ones() {
    let (served, _guest) = scene();
    let mut open = served.connect(USER);
    served.broker.clear_permissions(USER, "/", TEST).unwrap();
    for case in message_cases().iter().filter(|case| !case.needs.is_empty()) {
        let close = outcome(&mut open, &case.bytes).expect_err(case.operation);
        assert_eq!(close.reply_code, 403, "{}", case.operation);
    }
    let login = Login {
        response: plain(USER, USER),
        ..Login::default()
    };
    let mut peer = served.tcp();
    peer.greet();
    peer.send(0, login.start_ok());
    peer.tune(&login);
    let vhost = connection::Open {
        virtual_host: "/".into(),
    };
    peer.send(0, vhost);
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'somebody'";
    peer.expect_connection_close::<connection::Open>(530, text);
}

#[test]
fn only_an_impersonator_may_publish_in_the_name_of_others() {
    let (served, _guest) = scene();
    let mut peer = served.connect(USER);
    let properties = AMQPProperties::default().with_user_id("guest".into());
    let message = publish_bytes(1, publish_to("x", "key"), properties, b"body");
    let close = outcome(&mut peer, &message).expect_err("another's name");
    assert_eq!(close.reply_code, 406);
    let tags = ["impersonator".to_owned()];
    served.broker.set_user_tags(USER, &tags, TEST).unwrap();
    outcome(&mut peer, &message).expect("an impersonator");
    served.broker.set_user_tags(USER, &[], TEST).unwrap();
    let close = outcome(&mut peer, &message).expect_err("no longer an impersonator");
    assert_eq!(close.reply_code, 406);
}

#[test]
fn what_is_no_pattern_or_has_no_user_or_vhost_is_not_granted() {
    let served = Served::start();
    let permission = |user: &str, vhost: &str, read: &str| {
        let permission = broker_core::definitions::PermissionDefinition {
            user: user.to_owned(),
            vhost: vhost.to_owned(),
            read: read.to_owned(),
            ..Default::default()
        };
        served.broker.set_permissions(&permission, TEST)
    };
    assert!(permission("guest", "/", "(").is_err());
    assert!(permission("nobody", "/", "").is_err());
    assert!(permission("guest", "nowhere", "").is_err());
    assert!(permission("guest", "/", "").is_ok());
}
