//! The runtime with a machine that keeps words, over partitions in memory.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::ids::Timestamp;
use crate::messages::{DecodeError, EncodeError};
use crate::record::ValidBatch;

/// Keeps the words it is given; a word may be waited for.
struct Words;

#[derive(Default)]
struct Waits {
    waiting: Vec<(Ticket, String)>,
    alarm: Option<(SteadyTime, Ticket)>,
}

#[derive(Clone)]
enum Ask {
    Put(&'static str),
    /// Two words, of which the second comes in a batch of its own when need be.
    PutEach(Vec<String>),
    PutAll(Vec<String>),
    All,
    Await(&'static str),
    Alarm(i64),
}

type Decision = Outcome<String, Vec<String>>;

impl StateMachine for Words {
    type State = Vec<String>;
    type Scratch = Waits;
    type Request = Ask;
    type Response = Vec<String>;
    type Record = String;

    fn handle(
        &self,
        state: &Vec<String>,
        scratch: &mut Waits,
        event: Event<Ask>,
        now: Now,
    ) -> Decision {
        let mut outcome = Decision::default();
        let Event::Request { ticket, request } = event else {
            let alarm = scratch.alarm.take_if(|(at, _)| *at <= now.steady);
            outcome
                .replies
                .extend(alarm.map(|(_, ticket)| (ticket, vec!["alarm".to_owned()])));
            return outcome;
        };
        match request {
            Ask::Put(word) => {
                outcome.records.push(word.to_owned());
                outcome.replies.push((ticket, Vec::new()));
                let waiting = scratch.waiting.extract_if(.., |(_, wanted)| wanted == word);
                outcome
                    .replies
                    .extend(waiting.map(|(ticket, word)| (ticket, vec![word])));
            }
            Ask::PutEach(words) => {
                outcome.atomic = false;
                outcome.records = words;
                outcome.replies.push((ticket, Vec::new()));
            }
            Ask::PutAll(words) => {
                outcome.records = words;
                outcome.replies.push((ticket, Vec::new()));
            }
            Ask::All => outcome.replies.push((ticket, state.clone())),
            Ask::Await(word) => scratch.waiting.push((ticket, word.to_owned())),
            Ask::Alarm(ms) => scratch.alarm = Some((now.steady.plus_ms(ms), ticket)),
        }
        outcome
    }

    /// Whoever has words looks at them after an hour.
    fn loaded(&self, state: &Vec<String>, scratch: &mut Waits, now: Now) -> Decision {
        if !state.is_empty() {
            scratch.alarm = Some((now.steady.plus_ms(3_600_000), Ticket(0)));
        }
        Decision::default()
    }

    fn append_failed(
        &self,
        _: &Vec<String>,
        _: &mut Waits,
        outcome: Decision,
        error: ErrorCode,
        _: Now,
    ) -> Vec<(Ticket, Vec<String>)> {
        outcome
            .replies
            .into_iter()
            .map(|(ticket, _)| (ticket, vec![error.name().to_owned()]))
            .collect()
    }

    fn next_deadline(&self, scratch: &Waits) -> Option<SteadyTime> {
        scratch.alarm.map(|(at, _)| at)
    }

    fn apply(state: &mut Vec<String>, record: String, at: Position) {
        let prefix = if at.producer_id == ProducerId::NONE {
            ""
        } else {
            "?"
        };
        state.push(format!("{prefix}{record}@{}", at.offset));
    }

    fn end_transaction(state: &mut Vec<String>, producer_id: ProducerId, committed: bool) {
        state.push(format!("end {producer_id} {committed}"));
    }

    fn encode(record: &String) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        Ok((Bytes::from(record.clone()), None))
    }

    fn decode(key: Bytes, _: Option<Bytes>) -> Result<Option<String>, DecodeError> {
        Ok(Some(String::from_utf8(key.into()).unwrap()))
    }
}

/// A partition in memory.
#[derive(Default)]
struct Memory {
    batches: Mutex<Vec<(Offset, Bytes)>>,
    end: AtomicI64,
    high_watermark: AtomicI64,
    /// Whether the high watermark is moved by hand.
    held: AtomicBool,
    full: AtomicBool,
    /// So many reads fail.
    broken: AtomicI64,
    /// The next read waits until this is dropped on the other side.
    slow: Mutex<Option<Receiver<()>>>,
    moved: Notify,
}

impl Memory {
    /// With one word in it.
    fn with(word: &'static str) -> Arc<Memory> {
        let former = World::new();
        former.now(Ask::Put(word));
        former.memory
    }

    fn advance(&self) {
        self.high_watermark
            .store(self.end.load(Ordering::SeqCst), Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

impl Journal for Memory {
    fn log_start_offset(&self) -> Offset {
        Offset::ZERO
    }

    fn log_end_offset(&self) -> Offset {
        Offset(self.end.load(Ordering::SeqCst))
    }

    fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::SeqCst))
    }

