//! `amq.rabbitmq.reply-to`: answers to a request without a queue for them.

use crate::leveret_only;
use crate::support::content::publish_to;
use crate::support::operations::consume_from;
use crate::support::{
    AMQPProperties, Method, Peer, basic, durable_queue, foreign_broker, queue, tx, unique,
};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A requester that listens for replies on channel 1.
fn requester() -> Peer {
    let mut peer = Peer::connect();
    peer.consume_no_ack(1, REPLY_TO, "replies");
    peer
}

fn request(peer: &mut Peer, channel: u16, queue: &str, body: &str) {
    let properties = AMQPProperties::default()
        .with_reply_to(REPLY_TO.into())
        .with_correlation_id(body.into());
    peer.publish_with(channel, "", queue, properties, body.as_bytes());
}

/// Takes a request out of the queue and says where the reply goes to.
#[track_caller]
fn reply_address(server: &mut Peer, queue: &str) -> String {
    let got = server.get(1, queue, true).expect("the request");
    let reply_to = got.properties.reply_to().as_ref().expect("a reply-to");
    reply_to.to_string()
}

#[track_caller]
fn expect_refused<M: Method>(peer: &mut Peer, why: &str) {
    let text = format!("PRECONDITION_FAILED - {why}");
    peer.expect_channel_close::<M>(1, 406, &text);
    peer.open_channel(1);
}

#[test]
fn a_reply_reaches_the_channel_that_asked() {
    let mut client = requester();
    let mut server = Peer::connect();
    let queue = server.fresh_shared_queue(1, "rpc");
    server.consume_no_ack(1, &queue, "server");
    for number in 0..10 {
        let body = format!("request {number}");
        request(&mut client, 1, &queue, &body);
        let asked = server.expect_delivery(1);
        let reply_to = asked.properties.reply_to().clone().expect("a reply-to");
        assert!(
            reply_to.as_str().starts_with("amq.rabbitmq.reply-to."),
            "{reply_to}"
        );
        let properties = AMQPProperties::default()
            .with_correlation_id(asked.properties.correlation_id().clone().expect("an id"));
        server.publish_with(1, "", reply_to.as_str(), properties.clone(), b"reply");
        let reply = client.expect_delivery(1);
        assert_eq!(reply.consumer(), "replies");
        assert_eq!(reply.text(), "reply");
        assert_eq!(reply.properties, properties);
        assert_eq!(reply.method.exchange.as_str(), "");
        assert_eq!(reply.method.routing_key, reply_to);
        if !foreign_broker() {
            // RabbitMQ before 4.2 gave all replies the same tag.
            assert_eq!(reply.method.delivery_tag, number + 1);
        }
        assert!(!reply.method.redelivered);
    }
    server.delete_queue(1, &queue);
    client.close();
    server.close();
}

#[test]
fn each_channel_has_its_own_reply_address() {
    let mut client = requester();
    client.open_channel(2);
    client.consume_no_ack(2, REPLY_TO, "replies");
    let mut server = Peer::connect();
    let queue = server.fresh_shared_queue(1, "rpc");
    client.confirm_select(1);
    client.confirm_select(2);
    request(&mut client, 1, &queue, "from one");
    client.expect_confirms_to(1, 1);
    request(&mut client, 2, &queue, "from two");
    client.expect_confirms_to(2, 1);
    let one = reply_address(&mut server, &queue);
    let two = reply_address(&mut server, &queue);
    assert_ne!(one, two);
    server.publish(1, "", &two, "to two");
    assert_eq!(client.expect_delivery(2).text(), "to two");
    server.publish(1, "", &one, "to one");
    assert_eq!(client.expect_delivery(1).text(), "to one");
    server.delete_queue(1, &queue);
    client.close();
    server.close();
}

