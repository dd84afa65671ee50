//! Times to live: of queues and of messages (<https://www.rabbitmq.com/docs/ttl>).

use std::time::{Duration, Instant};

use crate::leveret_only;
use crate::support::{
    AMQPProperties, AMQPValue, Broker, FieldTable, Peer,
    content::{publish_bytes, publish_to},
    durable_queue, longstr, queue, table,
};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than any test.
const HOUR: &str = "3600000";

/// A queue for dead letters, and the arguments of a queue whose dead letters go there.
fn dead_letters(peer: &mut Peer) -> (String, FieldTable) {
    let letters = peer.fresh_queue(1, "letters");
    let arguments = table([
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&letters)),
    ]);
    (letters, arguments)
}

fn expiring(expiration: &str) -> AMQPProperties {
    AMQPProperties::default().with_expiration(expiration.into())
}

fn publish(peer: &mut Peer, queue: &str, body: &str, expiration: &str) {
    peer.publish_with(1, "", queue, expiring(expiration), body.as_bytes());
}

/// Polls until so many messages are in the queue.
fn wait_for_count(peer: &mut Peer, queue: &str, count: u32) {
    let deadline = Instant::now() + PATIENCE;
    while peer.counts(1, queue).0 != count {
        assert!(
            Instant::now() < deadline,
            "{queue} has not {count} messages"
        );
        crate::support::pause();
    }
}

#[test]
fn a_message_expires_between_others_that_stay() {
    leveret_only!("RabbitMQ's classic queues look at the first message alone");
    let mut peer = Peer::connect();
    let (letters, arguments) = dead_letters(&mut peer);
    let queue = peer.fresh_queue_with(1, "ttl-middle", arguments);
    peer.publish(1, "", &queue, "stays");
    publish(&mut peer, &queue, "goes", "20");
    publish(&mut peer, &queue, "stays an hour", HOUR);
    wait_for_count(&mut peer, &letters, 1);
    assert_eq!(peer.drain(1, &letters), ["goes"]);
    assert_eq!(peer.drain(1, &queue), ["stays", "stays an hour"]);
    peer.close();
}

#[test]
fn dead_letters_come_in_the_order_in_which_they_expired() {
    leveret_only!("RabbitMQ's classic queues look at the first message alone");
    let mut peer = Peer::connect();
    let (letters, arguments) = dead_letters(&mut peer);
    let queue = peer.fresh_queue_with(1, "ttl-order", arguments);
    // The first one keeps the others waiting in a queue that looks at its front alone.
    let all = [("d", "900"), ("b", "500"), ("c", "700"), ("a", "300")];
    // In one piece, so that they enter together.
    let bytes = all.iter().flat_map(|(body, expiration)| {
        publish_bytes(
            1,
            publish_to("", &queue),
            expiring(expiration),
            body.as_bytes(),
        )
    });
    peer.send_bytes(&bytes.collect::<Vec<u8>>());
    wait_for_count(&mut peer, &letters, 4);
    assert_eq!(peer.drain(1, &letters), ["a", "b", "c", "d"]);
    peer.close();
}

#[test]
fn a_message_is_not_dead_before_its_time() {
    let mut peer = Peer::connect();
    let (letters, arguments) = dead_letters(&mut peer);
    let queue = peer.fresh_queue_with(1, "ttl-early", arguments);
    let published = Instant::now();
    publish(&mut peer, &queue, "retry", "400");
    wait_for_count(&mut peer, &letters, 1);
    assert!(published.elapsed() >= Duration::from_millis(399));
    peer.close();
}

#[test]
fn a_time_to_live_of_0_is_now_or_never() {
    let mut peer = Peer::connect();
    let (letters, arguments) = dead_letters(&mut peer);
    let queue = peer.fresh_queue_with(1, "ttl-0", arguments);
    publish(&mut peer, &queue, "never", "0");
    wait_for_count(&mut peer, &letters, 1);
    assert_eq!(peer.counts(1, &queue), (0, 0));
    peer.consume_no_ack(1, &queue, "c");
    publish(&mut peer, &queue, "now", "0");
    assert_eq!(peer.expect_delivery(1).text(), "now");
    assert_eq!(peer.counts(1, &letters).0, 1);
    peer.close();
}

