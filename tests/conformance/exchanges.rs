//! exchange.declare and exchange.delete: equivalence, reserved names, auto-delete, internal, no-wait, passive.

use crate::support::operations::exchange_of;
use crate::support::{
    AMQPValue, FieldTable, Peer, basic, exchange, foreign_broker, longstr, table, unique,
};

fn passive(name: &str) -> exchange::Declare {
    exchange::Declare {
        exchange: name.into(),
        passive: true,
        ..exchange::Declare::default()
    }
}

fn delete(name: &str) -> exchange::Delete {
    exchange::Delete {
        exchange: name.into(),
        ..exchange::Delete::default()
    }
}

/// Declaring this must be an exception on the channel, which is opened again.
#[track_caller]
fn refused(peer: &mut Peer, declare: exchange::Declare, code: u16, text: &str) {
    peer.send(1, declare);
    peer.expect_channel_close::<exchange::Declare>(1, code, text);
    peer.open_channel(1);
}

/// The exchange must not be there.
#[track_caller]
fn expect_absent(peer: &mut Peer, name: &str) {
    let text = format!("NOT_FOUND - no exchange '{name}' in vhost '/'");
    refused(peer, passive(name), 404, &text);
}

#[test]
fn every_type_can_be_declared_and_declared_again() {
    let mut peer = Peer::connect();
    for kind in ["direct", "fanout", "topic", "headers"] {
        let name = unique(kind);
        for _ in 0..2 {
            peer.call::<_, exchange::DeclareOk>(1, exchange_of(kind, &name));
        }
        peer.call::<_, exchange::DeclareOk>(1, passive(&name));
        peer.delete_exchange(1, &name);
        expect_absent(&mut peer, &name);
    }
    peer.close();
}

#[test]
fn a_passive_declare_compares_nothing_but_the_name() {
    let mut peer = Peer::connect();
    let name = peer.fresh_exchange(1, "topic");
    let other = exchange::Declare {
        kind: "of-no-type".into(),
        durable: true,
        internal: true,
        ..passive(&name)
    };
    peer.call::<_, exchange::DeclareOk>(1, other);
    peer.delete_exchange(1, &name);
    peer.close();
}

#[test]
fn an_unknown_type_is_503_on_the_connection() {
    let mut peer = Peer::connect();
    peer.send(1, exchange_of("x-nothing", &unique("typed")));
    // RabbitMQ 4.3 answers 406 on the channel; the specification and all versions before it say 503.
    peer.expect_connection_close::<exchange::Declare>(
        503,
        "COMMAND_INVALID - unknown exchange type 'x-nothing'",
    );
}

#[test]
fn a_redeclaration_that_differs_is_406_and_says_in_what() {
    let mut peer = Peer::connect();
    let name = peer.fresh_exchange(1, "direct");
    let same = || exchange_of("direct", &name);
    let text = |key: &str, received: &str, current: &str| {
        format!(
            "PRECONDITION_FAILED - inequivalent arg '{key}' for exchange '{name}' in vhost '/': \
             received '{received}' but current is '{current}'"
        )
    };
    for (declare, text) in [
        (
            exchange_of("fanout", &name),
            text("type", "fanout", "direct"),
        ),
        (
            exchange::Declare {
                durable: true,
                ..same()
            },
            text("durable", "true", "false"),
        ),
        (
            exchange::Declare {
                auto_delete: false,
                ..same()
            },
            text("auto_delete", "false", "true"),
        ),
        (
            exchange::Declare {
                internal: true,
                ..same()
            },
            text("internal", "true", "false"),
        ),
    ] {
        refused(&mut peer, declare, 406, &text);
    }
    peer.delete_exchange(1, &name);
    peer.close();
}

fn with_alternate(name: &str, alternate: AMQPValue) -> exchange::Declare {
    exchange::Declare {
        arguments: table([("alternate-exchange", alternate)]),
        ..exchange_of("fanout", name)
    }
}

#[test]
fn a_redeclaration_with_another_alternate_exchange_is_406() {
    let mut peer = Peer::connect();
    let name = unique("alternating");
    peer.call::<_, exchange::DeclareOk>(1, with_alternate(&name, longstr("one")));
    let text = |rest: &str| {
        format!(
            "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '{name}' in \
             vhost '/': received {rest}"
        )
    };
    refused(
        &mut peer,
        with_alternate(&name, longstr("two")),
        406,
        &text("'two' but current is 'one'"),
    );
    refused(
        &mut peer,
        exchange_of("fanout", &name),
        406,
        &text("none but current is the value 'one' of type 'longstr'"),
    );
    // Other arguments are kept and not compared.
    let more = table([
        ("alternate-exchange", longstr("one")),
        ("x-more", longstr("?")),
    ]);
    let declare = exchange::Declare {
        arguments: more,
        ..exchange_of("fanout", &name)
    };
    peer.call::<_, exchange::DeclareOk>(1, declare);
    peer.delete_exchange(1, &name);
    peer.close();
}

