//! Nothing that a peer sends makes the codec panic, recurse without bound or allocate by a claimed length.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::{fs, path::Path, thread};

use amqp_codec::{MAX_TABLE_DEPTH, exercise, parse_method, parse_table, validate_table};
use proptest::prelude::*;

/// A table that holds a table that holds ..., `levels` in all.
fn nested_tables(levels: usize) -> Vec<u8> {
    nested(levels, |inside| {
        let mut table = vec![1, b'k', b'F'];
        table.extend((inside.len() as u32).to_be_bytes());
        table.extend(inside);
        table
    })
}

fn nested(levels: usize, wrap: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    (1..levels).fold(Vec::new(), |inside, _| wrap(inside))
}

/// The payload of a queue.declare with these arguments.
fn declare(table: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 50, 0, 10, 0, 0, 0, 0];
    payload.extend((table.len() as u32).to_be_bytes());
    payload.extend(table);
    payload
}

#[test]
fn tables_nest_to_the_limit_and_not_beyond() {
    assert_eq!(validate_table(&nested_tables(MAX_TABLE_DEPTH)), Ok(()));
    assert!(parse_table(&nested_tables(MAX_TABLE_DEPTH)).is_ok());
    assert!(parse_method(&declare(&nested_tables(MAX_TABLE_DEPTH))).is_ok());
    let refused = validate_table(&nested_tables(MAX_TABLE_DEPTH + 1)).unwrap_err();
    assert_eq!(refused.to_string(), "field table nested too deeply");
}

#[test]
fn deeply_nested_tables_and_arrays_do_not_overflow_the_stack() {
    let arrays = nested(10_000, |inside| {
        let mut array = vec![b'A'];
        array.extend((inside.len() as u32).to_be_bytes());
        array.extend(inside);
        array
    });
    let in_table = [&[1, b'k'][..], &arrays].concat();
    // a stack far smaller than any thread of the broker has
    let small = thread::Builder::new().stack_size(128 * 1024);
    let checked = small.spawn(move || {
        for table in [nested_tables(10_000), in_table] {
            assert_eq!(
                parse_method(&declare(&table)).unwrap_err().reply_code(),
                502
            );
            assert!(parse_table(&table).is_err());
        }
    });
    checked.unwrap().join().unwrap();
}

#[test]
fn claimed_lengths_beyond_the_bytes_are_refused() {
    for kind in [b'S', b'x', b'F', b'A'] {
        assert!(validate_table(&[1, b'k', kind, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
    let declare = [0, 50, 0, 10, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(parse_method(&declare).unwrap_err().reply_code(), 501);
}

#[test]
fn long_strings_of_any_bytes_and_every_value_type_pass() {
    let mut table = vec![1, b'S', b'S', 0, 0, 0, 2, 0xff, 0xfe];
    let sizes = [
        (b't', 1),
        (b'b', 1),
        (b'B', 1),
        (b's', 2),
        (b'u', 2),
        (b'U', 2),
        (b'I', 4),
        (b'i', 4),
        (b'f', 4),
        (b'D', 5),
        (b'l', 8),
        (b'L', 8),
        (b'd', 8),
        (b'T', 8),
        (b'V', 0),
        (b'x', 4),
        (b'F', 4),
        (b'A', 4),
    ];
    for (kind, size) in sizes {
        table.extend([1, kind, kind]);
        table.extend(vec![0; size]);
    }
    let parsed = parse_table(&table).unwrap();
    assert_eq!(parsed.inner().len(), sizes.len() + 1);
}

#[test]
fn corpus_of_the_fuzz_target_replays() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frame_decoder");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        exercise(&fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "the corpus is empty");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        exercise(&data);
    }

    #[test]
    fn arbitrary_arguments_of_real_methods_never_panic(
        class in prop_oneof![Just(10u8), Just(20), Just(30), Just(40), Just(50), Just(60), Just(85), Just(90)],
        method in 0..130u8,
        arguments in proptest::collection::vec(prop_oneof![3 => 0..9u8, 1 => any::<u8>()], 0..60),
    ) {
        let payload = [&[0, class, 0, method][..], &arguments].concat();
        exercise(&payload);
    }
}
