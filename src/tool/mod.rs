//! The command-line tools: one file each, with the flags and the output of Kafka's own, and the client that they
//! share. A tool prints what it has to say on stdout and returns a [`Failure`] that `main` prints on stderr.

pub mod bench;
pub mod check;
pub mod client;
pub mod configs;
pub mod console_consumer;
pub mod console_producer;
pub mod consumer_groups;
pub mod delete_records;
pub mod dump_log;
pub mod floor;
pub mod get_offsets;
pub mod log_dirs;
pub mod logging;
mod print;
mod properties;
pub mod storage;
mod table;
mod topic_filter;
pub mod topics;
pub mod transactions;

use std::path::PathBuf;

use clap::Args;

use self::client::Client;
use crate::error_code::ErrorCode;

/// Why a tool ends with exit code 1: one message for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure(message.into())
    }

    /// Fails with a broker's message, or with the name of its error where it gave none.
    fn check(code: i16, message: Option<&str>) -> Result<(), Failure> {
        match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(()),
            code => Err(Failure::new(message.unwrap_or(code.name()))),
        }
    }

    fn context(self, before: &str) -> Failure {
        Failure(format!("{before}{}", self.0))
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        Failure(error.to_string())
    }
}

/// The flags by which every tool finds its cluster.
#[derive(Args, Debug)]
pub struct Connect {
    /// The servers to connect to first, separated by commas
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: String,
    /// A file of client settings
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
}

impl Connect {
    fn client(&self, client_id: &'static str) -> Result<Client, Failure> {
        if let Some(path) = &self.command_config {
            let settings = properties::read(path)?;
            if let Some(protocol) = settings
                .get("security.protocol")
                .filter(|protocol| *protocol != "PLAINTEXT")
            {
                return Err(Failure::new(format!(
                    "{}: security.protocol={protocol} is not supported yet",
                    path.display()
                )));
            }
        }
        Ok(Client::new(&self.bootstrap_server, client_id)?)
    }
}
