//! Requests and replies: publishers ask through direct reply-to with so many requests under way, consumers answer each.
//!
//! A published message is a request, a delivered one its reply, the latency that of the round trip.

use std::sync::atomic::Ordering::Relaxed;

use amqp_codec::protocol::basic;
use amqp_codec::{AMQPClass, FrameKind, Properties, Publish, encode, parse_content_header};

use super::arguments::PerfArgs;
use super::batch::{Messages, stamp_of};
use super::connection::{CHANNEL, Connection, control};
use super::consumer;
use super::counters::Counters;
use super::latency::Latencies;
use super::target::Target;
use crate::error::Error;

/// The queue whose name stands for the connection itself (<https://www.rabbitmq.com/docs/direct-reply-to>).
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Bytes of one read.
const READ_BUFFER: usize = 64 * 1024;

/// Asks until the run stops; gives the times from request to reply.
pub async fn ask(
    arguments: &PerfArgs,
    target: &Target,
    counters: &Counters,
    index: usize,
    window: u64,
) -> Result<Latencies, Error> {
    let mut connection = Connection::open(target, READ_BUFFER).await?;
    let consume = basic::AMQPMethod::Consume(basic::Consume {
        queue: REPLY_TO.into(),
        no_ack: true,
        ..Default::default()
    });
    connection.ask(CHANNEL, &AMQPClass::Basic(consume)).await?;
    let mut messages = Messages::new(arguments, index, connection.frame_max);
    let mut latencies = Latencies::new()?;
    let mut under_way = 0;
    while !counters.stopped() {
        let now = counters.now();
        let replies = take_replies(&mut connection, counters, now, &mut latencies)?;
        counters.delivered.fetch_add(replies, Relaxed);
        under_way -= replies;
        let requests = window.saturating_sub(under_way);
        for _ in 0..requests {
            messages.append(&mut connection.output, now);
        }
        counters.published.fetch_add(requests, Relaxed);
        under_way += requests;
        connection.flush()?;
        connection.step_soon().await?;
    }
    connection.close().await;
    Ok(latencies)
}

/// Counts the replies that are there. Each is one body frame: [`PerfArgs::check`] sees to it.
fn take_replies(
    connection: &mut Connection,
    counters: &Counters,
    now: u64,
    latencies: &mut Latencies,
) -> Result<u64, Error> {
    let mut replies = 0;
    while let Some(frame) = connection.input.next(connection.frame_max)? {
        if frame.kind == FrameKind::Method {
            control(&frame)?;
        }
        if frame.kind != FrameKind::Body {
            continue;
        }
        replies += 1;
        if counters.measuring()
            && let Some(sent_at) = stamp_of(frame.payload)
        {
            latencies.record(now.saturating_sub(sent_at));
        }
    }
    Ok(replies)
}

/// Answers every request with its own body, until the run stops.
pub async fn answer(
    arguments: &PerfArgs,
    target: &Target,
    counters: &Counters,
    index: usize,
) -> Result<Latencies, Error> {
    let mut connection = Connection::open(target, READ_BUFFER).await?;
    consumer::subscribe(&mut connection, arguments, index).await?;
    let mut reply_to = String::new();
    while !counters.stopped() {
        let Connection {
            input,
            output,
            frame_max,
            ..
        } = &mut connection;
        while let Some(frame) = input.next(*frame_max)? {
            match frame.kind {
                FrameKind::Method => drop(control(&frame)?),
                FrameKind::Header => {
                    let properties = parse_content_header(frame.payload)?.properties;
                    let properties = Properties::parse(properties)?;
                    reply_to.clear();
                    reply_to.push_str(properties.reply_to.unwrap_or_default());
                }
                FrameKind::Body => reply(output, &reply_to, frame.payload),
                FrameKind::Heartbeat => {}
            }
        }
        connection.flush()?;
        connection.step_soon().await?;
    }
    connection.close().await;
    Latencies::new()
}

fn reply(output: &mut Vec<u8>, routing_key: &str, body: &[u8]) {
    let publish = Publish {
        exchange: "",
        routing_key,
        mandatory: false,
        immediate: false,
    };
    encode::publish(output, CHANNEL, &publish);
    encode::content(output, CHANNEL, 0, &[], body);
}