#[test]
fn a_delivery_does_not_expire_and_does_when_it_comes_back_too_late() {
    let mut peer = Peer::connect();
    let (letters, arguments) = dead_letters(&mut peer);
    let queue = peer.fresh_queue_with(1, "ttl-back", arguments);
    // A busy machine may come too late for the first of them.
    let in_time = ["30", "300", "3000", "30000"]
        .iter()
        .find_map(|expiration| {
            publish(&mut peer, &queue, "late", expiration);
            let got = peer.get(1, &queue, false);
            if got.is_none() {
                wait_for_count(&mut peer, &letters, 1);
                peer.purge(1, &letters);
            }
            got
        });
    let got = in_time.expect("the message in time");
    let expiration = got.properties.expiration().clone().expect("what it had");
    publish(&mut peer, &queue, "clock", expiration.as_str());
    wait_for_count(&mut peer, &letters, 1);
    peer.reject(1, got.method.delivery_tag, true);
    wait_for_count(&mut peer, &letters, 2);
    assert_eq!(peer.drain(1, &letters), ["clock", "late"]);
    peer.close();
}

#[test]
fn messages_of_all_priorities_expire_on_time() {
    leveret_only!("RabbitMQ's classic queues look at the first message of each priority alone");
    let mut peer = Peer::connect();
    let (letters, mut arguments) = dead_letters(&mut peer);
    arguments.insert("x-max-priority".into(), AMQPValue::LongInt(5));
    let queue = peer.fresh_queue_with(1, "ttl-priorities", arguments);
    for priority in [1, 5, 3] {
        let stays = AMQPProperties::default().with_priority(priority);
        peer.publish_with(1, "", &queue, stays, b"stays");
        let goes = expiring("20").with_priority(priority);
        peer.publish_with(1, "", &queue, goes, b"goes");
    }
    wait_for_count(&mut peer, &letters, 3);
    assert_eq!(peer.drain(1, &letters), ["goes"; 3]);
    assert_eq!(peer.drain(1, &queue), ["stays"; 3]);
    peer.close();
}

#[test]
fn messages_that_lie_on_disk_expire_on_time_and_in_order() {
    leveret_only!("the test needs a broker without memory for messages");
    const COUNT: u64 = 600;
    let broker = Broker::start_with_options(&[("LEVERET_MEMORY_MESSAGE_BUDGET", "256")]);
    let mut peer = Peer::connect_to(&broker);
    let (letters, arguments) = dead_letters(&mut peer);
    let queue = "ttl-disk";
    let declare = queue::Declare {
        arguments,
        ..durable_queue(queue)
    };
    peer.declare(1, declare);
    peer.confirm_select(1);
    let begin = Instant::now();
    let mut ends = Vec::new();
    for number in 0..COUNT {
        // Every third one stays; the others expire in an order of their own.
        let ttl = 1_500 + number.wrapping_mul(0x9E37_79B9) % 1_500;
        let mode = 1 + (number % 2) as u8;
        let properties = match number % 3 {
            0 => AMQPProperties::default(),
            _ => expiring(&ttl.to_string()),
        };
        let properties = properties.with_delivery_mode(mode);
        let body = number.to_string();
        peer.publish_with(1, "", queue, properties, body.as_bytes());
        ends.push(begin.elapsed().as_millis() as u64 + ttl);
    }
    peer.expect_confirms_to(1, COUNT);
    let took = begin.elapsed().as_millis() as u64 + 1;
    wait_for_count(&mut peer, &letters, COUNT as u32 / 3 * 2);
    let dead = peer.drain(1, &letters);
    let ended: Vec<u64> = dead
        .iter()
        .map(|body| ends[body.parse::<usize>().expect("a number")])
        .collect();
    // When a message entered is known to within the time that the confirms took.
    for (before, after) in ended.iter().zip(&ended[1..]) {
        assert!(*before <= after + took, "{before} before {after}");
    }
    let stays: Vec<String> = (0..COUNT).step_by(3).map(|it| it.to_string()).collect();
    assert_eq!(peer.drain(1, queue), stays);
    peer.close();
}
