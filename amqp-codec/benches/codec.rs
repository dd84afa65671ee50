//! What one message costs between bytes and frames: a publish that comes in, a delivery that goes out, an ack.
//!
//! `cargo bench -p amqp-codec`. A publish and a delivery are three frames: method, content header and body.
#![allow(clippy::unwrap_used, missing_docs)]

use amqp_codec::{
    BASIC_CLASS, ContentHeader, FrameKind, Method, Publish, encode, parse_content_header,
    parse_frame, parse_method,
};
use divan::{Bencher, black_box, counter::ItemsCount};

fn main() {
    divan::main();
}

/// Bytes of the body: the smallest that is measured with latencies, and a usual one.
const SIZES: [usize; 2] = [16, 1024];

const FRAME_MAX: usize = 131_072;

/// `delivery_mode` 1 and nothing else.
const PROPERTIES: [u8; 3] = [0x10, 0, 1];

const PUBLISH: Publish<'_> = Publish {
    exchange: "amq.topic",
    routing_key: "stock.usd.nyse",
    mandatory: false,
    immediate: false,
};

fn write_publish(out: &mut Vec<u8>, body: &[u8]) {
    encode::publish(out, 1, &PUBLISH);
    encode::content(out, 1, FRAME_MAX, &PROPERTIES, body);
}

fn write_deliver(out: &mut Vec<u8>, body: &[u8]) {
    let (tag, exchange, key) = ("amq.ctag-0123456789", PUBLISH.exchange, PUBLISH.routing_key);
    encode::deliver(out, 1, tag, 4711, false, exchange, key);
    encode::content(out, 1, FRAME_MAX, &PROPERTIES, body);
}

/// Reads frames up to the end, and looks into each.
fn read(mut bytes: &[u8]) {
    while let Some((frame, used)) = parse_frame(bytes, FRAME_MAX).unwrap() {
        bytes = bytes.get(used..).unwrap();
        match frame.kind {
            FrameKind::Method => {
                drop::<Method<'_>>(black_box(parse_method(frame.payload).unwrap()))
            }
            FrameKind::Header => {
                let header: ContentHeader<'_> = parse_content_header(frame.payload).unwrap();
                black_box(header);
            }
            FrameKind::Body | FrameKind::Heartbeat => {
                black_box(frame.payload);
            }
        }
    }
}

fn parse(bencher: Bencher<'_, '_>, bytes: &[u8]) {
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| read(black_box(bytes)));
}

#[divan::bench(args = SIZES)]
fn parse_publish(bencher: Bencher<'_, '_>, size: usize) {
    let mut bytes = Vec::new();
    write_publish(&mut bytes, &vec![0; size]);
    parse(bencher, &bytes);
}

#[divan::bench(args = SIZES)]
fn parse_deliver(bencher: Bencher<'_, '_>, size: usize) {
    let mut bytes = Vec::new();
    write_deliver(&mut bytes, &vec![0; size]);
    parse(bencher, &bytes);
}

#[divan::bench(args = SIZES)]
fn encode_publish(bencher: Bencher<'_, '_>, size: usize) {
    encode_with(bencher, size, write_publish);
}

#[divan::bench(args = SIZES)]
fn encode_deliver(bencher: Bencher<'_, '_>, size: usize) {
    encode_with(bencher, size, write_deliver);
}

fn encode_with(bencher: Bencher<'_, '_>, size: usize, write: fn(&mut Vec<u8>, &[u8])) {
    let body = vec![0; size];
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        out.clear();
        write(black_box(&mut out), black_box(&body));
    });
}

#[divan::bench]
fn parse_ack(bencher: Bencher<'_, '_>) {
    let mut bytes = Vec::new();
    encode::ack(&mut bytes, 1, 4711, false);
    parse(bencher, &bytes);
}

/// What a rare method costs beside the frequent ones, which are sliced by hand.
#[divan::bench]
fn parse_qos_by_amq_protocol(bencher: Bencher<'_, '_>) {
    let mut bytes = Vec::new();
    let payload = [&BASIC_CLASS.to_be_bytes()[..], &[0, 10], &[0; 7]].concat();
    encode::frame(&mut bytes, FrameKind::Method, 1, &payload);
    parse(bencher, &bytes);
}
