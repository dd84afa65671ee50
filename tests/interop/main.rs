//! Real clients, written for RabbitMQ, against the real binary: pika, aio-pika, kombu and celery
//! (Python), amqplib (Node), lapin and amqprs (Rust), and the programs in `examples/`.
//!
//! The Python and Node clients install themselves below `target/interop`, see [`clients`]. A machine
//! without `python3` or `npm` fails these tests: a client that nobody tried is a client that may not
//! work. `LEVERET_TEST_AMQP=host:port` runs everything against another broker instead.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step is a failed test, and its panic is the report"
)]

mod aio_pika;
mod amqplib;
mod amqprs;
mod clients;
mod examples;
mod kombu;
mod lapin;
mod pika;
mod tls;

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/client.rs"]
mod client;
