//! The arguments of queue.declare: checked when a queue is new, compared when it is declared again.

use crate::leveret_only;
use crate::support::operations::exclusive_queue;
use crate::support::{AMQPValue, FieldTable, Peer, durable_queue, longstr, queue, table, unique};

#[track_caller]
fn refused(peer: &mut Peer, declare: queue::Declare, code: u16, text: &str) {
    peer.send(1, declare);
    peer.expect_channel_close::<queue::Declare>(1, code, text);
    peer.open_channel(1);
}

#[test]
fn arguments_compare_by_value_and_not_by_wire_type() {
    let mut peer = Peer::connect();
    let name = unique("by-value");
    let with_ttl = |ttl| queue::Declare {
        arguments: table([("x-message-ttl", ttl), ("x-unknown", longstr("kept"))]),
        ..exclusive_queue(&name)
    };
    peer.declare(1, with_ttl(AMQPValue::LongLongInt(100)));
    for same in [
        AMQPValue::ShortShortInt(100),
        AMQPValue::ShortShortUInt(100),
        AMQPValue::ShortInt(100),
        AMQPValue::ShortUInt(100),
        AMQPValue::LongInt(100),
        AMQPValue::LongUInt(100),
    ] {
        peer.declare(1, with_ttl(same));
    }
    let text = |rest: &str| {
        format!(
            "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '{name}' in vhost \
             '/': received {rest}"
        )
    };
    refused(
        &mut peer,
        with_ttl(AMQPValue::ShortInt(101)),
        406,
        &text("'101' but current is '100'"),
    );
    refused(
        &mut peer,
        exclusive_queue(&name),
        406,
        &text("none but current is the value '100' of type 'long'"),
    );
    peer.close();
}

#[test]
fn an_argument_that_was_not_there_before_is_406() {
    let mut peer = Peer::connect();
    let name = peer.fresh_queue(1, "bare");
    let with = |key: &'static str, value| queue::Declare {
        arguments: table([(key, value)]),
        ..exclusive_queue(&name)
    };
    refused(
        &mut peer,
        with("x-max-length", AMQPValue::LongInt(5)),
        406,
        &format!(
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{name}' in vhost \
             '/': received the value '5' of type 'signedint' but current is none"
        ),
    );
    // Unknown arguments are not compared, and the default queue type equals none.
    peer.declare(1, with("x-unknown", longstr("?")));
    peer.declare(1, with("x-queue-type", longstr("classic")));
    peer.close();
}

/// A fresh queue with this one argument must be refused with this end of the text.
#[track_caller]
fn invalid(peer: &mut Peer, key: &'static str, value: AMQPValue, reason: &str) {
    let name = unique("invalid");
    let declare = queue::Declare {
        arguments: table([(key, value)]),
        ..exclusive_queue(&name)
    };
    let text = format!(
        "PRECONDITION_FAILED - invalid arg '{key}' for queue '{name}' in vhost '/': {reason}"
    );
    refused(peer, declare, 406, &text);
}

#[test]
fn numbers_out_of_range_are_406() {
    let mut peer = Peer::connect();
    let long = AMQPValue::LongLongInt;
    invalid(&mut peer, "x-message-ttl", long(-1), "{value_negative,-1}");
    invalid(
        &mut peer,
        "x-message-ttl",
        long(315_360_000_001),
        "{value_too_large,315360000001}",
    );
    invalid(&mut peer, "x-expires", long(0), "{value_zero,0}");
    invalid(&mut peer, "x-expires", long(-7), "{value_negative,-7}");
    invalid(&mut peer, "x-max-length", long(-1), "{value_negative,-1}");
    invalid(
        &mut peer,
        "x-max-length-bytes",
        long(-2),
        "{value_negative,-2}",
    );
    invalid(&mut peer, "x-max-priority", long(-1), "{value_negative,-1}");
    invalid(
        &mut peer,
        "x-max-priority",
        long(256),
        "{max_value_exceeded,256}",
    );
    peer.close();
}

#[test]
fn arguments_of_the_wrong_type_are_406() {
    let mut peer = Peer::connect();
    let integer = "\"expected integer, got longstr\"";
    for key in [
        "x-message-ttl",
        "x-expires",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-priority",
    ] {
        invalid(&mut peer, key, longstr("10"), integer);
    }
    invalid(
        &mut peer,
        "x-single-active-consumer",
        longstr("true"),
        "{unacceptable_type,longstr}",
    );
    invalid(
        &mut peer,
        "x-overflow",
        AMQPValue::Boolean(true),
        "{unacceptable_type,bool}",
    );
    invalid(
        &mut peer,
        "x-queue-type",
        AMQPValue::LongInt(1),
        "{unacceptable_type,signedint}",
    );
    let name = unique("invalid");
    let declare = queue::Declare {
        arguments: table([("x-dead-letter-exchange", AMQPValue::LongInt(1))]),
        ..exclusive_queue(&name)
    };
    refused(
        &mut peer,
        declare,
        406,
        &format!(
            "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in \
             queue '{name}' in vhost '/'"
        ),
    );
    peer.close();
}

