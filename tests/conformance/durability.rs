//! What survives the end of the broker, in good order and by SIGKILL: durable definitions and persistent messages in
//! durable queues, and nothing else.

use crate::leveret_only;
use crate::support::operations::exchange_of;
use crate::support::{
    AMQPProperties, AMQPValue, Broker, Peer, basic, durable_queue, exchange, longstr, queue, table,
};

fn persistent() -> AMQPProperties {
    AMQPProperties::default().with_delivery_mode(2)
}

fn passive(name: &str) -> queue::Declare {
    queue::Declare {
        queue: name.into(),
        passive: true,
        ..queue::Declare::default()
    }
}

/// Ends the broker in each of the two ways, with `before` ahead of it and `after` behind.
fn over_restart_and_kill(before: impl Fn(&mut Peer), after: impl Fn(&mut Peer)) {
    let ends: [fn(&mut Broker); 2] = [Broker::restart, |broker| {
        broker.kill();
        broker.start_again();
    }];
    for end in ends {
        let mut broker = Broker::start();
        let mut peer = Peer::connect_to(&broker);
        before(&mut peer);
        end(&mut broker);
        after(&mut Peer::connect_to(&broker));
    }
}

#[test]
fn durable_definitions_come_back_with_their_arguments() {
    leveret_only!("it is not ours to end");
    let queue = || queue::Declare {
        arguments: table([
            ("x-max-length", AMQPValue::LongInt(5)),
            ("x-dead-letter-exchange", longstr("dead")),
        ]),
        ..durable_queue("q")
    };
    let exchange = |kind: &str, name: &str| exchange::Declare {
        durable: true,
        auto_delete: false,
        arguments: table([("alternate-exchange", longstr("alternate"))]),
        ..exchange_of(kind, name)
    };
    over_restart_and_kill(
        |peer| {
            peer.declare(1, queue());
            peer.call::<_, exchange::DeclareOk>(1, exchange("topic", "outer"));
            peer.call::<_, exchange::DeclareOk>(1, exchange("headers", "inner"));
            peer.bind_exchange(1, "inner", "outer", "a.#");
            let criteria = table([("x-match", longstr("any")), ("h", longstr("v"))]);
            peer.bind_with(1, "q", "inner", "", criteria);
        },
        |peer| {
            peer.declare(1, queue());
            peer.call::<_, exchange::DeclareOk>(1, exchange("topic", "outer"));
            peer.call::<_, exchange::DeclareOk>(1, exchange("headers", "inner"));
            let with_header = AMQPProperties::default().with_headers(table([("h", longstr("v"))]));
            peer.publish_with(1, "outer", "a.b", with_header, b"routed");
            assert_eq!(peer.drain(1, "q"), ["routed"]);
            peer.expect_unroutable(1, "outer", "a.b");
        },
    );
}

#[test]
fn what_was_deleted_or_unbound_stays_so() {
    leveret_only!("it is not ours to end");
    over_restart_and_kill(
        |peer| {
            peer.declare(1, durable_queue("kept"));
            peer.declare(1, durable_queue("deleted"));
            peer.bind(1, "kept", "amq.direct", "bound");
            peer.bind(1, "kept", "amq.direct", "unbound");
            peer.unbind(1, "kept", "amq.direct", "unbound");
            peer.delete_queue(1, "deleted");
        },
        |peer| {
            peer.publish(1, "amq.direct", "bound", "routed");
            assert_eq!(peer.drain(1, "kept"), ["routed"]);
            peer.expect_unroutable(1, "amq.direct", "unbound");
            peer.expect_unroutable(1, "", "deleted");
        },
    );
}