    fn max_batch_bytes(&self) -> usize {
        200
    }

    fn append(
        &self,
        batch: &ValidBatch,
        _origin: Origin,
        epoch: LeaderEpoch,
        _: Timestamp,
    ) -> Result<Offset, ErrorCode> {
        if self.full.load(Ordering::SeqCst) {
            return Err(ErrorCode::KafkaStorageError);
        }
        let base = self.log_end_offset();
        let mut bytes = BytesMut::from(&batch.header_bytes(base, epoch)[..]);
        bytes.extend_from_slice(batch.payload());
        self.batches.lock().unwrap().push((base, bytes.freeze()));
        self.end
            .fetch_add(i64::from(batch.header().record_count), Ordering::SeqCst);
        if !self.held.load(Ordering::SeqCst) {
            self.advance();
        }
        Ok(base)
    }

    async fn wait_for_high_watermark(
        &self,
        offset: Offset,
        _: LeaderEpoch,
    ) -> Result<(), ErrorCode> {
        loop {
            let moved = self.moved.notified();
            if self.high_watermark() >= offset {
                return Ok(());
            }
            moved.await;
        }
    }

    fn read(&self, from: Offset, _: usize) -> std::io::Result<Bytes> {
        let slow = self.slow.lock().unwrap().take();
        if let Some(gate) = slow {
            let _ = gate.recv();
        }
        if self.broken.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Err(std::io::Error::other("broken"));
        }
        let batches = self.batches.lock().unwrap();
        let found = batches.iter().rev().find(|(base, _)| *base <= from);
        Ok(found.map(|(_, bytes)| bytes.clone()).unwrap_or_default())
    }
}

const P: PartitionIndex = PartitionIndex(0);
const E: LeaderEpoch = LeaderEpoch(0);

struct World {
    runtime: Arc<Runtime<Words, Memory>>,
    memory: Arc<Memory>,
    clock: Clock,
}

impl World {
    fn new() -> World {
        let world = World::over(Arc::default());
        assert!(
            world.runtime.lead(P, E, world.memory.clone()).is_none(),
            "nothing is to be read"
        );
        world
    }

    fn over(memory: Arc<Memory>) -> World {
        let config = Config {
            base_sequence: 0,
            codec: Codec::None,
            commit_timeout: Duration::from_secs(5),
            load_bytes: 1000,
        };
        let clock = Clock::manual(Timestamp(0));
        World {
            runtime: Runtime::start(Words, config, clock.clone()),
            memory,
            clock,
        }
    }

    /// Has begun to read a partition when it returns; that ends when the sender is dropped.
    async fn lead_slowly(&self, memory: &Arc<Memory>) -> (Sender<()>, JoinHandle<()>) {
        let (gate, slow) = channel();
        *memory.slow.lock().unwrap() = Some(slow);
        let loading = self.runtime.lead(P, LeaderEpoch(1), memory.clone());
        while memory.slow.lock().unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        (gate, loading.unwrap())
    }

