//! One connection: frames in, answers out, in request order, many in flight.
//!
//! The task reads what there is, hands every whole request to [`api::handle`], and gathers the answers that are
//! ready into one write. It stops reading while answers wait for the socket, too many requests are in flight, or there
//! is no memory for the request that has begun, so what a connection can hold is bounded.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::frame::{FrameBuffer, InvalidLength};
use super::memory::{Granted, RequestMemory};
use super::output::{Output, Written};
use super::transport::Transport;
use crate::api::{self, Rejected, Reply, Session};
use crate::broker::Broker;
use crate::log::page_cache::bring_in;
use crate::messages::{EncodeError, FileRange, Frame};

/// Requests read and not yet answered, a connection. Kafka has one at a time; pipelining clients send a few.
const REQUESTS_IN_FLIGHT_MAX: usize = 256;

/// Bytes of encoded answers that may wait behind one that is not ready; beyond it no request is taken.
const ANSWERS_BYTES_MAX: usize = 1024 * 1024;

/// Bytes taken off the socket before others get their turn.
const READ_BYTES_PER_TURN: usize = 512 * 1024;

/// An idle time that no connection reaches.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("the client closed it")]
    ByClient,
    #[error("idle for {0:?}")]
    Idle(Duration),
    #[error("it asked for no answer and could not be served")]
    Unanswerable,
    #[error(transparent)]
    InvalidLength(#[from] InvalidLength),
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("a response cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a connection is bounded by.
#[derive(Clone)]
pub(super) struct Limits {
    pub(super) frame_bytes_max: usize,
    /// Of all connections.
    pub(super) memory: RequestMemory,
    /// `None`: for ever.
    pub(super) idle_max: Option<Duration>,
}

/// Serves a connection until it ends; `received` is what it has sent so far. The task may be aborted at any await: effects
/// happen between them.
pub(super) async fn serve(
    transport: Transport,
    received: FrameBuffer,
    broker: Arc<Broker>,
    session: Session,
    limits: Limits,
) {
    let (id, host) = (session.connection_id, session.client_host);
    let mut connection = Connection {
        transport,
        broker,
        session,
        received,
        memory: limits.memory,
        memory_wait: None,
        in_flight: VecDeque::new(),
        ready_bytes: 0,
        output: Output::default(),
        closing: None,
    };
    let closed = connection.run(limits.idle_max.unwrap_or(FOR_EVER)).await;
    connection.transport.close();
    match closed {
        Closed::Encode(_) => error!(connection = id, client = %host, "closed: {closed}"),
        Closed::InvalidLength(_) => warn!(connection = id, client = %host, "closed: {closed}"),
        _ => debug!(connection = id, client = %host, "closed: {closed}"),
    }
}

type Later = Pin<Box<dyn Future<Output = Result<Frame, EncodeError>> + Send>>;

struct Connection {
    transport: Transport,
    broker: Arc<Broker>,
    session: Session,
    received: FrameBuffer,
    memory: RequestMemory,
    /// The place in the queue for memory, while the request that has begun is short of it.
    memory_wait: Option<Pin<Box<dyn Future<Output = Granted> + Send>>>,
    in_flight: VecDeque<InFlight>,
    /// Of the answers in flight that are ready.
    ready_bytes: usize,
    output: Output,
    /// Set once no further request is read; the connection ends when what is in flight is answered.
    closing: Option<Closed>,
}

enum InFlight {
    Ready(Frame),
    Waiting(Later),
}

/// What a connection woke up for.
enum Event {
    Readable,
    Writable,
    Answered(Result<Frame, EncodeError>),
    Granted(Granted),
}

impl Connection {
    async fn run(&mut self, idle_max: Duration) -> Closed {
        match self.run_until_closed(idle_max).await {
            Ok(never) => match never {},
            Err(closed) => closed,
        }
    }

    async fn run_until_closed(&mut self, idle_max: Duration) -> Result<Infallible, Closed> {
        let idle = tokio::time::sleep(idle_max);
        tokio::pin!(idle);
        let mut active_at = Instant::now();
        loop {
            self.gather_answers();
            while let Some(missing) = self.write()? {
                self.bring_in(missing).await?;
            }
            if self.handle_received()? {
                continue;
            }
            if self.output.is_empty()
                && self.in_flight.is_empty()
                && let Some(closed) = self.closing.take()
            {
                return Err(closed);
            }
            let event = tokio::select! {
                biased;
                event = self.next_event() => event?,
                () = &mut idle => {
                    let now = Instant::now();
                    if active_at + idle_max <= now && self.in_flight.is_empty() {
                        return Err(Closed::Idle(idle_max));
                    }
                    idle.as_mut().reset((active_at + idle_max).max(now + idle_max / 10));
                    continue;
                }
            };
            match event {
                Event::Readable => {
                    active_at = Instant::now();
                    if self.read()? >= READ_BYTES_PER_TURN {
                        // A socket that always has more must not keep the others, timers included, from their turn.
                        tokio::task::yield_now().await;
                    }
                }
                Event::Writable => active_at = Instant::now(),
                Event::Granted(granted) => {
                    active_at = Instant::now();
                    self.memory_wait = None;
                    self.received.grant(granted);
                }
                Event::Answered(frame) => {
                    self.in_flight.pop_front();
                    self.output.push(frame?);
                }
            }
        }
    }

    /// Writes what can be written; returns what of a file has to be brought in first.
    fn write(&mut self) -> io::Result<Option<FileRange>> {
        let written = self.transport.write(&mut self.output);
        if let (Err(error), Some(file)) = (&written, self.output.file()) {
            // Which of the two it was tells the error.
            self.broker.replicas().judge_sent(file, error);
        }
        Ok(match written? {
            Written::Missing(range) => Some(range),
            Written::All | Written::SocketFull => None,
        })
    }

    /// Has a thread that may wait for the disk bring in what is to be sent next.
    async fn bring_in(&mut self, missing: FileRange) -> io::Result<()> {
        // Nothing is received meanwhile.
        self.memory_wait = None;
        let (file, position, len) = (missing.file.clone(), missing.position, missing.len);
        let disk_reads = self.broker.replicas().disk_reads();
        let work = move || bring_in(&file, position, len as u64);
        // Boxed, so that a connection that never needs it is no larger for it.
        let brought_in = Box::pin(disk_reads.run(work)).await;
        if let Err(error) = &brought_in {
            self.broker.replicas().judge_sent(&missing.file, error);
        }
        self.output.brought_in(&missing);
        brought_in
    }

    /// Waits for the oldest answer, for room in the socket, for memory, or for more requests.
    async fn next_event(&mut self) -> Result<Event, Closed> {
        let reads = self.reads();
        let interest = match (reads, self.output.is_empty()) {
            (true, _) => Some(Interest::READABLE),
            (false, false) => Some(Interest::WRITABLE),
            (false, true) => None,
        };
        // Boxed, since few ever wait for it. Whoever could not use it now gives up the place: others could.
        match self.received.ungranted().filter(|_| self.has_room()) {
            None => self.memory_wait = None,
            Some(_) if self.memory_wait.is_some() => {}
            Some(bytes) => self.memory_wait = Some(Box::pin(self.memory.clone().take(bytes))),
        }
        let transport = &self.transport;
        let memory_wait = &mut self.memory_wait;
        let ready = async {
            match interest {
                Some(interest) => transport.ready(interest).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(ready);
        let oldest = self.in_flight.front_mut();
        let mut oldest = oldest.and_then(|oldest| match oldest {
            InFlight::Waiting(later) => Some(later),
            InFlight::Ready(_) => None,
        });
        poll_fn(|cx: &mut Context<'_>| {
            if let Some(later) = &mut oldest
                && let Poll::Ready(frame) = later.as_mut().poll(cx)
            {
                return Poll::Ready(Ok(Event::Answered(frame)));
            }
            if let Some(memory) = memory_wait
                && let Poll::Ready(granted) = memory.as_mut().poll(cx)
            {
                return Poll::Ready(Ok(Event::Granted(granted)));
            }
            ready.as_mut().poll(cx).map(|readiness| {
                readiness?;
                Ok(if reads {
                    Event::Readable
                } else {
                    Event::Writable
                })
            })
        })
        .await
    }

    /// Takes what the socket has and handles the whole requests in it; returns the bytes taken.
    fn read(&mut self) -> Result<usize, Closed> {
        let mut taken = 0;
        while taken < READ_BYTES_PER_TURN && self.reads() {
            match self.transport.read(&mut self.received) {
                Some(Ok(0)) => {
                    // Nobody is left to hear what is still to come. (Selector.pollSelectionKeys closes at once)
                    self.closing = Some(Closed::ByClient);
                    self.drop_waiting();
                }
                Some(read) => taken += read?,
                None => break,
            }
            self.handle_received()?;
        }
        self.received.release_when_empty();
        Ok(taken)
    }

    /// Forgets the answers from the first on that is not ready; the others still leave.
    fn drop_waiting(&mut self) {
        self.gather_answers();
        self.in_flight.clear();
        self.ready_bytes = 0;
    }

    /// Whether further requests are taken: not behind answers that wait for the socket, not without bound.
    fn has_room(&self) -> bool {
        self.closing.is_none()
            && self.output.is_empty()
            && self.in_flight.len() < REQUESTS_IN_FLIGHT_MAX
            && self.ready_bytes < ANSWERS_BYTES_MAX
    }

    fn reads(&self) -> bool {
        self.has_room() && self.received.ungranted().is_none()
    }

    /// Has memory set aside for the request that is being received, if there is enough; else no more of it is read.
    fn reserve(&mut self) {
        if self.memory_wait.is_none()
            && let Some(bytes) = self.received.ungranted()
            && let Some(granted) = self.memory.try_take(bytes)
        {
            self.received.grant(granted);
        }
    }

    /// Handles the whole requests that have been received; says whether there were any.
    fn handle_received(&mut self) -> Result<bool, Closed> {
        let mut any = false;
        while self.has_room() {
            let request = match self.received.next() {
                Ok(Some(request)) => request,
                Ok(None) => {
                    self.reserve();
                    break;
                }
                Err(invalid) => {
                    self.closing = Some(invalid.into());
                    break;
                }
            };
            any = true;
            match api::handle(&self.broker, &mut self.session, request) {
                Ok(Reply::Now(frame)) => {
                    let frame = frame?;
                    self.ready_bytes += frame.len;
                    self.in_flight.push_back(InFlight::Ready(frame));
                }
                Ok(Reply::Later(later)) => self.in_flight.push_back(InFlight::Waiting(later)),
                Ok(Reply::Silent) => {}
                Ok(Reply::Close) => self.closing = Some(Closed::Unanswerable),
                Err(rejected) => self.closing = Some(rejected.into()),
            }
        }
        Ok(any)
    }

    /// Moves the answers that are ready, up to the first that is not, to the output.
    fn gather_answers(&mut self) {
        while let Some(InFlight::Ready(_)) = self.in_flight.front() {
            if let Some(InFlight::Ready(frame)) = self.in_flight.pop_front() {
                self.ready_bytes -= frame.len;
                self.output.push(frame);
            }
        }
    }
}