#[test]
fn transient_and_exclusive_things_do_not_come_back() {
    leveret_only!("it is not ours to end");
    over_restart_and_kill(
        |peer| {
            let transient = queue::Declare {
                durable: false,
                ..durable_queue("transient")
            };
            peer.declare(1, transient);
            let exclusive = queue::Declare {
                exclusive: true,
                ..durable_queue("exclusive")
            };
            peer.declare(1, exclusive);
            peer.call::<_, exchange::DeclareOk>(1, exchange_of("fanout", "transient"));
            peer.declare(1, durable_queue("durable"));
            // A binding is as durable as both of its ends.
            peer.bind(1, "durable", "transient", "");
        },
        |peer| {
            peer.declare(1, passive("durable"));
            for name in ["transient", "exclusive"] {
                peer.send(1, passive(name));
                let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
                peer.expect_channel_close::<queue::Declare>(1, 404, &text);
                peer.open_channel(1);
            }
            peer.publish(1, "transient", "", "lost");
            peer.expect_channel_close::<basic::Publish>(
                1,
                404,
                "NOT_FOUND - no exchange 'transient' in vhost '/'",
            );
        },
    );
}

#[test]
fn confirmed_persistent_messages_come_back_in_order_and_transient_ones_do_not() {
    leveret_only!("it is not ours to end");
    over_restart_and_kill(
        |peer| {
            peer.declare(1, durable_queue("q"));
            peer.confirm_select(1);
            for number in 0..100 {
                let body = format!("persistent {number}");
                let properties = persistent().with_message_id(number.to_string().into());
                peer.publish_with(1, "", "q", properties, body.as_bytes());
                peer.publish(1, "", "q", "transient");
            }
            peer.expect_confirms_to(1, 200);
        },
        |peer| {
            for number in 0..100 {
                let got = peer.get(1, "q", true).expect("a persistent message");
                assert_eq!(got.body, format!("persistent {number}").as_bytes());
                assert_eq!(got.properties.delivery_mode(), &Some(2));
                let id = got.properties.message_id().as_ref().expect("its id");
                assert_eq!(id.as_str(), number.to_string());
            }
            assert!(peer.get(1, "q", true).is_none());
        },
    );
}

#[test]
fn acknowledged_messages_are_gone_and_unacknowledged_ones_redelivered() {
    leveret_only!("it is not ours to end");
    over_restart_and_kill(
        |peer| {
            peer.declare(1, durable_queue("q"));
            peer.confirm_select(1);
            for body in ["acknowledged", "held", "ready"] {
                peer.publish_with(1, "", "q", persistent(), body.as_bytes());
            }
            peer.expect_confirms_to(1, 3);
            let first = peer.get(1, "q", false).expect("the first");
            peer.get(1, "q", false).expect("the second");
            peer.ack(1, first.method.delivery_tag, false);
            // An acknowledgement has no answer; a transaction's commit says that it is on disk.
            peer.open_channel(2);
            peer.call::<_, crate::support::tx::SelectOk>(2, crate::support::tx::Select {});
            peer.publish_with(2, "", "q", persistent(), b"last");
            peer.call::<_, crate::support::tx::CommitOk>(2, crate::support::tx::Commit {});
        },
        |peer| assert_eq!(peer.drain(1, "q"), ["held", "ready", "last"]),
    );
}

#[test]
fn a_message_of_many_queues_survives_in_all_of_them() {
    leveret_only!("it is not ours to end");
    over_restart_and_kill(
        |peer| {
            for queue in ["a", "b", "c"] {
                peer.declare(1, durable_queue(queue));
                peer.bind(1, queue, "amq.fanout", "");
            }
            peer.confirm_select(1);
            let body = "shared ".repeat(20_000);
            peer.publish_with(1, "amq.fanout", "", persistent(), body.as_bytes());
            peer.expect_confirms_to(1, 1);
            peer.purge(1, "b");
        },
        |peer| {
            let body = "shared ".repeat(20_000);
            assert_eq!(peer.drain(1, "a"), [body.as_str()]);
            assert_eq!(peer.drain(1, "c"), [body.as_str()]);
        },
    );
}
