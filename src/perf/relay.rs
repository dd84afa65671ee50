//! What the kernel alone takes to pass bytes on: one thread reads them from a loopback socket and writes them to another.
//!
//! A broker cannot pass a large message on with less than that. Its cost in relation to this one says what it adds, on any
//! machine.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;

use super::{process, report};
use crate::error::Error;

/// Bytes of a mebibyte, in which results are counted.
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Copy bytes through two loopback sockets, and see what that costs without a broker
#[derive(Debug, Clone, Args)]
pub struct RelayArgs {
    /// Bytes that are read and written at once, at most
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024, value_parser = clap::value_parser!(u32).range(1..))]
    buffer: u32,
    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    duration: f64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match (0.1..1e6).contains(&value) {
        true => Ok(value),
        false => Err("must be 0.1 to 1000000".to_owned()),
    }
}

/// What was passed on.
#[derive(Debug, Serialize)]
struct Relayed {
    /// Bytes that went through.
    bytes: u64,
    /// Mebibytes a second.
    mebibytes_per_second: f64,
    /// CPU seconds of the thread in between, user and system, for a million mebibytes.
    cpu_seconds_per_million_mebibytes: f64,
}

/// Passes bytes on for the time that was asked for, and prints what it took.
///
/// # Errors
/// When sockets cannot be had.
pub fn run(arguments: &RelayArgs) -> Result<ExitCode, Error> {
    let relayed = relay(arguments).map_err(|error| Error::perf_io("cannot copy bytes", error))?;
    let text = format!(
        "relayed  {:.0} MiB/s, CPU {:.1} s per million MiB",
        relayed.mebibytes_per_second, relayed.cpu_seconds_per_million_mebibytes
    );
    report::show(arguments.json, &relayed, &text)?;
    Ok(ExitCode::SUCCESS)
}

fn relay(arguments: &RelayArgs) -> io::Result<Relayed> {
    let (source, mut from) = pair()?;
    let (mut to, sink) = pair()?;
    let buffer = arguments.buffer as usize;
    let end = Instant::now() + Duration::from_secs_f64(arguments.duration);
    let sending = thread::spawn(move || send_until(source, buffer, end));
    let receiving = thread::spawn(move || receive_all(sink, buffer));
    let started = Instant::now();
    let before = process::own_thread_cpu_time();
    let bytes = pass_on(&mut from, &mut to, buffer)?;
    let used = process::own_thread_cpu_time().saturating_sub(before);
    let seconds = started.elapsed().as_secs_f64();
    drop(to);
    for thread in [sending, receiving] {
        thread
            .join()
            .map_err(|_| io::Error::other("a thread has ended badly"))??;
    }
    let mebibytes = bytes as f64 / MEBIBYTE;
    Ok(Relayed {
        bytes,
        mebibytes_per_second: mebibytes / seconds,
        cpu_seconds_per_million_mebibytes: used.as_secs_f64() / mebibytes.max(1.0) * 1e6,
    })
}

/// Both ends of a connection over the loopback device.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    Ok((near, listener.accept()?.0))
}

fn send_until(mut to: TcpStream, buffer: usize, end: Instant) -> io::Result<()> {
    let bytes = vec![b'x'; buffer];
    while Instant::now() < end {
        to.write_all(&bytes)?;
    }
    Ok(())
}

fn receive_all(mut from: TcpStream, buffer: usize) -> io::Result<()> {
    let mut bytes = vec![0; buffer];
    while from.read(&mut bytes)? > 0 {}
    Ok(())
}

fn pass_on(from: &mut TcpStream, to: &mut TcpStream, buffer: usize) -> io::Result<u64> {
    let mut bytes = vec![0; buffer];
    let mut all = 0;
    loop {
        let read = from.read(&mut bytes)?;
        let Some(bytes) = bytes.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(all);
        };
        to.write_all(bytes)?;
        all += read as u64;
    }
}
