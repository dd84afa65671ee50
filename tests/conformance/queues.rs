//! queue.declare, queue.delete and queue.purge: names, equivalence, counts, auto-delete, no-wait, passive.

use crate::leveret_only;
use crate::support::content::publish_to;
use crate::support::operations::{consume_from, exclusive_queue};
use crate::support::peer::method_bytes;
use crate::support::{
    AMQPClass, AMQPProperties, AMQPValue, PATIENCE, Peer, basic, durable_queue, longstr, queue,
    table, unique,
};
use std::time::Instant;

fn passive(name: &str) -> queue::Declare {
    queue::Declare {
        queue: name.into(),
        passive: true,
        ..queue::Declare::default()
    }
}

fn delete(name: &str) -> queue::Delete {
    queue::Delete {
        queue: name.into(),
        ..queue::Delete::default()
    }
}

#[track_caller]
fn refused(peer: &mut Peer, declare: queue::Declare, code: u16, text: &str) {
    peer.send(1, declare);
    peer.expect_channel_close::<queue::Declare>(1, code, text);
    peer.open_channel(1);
}

#[track_caller]
fn expect_absent(peer: &mut Peer, name: &str) {
    let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
    refused(peer, passive(name), 404, &text);
}

#[test]
fn declare_answers_name_messages_and_consumers() {
    let mut peer = Peer::connect();
    let name = unique("counted");
    let ok = peer.declare(1, exclusive_queue(&name));
    assert_eq!(ok.queue.as_str(), name);
    assert_eq!((ok.message_count, ok.consumer_count), (0, 0));
    peer.fill(&name, &["a", "b"]);
    peer.open_channel(2);
    let again = peer.declare(2, exclusive_queue(&name));
    assert_eq!((again.message_count, again.consumer_count), (2, 0));
    peer.qos(2, 1, false);
    peer.consume(2, &name, "c");
    peer.expect_delivery(2);
    assert_eq!(peer.counts(1, &name), (1, 1));
    peer.close();
}

#[test]
fn server_named_queues_begin_with_amq_gen_and_all_differ() {
    let mut peer = Peer::connect();
    let mut names: Vec<String> = (0..20)
        .map(|_| peer.declare(1, exclusive_queue("")).queue.to_string())
        .collect();
    for name in &names {
        assert!(name.starts_with("amq.gen-"), "{name}");
        assert!(name.len() >= 8 + 22, "{name} can be guessed");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20);
    assert_eq!(peer.delete_queue(1, &names[0]), 0);
    peer.close();
}

#[test]
fn a_server_named_queue_may_have_another_prefix() {
    leveret_only!("new in RabbitMQ 4.3");
    let mut peer = Peer::connect();
    let prefixed = |prefix: &str| queue::Declare {
        arguments: table([("x-name-prefix", longstr(prefix))]),
        ..exclusive_queue("")
    };
    let name = peer.declare(1, prefixed("replies")).queue.to_string();
    assert!(name.starts_with("replies-"), "{name}");
    let long = "p".repeat(65);
    refused(
        &mut peer,
        prefixed(&long),
        406,
        &format!("PRECONDITION_FAILED - Queue name prefix '{long}' exceeds the 64-byte limit"),
    );
    peer.close();
}

#[test]
fn a_reserved_name_is_403() {
    let mut peer = Peer::connect();
    let generated = peer.declare(1, exclusive_queue("")).queue.to_string();
    for name in [unique("amq.mine"), generated] {
        refused(
            &mut peer,
            exclusive_queue(&name),
            403,
            &format!("ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*'"),
        );
    }
    peer.close();
}

#[test]
fn a_passive_declare_finds_a_queue_or_is_404() {
    let mut peer = Peer::connect();
    let name = peer.fresh_queue(1, "there");
    // Nothing but the name counts, and names with the reserved prefix are no exception.
    let otherwise = queue::Declare {
        durable: true,
        auto_delete: true,
        arguments: table([("x-max-length", AMQPValue::LongInt(-1))]),
        ..passive(&name)
    };
    peer.declare(1, otherwise);
    expect_absent(&mut peer, &unique("absent"));
    expect_absent(&mut peer, &unique("amq.gen-absent"));
    expect_absent(&mut peer, "");
    peer.close();
}

#[test]
fn a_redeclaration_that_differs_is_406_and_says_in_what() {
    let mut peer = Peer::connect();
    let name = peer.fresh_shared_queue(1, "fixed");
    let text = |key: &str, received: &str, current: &str| {
        format!(
            "PRECONDITION_FAILED - inequivalent arg '{key}' for queue '{name}' in vhost '/': \
             received '{received}' but current is '{current}'"
        )
    };
    let transient = queue::Declare {
        durable: false,
        ..durable_queue(&name)
    };
    refused(&mut peer, transient, 406, &text("durable", "false", "true"));
    let auto_delete = queue::Declare {
        auto_delete: true,
        ..durable_queue(&name)
    };
    refused(
        &mut peer,
        auto_delete,
        406,
        &text("auto_delete", "true", "false"),
    );
    peer.declare(1, durable_queue(&name));
    peer.delete_queue(1, &name);
    peer.close();
}