#[test]
fn the_server_names_a_reply_consumer_without_a_tag() {
    let mut peer = Peer::connect();
    let consume = basic::Consume {
        no_ack: true,
        ..consume_from(REPLY_TO, "")
    };
    let tag = peer.consume_with(1, consume);
    assert!(tag.starts_with("amq.ctag-"), "{tag}");
    peer.close();
}

#[test]
fn a_reply_consumer_cannot_acknowledge() {
    let mut peer = Peer::connect();
    peer.send(1, consume_from(REPLY_TO, "replies"));
    expect_refused::<basic::Consume>(&mut peer, "reply consumer cannot acknowledge");
    peer.close();
}

#[test]
fn a_channel_has_one_reply_consumer() {
    let mut peer = requester();
    let second = basic::Consume {
        no_ack: true,
        ..consume_from(REPLY_TO, "second")
    };
    peer.send(1, second);
    expect_refused::<basic::Consume>(&mut peer, "reply consumer already set");
    peer.close();
}

#[test]
fn a_request_needs_a_reply_consumer_on_its_channel() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    peer.consume_no_ack(2, REPLY_TO, "replies");
    request(&mut peer, 1, "nowhere", "request");
    expect_refused::<basic::Publish>(&mut peer, "fast reply consumer does not exist");
    peer.close();
}

#[test]
fn a_cancelled_reply_consumer_takes_no_more_requests_but_can_be_set_again() {
    let mut peer = requester();
    peer.cancel(1, "replies");
    peer.consume_no_ack(1, REPLY_TO, "again");
    peer.cancel(1, "again");
    request(&mut peer, 1, "nowhere", "request");
    expect_refused::<basic::Publish>(&mut peer, "fast reply consumer does not exist");
    peer.close();
}

#[test]
fn any_other_reply_to_is_left_alone() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "rpc");
    let properties = AMQPProperties::default().with_reply_to("answers".into());
    peer.publish_with(1, "", &queue, properties, b"request");
    assert_eq!(reply_address(&mut peer, &queue), "answers");
    peer.close();
}

#[test]
fn the_pseudo_queue_can_be_declared_and_has_a_consumer() {
    let mut peer = Peer::connect();
    for passive in [false, true] {
        let declare = queue::Declare {
            passive,
            ..durable_queue(REPLY_TO)
        };
        let ok = peer.declare(1, declare);
        assert_eq!(ok.queue.as_str(), REPLY_TO);
        assert_eq!((ok.message_count, ok.consumer_count), (0, 1));
    }
    peer.close();
}

#[test]
fn a_reply_address_can_be_declared_while_its_requester_listens() {
    let mut client = requester();
    let mut server = Peer::connect();
    let queue = server.fresh_shared_queue(1, "rpc");
    client.confirm_select(1);
    request(&mut client, 1, &queue, "request");
    client.expect_confirms_to(1, 1);
    let address = reply_address(&mut server, &queue);
    let ok = server.declare(1, durable_queue(&address));
    assert_eq!((ok.message_count, ok.consumer_count), (0, 1));
    client.cancel(1, "replies");
    server.send(1, durable_queue(&address));
    let text = format!("NOT_FOUND - no queue '{address}' in vhost '/'");
    server.expect_channel_close::<queue::Declare>(1, 404, &text);
    server.open_channel(1);
    server.delete_queue(1, &queue);
    client.close();
    server.close();
}

#[test]
fn a_reply_address_that_was_never_given_out_does_not_exist() {
    let mut peer = Peer::connect();
    let address = format!("{REPLY_TO}.{}", unique("invented"));
    peer.send(1, durable_queue(&address));
    let text = format!("NOT_FOUND - no queue '{address}' in vhost '/'");
    peer.expect_channel_close::<queue::Declare>(1, 404, &text);
    peer.open_channel(1);
    peer.expect_unroutable(1, "", &address);
    peer.close();
}

