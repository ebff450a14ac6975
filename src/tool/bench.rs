//! `dohle bench`: load for any broker of the Kafka protocol, in the shapes of OpenMessaging Benchmark, and what came of it:
//! rates, latencies from the intended send times, the broker's CPU and memory.
//!
//! The client is made for this: requests are copies of ready-made ones and many are on their way, so that the broker is
//! the limit and not this program. `workload` says what to do, `plan` holds what tasks share, `producer` and `consumer`
//! are the tasks, one for each connection, `meter` collects, `outcome` and `report` tell.

mod again;
mod batches;
mod consumer;
mod lane;
#[cfg(feature = "rdkafka")]
mod librdkafka;
mod link;
mod meter;
mod options;
mod outcome;
mod plan;
mod process;
mod producer;
mod report;
mod requests;
mod run;
mod schedule;
mod transactions;
mod turns;
mod workload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

pub use self::lane::Kind;
pub use self::outcome::{Cost, Outcome};
pub use self::run::Run;
pub use self::workload::{KeyDistributor, Preset, Spread, Workload};
use super::print::{complain, say};
use super::{Connect, Failure};

#[derive(Args, Debug)]
pub struct Bench {
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    load: options::Load,
    /// The process of the broker: its CPU time and memory are measured
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// The client that makes the load
    #[arg(long, value_name = "NAME", default_value = "dohle")]
    client: Kind,
    /// Threads of this program
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    threads: usize,
    /// Write the result as JSON, under the names of OpenMessaging Benchmark
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Seconds of each figure in the series of the results
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = options::interval)]
    sample_interval: Duration,
    /// Tell the figures of each of these intervals
    #[arg(long)]
    verbose: bool,
    /// Leave the topics of the run where they are
    #[arg(long)]
    keep_topics: bool,
}

impl Bench {
    /// Threads that the run wants.
    pub fn threads(&self) -> usize {
        self.threads.max(1)
    }

    pub async fn run(&self) -> Result<(), Failure> {
        let (workload, ignored) = self.load.resolve()?;
        for name in ignored {
            complain!("{name} has no effect here");
        }
        self.client.check(&workload)?;
        let client = self.connect.client(plan::CLIENT_ID)?;
        let run = Run {
            workload,
            client: self.client,
            broker_pid: self.pid,
            keep_topics: self.keep_topics,
            sample_interval: self.sample_interval,
            verbose: self.verbose,
        };
        let outcome = run.measure(client).await?;
        say!("{}", outcome.text());
        if let Some(path) = &self.json {
            write(path, &format!("{:#}\n", outcome.json()))?;
        }
        if let Some(path) = &self.html {
            write(path, &report::html(&outcome))?;
        }
        match outcome.errors.is_empty() {
            true => Ok(()),
            false => Err(Failure::new("not all records were taken")),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}
