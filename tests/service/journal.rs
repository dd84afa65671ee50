//! What the journal's own commands say of a broker that has stopped.

use amq_protocol::protocol::basic::AMQPProperties;

use crate::{
    succeeded,
    support::{AMQPValue, Broker, Peer, ShortString, durable_queue},
};

/// Publishes persistent messages of 100 bytes.
fn publish(peer: &mut Peer, queue: &str, priorities: &[u8]) {
    peer.open_channel(2);
    peer.confirm_select(2);
    for priority in priorities {
        let properties = AMQPProperties::default()
            .with_delivery_mode(2)
            .with_priority(*priority);
        peer.publish_with(2, "", queue, properties, &[b'x'; 100]);
    }
    peer.expect_confirms_to(2, priorities.len() as u64);
    peer.close_channel(2);
}

#[test]
fn journal_verify_makes_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let text = succeeded(folder.path(), &["journal", "verify"]);
    assert!(text.contains("the journal is whole"), "{text}");
    assert!(!folder.path().join("journal").exists());
}

#[test]
fn journal_stats_name_the_queues_that_hold_the_most() {
    let mut broker = Broker::start_with_options(&[]);
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue("few"));
    peer.declare(1, durable_queue("many"));
    peer.declare(1, durable_queue("none"));
    let mut urgent = durable_queue("urgent");
    let key = ShortString::from("x-max-priority");
    urgent.arguments.insert(key, AMQPValue::LongInt(3));
    peer.declare(1, urgent);
    publish(&mut peer, "few", &[0; 2]);
    publish(&mut peer, "many", &[0; 9]);
    publish(&mut peer, "urgent", &[3; 5]);
    peer.close();
    assert!(broker.stop().success());
    let text = succeeded(broker.data_dir(), &["journal", "stats"]);
    assert!(text.contains("queues with messages: 3"), "{text}");
    let listed: Vec<_> = text.lines().filter(|it| it.starts_with("  ")).collect();
    let names = ["queue 'many'", "queue 'urgent'", "queue 'few'"];
    for ((line, name), count) in listed.iter().zip(names).zip([9, 5, 2]) {
        let begin = format!("  {count} messages, ");
        assert!(line.starts_with(&begin) && line.contains(name), "{text}");
    }
    assert!(listed[1].ends_with("in vhost '/', priority 3"), "{text}");
    assert_eq!(listed.len(), 3, "{text}");
}
