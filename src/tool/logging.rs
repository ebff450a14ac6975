//! Where log lines go: to stderr, for a reader at a terminal or as JSON for a collector.

use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry, reload};

use crate::loggers;

/// Warnings of every part, and the few lines that tell of a start and a stop.
const QUIET: &str = "warn,dohle=info";

/// How to log; every command takes these.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to log: a level, or module=level,...
    #[arg(long = "log", global = true, env = "DOHLE_LOG", value_name = "FILTER")]
    filter: Option<String>,
    /// How to write a log line
    #[arg(
        long = "log-format",
        global = true,
        value_name = "FORMAT",
        default_value = "text"
    )]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("--log {filter}: {source}")]
pub struct Error {
    filter: String,
    source: ParseError,
}

/// Sends the log lines of this process to stderr. To be called once.
pub fn start(options: &Options) -> Result<(), Error> {
    let text = options.filter.as_deref().unwrap_or(QUIET);
    let levels: Targets = text.parse().map_err(|source| Error {
        filter: text.to_owned(),
        source,
    })?;
    let (filter, handle) = reload::Layer::new(levels.clone());
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match options.format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    registry().with(lines.with_filter(filter)).init();
    loggers::start(levels, move |levels| {
        // Fails only when the subscriber is gone, and it is there for good.
        let _ = handle.reload(levels.clone());
    });
    Ok(())
}
