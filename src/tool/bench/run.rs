//! A run from its topics' creation to their deletion: connections, backlog, warm-up, window, what is left to read, counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::batches::{Template, random};
use super::lane::{self, Consuming, Kind, Producing, Task};
use super::meter::{Counts, Meter, drain, histogram};
use super::outcome::{Cost, Outcome, Sample, milliseconds};
use super::plan::{Plan, Topic, create_topics, delete_topics, end_offsets, settled_offsets};
use super::process::{Usage, usage};
use super::schedule::{Epoch, Pace, Schedule, Window, nanos};
use super::workload::{Spread, Workload};
use crate::clock::Clock;
use crate::tool::Failure;
use crate::tool::client::{Client, Connection};
use crate::tool::print::say;

/// Between the last preparation and the first record.
const LEAD: Duration = Duration::from_millis(20);

/// A run to be made.
pub struct Run {
    pub workload: Workload,
    pub client: Kind,
    /// The broker's process, if it runs here.
    pub broker_pid: Option<u32>,
    pub keep_topics: bool,
    /// Of the series.
    pub sample_interval: Duration,
    /// Tell each sample on standard output.
    pub verbose: bool,
}

/// A producer's task, with its share of the rate.
type Producers = Vec<(Box<dyn Producing>, f64)>;

impl Run {
    /// As `dohle bench` makes it when nothing else is asked for.
    pub fn new(workload: Workload) -> Run {
        Run {
            workload,
            client: Kind::default(),
            broker_pid: None,
            keep_topics: false,
            sample_interval: Duration::from_secs(1),
            verbose: false,
        }
    }

    /// Makes it. The topics are deleted also when it fails, or is interrupted by Ctrl-C.
    pub async fn measure(&self, mut client: Client) -> Result<Outcome, Failure> {
        let clock = Clock::system();
        let mut state = clock.now().0.cast_unsigned() << 20 | u64::from(std::process::id());
        let id = random(&mut state);
        let [_, _, _, _, tag @ ..] = id.to_be_bytes();
        let measures_arrival = self.workload.has_consumers() && !self.workload.read_repeatedly;
        let plan = Arc::new(Plan {
            template: Template::new(&self.workload, measures_arrival.then_some(tag)),
            workload: self.workload.clone(),
            tag,
            epoch: Epoch::begin(),
            clock,
        });
        let prefix = format!("bench-{:08x}", id & 0xffff_ffff);
        let topics = create_topics(&mut client, &self.workload, &prefix).await?;
        let outcome = tokio::select! {
            outcome = self.load(&mut client, &plan, &topics) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        };
        if !self.keep_topics {
            delete_topics(&mut client, &topics).await?;
        }
        outcome
    }

    async fn load(
        &self,
        client: &mut Client,
        plan: &Arc<Plan>,
        topics: &[Topic],
    ) -> Result<Outcome, Failure> {
        let idle = open_idle(client, self.workload.idle_connections, topics).await?;
        let mut producers = open_producers(self.client, client, plan, topics).await?;
        let backlog = write_backlog(plan, &mut producers).await?;
        if self.workload.pause_producers {
            producers.clear();
        }
        let consumers = open_consumers(self.client, client, plan, topics).await?;

        let start = plan.epoch.now() + nanos(LEAD);
        let from = start + nanos(self.workload.warm_up);
        let window = Window {
            from,
            until: from + nanos(self.workload.duration),
        };
        let meter = Arc::new(Meter::new(window));
        let mut reading = JoinSet::new();
        for (number, mut lane) in consumers.into_iter().enumerate() {
            let meter = Arc::clone(&meter);
            reading.spawn(async move { lane.run(&meter, number).await });
        }
        let writing = start_producers(plan, producers, &meter, start);
        let watch = Watch {
            run: self,
            plan,
            meter: &meter,
            backlog,
        };
        let (mut outcome, unsent) = tokio::try_join!(watch.watch(), async {
            let unsent = joined(writing).await?.into_iter().sum();
            meter.produced.store(true, Ordering::Release);
            joined(reading).await?;
            Ok::<u64, Failure>(unsent)
        })?;
        let (mut produce, mut end_to_end) = meter.take_latencies();
        drain(&mut produce, &mut outcome.produce);
        drain(&mut end_to_end, &mut outcome.end_to_end);
        outcome.totals = meter.counts();
        outcome.errors = meter.errors();
        outcome.transaction_ends = meter.end_latency();
        outcome.unsent = unsent;
        drop(idle);
        let transactional = self.workload.records_per_transaction.is_some();
        let ends = match transactional {
            true => settled_offsets(client, topics).await?,
            false => end_offsets(client, topics, false).await?,
        };
        let ends = ends.values().map(|end| end.cast_unsigned());
        outcome.logged = ends.sum::<u64>().saturating_sub(outcome.totals.markers);
        Ok(outcome)
    }
}

