//! The parts of this process that log, and the level at which each does, which can change while it runs (KIP-412).
//! Process-wide, as the subscriber of `tracing` is: `main` hands over how a change is put into effect. Knows neither who
//! asks for a change nor where the lines go. (org.apache.kafka.server.logger.LoggingController)

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// What has no level of its own has the root's.
pub const ROOT: &str = "root";

/// The loggers that there are: the program's modules, by the targets of their events.
pub const NAMES: [&str; 10] = [
    ROOT,
    "dohle",
    "dohle::api",
    "dohle::broker",
    "dohle::config",
    "dohle::controller",
    "dohle::coordinator",
    "dohle::log",
    "dohle::metadata",
    "dohle::replica",
];

type Apply = Box<dyn Fn(&Targets) + Send + Sync>;

static LEVELS: Mutex<Option<Targets>> = Mutex::new(None);
static APPLY: OnceLock<Apply> = OnceLock::new();

/// Starts with these levels; `apply` is told of every change.
pub fn start(levels: Targets, apply: impl Fn(&Targets) + Send + Sync + 'static) {
    *lock() = Some(levels);
    // A second start would be of a second subscriber, and tracing takes one.
    let _ = APPLY.set(Box::new(apply));
}

/// The level of a logger: its own, or that of the nearest above it.
pub fn level(name: &str) -> LevelFilter {
    let levels = lock();
    let levels = levels.as_ref();
    let own = levels.and_then(|levels| {
        let above = levels
            .iter()
            .filter(|(target, _)| is_below(name, target))
            .max_by_key(|(target, _)| target.len());
        Some(above?.1)
    });
    own.or_else(|| levels?.default_level())
        .unwrap_or(LevelFilter::current())
}

/// Gives loggers other levels, all together; `None` takes a level away, so that the one above counts.
pub fn set<'a>(changes: impl Iterator<Item = (&'a str, Option<LevelFilter>)>) {
    let mut levels = lock();
    let mut root = levels.as_ref().and_then(Targets::default_level);
    let mut own: Vec<(String, LevelFilter)> = match levels.as_ref() {
        Some(levels) => levels
            .iter()
            .map(|(target, level)| (target.to_owned(), level))
            .collect(),
        None => Vec::new(),
    };
    for (name, level) in changes {
        if name == ROOT {
            root = level;
            continue;
        }
        own.retain(|(target, _)| target != name);
        own.extend(level.map(|level| (name.to_owned(), level)));
    }
    let changed = Targets::new()
        .with_targets(own)
        .with_default(root.unwrap_or(LevelFilter::current()));
    if let Some(apply) = APPLY.get() {
        apply(&changed);
    }
    *levels = Some(changed);
}

fn is_below(name: &str, target: &str) -> bool {
    name.strip_prefix(target)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn lock() -> MutexGuard<'static, Option<Targets>> {
    LEVELS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_counts_for_what_is_below() {
        assert!(is_below("dohle::log", "dohle"));
        assert!(is_below("dohle", "dohle"));
        assert!(!is_below("dohle_tests", "dohle"));
        assert!(!is_below(ROOT, "dohle"));
    }
}
