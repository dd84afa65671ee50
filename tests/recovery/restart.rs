//! A restart in good order keeps everything, and tells the clients: counts are right at once, and what was delivered
//! before is flagged, and nothing else.

use lapin::{ErrorKind, options::*};

use crate::{
    client,
    kill::{contents, persistent},
    mortal_broker,
    support::{Broker, Peer, durable_queue},
};

const QUEUE: &str = "durable";

/// A peer whose queue holds the numbers from 0 to 99, confirmed.
fn filled(broker: &Broker) -> Peer {
    let mut peer = Peer::connect_to(broker);
    peer.declare(1, durable_queue(QUEUE));
    peer.confirm_select(1);
    for number in 0..100 {
        let body = number.to_string();
        peer.publish_with(1, "", QUEUE, persistent(), body.as_bytes());
    }
    peer.expect_confirms_to(1, 100);
    peer
}

/// Numbers and flags of all that is in the queue, which keeps it.
fn numbers(broker: &Broker) -> Vec<(u64, bool)> {
    let text = |body: Vec<u8>| String::from_utf8(body).expect("digits");
    let found = contents(broker, QUEUE).into_iter();
    found
        .map(|it| (text(it.body).parse().expect("a number"), it.redelivered))
        .collect()
}

#[test]
fn a_clean_restart_keeps_counts_and_flags() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let mut peer = filled(&broker);
    // One is settled, three are held, of which one comes back before the end and two with it.
    let first = peer.get(1, QUEUE, false).expect("the first");
    peer.ack(1, first.method.delivery_tag, false);
    for number in 1..4 {
        let got = peer.get(1, QUEUE, false).expect("the next");
        assert_eq!(got.body, number.to_string().into_bytes());
        if number == 1 {
            peer.reject(1, got.method.delivery_tag, true);
            let again = peer.get(1, QUEUE, false).expect("the same");
            assert!(again.method.redelivered);
            peer.reject(1, again.method.delivery_tag, true);
            peer.get(1, QUEUE, false).expect("the same again");
        }
    }
    assert_eq!(peer.counts(1, QUEUE), (96, 0));
    broker.restart();

    let expected: Vec<(u64, bool)> = (1..100).map(|number| (number, number < 4)).collect();
    assert_eq!(Peer::connect_to(&broker).counts(1, QUEUE), (99, 0));
    broker.restart();
    assert_eq!(numbers(&broker), expected);
    // All of them were delivered just now.
    broker.restart();
    assert_eq!(Peer::connect_to(&broker).counts(1, QUEUE), (99, 0));
    let all: Vec<(u64, bool)> = (1..100).map(|number| (number, true)).collect();
    assert_eq!(numbers(&broker), all);
}

#[test]
fn after_a_kill_all_that_is_left_may_have_been_delivered() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let _peer = filled(&broker);
    broker.kill();
    broker.start_again();
    assert_eq!(Peer::connect_to(&broker).counts(1, QUEUE), (100, 0));
    let all: Vec<(u64, bool)> = (0..100).map(|number| (number, true)).collect();
    assert_eq!(numbers(&broker), all);
}

#[tokio::test]
async fn clients_are_told_of_a_restart() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let uri = broker.amqp_uri();
    let (_connection, channel) = client::open(&uri).await;
    broker.restart();
    let ended = channel.basic_qos(1, BasicQosOptions::default()).await;
    let ended = ended.expect_err("a closed connection");
    if let ErrorKind::ProtocolError(error) = ended.kind() {
        assert_eq!(error.get_id(), 320, "{error}");
    }
    let connection = client::connect(&uri).await;
    let closed = connection.close(200, "bye".into()).await;
    closed.expect("a clean close");
}

#[test]
fn what_was_delivered_before_a_kill_is_flagged_though_nothing_else_happened() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    drop(filled(&broker));
    broker.restart();
    let mut peer = Peer::connect_to(&broker);
    let got = peer.get(1, QUEUE, false).expect("the first");
    assert!(!got.method.redelivered);
    broker.kill();
    broker.start_again();
    let (number, redelivered) = numbers(&broker)[0];
    assert_eq!(number, 0);
    assert!(redelivered, "it was delivered before");
}