#[test]
fn delete_and_purge_answer_the_message_count() {
    let mut peer = Peer::connect();
    let name = peer.fresh_queue(1, "counted");
    assert_eq!(peer.purge(1, &name), 0);
    peer.fill(&name, &["a", "b", "c"]);
    assert_eq!(peer.purge(1, &name), 3);
    assert_eq!(peer.counts(1, &name), (0, 0));
    peer.fill(&name, &["a", "b"]);
    assert_eq!(peer.delete_queue(1, &name), 2);
    expect_absent(&mut peer, &name);
    peer.close();
}

#[test]
fn purge_leaves_what_was_delivered_and_not_acknowledged() {
    let mut peer = Peer::connect();
    let name = peer.fresh_queue(1, "purged");
    peer.fill(&name, &["held", "ready"]);
    let held = peer.get(1, &name, false).expect("a message");
    assert_eq!(peer.purge(1, &name), 1);
    peer.nack(1, held.method.delivery_tag, false, true);
    assert_eq!(peer.drain(1, &name), ["held"]);
    peer.close();
}

#[test]
fn deleting_a_missing_queue_succeeds_and_purging_it_is_404() {
    let mut peer = Peer::connect();
    let name = unique("absent");
    assert_eq!(peer.delete_queue(1, &name), 0);
    let conditional = queue::Delete {
        if_empty: true,
        if_unused: true,
        ..delete(&name)
    };
    let ok: queue::DeleteOk = peer.call(1, conditional);
    assert_eq!(ok.message_count, 0);
    peer.send(
        1,
        queue::Purge {
            queue: name.as_str().into(),
            nowait: false,
        },
    );
    peer.expect_channel_close::<queue::Purge>(
        1,
        404,
        &format!("NOT_FOUND - no queue '{name}' in vhost '/'"),
    );
    peer.close();
}

#[test]
fn if_empty_and_if_unused_refuse_to_delete() {
    let mut peer = Peer::connect();
    let name = peer.fresh_queue(1, "needed");
    let refused = |peer: &mut Peer, delete, what: &str| {
        peer.send(1, delete);
        let text = format!("PRECONDITION_FAILED - queue '{name}' in vhost '/' {what}");
        peer.expect_channel_close::<queue::Delete>(1, 406, &text);
        peer.open_channel(1);
    };
    let if_empty = || queue::Delete {
        if_empty: true,
        ..delete(&name)
    };
    let if_unused = || queue::Delete {
        if_unused: true,
        ..delete(&name)
    };
    peer.fill(&name, &["a"]);
    refused(&mut peer, if_empty(), "not empty");
    peer.open_channel(2);
    peer.qos(2, 1, false);
    peer.consume(2, &name, "c");
    peer.expect_delivery(2);
    refused(&mut peer, if_unused(), "in use");
    peer.close_channel(2);
    let ok: queue::DeleteOk = peer.call(1, if_unused());
    assert_eq!(ok.message_count, 1);
    peer.close();
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let auto_delete = |name: &str| queue::Declare {
        auto_delete: true,
        ..exclusive_queue(name)
    };
    let (cancelled, closed, unused) = (unique("auto"), unique("auto"), unique("auto"));
    for name in [&cancelled, &closed, &unused] {
        peer.declare(1, auto_delete(name));
    }
    peer.consume(1, &cancelled, "first");
    peer.consume(1, &cancelled, "second");
    peer.cancel(1, "first");
    assert_eq!(peer.counts(1, &cancelled), (0, 1));
    peer.cancel(1, "second");
    expect_absent(&mut peer, &cancelled);
    peer.consume(2, &closed, "c");
    peer.close_channel(2);
    expect_absent(&mut peer, &closed);
    // It stays as long as nobody consumed; a get does not count.
    assert!(peer.get(1, &unused, true).is_none());
    assert_eq!(peer.counts(1, &unused), (0, 0));
    peer.close();
}

#[test]
fn no_wait_declares_purges_and_deletes_without_an_answer() {
    let mut peer = Peer::connect();
    let name = unique("no-wait");
    let declare = queue::Declare {
        nowait: true,
        ..exclusive_queue(&name)
    };
    peer.send(1, declare);
    peer.publish(1, "", &name, "purged");
    peer.send(
        1,
        queue::Purge {
            queue: name.as_str().into(),
            nowait: true,
        },
    );
    peer.expect_nothing(1);
    assert_eq!(peer.counts(1, &name), (0, 0));
    peer.send(
        1,
        queue::Declare {
            nowait: true,
            ..passive(&name)
        },
    );
    peer.expect_nothing(1);
    peer.send(
        1,
        queue::Delete {
            nowait: true,
            ..delete(&name)
        },
    );
    peer.expect_nothing(1);
    expect_absent(&mut peer, &name);
    peer.close();
}

