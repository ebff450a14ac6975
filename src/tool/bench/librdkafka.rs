//! librdkafka as the client of a run, through the rdkafka crate (feature `rdkafka`): one that neither broker's makers made.
//! It is told the settings that a workload has names for, and the partition of each record; batches, requests and
//! connections are its own affair. It puts one partition into a request, whatever the workload says, and its threads come
//! on top of those of this program.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};

use super::batches::{STAMP_LEN, read_stamp, value};
use super::lane::{Consuming, Producing, Task, Work};
use super::meter::{Meter, add};
use super::plan::{CLIENT_ID, Plan, Topic};
use super::producer::GRACE;
use super::schedule::{Epoch, Next, Pace};
use super::turns::{Keys, Turns};
use super::workload::{KEY_LEN, KeyDistributor};
use crate::ids::PartitionIndex;
use crate::record::batch::Compression;
use crate::tool::Failure;
use crate::tool::client::Client;
use crate::tool::print::complain;

/// Between counts of requests.
const STATISTICS_MS: &str = "500";
/// The most that one wait lasts, so that an end is seen.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Nothing comes for so long when everything is read.
const SILENCE: Duration = Duration::from_millis(500);
/// Records of a paced producer that may be on their way.
const PACED_MAX: u64 = 1_000_000;

/// What the producers and the consumers of a topic know.
pub(super) struct Shape {
    plan: Arc<Plan>,
    servers: String,
    topic: Topic,
    partitions: Vec<PartitionIndex>,
}

impl Shape {
    /// `is_own`: which partitions it is about.
    pub(super) fn new(
        client: &Client,
        plan: &Arc<Plan>,
        topic: &Topic,
        is_own: impl Fn(usize) -> bool,
    ) -> Shape {
        let by_leader = topic.by_leader(is_own);
        let servers = by_leader
            .keys()
            .filter_map(|leader| client.broker_address(*leader));
        Shape {
            plan: Arc::clone(plan),
            servers: servers.collect::<Vec<_>>().join(","),
            topic: topic.clone(),
            partitions: by_leader.into_values().flatten().collect(),
        }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("client.id", CLIENT_ID)
            .set("statistics.interval.ms", STATISTICS_MS);
        config
    }

    fn producer_config(&self) -> ClientConfig {
        let workload = &self.plan.workload;
        let records = workload.records_per_batch();
        let bytes = match workload.batch_records {
            Some(records) => records as usize * (workload.message_size + 100),
            None => workload.batch_size,
        };
        let compression = match workload.codec.compression() {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        };
        let mut config = self.config();
        config
            .set("acks", workload.acks.to_string())
            .set("compression.type", compression)
            .set("enable.idempotence", workload.idempotent.to_string())
            .set(
                "max.in.flight.requests.per.connection",
                workload.max_in_flight.to_string(),
            )
            .set(
                "linger.ms",
                (workload.linger.as_secs_f64() * 1e3).to_string(),
            )
            .set("batch.num.messages", records.min(1_000_000).to_string())
            .set("batch.size", bytes.to_string())
            .set("message.max.bytes", bytes.max(1_000_000).to_string())
            .set("queue.buffering.max.messages", PACED_MAX.to_string());
        config
    }

    fn consumer_config(&self) -> ClientConfig {
        let workload = &self.plan.workload;
        let mut config = self.config();
        config
            .set("group.id", CLIENT_ID)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.min.bytes", workload.fetch_min_bytes.to_string())
            .set(
                "fetch.wait.max.ms",
                workload.fetch_max_wait.as_millis().to_string(),
            )
            .set(
                "max.partition.fetch.bytes",
                workload.max_partition_fetch_bytes.to_string(),
            )
            // It wants no less than the largest message.
            .set(
                "fetch.max.bytes",
                workload.fetch_max_bytes.max(1_000_000).to_string(),
            );
        config
    }
}

/// Says to a thread that it is over when who waits for it goes.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has a thread of its own do it: librdkafka's calls wait.
async fn aside<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let stop = Stop(Arc::default());
    let seen = Arc::clone(&stop.0);
    let done = tokio::task::spawn_blocking(move || work(&seen)).await;
    done.map_err(|error| Failure::new(error.to_string()))?
}

fn failure(error: KafkaError) -> Failure {
    Failure::new(format!("librdkafka: {error}"))
}

fn open<C: ClientContext, T: FromClientConfigAndContext<C>>(
    config: &ClientConfig,
    context: C,
) -> Result<T, Failure> {
    config.create_with_context(context).map_err(failure)
}

