//! What it costs to find the destinations of one message in the table of an exchange. A channel keeps the last route, so
//! a broker pays this when a publisher changes its target, and for every message of a headers exchange.
//!
//! `cargo bench -p broker-core --bench routing`.
#![allow(clippy::unwrap_used, missing_docs)]

use broker_core::{
    arguments::{AMQPValue, FieldTable},
    exchange::{ExchangeKind, RoutingTable},
};
use divan::{Bencher, black_box, counter::ItemsCount};

fn main() {
    divan::main();
}

const BINDINGS: u32 = 10_000;

/// The key that is looked for.
const KEY: &str = "stock.usd.nyse.4711";

fn none() -> FieldTable {
    FieldTable::default()
}

/// A table with bindings for other keys, one destination each.
fn others(kind: ExchangeKind, key: impl Fn(u32) -> String) -> RoutingTable<u32> {
    let mut table = RoutingTable::new(kind);
    for number in 0..BINDINGS {
        table.bind(&key(number), &none(), number).unwrap();
    }
    table
}

fn look_up(
    bencher: Bencher<'_, '_>,
    table: &RoutingTable<u32>,
    headers: Option<&FieldTable>,
    expected: usize,
) {
    let route = || {
        let mut found = 0;
        let mut each = |_: &u32| found += 1;
        table.route(black_box(KEY), headers, &mut each);
        found
    };
    assert_eq!(route(), expected);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(route);
}

#[divan::bench]
fn direct_one_of_10_000(bencher: Bencher<'_, '_>) {
    let mut table = others(ExchangeKind::Direct, |number| format!("other.{number}"));
    table.bind(KEY, &none(), BINDINGS).unwrap();
    look_up(bencher, &table, None, 1);
}

#[divan::bench]
fn topic_three_of_10_000(bencher: Bencher<'_, '_>) {
    let mut table = others(ExchangeKind::Topic, |number| match number % 3 {
        0 => format!("stock.eur.{number}.*"),
        1 => format!("stock.usd.exchange{number}.#"),
        _ => format!("*.gbp.*.{number}"),
    });
    for (number, key) in ["stock.usd.nyse.*", "*.usd.#", KEY].into_iter().enumerate() {
        let destination = BINDINGS + number as u32;
        table.bind(key, &none(), destination).unwrap();
    }
    look_up(bencher, &table, None, 3);
}

#[divan::bench]
fn headers_one_of_100(bencher: Bencher<'_, '_>) {
    let header = |number: u32| {
        let mut table = none();
        table.insert("x-match".into(), AMQPValue::LongString("all".into()));
        table.insert("number".into(), AMQPValue::LongUInt(number));
        table
    };
    let mut table = RoutingTable::new(ExchangeKind::Headers);
    for number in 0..100 {
        table.bind("", &header(number), number).unwrap();
    }
    look_up(bencher, &table, Some(&header(47)), 1);
}

#[divan::bench]
fn fanout_to_50(bencher: Bencher<'_, '_>) {
    let mut table = RoutingTable::new(ExchangeKind::Fanout);
    for number in 0..50 {
        table.bind("", &none(), number).unwrap();
    }
    look_up(bencher, &table, None, 50);
}