    fn ask(&self, ask: Ask) -> Answer<Vec<String>> {
        self.runtime
            .request(P, ask)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn now(&self, ask: Ask) -> Vec<String> {
        match self.ask(ask) {
            Answer::Now(response) => response,
            Answer::Later(_) => panic!("it has to wait"),
        }
    }

    fn later(
        &self,
        ask: Ask,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<String>, ErrorCode>> + Send>> {
        match self.ask(ask) {
            Answer::Now(response) => panic!("it does not wait: {response:?}"),
            Answer::Later(response) => response,
        }
    }
}

#[tokio::test]
async fn what_is_committed_at_once_is_answered_at_once() {
    let world = World::new();
    assert!(world.now(Ask::Put("a")).is_empty());
    assert_eq!(world.now(Ask::All), ["a@0"]);
}

#[tokio::test(start_paused = true)]
async fn answers_and_reads_wait_for_the_high_watermark() {
    let world = World::new();
    world.memory.held.store(true, Ordering::SeqCst);
    let mut awaits = world.later(Ask::Await("a"));
    let mut put = world.later(Ask::Put("a"));
    let mut all = world.later(Ask::All);
    for waiting in [&mut awaits, &mut put, &mut all] {
        assert!(waiting.now_or_never().is_none());
    }
    world.memory.advance();
    assert_eq!(awaits.await.unwrap(), ["a"]);
    assert!(put.await.unwrap().is_empty());
    assert_eq!(all.await.unwrap(), ["a@0"]);
    let put = world.later(Ask::Put("b"));
    assert_eq!(put.await, Err(ErrorCode::RequestTimedOut));
}

#[tokio::test]
async fn a_failed_append_changes_nothing() {
    let world = World::new();
    world.memory.full.store(true, Ordering::SeqCst);
    assert_eq!(world.now(Ask::Put("a")), ["KAFKA_STORAGE_ERROR"]);
    assert!(world.now(Ask::All).is_empty());
}

#[tokio::test]
async fn what_counts_together_fits_in_a_batch_or_fails() {
    let world = World::new();
    let words = || {
        (0..5)
            .map(|number| format!("{number:030}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(world.now(Ask::PutAll(words())), ["MESSAGE_TOO_LARGE"]);
    assert!(world.now(Ask::PutEach(words())).is_empty());
    assert_eq!(world.now(Ask::All).len(), 5);
    assert_eq!(world.memory.batches.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn the_end_of_leadership_ends_all_waits() {
    let world = World::new();
    let awaits = world.later(Ask::Await("a"));
    world.runtime.resign(P);
    assert_eq!(awaits.await, Err(ErrorCode::NotCoordinator));
    assert_eq!(
        world.runtime.request(P, Ask::All).err(),
        Some(Unavailable::NotCoordinator)
    );
}

#[tokio::test]
async fn a_partition_is_read_before_it_is_served() {
    let former = World::new();
    former.now(Ask::Put("a"));
    former.now(Ask::PutEach(
        (0..4).map(|number| format!("{number:040}")).collect(),
    ));
    let expected = former.now(Ask::All);
    let world = World::over(former.memory.clone());
    world
        .runtime
        .lead(P, LeaderEpoch(1), world.memory.clone())
        .unwrap()
        .await
        .unwrap();
    assert_eq!(world.now(Ask::All), expected);
    assert_eq!(world.runtime.partitions(), [P]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_read_is_read_again() {
    let former = World::new();
    former.now(Ask::Put("a"));
    let world = World::over(former.memory.clone());
    world.memory.broken.store(3, Ordering::SeqCst);
    let loading = world.runtime.lead(P, LeaderEpoch(1), world.memory.clone());
    assert_eq!(
        world.runtime.request(P, Ask::All).err(),
        Some(Unavailable::Loading)
    );
    world.runtime.tell_all(&Ask::Put("told meanwhile"));
    loading.unwrap().await.unwrap();
    assert_eq!(world.memory.broken.load(Ordering::SeqCst), -1);
    assert_eq!(world.now(Ask::All), ["a@0", "told meanwhile@1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_led_no_more_is_not_read_again() {
    let former = World::new();
    former.now(Ask::Put("a"));
    let world = World::over(former.memory.clone());
    world.memory.broken.store(i64::MAX, Ordering::SeqCst);
    let loading = world.runtime.lead(P, LeaderEpoch(1), world.memory.clone());
    world.runtime.resign(P);
    loading.unwrap().await.unwrap();
    assert_eq!(
        world.runtime.request(P, Ask::All).err(),
        Some(Unavailable::NotCoordinator)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_read_too_late_disturbs_nobody() {
    let world = World::over(Memory::with("a"));
    let slow = Memory::with("a");
    let (gate, overtaken) = world.lead_slowly(&slow).await;
    let loading = world.runtime.lead(P, LeaderEpoch(2), world.memory.clone());
    loading.unwrap().await.unwrap();
    let alarm = world.later(Ask::Alarm(1500));
    drop(gate);
    overtaken.await.unwrap();
    assert_eq!(world.now(Ask::All), ["a@0"]);
    world.clock.advance(Duration::from_millis(1500));
    let alarm = tokio::time::timeout(Duration::from_secs(60), alarm).await;
    assert_eq!(alarm.unwrap().unwrap(), ["alarm"]);
}

#[tokio::test]
async fn what_it_is_told_stays_told_in_the_next_epoch() {
    let world = World::over(Memory::with("a"));
    let slow = Memory::with("b");
    let (gate, overtaken) = world.lead_slowly(&slow).await;
    world.runtime.tell_all(&Ask::Put("told meanwhile"));
    let loading = world.runtime.lead(P, LeaderEpoch(2), world.memory.clone());
    loading.unwrap().await.unwrap();
    drop(gate);
    overtaken.await.unwrap();
    assert_eq!(world.now(Ask::All), ["a@0", "told meanwhile@1"]);
    assert_eq!(slow.log_end_offset(), Offset(1), "it was told twice");
}

#[tokio::test(start_paused = true)]
async fn deadlines_come_in_time() {
    let world = World::new();
    let mut alarm = world.later(Ask::Alarm(1500));
    tokio::time::sleep(Duration::from_millis(1600)).await;
    assert!((&mut alarm).now_or_never().is_none());
    world.clock.step(3_600_000);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!((&mut alarm).now_or_never().is_none(), "no time has passed");
    world.clock.step(-7_200_000);
    world.clock.advance(Duration::from_millis(1500));
    assert_eq!(alarm.await.unwrap(), ["alarm"]);
}