/// Waits for all tasks; the first error ends the others.
async fn joined<T: 'static>(mut tasks: JoinSet<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let mut results = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(|error| Failure::new(error.to_string()))?;
        results.push(ended?);
    }
    Ok(results)
}

/// Connections that have asked for versions, to the leaders in turn.
async fn open_idle(
    client: &Client,
    count: u32,
    topics: &[Topic],
) -> Result<Vec<Connection>, Failure> {
    let leaders = topics.iter().flat_map(|topic| &topic.leaders);
    let leaders: Vec<i32> = BTreeSet::from_iter(leaders.copied()).into_iter().collect();
    let mut idle = Vec::new();
    for leader in leaders.iter().cycle().take(count as usize) {
        idle.push(client.connect(*leader).await?);
    }
    Ok(idle)
}

async fn open_producers(
    kind: Kind,
    client: &mut Client,
    plan: &Arc<Plan>,
    topics: &[Topic],
) -> Result<Producers, Failure> {
    let workload = &plan.workload;
    let producers = workload.producers_per_topic as usize;
    let mut lanes = Vec::new();
    for topic in topics {
        for producer in 0..producers {
            let is_own = |partition: usize| match workload.spread {
                Spread::All => true,
                // More producers than partitions share them.
                Spread::Share if producers > topic.leaders.len() => {
                    partition == producer % topic.leaders.len()
                }
                Spread::Share => partition % producers == producer,
            };
            let opened = lane::producers(kind, client, plan, topic, (producer, is_own)).await?;
            let all: usize = opened.iter().map(|lane| lane.partitions()).sum();
            for lane in opened {
                let rate = workload.producer_rate / f64::from(workload.producers());
                let share = lane.partitions() as f64 / all as f64;
                lanes.push((lane, rate * share));
            }
        }
    }
    Ok(lanes)
}

/// Writes the backlog as fast as it goes; returns its records.
async fn write_backlog(plan: &Arc<Plan>, producers: &mut Producers) -> Result<u64, Failure> {
    let size = plan.workload.message_size.max(1) as u64;
    let records = plan.workload.consumer_backlog_bytes.div_ceil(size);
    if records == 0 {
        return Ok(0);
    }
    let meter = Arc::new(Meter::new(Window { from: 0, until: 0 }));
    let count = producers.len() as u64;
    let mut writing = JoinSet::new();
    for (number, (mut lane, rate)) in producers.drain(..).enumerate() {
        let task = Task {
            meter: Arc::clone(&meter),
            pace: Pace::Unlimited,
            until: u64::MAX,
            limit: (records / count) + u64::from((number as u64) < records % count),
        };
        writing.spawn(async move {
            lane.run(&task, number).await?;
            Ok((lane, rate))
        });
    }
    *producers = joined(writing).await?;
    match meter.errors().into_iter().next() {
        Some((error, count)) => Err(Failure::new(format!(
            "{count} records of the backlog were refused: {error}"
        ))),
        None => Ok(records),
    }
}

async fn open_consumers(
    kind: Kind,
    client: &mut Client,
    plan: &Arc<Plan>,
    topics: &[Topic],
) -> Result<Vec<Box<dyn Consuming>>, Failure> {
    let workload = &plan.workload;
    let consumers = workload.consumers_per_subscription as usize;
    let mut lanes = Vec::new();
    for topic in topics {
        for consumer in 0..workload.subscriptions_per_topic as usize * consumers {
            let is_own = |partition: usize| partition % consumers == consumer % consumers;
            lanes.extend(lane::consumers(kind, client, plan, topic, is_own).await?);
        }
    }
    Ok(lanes)
}

fn start_producers(
    plan: &Plan,
    producers: Producers,
    meter: &Arc<Meter>,
    start: u64,
) -> JoinSet<Result<u64, Failure>> {
    let mut writing = JoinSet::new();
    let count = producers.len() as f64;
    for (number, (mut lane, rate)) in producers.into_iter().enumerate() {
        let burst = plan.workload.burst;
        let pace = match rate > 0.0 {
            true => {
                // Producers take turns.
                let interval = 1e9 / rate * f64::from(burst);
                let turn = (interval * number as f64 / count) as u64;
                Pace::Open(Schedule::new(start + turn, rate, burst))
            }
            false => Pace::Unlimited,
        };
        let task = Task {
            meter: Arc::clone(meter),
            pace,
            until: meter.window.until,
            limit: u64::MAX,
        };
        writing.spawn(async move { lane.run(&task, number).await });
    }
    writing
}

