//! What a transaction refuses goes to the dead-letter exchange with it: all of it or nothing, whenever the broker is
//! killed.

use std::{thread, time::Duration};

use rand::Rng as _;

use crate::{
    kill::persistent,
    mortal_broker, random,
    support::{AMQPValue, FieldTable, Peer, ShortString, durable_queue, tx},
};

/// Messages that one commit refuses. Recorded one by one, they would take longer than most of the pauses before a kill.
const MESSAGES: u64 = 400;

const KILLS: usize = 8;

fn declare(peer: &mut Peer, queues: &[String; 3]) {
    let [source, dead, marker] = queues;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut arguments = FieldTable::default();
    arguments.insert(ShortString::from("x-dead-letter-exchange"), text(""));
    arguments.insert(ShortString::from("x-dead-letter-routing-key"), text(dead));
    let mut source = durable_queue(source);
    source.arguments = arguments;
    peer.declare(1, source);
    peer.declare(1, durable_queue(dead));
    peer.declare(1, durable_queue(marker));
}

/// Takes all messages, refuses them in a transaction that publishes a marker, and sends the commit.
fn refuse(peer: &mut Peer, source: &str, marker: &str) {
    peer.open_channel(2);
    peer.call::<_, tx::SelectOk>(2, tx::Select {});
    for _ in 0..MESSAGES {
        assert!(peer.get(2, source, false).is_some());
    }
    peer.publish_with(2, "", marker, persistent(), b"committed");
    peer.nack(2, 0, true, false);
    peer.send(2, tx::Commit {});
}

#[test]
fn a_transaction_that_refuses_messages_is_carried_out_whole_or_not_at_all() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let mut random = random();
    for round in 0..KILLS {
        let queues = ["source", "dead", "marker"].map(|name| format!("{name}.{round}"));
        let [source, dead, marker] = &queues;
        let mut peer = Peer::connect_to(&broker);
        declare(&mut peer, &queues);
        peer.confirm_select(1);
        for _ in 0..MESSAGES {
            peer.publish_with(1, "", source, persistent(), b"refused");
        }
        peer.expect_confirms_to(1, MESSAGES);
        refuse(&mut peer, source, marker);
        thread::sleep(Duration::from_millis(random.random_range(0..40)));
        broker.kill();
        broker.start_again();
        let mut peer = Peer::connect_to(&broker);
        let found = [source, dead, marker].map(|queue| u64::from(peer.counts(1, queue).0));
        let (before, after) = ([MESSAGES, 0, 0], [0, MESSAGES, 1]);
        assert!(
            found == before || found == after,
            "round {round}: {found:?}"
        );
        peer.close();
    }
}