#[test]
fn words_that_an_argument_does_not_know_are_406() {
    let mut peer = Peer::connect();
    invalid(
        &mut peer,
        "x-overflow",
        longstr("spill"),
        "invalid_overflow",
    );
    invalid(
        &mut peer,
        "x-dead-letter-routing-key",
        longstr("key"),
        "routing_key_but_no_dlx_defined",
    );
    leveret_only!("RabbitMQ 3.10 had another text for queue types");
    invalid(
        &mut peer,
        "x-queue-type",
        longstr("heap"),
        "\"unsupported queue type 'heap'\"",
    );
    peer.close();
}

#[test]
fn a_quorum_queue_is_durable_shared_and_has_a_name() {
    let mut peer = Peer::connect();
    let name = unique("quorum");
    let quorum = || queue::Declare {
        arguments: table([("x-queue-type", longstr("quorum"))]),
        ..durable_queue(&name)
    };
    let text = |what: &str| {
        format!("PRECONDITION_FAILED - invalid property '{what}' for queue '{name}' in vhost '/'")
    };
    let transient = queue::Declare {
        durable: false,
        ..quorum()
    };
    refused(&mut peer, transient, 406, &text("non-durable"));
    let exclusive = queue::Declare {
        exclusive: true,
        ..quorum()
    };
    peer.send(1, exclusive);
    let close = peer.expect::<crate::support::channel::Close>(1);
    assert_eq!(close.reply_code, 406);
    peer.send(1, crate::support::channel::CloseOk {});
    peer.open_channel(1);
    let nameless = queue::Declare {
        queue: "".into(),
        ..quorum()
    };
    refused(
        &mut peer,
        nameless,
        406,
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue",
    );
    peer.close();
}

#[test]
fn unknown_arguments_are_accepted() {
    let mut peer = Peer::connect();
    let name = unique("unknown");
    let declare = queue::Declare {
        arguments: table([
            ("x-of-ours", AMQPValue::FieldTable(FieldTable::default())),
            ("anything", AMQPValue::Double(1.5)),
        ]),
        ..exclusive_queue(&name)
    };
    peer.declare(1, declare);
    peer.close();
}

/// A durable queue of a type with one further argument.
fn typed(name: &str, queue_type: &str, key: &str, value: AMQPValue) -> queue::Declare {
    queue::Declare {
        arguments: table([("x-queue-type", longstr(queue_type)), (key, value)]),
        ..durable_queue(name)
    }
}

#[test]
fn what_a_type_of_queue_knows_is_accepted_kept_and_compared() {
    let mut peer = Peer::connect();
    let long = AMQPValue::LongLongInt;
    let mut accepted = vec![
        (
            "classic",
            "x-queue-mode",
            longstr("lazy"),
            longstr("default"),
        ),
        (
            "classic",
            "x-queue-master-locator",
            longstr("min-masters"),
            longstr("random"),
        ),
        ("quorum", "x-quorum-initial-group-size", long(3), long(5)),
        ("quorum", "x-max-in-memory-length", long(3), long(5)),
        ("quorum", "x-delivery-limit", long(3), long(5)),
    ];
    if !crate::support::foreign_broker() {
        let since_then = [
            (
                "classic",
                "x-queue-leader-locator",
                longstr("balanced"),
                longstr("client-local"),
            ),
            (
                "quorum",
                "x-queue-leader-locator",
                longstr("balanced"),
                longstr("client-local"),
            ),
            (
                "quorum",
                "x-member-placement-tag",
                longstr("one"),
                longstr("two"),
            ),
            (
                "quorum",
                "x-dead-letter-strategy",
                longstr("at-least-once"),
                longstr("at-most-once"),
            ),
            ("quorum", "x-consumer-timeout", long(3), long(5)),
            (
                "quorum",
                "x-consumer-disconnected-timeout",
                long(3),
                long(5),
            ),
            // On classic queues these are ours.
            ("classic", "x-delivery-limit", long(3), long(5)),
            ("classic", "x-consumer-timeout", long(3), long(5)),
        ];
        accepted.extend(since_then);
    }
    for (queue_type, key, value, other) in accepted {
        let name = unique("typed");
        let declare = || typed(&name, queue_type, key, value.clone());
        peer.declare(1, declare());
        peer.declare(1, declare());
        peer.send(1, typed(&name, queue_type, key, other.clone()));
        let close = peer.expect::<crate::support::channel::Close>(1);
        let text = close.reply_text.as_str();
        let expected = format!("inequivalent arg '{key}' for queue '{name}'");
        assert!(text.contains(&expected), "{key}: {text}");
        peer.send(1, crate::support::channel::CloseOk {});
        peer.open_channel(1);
        peer.delete_queue(1, &name);
    }
    peer.close();
}

