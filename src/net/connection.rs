//! One connection's task: moves bytes between a socket and the state machine in [`crate::protocol`].
//!
//! Read as much as there is, do all of it, write once. Buffers belong to the worker thread and not to the connection
//! (`Scratch`); a connection keeps only what could not be used yet: the start of a frame, or output that the socket did
//! not take. Nothing awaits between the socket and the queues.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use amqp_codec::encode;
use broker_core::{broker::Broker, queue::Millis, store::Ticket};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::{
    io::{AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{proxy::Ends, stream::Stream};
use crate::{
    clock::Clock,
    protocol::{
        Settings,
        batch::Batch,
        connection::Connection,
        handshake::Certificate,
        inquiry::Finding,
        output::{Output, PIECES},
        running::OUTPUT_OF_A_RUN,
        spans::debug_in,
    },
};

/// Bytes that are read at once at most: enough that a busy publisher costs few system calls, little enough to stay in
/// the processor's second-level cache with the messages that are made of it.
const READ: usize = 128 * 1024;

/// Runs of one connection before others on the same thread have their turn.
const TURNS: usize = 16;

/// Output that may wait before input is no longer read: a client that sends and never reads is slowed down.
const PENDING_OUTPUT: usize = 1024 * 1024;

/// Spare capacity beyond this is given back when a connection has nothing left over.
const KEPT: usize = 4096;

/// The buffers of a worker thread.
#[derive(Default)]
struct Scratch {
    batch: Batch,
    input: Vec<u8>,
}

/// How long the end of a stream may take to be told.
const FAREWELL: Duration = Duration::from_secs(1);

/// Inquiries at the same time. Most of them wait for the network; passwords that are hashed slowly have turns of their
/// own.
static INQUIRIES: Semaphore = Semaphore::const_new(64);

thread_local! {
    /// Empty while a connection has it: should that one panic, nothing half done is left to the next.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// What connections share.
#[derive(Clone)]
pub struct Serving {
    /// The broker.
    pub broker: Arc<Broker>,
    /// What connections are allowed.
    pub settings: Arc<Settings>,
    /// The time.
    pub clock: Clock,
}

/// Somebody is asked. A connection that ends does not wait for its turn to ask any more.
struct Asked(JoinHandle<Finding>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves a connection until it ends.
pub async fn run(stream: TcpStream, ends: Ends, serving: Serving) {
    serve(stream, ends, None, serving).await;
}

/// Serves a connection over any stream. A client that has shown a certificate may log in with it.
pub async fn serve<S: Stream>(
    stream: S,
    (peer, local): Ends,
    certificate: Option<Certificate>,
    serving: Serving,
) {
    if let Err(error) = stream.tcp().set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let now = serving.clock.now();
    let machine = Connection::new(serving.broker, serving.settings, (peer, local), now);
    let machine = machine.with_certificate(certificate);
    let machine = machine.with_encryption(S::BUFFERS);
    let mut driver = Driver {
        stream,
        machine,
        clock: serving.clock,
        rest: Vec::new(),
        unparsed: false,
        output: Output::default(),
        held: None,
        timer: Box::pin(sleep_until(Instant::from_std(serving.clock.instant(now)))),
        timer_at: now,
        unflushed: false,
        inquiry: None,
        end: None,
    };
    poll_fn(|cx| driver.poll(cx)).await;
    if S::BUFFERS {
        // So that the client can tell the end from a cut; it may be gone, or not read.
        let _ = timeout(FAREWELL, driver.stream.shutdown()).await;
    }
    debug_in!(driver.machine.span(), "connection ended");
}

/// Why a connection's task ends.
enum End {
    /// The machine closed it.
    Closed,
    /// The client went away.
    Lost(io::Error),
}

struct Driver<S: Stream> {
    stream: S,
    machine: Connection,
    clock: Clock,
    /// Input that was not used yet.
    rest: Vec<u8>,
    /// `rest` may hold whole frames: the machine stopped in between.
    unparsed: bool,
    /// Output that the socket did not take.
    output: Output,
    /// Output behind it that waits for the disk. Heartbeats go ahead of it.
    held: Option<Box<Output>>,
    timer: Pin<Box<Sleep>>,
    timer_at: Millis,
    /// The stream still has something of what was written to it.
    unflushed: bool,
    /// Who is asked what the machine wants to know, on a thread for such work.
    inquiry: Option<Asked>,
    end: Option<End>,
}

/// However the task ends, also by a panic or with the runtime: what the connection held goes back.
impl<S: Stream> Drop for Driver<S> {
    fn drop(&mut self) {
        let mut batch = Batch {
            now: self.clock.now(),
            ..Batch::default()
        };
        self.machine.terminate(&mut batch);
    }
}

impl<S: Stream> Driver<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = SCRATCH.take().unwrap_or_default();
        scratch.batch.out.lends = !S::BUFFERS;
        let polled = self.poll_turns(&mut scratch, cx);
        scratch.batch.trim();
        SCRATCH.set(Some(scratch));
        polled
    }

    fn poll_turns(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            scratch.batch.now = self.clock.now();
            let progress = self.turn(scratch, cx);
            if let Some(end) = &self.end {
                if let End::Lost(error) = end {
                    self.machine.log_loss(error);
                }
                self.machine.terminate(&mut scratch.batch);
                scratch.batch.out.clear();
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One run: time, output, outbox, input. False when there is nothing to do until one of them wakes the task.
    fn turn(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> bool {
        let batch = &mut scratch.batch;
        // Whatever was appended last on this thread, nobody of this connection waits for it.
        batch.work.ticket = Ticket::NONE;
        self.poll_asked(cx);
        let mut progress = self.poll_time(batch, cx);
        progress |= self.poll_outbox(batch, cx);
        progress |= self.poll_finding(batch, cx);
        progress |= self.poll_input(scratch, cx);
        progress |= self.poll_inquiry();
        progress |= self.flush(&mut scratch.batch, cx);
        self.poll_flush(cx);
        let written = self.output.is_empty() && self.held.is_none() && !self.unflushed;
        let done = written || self.machine.is_abandoned();
        if self.machine.is_closed() && done {
            self.end.get_or_insert(End::Closed);
        }
        progress && self.end.is_none()
    }

    /// Answers those who want to know whether the client is still there, or ends if it is not.
    fn poll_asked(&mut self, cx: &mut Context<'_>) {
        let asked = self.machine.liveness();
        let Some(liveness) = asked.filter(|liveness| liveness.poll_asked(cx.waker())) else {
            return;
        };
        if !has_hung_up(self.stream.tcp()) {
            liveness.answer();
        } else if self.machine.waits_for_others() || self.output_is_full() {
            // What the client sent last will not be read, so the end of the stream would not be found.
            let error = io::Error::from(io::ErrorKind::UnexpectedEof);
            self.end = Some(End::Lost(error));
        }
    }

    /// Has somebody asked what the machine wants to know, on a thread where nobody waits for it.
    fn poll_inquiry(&mut self) -> bool {
        let Some(inquiry) = self.machine.poll_inquiry() else {
            return false;
        };
        let broker = Arc::clone(self.machine.broker());
        let clock = self.clock;
        self.inquiry = Some(Asked(tokio::spawn(async move {
            let Ok(turn) = INQUIRIES.acquire().await else {
                return Finding::Lost;
            };
            // Whoever asks keeps the turn to the end, also when nobody waits for the answer any more.
            let asked = spawn_blocking(move || {
                let _turn = turn;
                inquiry.ask(&broker, || clock.now())
            });
            asked.await.unwrap_or(Finding::Lost)
        })));
        true
    }

    fn poll_finding(&mut self, batch: &mut Batch, cx: &mut Context<'_>) -> bool {
        let Some(Asked(inquiry)) = &mut self.inquiry else {
            return false;
        };
        let Poll::Ready(found) = Pin::new(inquiry).poll(cx) else {
            return false;
        };
        self.inquiry = None;
        let finding = found.unwrap_or(Finding::Lost);
        self.machine.handle_finding(finding, batch);
        true
    }

    fn output_is_full(&self) -> bool {
        self.output.len() > PENDING_OUTPUT
    }

    fn poll_time(&mut self, batch: &mut Batch, cx: &mut Context<'_>) -> bool {
        let due = batch.now >= self.timer_at;
        if due {
            if self.machine.seems_silent(batch.now) && self.has_news() {
                self.machine.handle_alive(batch.now);
            }
            self.machine.handle_timeout(batch);
            if self.machine.take_beat() {
                encode::heartbeat(&mut self.output.frames);
            }
        }
        // A later time can wait until the timer has run out, which saves setting it for every frame; an earlier one, as
        // the first heartbeat after a login, cannot.
        let next = self.machine.poll_timeout().unwrap_or(Millis::MAX);
        if due || next < self.timer_at {
            self.timer_at = next.max(batch.now + 1);
            if next == Millis::MAX {
                return false;
            }
            let instant = Instant::from_std(self.clock.instant(self.timer_at));
            self.timer.as_mut().reset(instant);
        }
        if self.timer_at == Millis::MAX {
            return false;
        }
        self.timer.as_mut().poll(cx).is_ready() && self.clock.now() >= self.timer_at
    }

    /// Whether the client has done something that this task has not heard of yet, because the whole broker stood still:
    /// stopped by a signal, or starved by other processes. A client from which nothing is read at the moment has to take
    /// something instead.
    fn has_news(&self) -> bool {
        let wanted = match self.output_is_full() {
            true => PollFlags::OUT,
            false => PollFlags::IN,
        };
        is_ready(self.stream.tcp(), wanted)
    }

    /// Takes deliveries when the socket has taken the last ones.
    fn poll_outbox(&mut self, batch: &mut Batch, cx: &mut Context<'_>) -> bool {
        if !self.machine.poll_writable() {
            return self.machine.outbox().poll_durable(cx.waker());
        }
        if !self.output.is_empty() || !batch.out.is_empty() || self.held.is_some() {
            return false;
        }
        if !self.machine.outbox().poll_ready(cx.waker()) {
            return false;
        }
        self.machine.deliver(batch);
        true
    }

    fn poll_input(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> bool {
        if !self.machine.reads() || self.output_is_full() {
            return false;
        }
        let Scratch { batch, input } = scratch;
        if !self.unparsed {
            match self.read(input, cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                    self.end = Some(End::Lost(error));
                    return true;
                }
                Poll::Ready(Err(error)) => {
                    self.end = Some(End::Lost(error));
                    return true;
                }
                Poll::Pending => return false,
            }
        } else {
            input.clear();
            input.append(&mut self.rest);
        }
        let used = self.machine.handle_input(input, batch);
        self.keep(input.get(used..).unwrap_or_default());
        let stopped = !self.machine.reads() || batch.out.len() >= OUTPUT_OF_A_RUN;
        self.unparsed = stopped && !self.rest.is_empty();
        true
    }

    /// Reads behind what is left over from before; false at the end of the stream.
    fn read(&mut self, input: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        input.clear();
        input.append(&mut self.rest);
        let before = input.len();
        input.reserve(READ);
        let spare = input.spare_capacity_mut();
        let mut buffer = ReadBuf::uninit(spare);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let read = buffer.filled().len();
        if !matches!(polled, Poll::Ready(Ok(()))) || read == 0 {
            self.keep(input);
            return polled.map_ok(|()| false);
        }
        self.machine.count_received(read);
        // SAFETY: `ReadBuf` has initialised the first `read` bytes of the spare capacity behind `before`.
        unsafe { input.set_len(before + read) };
        Poll::Ready(Ok(true))
    }

    fn keep(&mut self, rest: &[u8]) {
        self.rest.clear();
        if rest.is_empty() {
            if self.rest.capacity() > KEPT {
                self.rest = Vec::new();
            }
            return;
        }
        self.rest.extend_from_slice(rest);
    }

    /// Writes what there is, as far as the socket takes it.
    fn flush(&mut self, batch: &mut Batch, cx: &mut Context<'_>) -> bool {
        if self.output.is_empty() && batch.out.is_empty() && self.held.is_none() {
            return self.revive(batch);
        }
        self.hold(batch);
        let mut progress = false;
        if !self.output.is_empty() {
            let unread = self.output_is_full();
            progress |= self.flush_output(cx);
            if unread && progress {
                // Nothing is read from a client that has so much to take, but it takes it, so it is alive.
                self.machine.handle_alive(batch.now);
            }
        }
        if self.output.is_empty() && !batch.out.is_empty() {
            progress |= self.write_all(&mut batch.out, cx);
        }
        self.output.append(&mut batch.out);
        progress | self.revive(batch)
    }

    /// Takes aside what has to wait, or brings it back when it has waited long enough.
    fn hold(&mut self, batch: &mut Batch) {
        if !self.machine.poll_writable() {
            if !batch.out.is_empty() {
                self.held.get_or_insert_default().append(&mut batch.out);
            }
        } else if let Some(mut held) = self.held.take() {
            self.output.append(&mut held);
        }
    }

    /// Sees to it that the stream passes on what was written to it.
    fn poll_flush(&mut self, cx: &mut Context<'_>) {
        if !self.unflushed {
            return;
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => self.unflushed = false,
            Poll::Ready(Err(error)) => self.end = Some(End::Lost(error)),
            Poll::Pending => {}
        }
    }

    /// Asks queues again that found no room, once all output is gone.
    fn revive(&mut self, batch: &mut Batch) -> bool {
        let free = self.output.is_empty() && self.held.is_none() && self.end.is_none();
        free && self.machine.revive(batch)
    }

    fn flush_output(&mut self, cx: &mut Context<'_>) -> bool {
        let mut output = std::mem::take(&mut self.output);
        let progress = self.write_all(&mut output, cx);
        if output.is_empty() {
            output.clear();
            output.trim(KEPT);
        }
        self.output = output;
        progress
    }

    /// Writes until everything is written or the socket is full; says whether it took anything.
    fn write_all(&mut self, output: &mut Output, cx: &mut Context<'_>) -> bool {
        let total = output.len();
        while !output.is_empty() {
            match self.write(output, cx) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.unflushed = S::BUFFERS;
                    self.machine.count_sent(written);
                    output.advance(written);
                }
                Poll::Ready(Ok(_)) => {
                    let error = io::Error::from(io::ErrorKind::WriteZero);
                    self.end = Some(End::Lost(error));
                    return output.len() < total;
                }
                Poll::Ready(Err(error)) => {
                    self.end = Some(End::Lost(error));
                    return output.len() < total;
                }
                Poll::Pending => return output.len() < total,
            }
        }
        self.machine.handle_written(self.clock.now());
        total > 0
    }

    fn write(&mut self, output: &Output, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let stream = Pin::new(&mut self.stream);
        match output.pieces(&mut pieces) {
            [piece] => stream.poll_write(cx, piece),
            pieces => stream.poll_write_vectored(cx, pieces),
        }
    }
}

/// Whether the other side has closed the connection, also when what it sent before is not read yet. The runtime may not
/// have heard of it.
fn has_hung_up(stream: &TcpStream) -> bool {
    // Where the system does not know RDHUP, a reset is still found.
    #[cfg(target_os = "linux")]
    let wanted = PollFlags::RDHUP;
    #[cfg(not(target_os = "linux"))]
    let wanted = PollFlags::empty();
    is_ready(stream, wanted)
}

/// Whether one of these things, or an error, is known of the socket now. Asks the system.
fn is_ready(stream: &TcpStream, wanted: PollFlags) -> bool {
    let mut sockets = [PollFd::new(stream, wanted)];
    let found = rustix::event::poll(&mut sockets, Some(&Timespec::default()));
    found.is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests;
