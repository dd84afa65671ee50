//! queue.bind, queue.unbind, exchange.bind and exchange.unbind: what they refuse and what they make.

use crate::leveret_only;
use crate::support::operations::exchange_of;
use crate::support::{Method, Peer, exchange, longstr, queue, table, unique};

const DEFAULT_EXCHANGE: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";

fn bind(queue: &str, exchange: &str, key: &str) -> queue::Bind {
    queue::Bind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: key.into(),
        ..queue::Bind::default()
    }
}

fn unbind(queue: &str, exchange: &str, key: &str) -> queue::Unbind {
    queue::Unbind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: key.into(),
        ..queue::Unbind::default()
    }
}

fn bind_exchange(destination: &str, source: &str) -> exchange::Bind {
    exchange::Bind {
        destination: destination.into(),
        source: source.into(),
        ..exchange::Bind::default()
    }
}

fn unbind_exchange(destination: &str, source: &str, key: &str) -> exchange::Unbind {
    exchange::Unbind {
        destination: destination.into(),
        source: source.into(),
        routing_key: key.into(),
        ..exchange::Unbind::default()
    }
}

#[track_caller]
fn refused<M: Method>(peer: &mut Peer, method: M, code: u16, text: &str) {
    peer.send(1, method);
    peer.expect_channel_close::<M>(1, code, text);
    peer.open_channel(1);
}

#[test]
fn binding_what_is_missing_is_404() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "bound");
    let absent = unique("absent");
    let no_queue = format!("NOT_FOUND - no queue '{absent}' in vhost '/'");
    let no_exchange = format!("NOT_FOUND - no exchange '{absent}' in vhost '/'");
    refused(&mut peer, bind(&absent, "amq.direct", "k"), 404, &no_queue);
    refused(&mut peer, bind(&queue, &absent, "k"), 404, &no_exchange);
    // Both are missing: the source is named.
    refused(&mut peer, bind(&absent, &absent, "k"), 404, &no_exchange);
    refused(
        &mut peer,
        bind_exchange(&absent, "amq.direct"),
        404,
        &no_exchange,
    );
    refused(
        &mut peer,
        bind_exchange("amq.direct", &absent),
        404,
        &no_exchange,
    );
    peer.close();
}

#[test]
fn unbinding_what_is_not_bound_succeeds() {
    let mut peer = Peer::connect();
    let (queue, exchange) = (peer.fresh_queue(1, "unbound"), unique("absent"));
    peer.unbind(1, &queue, "amq.direct", "never bound");
    peer.call::<_, exchange::UnbindOk>(1, unbind_exchange("amq.fanout", "amq.direct", "never"));
    leveret_only!("404 before RabbitMQ 4");
    peer.unbind(1, &queue, &exchange, "k");
    peer.unbind(1, &unique("absent"), "amq.direct", "k");
    peer.call::<_, exchange::UnbindOk>(1, unbind_exchange(&exchange, "amq.direct", "k"));
    peer.close();
}

#[test]
fn the_default_exchange_can_be_neither_bound_nor_unbound() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "default");
    refused(&mut peer, bind(&queue, "", "k"), 403, DEFAULT_EXCHANGE);
    refused(&mut peer, unbind(&queue, "", "k"), 403, DEFAULT_EXCHANGE);
    refused(&mut peer, unbind(&queue, "", &queue), 403, DEFAULT_EXCHANGE);
    refused(
        &mut peer,
        bind_exchange("amq.direct", ""),
        403,
        DEFAULT_EXCHANGE,
    );
    refused(
        &mut peer,
        bind_exchange("", "amq.direct"),
        403,
        DEFAULT_EXCHANGE,
    );
    refused(
        &mut peer,
        unbind_exchange("", "amq.direct", "k"),
        403,
        DEFAULT_EXCHANGE,
    );
    peer.close();
}

#[test]
fn a_direct_reply_to_queue_cannot_be_bound() {
    leveret_only!("new in RabbitMQ 4");
    let mut peer = Peer::connect();
    refused(
        &mut peer,
        bind("amq.rabbitmq.reply-to", "amq.direct", "k"),
        403,
        "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue",
    );
    peer.close();
}

#[test]
fn the_same_binding_twice_is_one_binding() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "once");
    let exchange = peer.fresh_exchange(1, "direct");
    peer.bind(1, &queue, &exchange, "k");
    peer.bind(1, &queue, &exchange, "k");
    peer.publish(1, &exchange, "k", "once");
    assert_eq!(peer.drain(1, &queue), ["once"]);
    peer.unbind(1, &queue, &exchange, "k");
    // The exchange was auto-delete: its only binding is gone.
    let passive = exchange::Declare {
        passive: true,
        ..exchange_of("direct", &exchange)
    };
    peer.send(1, passive);
    peer.expect_channel_close::<exchange::Declare>(
        1,
        404,
        &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"),
    );
    peer.close();
}

#[test]
fn bindings_that_differ_in_their_arguments_are_two() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "arguments");
    let exchange = peer.fresh_exchange(1, "direct");
    let arguments = table([("x-which", longstr("second"))]);
    peer.bind(1, &queue, &exchange, "k");
    peer.bind_with(1, &queue, &exchange, "k", arguments);
    peer.unbind(1, &queue, &exchange, "k");
    peer.publish(1, &exchange, "k", "by the second");
    assert_eq!(peer.drain(1, &queue), ["by the second"]);
    peer.close();
}

#[test]
fn unbind_removes_just_the_binding_with_that_key() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "keys");
    let exchange = peer.fresh_exchange(1, "topic");
    peer.bind(1, &queue, &exchange, "a.*");
    peer.bind(1, &queue, &exchange, "*.b");
    peer.unbind(1, &queue, &exchange, "a.*");
    peer.publish(1, &exchange, "a.b", "first");
    peer.publish(1, &exchange, "a.c", "second");
    assert_eq!(peer.drain(1, &queue), ["first"]);
    peer.close();
}

#[test]
fn a_deleted_queue_takes_its_bindings_along() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "again");
    let key = unique("key");
    peer.bind(1, &queue, "amq.direct", &key);
    peer.delete_queue(1, &queue);
    peer.declare(1, crate::support::operations::exclusive_queue(&queue));
    peer.expect_unroutable(1, "amq.direct", &key);
    peer.close();
}

#[test]
fn no_wait_binds_and_unbinds_without_an_answer() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "no-wait");
    let (source, destination) = (
        peer.fresh_exchange(1, "fanout"),
        peer.fresh_exchange(1, "fanout"),
    );
    peer.send(
        1,
        queue::Bind {
            nowait: true,
            ..bind(&queue, &destination, "")
        },
    );
    peer.send(
        1,
        exchange::Bind {
            nowait: true,
            ..bind_exchange(&destination, &source)
        },
    );
    peer.expect_nothing(1);
    peer.publish(1, &source, "", "routed");
    assert_eq!(peer.drain(1, &queue), ["routed"]);
    peer.send(
        1,
        exchange::Unbind {
            nowait: true,
            ..unbind_exchange(&destination, &source, "")
        },
    );
    peer.expect_nothing(1);
    peer.publish(1, &destination, "", "direct");
    assert_eq!(peer.drain(1, &queue), ["direct"]);
    peer.close();
}