#[test]
fn what_only_another_type_of_queue_knows_is_406() {
    leveret_only!("RabbitMQ 3.10 knew fewer arguments");
    let mut peer = Peer::connect();
    let long = AMQPValue::LongLongInt;
    for (queue_type, key, value) in [
        ("classic", "x-quorum-initial-group-size", long(3)),
        ("classic", "x-max-in-memory-length", long(3)),
        (
            "classic",
            "x-dead-letter-strategy",
            longstr("at-least-once"),
        ),
        ("classic", "x-max-age", longstr("1h")),
        ("quorum", "x-max-priority", long(3)),
        ("quorum", "x-queue-mode", longstr("lazy")),
        ("quorum", "x-queue-version", long(2)),
        ("quorum", "x-stream-max-segment-size-bytes", long(3)),
    ] {
        let name = unique("typed");
        let text = format!(
            "PRECONDITION_FAILED - invalid arg '{key}' for queue '{name}' in vhost '/' of queue type \
             rabbit_{queue_type}_queue"
        );
        refused(&mut peer, typed(&name, queue_type, key, value), 406, &text);
    }
    peer.close();
}

#[test]
fn streams_and_old_storage_are_406() {
    leveret_only!("RabbitMQ has streams, and 3.10 had the old storage");
    let mut peer = Peer::connect();
    let name = unique("typed");
    for (queue_type, key, value, argument, reason) in [
        (
            "stream",
            "x-unknown",
            AMQPValue::LongInt(1),
            "x-queue-type",
            "\"unsupported queue type 'stream'\"",
        ),
        (
            "classic",
            "x-queue-version",
            AMQPValue::LongInt(1),
            "x-queue-version",
            "\"unsupported queue version '1'\"",
        ),
        (
            "quorum",
            "x-queue-leader-locator",
            longstr("nowhere"),
            "x-queue-leader-locator",
            "invalid_queue_locator_arg",
        ),
        (
            "quorum",
            "x-quorum-initial-group-size",
            AMQPValue::LongInt(0),
            "x-quorum-initial-group-size",
            "{value_zero,0}",
        ),
    ] {
        let text = format!(
            "PRECONDITION_FAILED - invalid arg '{argument}' for queue '{name}' in vhost '/': {reason}"
        );
        refused(&mut peer, typed(&name, queue_type, key, value), 406, &text);
    }
    peer.declare(
        1,
        typed(&name, "classic", "x-queue-version", AMQPValue::LongInt(2)),
    );
    peer.delete_queue(1, &name);
    peer.close();
}

#[test]
fn arguments_of_quorum_queues_out_of_range_are_406() {
    leveret_only!("3.10 knows some of them not yet, and has other words for the rest");
    let mut peer = Peer::connect();
    let name = unique("quorum");
    let long = AMQPValue::LongLongInt;
    for (key, value, reason) in [
        (
            "x-dead-letter-strategy",
            longstr("never"),
            "invalid_dlx_strategy",
        ),
        ("x-max-in-memory-length", long(-1), "{value_negative,-1}"),
        ("x-max-in-memory-bytes", long(-1), "{value_negative,-1}"),
        ("x-consumer-timeout", long(-1), "{value_negative,-1}"),
        (
            "x-consumer-disconnected-timeout",
            long(-1),
            "{value_negative,-1}",
        ),
        (
            "x-consumer-timeout",
            longstr("1"),
            "\"expected integer, got longstr\"",
        ),
        (
            "x-member-placement-tag",
            longstr(""),
            "invalid_member_placement_tag_arg",
        ),
        (
            "x-expires",
            long(315_360_000_001),
            "{value_too_large,315360000001}",
        ),
    ] {
        let text = format!(
            "PRECONDITION_FAILED - invalid arg '{key}' for queue '{name}' in vhost '/': {reason}"
        );
        refused(&mut peer, typed(&name, "quorum", key, value), 406, &text);
    }
    peer.close();
}
