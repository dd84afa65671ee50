//! Topic permissions: the routing keys that a user may publish to a topic exchange and bind with.

use broker_core::definitions::TopicPermissionDefinition;

use crate::{
    served::{Served, TEST},
    support::{
        AMQPProperties, Peer, basic,
        content::{publish_bytes, publish_to},
        queue, table,
        table::longstrs,
    },
};

fn restrict(served: &Served, exchange: &str, [write, read]: [&str; 2]) {
    let permission = TopicPermissionDefinition {
        user: "somebody".to_owned(),
        vhost: "/".to_owned(),
        exchange: exchange.to_owned(),
        write: write.to_owned(),
        read: read.to_owned(),
    };
    let set = served.broker.set_topic_permissions(&permission, TEST);
    set.unwrap();
}

fn scene() -> (Served, Peer) {
    let served = Served::start();
    served.user("somebody", [".*"; 3]);
    let peer = served.connect("somebody");
    (served, peer)
}

#[track_caller]
fn expect_refusal<M: crate::support::Method>(peer: &mut Peer, what: &str) {
    let text = format!(
        "ACCESS_REFUSED - {what} in exchange topic 'amq.topic' in vhost '/' refused for user 'somebody'"
    );
    peer.expect_channel_close::<M>(1, 403, &text);
    peer.open_channel(1);
}

#[test]
fn a_publisher_may_use_the_keys_that_match_and_no_others() {
    let (served, mut peer) = scene();
    let queue = peer.fresh_queue(1, "topics");
    peer.bind(1, &queue, "amq.topic", "#");
    restrict(&served, "amq.topic", [r"^{username}\.{vhost}\.", ".*"]);
    peer.publish(1, "amq.topic", "somebody./.x", "good");
    peer.publish(1, "amq.topic", "others./.x", "bad");
    expect_refusal::<basic::Publish>(&mut peer, "write access to topic 'others./.x'");
    // Other exchanges are not concerned, also those of another type.
    peer.publish(1, "amq.direct", "others./.x", "elsewhere");
    assert_eq!(peer.drain(1, &queue), ["good"]);
}

#[test]
fn the_keys_of_cc_and_bcc_count_too() {
    let (served, mut peer) = scene();
    restrict(&served, "amq.topic", ["^good", ".*"]);
    for header in ["CC", "BCC"] {
        let properties =
            AMQPProperties::default().with_headers(table([(header, longstrs(["good", "bad"]))]));
        peer.send_bytes(&publish_bytes(
            1,
            publish_to("amq.topic", "good"),
            properties,
            b"",
        ));
        expect_refusal::<basic::Publish>(&mut peer, "write access to topic 'bad'");
    }
}

#[test]
fn a_consumer_may_bind_with_the_keys_that_match_and_no_others() {
    let (served, mut peer) = scene();
    let queue = peer.fresh_queue(1, "topics");
    restrict(&served, "amq.topic", [".*", r"^good\."]);
    peer.bind(1, &queue, "amq.topic", "good.#");
    peer.send(
        1,
        queue::Bind {
            queue: queue.as_str().into(),
            exchange: "amq.topic".into(),
            routing_key: "#".into(),
            ..queue::Bind::default()
        },
    );
    expect_refusal::<queue::Bind>(&mut peer, "read access to topic '#'");
    peer.send(
        1,
        queue::Unbind {
            queue: queue.as_str().into(),
            exchange: "amq.topic".into(),
            routing_key: "#".into(),
            ..queue::Unbind::default()
        },
    );
    expect_refusal::<queue::Unbind>(&mut peer, "read access to topic '#'");
}

#[test]
fn a_change_takes_effect_on_an_open_connection() {
    let (served, mut peer) = scene();
    let queue = peer.fresh_queue(1, "topics");
    peer.bind(1, &queue, "amq.topic", "#");
    peer.publish(1, "amq.topic", "key", "before");
    peer.round_trip();
    restrict(&served, "amq.topic", ["", ""]);
    peer.publish(1, "amq.topic", "key", "refused");
    expect_refusal::<basic::Publish>(&mut peer, "write access to topic 'key'");
    served
        .broker
        .clear_topic_permissions("somebody", "/", None, TEST)
        .unwrap();
    peer.publish(1, "amq.topic", "key", "after");
    assert_eq!(peer.drain(1, &queue), ["before", "after"]);
}

#[test]
fn only_what_exists_can_be_restricted() {
    let (served, _peer) = scene();
    let permission = |user: &str, vhost: &str, exchange: &str, write: &str| {
        let permission = TopicPermissionDefinition {
            user: user.to_owned(),
            vhost: vhost.to_owned(),
            exchange: exchange.to_owned(),
            write: write.to_owned(),
            read: String::new(),
        };
        served.broker.set_topic_permissions(&permission, TEST)
    };
    assert!(permission("somebody", "/", "amq.topic", "{client_id}").is_ok());
    assert!(permission("nobody", "/", "amq.topic", "").is_err());
    assert!(permission("somebody", "nowhere", "amq.topic", "").is_err());
    assert!(permission("somebody", "/", "missing", "").is_err());
    assert!(permission("somebody", "/", "amq.topic", "(").is_err());
}
