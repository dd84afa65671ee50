//! What is written comes back, what is let go leaves no file, and damage is noticed.

use tempfile::TempDir;

use super::*;
use crate::{
    journal::file_system::Disk,
    message::{Flags, Message},
    queue::DeliveryCounts,
};

fn entry(position: u64, length: usize) -> Entry {
    let body = vec![position as u8; length];
    let flags = Flags::from_bits(position as u8);
    let message = Message::with_flags("logs", "a.b", &[0, 0], &body, flags);
    Entry {
        counts: DeliveryCounts::from_bits(position as u32),
        stored: position.is_multiple_of(3),
        redelivered: position.is_multiple_of(5),
        ..Entry::new(position, message, 1_000 + position)
    }
}

fn open(folder: &TempDir) -> Spill {
    Spill::open(Arc::new(Disk), folder.path()).unwrap()
}

fn names(folder: &TempDir) -> Vec<String> {
    Disk.list(folder.path()).unwrap()
}

#[test]
fn block_gives_back_the_messages_that_were_written() {
    let folder = TempDir::new().unwrap();
    let spill = open(&folder);
    let first: Vec<_> = (1..=40).map(|at| entry(at, at as usize * 10)).collect();
    let second = [entry(50, 0), entry(51, 100_000)];
    let blocks = [spill.write(&first).unwrap(), spill.write(&second).unwrap()];
    for (block, written) in blocks.iter().zip([&first[..], &second[..]]) {
        let mut found = Vec::new();
        block.read(&mut found).unwrap();
        assert_eq!(found.len(), written.len());
        for (found, written) in found.iter().zip(written) {
            let (message, other) = (&found.message, &written.message);
            assert_eq!(found.position, written.position);
            assert_eq!(found.entered, written.entered);
            assert_eq!(found.counts, written.counts);
            assert_eq!(found.stored, written.stored);
            assert_eq!(found.redelivered, written.redelivered);
            assert_eq!(message.flags(), other.flags());
            assert_eq!(message.exchange(), other.exchange());
            assert_eq!(message.routing_key(), other.routing_key());
            assert_eq!(message.properties(), other.properties());
            assert_eq!(message.body(), other.body());
        }
    }
}

#[test]
fn messages_that_expire_are_read_alone() {
    let folder = TempDir::new().unwrap();
    let spill = open(&folder);
    let expiring = |position| {
        let message = Message::new("", "q", &[1, 0, 1, b'5'], &[position as u8; 30], false);
        Entry::new(position, message, 1_000)
    };
    let block = spill
        .write(&[entry(1, 10), expiring(2), entry(3, 500), expiring(4)])
        .unwrap();
    for place in [4, 2] {
        let found = block.read_expiring(place).unwrap().unwrap();
        assert_eq!(
            (found.position, found.message.body()[0]),
            (place, place as u8)
        );
    }
    assert!(block.read_expiring(3).unwrap().is_none(), "it stays");
    assert!(block.read_expiring(5).unwrap().is_none());
}

#[test]
fn file_goes_with_its_last_block_once_another_is_written_to() {
    let folder = TempDir::new().unwrap();
    let spill = open(&folder);
    let large = [entry(1, FILE_SIZE as usize)];
    let blocks = [
        spill.write(&large).unwrap(),
        spill.write(&[entry(2, 10)]).unwrap(),
        spill.write(&[entry(3, 10)]).unwrap(),
    ];
    assert_eq!(names(&folder).len(), 2);
    let [first, second, third] = blocks;
    drop(first);
    assert_eq!(names(&folder).len(), 1);
    drop((second, third));
    assert_eq!(names(&folder).len(), 1, "the file that is written to stays");
    drop(spill);
    assert!(names(&folder).is_empty());
}

#[test]
fn open_drops_what_a_killed_process_left() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("0000000000000009.spill"), "old").unwrap();
    open(&folder);
    assert!(names(&folder).is_empty());
}

#[test]
fn damaged_block_is_refused_and_named() {
    let folder = TempDir::new().unwrap();
    let spill = open(&folder);
    let block = spill.write(&[entry(1, 100)]).unwrap();
    let path = folder.path().join(&names(&folder)[0]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = block.read(&mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains(".spill at offset 0"), "{error}");
}
