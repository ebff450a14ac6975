//! Levels of loggers in Kafka's words, and what is asked of a change of one. (org.apache.kafka.common.config
//! .LogLevelConfig, ConfigAdminManager.validateLogLevelConfigs)

use tracing::level_filters::LevelFilter;

use crate::controller::Operation;
use crate::error_code::ErrorCode;
use crate::loggers::{NAMES, ROOT};

/// Kafka's levels, and what each is here: nothing is logged as fatal, so that FATAL leaves nothing.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("DEBUG", LevelFilter::DEBUG),
    ("ERROR", LevelFilter::ERROR),
    ("FATAL", LevelFilter::OFF),
    ("INFO", LevelFilter::INFO),
    ("TRACE", LevelFilter::TRACE),
    ("WARN", LevelFilter::WARN),
];

pub(super) fn name(level: LevelFilter) -> &'static str {
    let known = LEVELS.iter().find(|(_, one)| *one == level);
    known.map_or("FATAL", |(name, _)| name)
}

/// The level that a logger is to get; `None` takes its own away.
pub(super) fn check(
    logger: &str,
    operation: i8,
    level: Option<&str>,
) -> Result<Option<LevelFilter>, (ErrorCode, String)> {
    let invalid_request = |message: String| Err((ErrorCode::InvalidRequest, message));
    match Operation::of(operation) {
        Some(Operation::Set) => {
            check_existence(logger)?;
            let level = level.unwrap_or_default();
            let known = LEVELS.iter().find(|(name, _)| *name == level);
            known.map(|(_, level)| Some(*level)).ok_or_else(|| {
                let levels = LEVELS.map(|(name, _)| name).join(", ");
                let message = format!(
                    "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log \
                     levels are {levels}"
                );
                (ErrorCode::InvalidConfig, message)
            })
        }
        Some(Operation::Delete) => {
            check_existence(logger)?;
            match logger {
                ROOT => invalid_request(format!(
                    "Removing the log level of the {ROOT} logger is not allowed"
                )),
                _ => Ok(None),
            }
        }
        Some(Operation::Append) => not_allowed("APPEND"),
        Some(Operation::Subtract) => not_allowed("SUBTRACT"),
        None => Err((ErrorCode::UnknownServerError, String::new())),
    }
}

fn not_allowed<T>(operation: &str) -> Result<T, (ErrorCode, String)> {
    let message = format!("{operation} operation is not allowed for the BROKER_LOGGER resource");
    Err((ErrorCode::InvalidRequest, message))
}

fn check_existence(logger: &str) -> Result<(), (ErrorCode, String)> {
    match NAMES.contains(&logger) {
        true => Ok(()),
        false => Err((
            ErrorCode::InvalidConfig,
            format!("Logger {logger} does not exist!"),
        )),
    }
}