/// What librdkafka calls back: of one client in one slot of the meter.
struct Context {
    meter: Arc<Meter>,
    number: usize,
    epoch: Epoch,
    /// Requests of the kind that counts here.
    kind: &'static str,
    requests: AtomicU64,
    room: Arc<Room>,
}

impl Context {
    fn new(plan: &Plan, meter: &Arc<Meter>, number: usize, kind: &'static str) -> Context {
        Context {
            meter: Arc::clone(meter),
            number,
            epoch: plan.epoch,
            kind,
            requests: AtomicU64::new(0),
            room: Arc::default(),
        }
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let brokers = statistics.brokers.values();
        let counts = brokers.filter_map(|broker| broker.req.get(self.kind));
        let total = counts.map(|count| count.unsigned_abs()).sum();
        let more = total - self.requests.swap(total, Ordering::Relaxed).min(total);
        let slot = self.meter.slot(self.number);
        match self.kind {
            "Produce" => add(&slot.produce_requests, more),
            _ => add(&slot.fetch_requests, more),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        complain!("librdkafka: {error}: {reason}");
    }
}

impl ProducerContext for Context {
    /// When the record was to be sent, in nanoseconds of the run.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, intended: usize) {
        self.room.leave();
        let slot = self.meter.slot(self.number);
        match result {
            Ok(_) => self
                .meter
                .delivered(slot, intended as u64, self.epoch.now()),
            Err((error, _)) => self.meter.failed(slot, &name(error), 1),
        }
    }
}

impl ConsumerContext for Context {}

fn name(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => format!("{code:?}"),
        None => error.to_string(),
    }
}

/// How many records are on their way.
#[derive(Default)]
struct Room {
    taken: Mutex<u64>,
    freed: Condvar,
}

impl Room {
    /// Takes a place of so many; `false` when none became free for a while.
    fn enter(&self, places: u64) -> bool {
        let taken = self.taken.lock().expect("no holder panics");
        let waited = self
            .freed
            .wait_timeout_while(taken, WAIT_MAX, |taken| *taken >= places);
        let (mut taken, timeout) = waited.expect("no holder panics");
        if !timeout.timed_out() {
            *taken += 1;
        }
        !timeout.timed_out()
    }

    fn leave(&self) {
        let mut taken = self.taken.lock().expect("no holder panics");
        *taken -= 1;
        self.freed.notify_one();
    }

    fn taken(&self) -> u64 {
        *self.taken.lock().expect("no holder panics")
    }
}

/// A topic's producer.
pub(super) struct Producer {
    shape: Arc<Shape>,
    number: usize,
}

impl Producer {
    pub(super) fn new(shape: Shape, number: usize) -> Producer {
        Producer {
            shape: Arc::new(shape),
            number,
        }
    }
}

impl Producing for Producer {
    fn partitions(&self) -> usize {
        self.shape.partitions.len()
    }

    fn run<'a>(&'a mut self, task: &'a Task, number: usize) -> Work<'a, u64> {
        let (shape, task, own_number) = (Arc::clone(&self.shape), task.clone(), self.number);
        Box::pin(aside(move |stop| {
            Writer::open(&shape, &task, number, own_number)?.run(stop)
        }))
    }
}

/// A producer at work.
struct Writer<'a> {
    shape: &'a Shape,
    task: &'a Task,
    producer: ThreadedProducer<Context>,
    room: Arc<Room>,
    places: u64,
    turns: Turns,
    keys: Keys,
    /// Place of the partition that gets records without keys, and how many more of them.
    current: (usize, u32),
    value: Vec<u8>,
    sent: u64,
}

