//! The state machine of a connection without a socket: scripted clients on a wire in memory, in virtual time, and the
//! corpus of the fuzz target `connection`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod client;
mod exercise;
mod instructions;
mod operations;
mod wire;

use std::{fs, path::Path, sync::Arc};

use amqp_codec::{
    AMQPClass, FieldTable,
    protocol::{channel, confirm, queue},
};
use broker_core::{
    definitions::{DestinationKind, MemoryDefinitions},
    queue::ConnectionId,
    store::MemoryStore,
    vhost::BindingRequest,
};
use exercise::{End, START, start};

#[test]
fn corpus_of_the_fuzz_target_replays() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/connection");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        exercise::exercise(&fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "the corpus is empty");
}

/// Milliseconds of the heartbeat that the handshake agrees on.
const HEARTBEAT: u64 = 60_000;

fn connected(store: &Arc<MemoryStore>) -> End {
    let broker = start(store, &Arc::new(MemoryDefinitions::new()));
    let mut end = End::new(&broker, START, true);
    end.client.take_lines();
    end
}

#[test]
fn confirm_of_a_persistent_message_waits_for_the_store() {
    let store = Arc::new(MemoryStore::held());
    let mut end = connected(&store);
    let methods = [
        AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})),
        AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select {
            nowait: true,
        })),
        AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
            queue: "q".into(),
            durable: true,
            nowait: true,
            ..queue::Declare::default()
        })),
    ];
    for method in &methods {
        end.wire.send(1, method);
    }
    end.wire.publish(1, "q", true, b"first");
    end.wire.publish(1, "q", false, b"second");
    end.run(START);
    assert_eq!(end.client.take_lines(), ["1 channel.open-ok"]);
    store.release_all();
    end.run(START);
    assert_eq!(end.client.take_lines(), ["1 ack 2 multiple"]);
}

#[test]
fn heartbeat_is_sent_at_half_the_interval_and_two_missed_ones_end_the_connection() {
    let mut end = connected(&Arc::new(MemoryStore::new()));
    assert_eq!(end.wire.poll_timeout(), Some(START + HEARTBEAT / 2));
    end.run(START + HEARTBEAT / 2 - 1);
    assert!(end.client.take_lines().is_empty());
    end.run(START + HEARTBEAT / 2);
    assert_eq!(end.client.take_lines(), ["heartbeat"]);
    end.run(START + HEARTBEAT * 2 - 1);
    assert!(!end.wire.ended());
    end.run(START + HEARTBEAT * 2);
    assert!(end.wire.ended());
}

#[test]
fn exchanges_that_are_bound_in_a_circle_go_with_their_broker() {
    let store = Arc::new(MemoryStore::new());
    let broker = start(&store, &Arc::new(MemoryDefinitions::new()));
    let vhost = broker.vhost("/").unwrap();
    let circle = BindingRequest {
        source: "amq.fanout".to_owned(),
        destination_kind: DestinationKind::Exchange,
        destination: "amq.fanout".to_owned(),
        routing_key: String::new(),
        arguments: FieldTable::default(),
    };
    vhost.bind(&circle, ConnectionId(1)).unwrap();
    let exchange = Arc::downgrade(&vhost.exchange("amq.fanout").unwrap());
    drop((vhost, broker));
    assert!(exchange.upgrade().is_none());
}
