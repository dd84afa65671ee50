//! The format of the data directory: an older one is brought up to date, a newer one is refused.

use std::fs;

use crate::support::{Broker, Peer, content::Got, durable_queue};

fn persistent() -> amq_protocol::protocol::basic::AMQPProperties {
    amq_protocol::protocol::basic::AMQPProperties::default().with_delivery_mode(2)
}

/// A data directory with a queue that holds one message.
fn filled() -> tempfile::TempDir {
    let mut broker = Broker::start();
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue("kept"));
    peer.confirm_select(1);
    peer.publish_with(1, "", "kept", persistent(), b"message");
    peer.expect_confirms_to(1, 1);
    peer.close();
    assert!(broker.stop().success());
    broker.into_data_dir()
}

#[test]
fn data_of_an_older_format_are_migrated_and_what_changes_is_kept() {
    let data = filled();
    fs::write(data.path().join("format"), "format = 1\n").unwrap();
    let Ok(broker) = Broker::try_start(data, &[]) else {
        panic!("the broker does not start with older data");
    };
    let mut peer = Peer::connect_to(&broker);
    let got: Option<Got> = peer.get(1, "kept", true);
    assert_eq!(got.expect("the message").body, b"message");
    let log = broker.log().join("\n");
    assert!(log.contains("the data directory has format 2 now"), "{log}");
    let data = broker.data_dir();
    let kept = fs::read_to_string(data.join("before-format-2/format")).unwrap();
    assert_eq!(kept, "format = 1\n");
    let format = fs::read_to_string(data.join("format")).unwrap();
    assert!(format.starts_with("format = 2\n"), "{format}");
}

#[test]
fn data_of_a_newer_format_are_refused_by_one_line_and_left_alone() {
    let data = filled();
    let newer = "format = 77\nwritten_by = \"8.0.0\"\n";
    fs::write(data.path().join("format"), newer).unwrap();
    let Err((data, log)) = Broker::try_start(data, &[]) else {
        panic!("the broker starts with newer data");
    };
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    assert!(
        errors[0].contains("has format 77, written by Leveret 8.0.0; Leveret"),
        "{log}"
    );
    let format = fs::read_to_string(data.path().join("format")).unwrap();
    assert_eq!(format, newer);
}
