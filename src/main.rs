//! The command line: `dohle serve` runs a node, the other commands are tools. Reads arguments and settings, starts,
//! and waits for a signal.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dohle::config::Settings;
use dohle::server::{Server, raise_descriptor_limit};
use dohle::tool::Failure;
use dohle::tool::bench::Bench;
use dohle::tool::check::Check;
use dohle::tool::configs::Configs;
use dohle::tool::console_consumer::ConsoleConsumer;
use dohle::tool::console_producer::ConsoleProducer;
use dohle::tool::consumer_groups::ConsumerGroups;
use dohle::tool::delete_records::DeleteRecords;
use dohle::tool::dump_log::DumpLog;
use dohle::tool::floor::Floor;
use dohle::tool::get_offsets::GetOffsets;
use dohle::tool::log_dirs::LogDirs;
use dohle::tool::logging;
use dohle::tool::storage::Storage;
use dohle::tool::topics::Topics;
use dohle::tool::transactions::Transactions;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tracing::{error, info, warn};

/// Where a node without a settings file keeps its data.
const DATA_DIR: &str = "dohle-data";

/// Sockets that a thread takes from the kernel at a time when it has nothing else to do, and when it has: what does not fit into
/// its queue of 256 tasks waits in one that all threads share and rarely look at while their own hold anything.
const EVENTS_IDLE: usize = 128;
const EVENTS_BUSY: usize = 32;

/// A Kafka broker in one binary
#[derive(Parser)]
#[command(name = "dohle", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: logging::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node
    Serve(Serve),
    /// Format log directories, and tell about them
    Storage(Storage),
    /// Create, change, list, describe and delete topics
    Topics(Topics),
    /// Show and change settings of topics, brokers, loggers, groups and client-metrics subscriptions
    Configs(Configs),
    /// Send lines from standard input as records
    ConsoleProducer(ConsoleProducer),
    /// Print records of topics
    ConsoleConsumer(ConsoleConsumer),
    /// List, describe and delete consumer groups
    ConsumerGroups(ConsumerGroups),
    /// Print the offsets of partitions
    GetOffsets(GetOffsets),
    /// Delete records before given offsets
    DeleteRecords(DeleteRecords),
    /// Print the log directories of brokers and what lies in them
    LogDirs(LogDirs),
    /// List, describe, find and end transactions
    Transactions(Transactions),
    /// Verify the files of a stopped node
    Check(Check),
    /// Print what is in the files of a log
    DumpLog(DumpLog),
    /// Load a broker, and measure it
    Bench(Box<Bench>),
    /// Do the least that a broker can do, for measurements
    #[command(hide = true)]
    Floor(Floor),
}

#[derive(clap::Args)]
struct Serve {
    /// Settings as Kafka's server.properties; without it a node on 127.0.0.1:9092 with its data in ./dohle-data
    file: Option<PathBuf>,
    /// Set one setting, over the file
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
    /// Print what is made of each setting that was given, and exit
    #[arg(long)]
    explain_config: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("no `=` in it")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn main() -> ExitCode {
    let started = Instant::now();
    let arguments = Arguments::parse();
    let result = logging::start(&arguments.log).map_err(Into::into);
    match result.and_then(|()| arguments.command.run(started)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(std::io::stderr(), "dohle: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(&self, started: Instant) -> Result<(), Box<dyn Error>> {
        match self {
            Command::Serve(node) => serve(node, started),
            Command::Storage(tool) => Ok(tool.run()?),
            Command::Topics(tool) => client(tool.run()),
            Command::Configs(tool) => client(tool.run()),
            Command::ConsoleProducer(tool) => client(tool.run()),
            Command::ConsoleConsumer(tool) => client(tool.run()),
            Command::ConsumerGroups(tool) => client(tool.run()),
            Command::GetOffsets(tool) => client(tool.run()),
            Command::DeleteRecords(tool) => client(tool.run()),
            Command::LogDirs(tool) => client(tool.run()),
            Command::Transactions(tool) => client(tool.run()),
            Command::Check(tool) => Ok(tool.run()?),
            Command::DumpLog(tool) => Ok(tool.run()?),
            Command::Bench(tool) => bench(tool),
            Command::Floor(tool) => {
                raise_descriptor_limit();
                Ok(tool.run()?)
            }
        }
    }
}

/// A tool that speaks with brokers.
fn client(tool: impl Future<Output = Result<(), Failure>>) -> Result<(), Box<dyn Error>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(tool);
    // A thread that waits for standard input is not waited for.
    runtime.shutdown_background();
    Ok(result?)
}

/// The load generator, on as many threads as it is given.
fn bench(tool: &Bench) -> Result<(), Box<dyn Error>> {
    raise_descriptor_limit();
    if tool.threads() == 1 {
        return client(tool.run());
    }
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(tool.threads())
        .enable_all()
        .build()?;
    let result = runtime.block_on(tool.run());
    runtime.shutdown_background();
    Ok(result?)
}

fn serve(serve: &Serve, started: Instant) -> Result<(), Box<dyn Error>> {
    let settings = match &serve.file {
        Some(file) => Settings::from_file(file, &serve.overrides)?,
        None => Settings::default_for(Path::new(DATA_DIR)).with(&serve.overrides)?,
    };
    if serve.explain_config {
        std::io::stdout().write_all(settings.explain().as_bytes())?;
        return Ok(());
    }
    for warning in settings.warnings() {
        warn!("{warning}");
    }
    raise_descriptor_limit();
    let cores = std::thread::available_parallelism()?.get();
    let threads = settings
        .num_network_threads()
        .saturating_add(settings.num_io_threads());
    let workers = cores.min(usize::try_from(threads).unwrap_or(1));
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_io_events_per_tick(EVENTS_IDLE)
        .max_io_events_per_busy_tick(EVENTS_BUSY)
        .enable_all()
        .build()?;
    runtime.block_on(run(settings, started))
}

/// Serves until SIGTERM or Ctrl-C.
async fn run(settings: Settings, started: Instant) -> Result<(), Box<dyn Error>> {
    // Once the node is ready a signal stops it cleanly; before that it ends the start, and the next one recovers.
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let node_id = settings.node_id();
    let server = tokio::select! {
        server = Server::start(settings) => server?,
        _ = terminate.recv() => return Err("SIGTERM came before the node was ready".into()),
        _ = interrupt.recv() => return Err("SIGINT came before the node was ready".into()),
    };
    let mut ready = format!("dohle {} ready:", env!("CARGO_PKG_VERSION"));
    for (name, address) in server.addresses() {
        write!(ready, " {name}://{address}")?;
    }
    writeln!(
        ready,
        " node {node_id}, {} ms",
        started.elapsed().as_millis()
    )?;
    std::io::stdout().write_all(ready.as_bytes())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        error = server.failed() => {
            if error.leaves_logs() {
                error!("{error}: stopping");
                server.stop().await?;
            }
            return Err(error.into());
        }
    };
    info!("{name}: stopping");
    server.stop().await?;
    info!("stopped");
    Ok(())
}