#[test]
fn a_reply_is_routable() {
    leveret_only!("RabbitMQ returned mandatory replies before 4.2");
    let mut client = requester();
    let mut server = Peer::connect();
    let queue = server.fresh_shared_queue(1, "rpc");
    client.confirm_select(1);
    request(&mut client, 1, &queue, "request");
    client.expect_confirms_to(1, 1);
    let mandatory = basic::Publish {
        mandatory: true,
        ..publish_to("", &reply_address(&mut server, &queue))
    };
    server.confirm_select(1);
    server.send_publish(1, mandatory, AMQPProperties::default(), b"reply");
    assert_eq!(server.expect::<basic::Ack>(1).delivery_tag, 1);
    assert_eq!(client.expect_delivery(1).text(), "reply");
    server.delete_queue(1, &queue);
    client.close();
    server.close();
}

#[test]
fn a_reply_after_the_requester_is_gone_is_dropped() {
    let mut server = Peer::connect();
    let queue = server.fresh_shared_queue(1, "rpc");
    let mut addresses = Vec::new();
    for way in ["cancel", "close the channel", "close the connection"] {
        let mut client = requester();
        client.confirm_select(1);
        request(&mut client, 1, &queue, "request");
        client.expect_confirms_to(1, 1);
        addresses.push(reply_address(&mut server, &queue));
        match way {
            "cancel" => client.cancel(1, "replies"),
            "close the channel" => client.close_channel(1),
            _ => {}
        }
        server.publish(1, "", addresses.last().expect("just pushed"), "too late");
        server.round_trip();
        if way == "cancel" {
            client.expect_nothing(1);
        }
        client.close();
    }
    server.confirm_select(1);
    for address in &addresses {
        server.publish(1, "", address, "too late");
    }
    server.expect_confirms_to(1, addresses.len() as u64);
    server.expect_nothing(1);
    server.delete_queue(1, &queue);
    server.close();
}

#[test]
fn a_reply_address_cannot_be_bound() {
    leveret_only!("RabbitMQ before 4.3 answers 404");
    let mut peer = Peer::connect();
    let bind = queue::Bind {
        queue: format!("{REPLY_TO}.{}", unique("invented")).as_str().into(),
        exchange: "amq.direct".into(),
        routing_key: "key".into(),
        ..queue::Bind::default()
    };
    peer.send(1, bind);
    let text = "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue";
    peer.expect_channel_close::<queue::Bind>(1, 403, text);
    peer.close();
}

#[test]
fn a_reply_with_a_large_body_arrives_whole() {
    let mut client = requester();
    let mut server = Peer::connect();
    let queue = server.fresh_shared_queue(1, "rpc");
    client.confirm_select(1);
    request(&mut client, 1, &queue, "request");
    client.expect_confirms_to(1, 1);
    let address = reply_address(&mut server, &queue);
    let body: Vec<u8> = (0..400_000).map(|at| (at % 241) as u8).collect();
    server.publish_with(1, "", &address, AMQPProperties::default(), &body);
    assert!(client.expect_delivery(1).body == body);
    server.delete_queue(1, &queue);
    client.close();
    server.close();
}

#[test]
fn a_reply_in_a_transaction_is_sent_at_commit() {
    leveret_only!("RabbitMQ before 4.2 sent it at once");
    let mut client = requester();
    let mut server = Peer::connect();
    let queue = server.fresh_shared_queue(1, "rpc");
    client.confirm_select(1);
    request(&mut client, 1, &queue, "request");
    client.expect_confirms_to(1, 1);
    let address = reply_address(&mut server, &queue);
    server.call::<_, tx::SelectOk>(1, tx::Select {});
    server.publish(1, "", &address, "rolled back");
    server.call::<_, tx::RollbackOk>(1, tx::Rollback {});
    server.publish(1, "", &address, "committed");
    server.round_trip();
    client.expect_nothing(1);
    server.call::<_, tx::CommitOk>(1, tx::Commit {});
    assert_eq!(client.expect_delivery(1).text(), "committed");
    server.delete_queue(1, &queue);
    client.close();
    server.close();
}
