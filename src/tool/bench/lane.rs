//! What a run asks of its clients: producers that write what falls due, and consumers that read along. Which client they
//! are of is this module's business: our own, which has a connection to each leader, or librdkafka.

use std::sync::Arc;

use clap::ValueEnum;
use futures_util::future::BoxFuture;

#[cfg(feature = "rdkafka")]
use super::librdkafka;
use super::meter::Meter;
use super::plan::{Plan, Topic};
use super::schedule::Pace;
use super::{Workload, consumer, producer};
use crate::tool::Failure;
use crate::tool::client::Client;

/// What is to be sent.
#[derive(Clone)]
pub(super) struct Task {
    pub meter: Arc<Meter>,
    pub pace: Pace,
    /// Nothing is sent from then on.
    pub until: u64,
    /// Records to send at most.
    pub limit: u64,
}

impl Task {
    /// How many records were due until its end and are not among those `sent`.
    pub(super) fn unsent(&self, sent: u64) -> u64 {
        match &self.pace {
            Pace::Unlimited => 0,
            Pace::Open(schedule) => {
                let due = schedule.due(self.until - 1).min(self.limit);
                due.saturating_sub(sent)
            }
        }
    }
}

/// Which client makes the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Made for this: requests are copies of ready-made ones
    #[default]
    Dohle,
    /// The neutral one, if this program was built with the feature `rdkafka`
    Librdkafka,
}

impl Kind {
    /// Why a workload cannot be run with this client.
    pub(super) fn check(self, workload: &Workload) -> Result<(), Failure> {
        if self == Kind::Dohle {
            return Ok(());
        }
        if !cfg!(feature = "rdkafka") {
            return Err(Failure::new(
                "this program was built without librdkafka: cargo build --release --features rdkafka",
            ));
        }
        match workload.records_per_transaction {
            Some(_) => Err(Failure::new("librdkafka makes no transactions here")),
            None => Ok(()),
        }
    }
}

/// What a lane is at.
pub(super) type Work<'a, T> = BoxFuture<'a, Result<T, Failure>>;

pub(super) trait Producing: Send {
    /// How many it writes to.
    fn partitions(&self) -> usize;

    /// Sends until it is time, or the limit is reached, and waits for the answers. Returns how many records were due and
    /// could not be sent. `number`: among all of the run.
    fn run<'a>(&'a mut self, task: &'a Task, number: usize) -> Work<'a, u64>;
}

pub(super) trait Consuming: Send {
    /// Reads until the window is over and nothing is left to read.
    fn run<'a>(&'a mut self, meter: &'a Arc<Meter>, number: usize) -> Work<'a, ()>;
}

impl Producing for producer::Lane {
    fn partitions(&self) -> usize {
        producer::Lane::partitions(self)
    }

    fn run<'a>(&'a mut self, task: &'a Task, number: usize) -> Work<'a, u64> {
        let slot = task.meter.slot(number);
        Box::pin(async move { Ok(producer::Lane::run(self, task, slot).await?) })
    }
}

impl Consuming for consumer::Lane {
    fn run<'a>(&'a mut self, meter: &'a Arc<Meter>, number: usize) -> Work<'a, ()> {
        let slot = meter.slot(number);
        Box::pin(async move { Ok(consumer::Lane::run(self, meter, slot).await?) })
    }
}

/// Opens what a topic's producer of that number writes with.
pub(super) async fn producers(
    kind: Kind,
    client: &mut Client,
    plan: &Arc<Plan>,
    topic: &Topic,
    (number, is_own): (usize, impl Fn(usize) -> bool),
) -> Result<Vec<Box<dyn Producing>>, Failure> {
    let mut lanes: Vec<Box<dyn Producing>> = Vec::new();
    match kind {
        Kind::Dohle => {
            for led in topic.by_leader(is_own) {
                let lane = producer::Lane::open(client, plan, topic, led, number).await?;
                lanes.push(Box::new(lane));
            }
        }
        #[cfg(feature = "rdkafka")]
        Kind::Librdkafka => {
            let shape = librdkafka::Shape::new(client, plan, topic, is_own);
            lanes.push(Box::new(librdkafka::Producer::new(shape, number)));
        }
        #[cfg(not(feature = "rdkafka"))]
        Kind::Librdkafka => kind.check(&plan.workload)?,
    }
    Ok(lanes)
}

/// Opens what one consumer reads these partitions of a topic with.
pub(super) async fn consumers(
    kind: Kind,
    client: &mut Client,
    plan: &Arc<Plan>,
    topic: &Topic,
    is_own: impl Fn(usize) -> bool,
) -> Result<Vec<Box<dyn Consuming>>, Failure> {
    let mut lanes: Vec<Box<dyn Consuming>> = Vec::new();
    match kind {
        Kind::Dohle => {
            for (leader, partitions) in topic.by_leader(is_own) {
                let lane = consumer::Lane::open(client, plan, topic, leader, partitions).await?;
                lanes.push(Box::new(lane));
            }
        }
        #[cfg(feature = "rdkafka")]
        Kind::Librdkafka => {
            let shape = librdkafka::Shape::new(client, plan, topic, is_own);
            lanes.push(Box::new(librdkafka::Consumer::new(shape)));
        }
        #[cfg(not(feature = "rdkafka"))]
        Kind::Librdkafka => kind.check(&plan.workload)?,
    }
    Ok(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_cannot_do_is_refused_before_the_run() {
        let transactional = Workload {
            records_per_transaction: Some(10),
            ..Workload::default()
        };
        assert!(Kind::Dohle.check(&transactional).is_ok());
        let error = Kind::Librdkafka.check(&transactional).unwrap_err();
        let expected = match cfg!(feature = "rdkafka") {
            true => "librdkafka makes no transactions here",
            false => "--features rdkafka",
        };
        assert!(error.to_string().contains(expected), "{error}");
        let plain = Kind::Librdkafka.check(&Workload::default());
        assert_eq!(plain.is_ok(), cfg!(feature = "rdkafka"));
    }
}