/// Looks on while the tasks work.
struct Watch<'a> {
    run: &'a Run,
    plan: &'a Plan,
    meter: &'a Meter,
    /// Records that were written before.
    backlog: u64,
}

/// What was used and counted at a time.
#[derive(Clone, Copy)]
struct Reading {
    at: u64,
    counts: Counts,
    broker: Option<Usage>,
    client: Option<Usage>,
}

impl Watch<'_> {
    /// Samples the window from its beginning to its end.
    async fn watch(&self) -> Result<Outcome, Failure> {
        let window = self.meter.window;
        sleep_until(self.plan.epoch.at(window.from)).await;
        let first = self.read()?;
        let mut last = first;
        let (mut produce, mut end_to_end) = (histogram(), histogram());
        let mut samples = Vec::new();
        while last.at < window.until {
            let next = (last.at + nanos(self.run.sample_interval)).min(window.until);
            sleep_until(self.plan.epoch.at(next)).await;
            let now = self.read()?;
            let sample = self.sample(&first, &last, &now);
            if self.run.verbose {
                say!("{}", told(&sample));
            }
            add(&sample.produce, &mut produce);
            add(&sample.end_to_end, &mut end_to_end);
            samples.push(sample);
            last = now;
        }
        let cost = |of: fn(&Reading) -> Option<Usage>| Some(Cost::between(of(&first)?, of(&last)?));
        Ok(Outcome {
            workload: self.run.workload.clone(),
            window: Duration::from_nanos(last.at - first.at),
            counts: last.counts.since(&first.counts),
            totals: Counts::default(),
            errors: Default::default(),
            unsent: 0,
            logged: 0,
            backlog: self.backlog,
            produce,
            end_to_end,
            transaction_ends: histogram(),
            samples,
            broker: cost(|reading| reading.broker),
            client: cost(|reading| reading.client),
        })
    }

    fn read(&self) -> Result<Reading, Failure> {
        let broker = match self.run.broker_pid {
            Some(pid) => Some(usage(pid).ok_or_else(|| {
                Failure::new(format!(
                    "the process {pid} is not there, or not to be looked at"
                ))
            })?),
            None => None,
        };
        Ok(Reading {
            at: self.plan.epoch.now(),
            counts: self.meter.counts(),
            broker,
            client: usage(std::process::id()),
        })
    }

    fn sample(&self, first: &Reading, last: &Reading, now: &Reading) -> Sample {
        let (produce, end_to_end) = self.meter.take_latencies();
        let length = Duration::from_nanos(now.at - last.at);
        let subscriptions = u64::from(self.run.workload.subscriptions_per_topic);
        let to_consume = match self.run.workload.has_consumers() {
            true => (self.backlog + now.counts.records) * subscriptions,
            false => 0,
        };
        let broker = last.broker.zip(now.broker).map(|(last, now)| {
            let cpu = now.cpu_since(&last);
            let cpus = cpu.as_secs_f64() / length.as_secs_f64().max(1e-9);
            (cpus, now.resident_bytes)
        });
        Sample {
            at: Duration::from_nanos(now.at - first.at),
            length,
            counts: now.counts.since(&last.counts),
            backlog: to_consume.saturating_sub(now.counts.consumed),
            produce,
            end_to_end,
            broker,
        }
    }
}

fn add(from: &Histogram<u64>, to: &mut Histogram<u64>) {
    to.add(from).expect("both have the same bounds");
}

fn told(sample: &Sample) -> String {
    let rate = |count: u64| count as f64 / sample.length.as_secs_f64().max(1e-9);
    format!(
        "{:6.1} s: produced {:.0}/s (p50 {:.3}, p99 {:.3} ms), consumed {:.0}/s (p50 {:.3}, p99 {:.3} ms), backlog {}",
        sample.at.as_secs_f64(),
        rate(sample.counts.records),
        milliseconds(&sample.produce, 0.5),
        milliseconds(&sample.produce, 0.99),
        rate(sample.counts.consumed),
        milliseconds(&sample.end_to_end, 0.5),
        milliseconds(&sample.end_to_end, 0.99),
        sample.backlog,
    )
}