#[test]
fn the_empty_name_means_the_channels_last_declared_queue() {
    let mut peer = Peer::connect();
    let first = peer.fresh_queue(1, "first");
    let last = peer.declare(1, exclusive_queue("")).queue.to_string();
    // With neither name nor key, the key is the queue's name too.
    peer.bind(1, "", "amq.direct", "");
    peer.publish(1, "amq.direct", &last, "to the last");
    assert_eq!(peer.counts(1, &last), (1, 0));
    assert_eq!(peer.get(1, "", true).expect("it").body, b"to the last");
    peer.unbind(1, "", "amq.direct", "");
    peer.expect_unroutable(1, "amq.direct", &last);
    peer.counts(1, &first);
    // A passive declare counts as well.
    peer.fill(&first, &["a"]);
    assert_eq!(peer.purge(1, ""), 1);
    peer.consume(1, "", "c");
    assert_eq!(peer.counts(1, &first), (0, 1));
    peer.cancel(1, "c");
    assert_eq!(peer.delete_queue(1, ""), 0);
    expect_absent(&mut peer, &first);
    peer.close();
}

#[test]
fn the_empty_name_is_404_before_anything_was_declared() {
    const TEXT: &str = "NOT_FOUND - no previously declared queue";
    let mut peer = Peer::connect();
    peer.send(1, queue::Purge::default());
    peer.expect_channel_close::<queue::Purge>(1, 404, TEXT);
    peer.open_channel(1);
    peer.send(1, delete(""));
    peer.expect_channel_close::<queue::Delete>(1, 404, TEXT);
    peer.open_channel(1);
    peer.send(1, basic::Get::default());
    peer.expect_channel_close::<basic::Get>(1, 404, TEXT);
    peer.open_channel(1);
    peer.send(1, basic::Consume::default());
    peer.expect_channel_close::<basic::Consume>(1, 404, TEXT);
    peer.open_channel(1);
    peer.send(
        1,
        queue::Bind {
            exchange: "amq.direct".into(),
            ..queue::Bind::default()
        },
    );
    peer.expect_channel_close::<queue::Bind>(1, 404, TEXT);
    peer.open_channel(1);
    // What another channel declared does not count.
    peer.open_channel(2);
    peer.fresh_queue(2, "of another channel");
    peer.send(1, queue::Purge::default());
    peer.expect_channel_close::<queue::Purge>(1, 404, TEXT);
    peer.close();
}

#[test]
fn getting_from_and_consuming_from_a_missing_queue_is_404() {
    let mut peer = Peer::connect();
    let name = unique("absent");
    let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
    peer.send(
        1,
        basic::Get {
            queue: name.as_str().into(),
            no_ack: false,
        },
    );
    peer.expect_channel_close::<basic::Get>(1, 404, &text);
    peer.open_channel(1);
    peer.send(1, consume_from(&name, "c"));
    peer.expect_channel_close::<basic::Consume>(1, 404, &text);
    peer.close();
}

#[test]
fn line_ends_are_cut_out_of_names() {
    let mut peer = Peer::connect();
    let name = unique("line-ends");
    let (start, end) = name.split_at(4);
    let ok = peer.declare(1, exclusive_queue(&format!("{start}\r\n{end}\n")));
    assert_eq!(ok.queue.as_str(), name);
    peer.close();
}

#[test]
fn a_queue_that_nobody_uses_expires_and_one_with_a_consumer_does_not() {
    let mut peer = Peer::connect();
    let arguments = || table([("x-expires", AMQPValue::LongInt(500))]);
    let consumed = unique("consumed");
    let declare = queue::Declare {
        arguments: arguments(),
        ..exclusive_queue(&consumed)
    };
    // In one piece: on a busy machine half a second may pass between two.
    let mut both = method_bytes(1, declare);
    both.extend(method_bytes(1, consume_from(&consumed, "c")));
    peer.send_bytes(&both);
    peer.expect::<queue::DeclareOk>(1);
    peer.expect::<basic::ConsumeOk>(1);
    let unused = peer.fresh_queue_with(1, "unused", arguments());
    peer.confirm_select(1);
    let deadline = Instant::now() + PATIENCE;
    // Published to, which is no use of it, until a message comes back.
    loop {
        assert!(Instant::now() < deadline, "the queue is still there");
        let publish = basic::Publish {
            mandatory: true,
            ..publish_to("", &unused)
        };
        peer.send_publish(1, publish, AMQPProperties::default(), b"m");
        let answer = peer.next_method(1, "a return or a confirm");
        if !matches!(answer, AMQPClass::Basic(basic::AMQPMethod::Ack(_))) {
            break;
        }
    }
    peer.open_channel(2);
    peer.send(2, passive(&unused));
    let text = format!("NOT_FOUND - no queue '{unused}' in vhost '/'");
    peer.expect_channel_close::<queue::Declare>(2, 404, &text);
    peer.open_channel(2);
    peer.declare(2, passive(&consumed));
    peer.close();
}
