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