#[test]
fn an_alternate_exchange_that_is_no_string_is_406() {
    let mut peer = Peer::connect();
    let name = unique("alternating");
    refused(
        &mut peer,
        with_alternate(&name, AMQPValue::LongInt(1)),
        406,
        &format!(
            "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in \
             exchange '{name}' in vhost '/'"
        ),
    );
    peer.close();
}

#[test]
fn the_predeclared_exchanges_are_durable_and_of_their_types() {
    let mut peer = Peer::connect();
    for (name, kind, internal) in [
        ("amq.direct", "direct", false),
        ("amq.fanout", "fanout", false),
        ("amq.topic", "topic", false),
        ("amq.headers", "headers", false),
        ("amq.match", "headers", false),
        ("amq.rabbitmq.trace", "topic", true),
    ] {
        let declare = exchange::Declare {
            durable: true,
            auto_delete: false,
            internal,
            ..exchange_of(kind, name)
        };
        peer.call::<_, exchange::DeclareOk>(1, declare);
    }
    peer.close();
}

#[test]
fn a_new_exchange_with_a_reserved_name_is_403() {
    let mut peer = Peer::connect();
    let name = unique("amq.mine");
    refused(
        &mut peer,
        exchange_of("direct", &name),
        403,
        &format!("ACCESS_REFUSED - exchange name '{name}' contains reserved prefix 'amq.*'"),
    );
    peer.close();
}

#[test]
fn a_predeclared_exchange_cannot_be_deleted() {
    let mut peer = Peer::connect();
    for name in ["amq.direct", "amq.rabbitmq.trace", "amq.not-even-there"] {
        peer.send(1, delete(name));
        peer.expect_channel_close::<exchange::Delete>(
            1,
            403,
            &format!(
                "ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed"
            ),
        );
        peer.open_channel(1);
    }
    peer.close();
}

#[test]
fn the_default_exchange_can_be_neither_declared_nor_deleted() {
    const TEXT: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";
    let mut peer = Peer::connect();
    refused(&mut peer, exchange_of("direct", ""), 403, TEXT);
    refused(&mut peer, passive(""), 403, TEXT);
    peer.send(1, delete(""));
    peer.expect_channel_close::<exchange::Delete>(1, 403, TEXT);
    peer.close();
}

#[test]
fn deleting_a_missing_exchange_succeeds() {
    let mut peer = Peer::connect();
    peer.delete_exchange(1, &unique("absent"));
    let if_unused = exchange::Delete {
        if_unused: true,
        ..delete(&unique("absent"))
    };
    peer.call::<_, exchange::DeleteOk>(1, if_unused);
    peer.close();
}

#[test]
fn if_unused_refuses_to_delete_an_exchange_with_bindings() {
    let mut peer = Peer::connect();
    let name = peer.fresh_exchange(1, "direct");
    let queue = peer.fresh_queue(1, "bound");
    peer.bind(1, &queue, &name, "key");
    let if_unused = || exchange::Delete {
        if_unused: true,
        ..delete(&name)
    };
    peer.send(1, if_unused());
    peer.expect_channel_close::<exchange::Delete>(
        1,
        406,
        &format!("PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use"),
    );
    peer.open_channel(1);
    peer.call::<_, exchange::DeclareOk>(1, passive(&name));
    peer.delete_exchange(1, &name);
    peer.close();
}