impl<'a> Writer<'a> {
    fn open(
        shape: &'a Shape,
        task: &'a Task,
        number: usize,
        own_number: usize,
    ) -> Result<Writer<'a>, Failure> {
        let workload = &shape.plan.workload;
        let context = Context::new(&shape.plan, &task.meter, number, "Produce");
        let room = Arc::clone(&context.room);
        let count = shape.partitions.len();
        let records = u64::from(workload.records_per_batch());
        let partitions = u64::from(workload.partitions_per_request).min(count as u64);
        Ok(Writer {
            shape,
            task,
            producer: open(&shape.producer_config(), context)?,
            room,
            // As many as our own client would have on their way.
            places: match task.pace {
                Pace::Unlimited => records * partitions * workload.max_in_flight as u64,
                Pace::Open(_) => PACED_MAX,
            },
            turns: Turns::new(own_number, count, count),
            keys: Keys::new(
                workload.key_distributor,
                &shape.partitions,
                shape.topic.leaders.len(),
            ),
            current: (0, 0),
            value: value(workload),
            sent: 0,
        })
    }

    fn run(mut self, stop: &AtomicBool) -> Result<u64, Failure> {
        let (task, epoch) = (self.task, self.shape.plan.epoch);
        while !stop.load(Ordering::Relaxed) && self.sent < task.limit {
            let now = epoch.now();
            if now >= task.until {
                break;
            }
            match task.pace.next(self.sent, 1, 0, now) {
                Next::WaitUntil(at) => {
                    let rest = Duration::from_nanos(at.min(task.until) - now);
                    std::thread::park_timeout(rest.min(WAIT_MAX));
                }
                Next::Send(_) if self.room.enter(self.places) => {
                    self.send(task.pace.intended(self.sent, now), stop)?;
                }
                Next::Send(_) => {}
            }
        }
        if self.producer.flush(Duration::from_nanos(GRACE)).is_err() {
            let slot = task.meter.slot(self.producer.context().number);
            task.meter
                .failed(slot, "not answered in time", self.room.taken());
        }
        Ok(task.unsent(self.sent))
    }

    fn send(&mut self, intended: u64, stop: &AtomicBool) -> Result<(), Failure> {
        let plan = &self.shape.plan;
        if plan.template.is_stamped() {
            self.value[..4].copy_from_slice(&plan.tag);
            self.value[4..STAMP_LEN].copy_from_slice(&intended.to_be_bytes());
        }
        let (place, key) = self.next_place();
        let mut record = BaseRecord::<[u8; KEY_LEN], [u8], usize>::with_opaque_to(
            &self.shape.topic.name,
            intended as usize,
        )
        .partition(self.shape.partitions[place].0)
        .payload(&self.value);
        if let Some(key) = &key {
            record = record.key(key);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                    if !stop.load(Ordering::Relaxed) =>
                {
                    std::thread::park_timeout(Duration::from_micros(100));
                    record = again;
                }
                Err((error, _)) => return Err(failure(error)),
            }
        }
    }

    /// Where the next record goes, and its key.
    fn next_place(&mut self) -> (usize, Option<[u8; KEY_LEN]>) {
        if self.shape.plan.workload.key_distributor != KeyDistributor::NoKey {
            let (place, key) = self.keys.peek();
            self.keys.advance();
            return (place, Some(key));
        }
        if self.current.1 == 0 {
            self.current = (
                self.turns.take(),
                self.shape.plan.workload.records_per_batch(),
            );
        }
        self.current.1 -= 1;
        (self.current.0, None)
    }
}

/// A consumer of some partitions.
pub(super) struct Consumer {
    shape: Arc<Shape>,
}

impl Consumer {
    pub(super) fn new(shape: Shape) -> Consumer {
        Consumer {
            shape: Arc::new(shape),
        }
    }
}

impl Consuming for Consumer {
    fn run<'a>(&'a mut self, meter: &'a Arc<Meter>, number: usize) -> Work<'a, ()> {
        let (shape, meter) = (Arc::clone(&self.shape), Arc::clone(meter));
        Box::pin(aside(move |stop| read(&shape, &meter, number, stop)))
    }
}

fn read(
    shape: &Shape,
    meter: &Arc<Meter>,
    number: usize,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let plan = &shape.plan;
    let (repeats, until) = (plan.workload.read_repeatedly, meter.window.until);
    let slot = meter.slot(number);
    let context = Context::new(plan, meter, number, "Fetch");
    let consumer: BaseConsumer<Context> = open(&shape.consumer_config(), context)?;
    let mut assigned = TopicPartitionList::new();
    for partition in &shape.partitions {
        assigned
            .add_partition_offset(&shape.topic.name, partition.0, Offset::Beginning)
            .map_err(failure)?;
    }
    consumer.assign(&assigned).map_err(failure)?;
    while !stop.load(Ordering::Relaxed) {
        // Asked before: what is produced later may not have come yet.
        let produced = meter.produced.load(Ordering::Acquire);
        let polled = consumer.poll(SILENCE);
        let now = plan.epoch.now();
        match polled {
            None if produced && !repeats => break,
            None => {}
            Some(Ok(message)) => {
                let payload = message.payload().unwrap_or_default();
                add(&slot.consumed, 1);
                add(&slot.fetched_bytes, payload.len() as u64);
                if let Some(intended) = read_stamp(payload, plan.tag) {
                    meter.arrived(slot, &[intended], now);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) if repeats => consumer
                .seek(&shape.topic.name, partition, Offset::Beginning, SILENCE)
                .map_err(failure)?,
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(failure(error)),
        }
        if (repeats && now >= until) || now >= until.saturating_add(GRACE) {
            break;
        }
    }
    Ok(())
}