#[test]
fn if_unused_deletes_an_exchange_that_is_only_a_destination() {
    let mut peer = Peer::connect();
    let declare = exchange::Declare {
        auto_delete: false,
        ..exchange_of("fanout", &unique("destination"))
    };
    let name = declare.exchange.to_string();
    peer.call::<_, exchange::DeclareOk>(1, declare);
    peer.bind_exchange(1, &name, "amq.fanout", "");
    let if_unused = exchange::Delete {
        if_unused: true,
        ..delete(&name)
    };
    peer.call::<_, exchange::DeleteOk>(1, if_unused);
    expect_absent(&mut peer, &name);
    peer.close();
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_as_source() {
    let mut peer = Peer::connect();
    let name = peer.fresh_exchange(1, "direct");
    let queue = peer.fresh_queue(1, "bound");
    peer.bind(1, &queue, &name, "one");
    peer.bind(1, &queue, &name, "two");
    peer.unbind(1, &queue, &name, "one");
    peer.call::<_, exchange::DeclareOk>(1, passive(&name));
    peer.unbind(1, &queue, &name, "two");
    expect_absent(&mut peer, &name);
    peer.close();
}

#[test]
fn an_auto_delete_exchange_goes_with_the_queue_it_was_bound_to() {
    let mut peer = Peer::connect();
    let name = peer.fresh_exchange(1, "topic");
    let queue = peer.fresh_queue(1, "bound");
    peer.bind(1, &queue, &name, "#");
    peer.delete_queue(1, &queue);
    expect_absent(&mut peer, &name);
    peer.close();
}

#[test]
fn auto_delete_goes_through_a_chain_of_exchanges() {
    let mut peer = Peer::connect();
    let (first, second) = (
        peer.fresh_exchange(1, "fanout"),
        peer.fresh_exchange(1, "fanout"),
    );
    let queue = peer.fresh_queue(1, "bound");
    peer.bind_exchange(1, &second, &first, "");
    peer.bind(1, &queue, &second, "");
    peer.delete_queue(1, &queue);
    expect_absent(&mut peer, &second);
    expect_absent(&mut peer, &first);
    peer.close();
}

#[test]
fn an_auto_delete_exchange_stays_until_it_was_bound() {
    let mut peer = Peer::connect();
    let name = peer.fresh_exchange(1, "direct");
    peer.publish(1, &name, "nowhere", "dropped");
    peer.call::<_, exchange::DeclareOk>(1, passive(&name));
    peer.delete_exchange(1, &name);
    peer.close();
}

#[test]
fn publishing_to_an_internal_exchange_is_403_and_bindings_reach_it() {
    let mut peer = Peer::connect();
    let name = unique("internal");
    let declare = exchange::Declare {
        internal: true,
        ..exchange_of("fanout", &name)
    };
    peer.call::<_, exchange::DeclareOk>(1, declare);
    let (outer, queue) = (
        peer.fresh_exchange(1, "fanout"),
        peer.fresh_queue(1, "inner"),
    );
    peer.bind_exchange(1, &name, &outer, "");
    peer.bind(1, &queue, &name, "");
    peer.publish(1, &outer, "", "through");
    assert_eq!(peer.drain(1, &queue), ["through"]);
    peer.publish(1, &name, "", "refused");
    peer.expect_channel_close::<basic::Publish>(
        1,
        403,
        &format!("ACCESS_REFUSED - cannot publish to internal exchange '{name}' in vhost '/'"),
    );
    peer.close();
}

#[test]
fn publishing_to_a_missing_exchange_is_404_on_the_channel() {
    let mut peer = Peer::connect();
    let name = unique("absent");
    peer.publish(1, &name, "", "lost");
    peer.expect_channel_close::<basic::Publish>(
        1,
        404,
        &format!("NOT_FOUND - no exchange '{name}' in vhost '/'"),
    );
    peer.open_channel(1);
    peer.close();
}

#[test]
fn no_wait_declares_and_deletes_without_an_answer() {
    let mut peer = Peer::connect();
    let name = unique("no-wait");
    let declare = exchange::Declare {
        nowait: true,
        ..exchange_of("direct", &name)
    };
    peer.send(1, declare);
    peer.expect_nothing(1);
    peer.call::<_, exchange::DeclareOk>(1, passive(&name));
    peer.send(
        1,
        exchange::Declare {
            nowait: true,
            ..passive(&name)
        },
    );
    peer.expect_nothing(1);
    peer.send(
        1,
        exchange::Delete {
            nowait: true,
            ..delete(&name)
        },
    );
    peer.expect_nothing(1);
    expect_absent(&mut peer, &name);
    peer.close();
}

#[test]
fn a_deleted_exchange_takes_its_bindings_along() {
    let mut peer = Peer::connect();
    let name = peer.fresh_exchange(1, "fanout");
    let queue = peer.fresh_queue(1, "bound");
    peer.bind(1, &queue, &name, "");
    peer.delete_exchange(1, &name);
    peer.call::<_, exchange::DeclareOk>(1, exchange_of("fanout", &name));
    peer.expect_unroutable(1, &name, "");
    peer.delete_exchange(1, &name);
    peer.close();
}

#[test]
fn line_ends_are_cut_out_of_names() {
    let mut peer = Peer::connect();
    let name = unique("line-ends");
    let (start, end) = name.split_at(4);
    let declare = exchange_of("direct", &format!("{start}\r\n{end}\n"));
    peer.call::<_, exchange::DeclareOk>(1, declare);
    peer.call::<_, exchange::DeclareOk>(1, passive(&name));
    peer.delete_exchange(1, &name);
    peer.close();
}

#[test]
fn an_exchange_may_have_any_utf_8_name() {
    let mut peer = Peer::connect();
    let name = unique("обмен ü/'\"");
    peer.call::<_, exchange::DeclareOk>(1, exchange_of("direct", &name));
    peer.delete_exchange(1, &name);
    if !foreign_broker() {
        expect_absent(&mut peer, &name);
    }
    peer.close();
}

#[test]
fn unknown_arguments_are_accepted() {
    let mut peer = Peer::connect();
    let name = unique("arguments");
    let declare = exchange::Declare {
        arguments: table([
            ("x-anything", AMQPValue::FieldTable(FieldTable::default())),
            ("void", AMQPValue::Void),
        ]),
        ..exchange_of("direct", &name)
    };
    peer.call::<_, exchange::DeclareOk>(1, declare);
    peer.delete_exchange(1, &name);
    peer.close();
}
