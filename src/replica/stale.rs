//! Checkpoints that say what is not so any more: of topics that were deleted, of logs that were compacted since. They are
//! written anew all together from time to time, since each holds all the partitions of a directory; and at once
//! where a topic is made that would inherit what they say of an earlier one of its name.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::replicas::Replicas;
use crate::log::checkpoints::{CLEANER, HIGH_WATERMARK, LOG_START, RECOVERY_POINT};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct StaleCheckpoints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// They may tell of topics that were deleted in an earlier run, or while it ended.
    all: bool,
    /// Topics of which partitions have gone since they were written.
    deleted: HashSet<Arc<str>>,
    /// A log was compacted.
    cleaned: bool,
}

impl StaleCheckpoints {
    pub(super) fn all(&self) {
        self.lock().all = true;
    }

    pub(super) fn deleted(&self, topic: &Arc<str>) {
        self.lock().deleted.insert(topic.clone());
    }

    pub(super) fn cleaned(&self) {
        self.lock().cleaned = true;
    }

    /// What has to be written; nothing is stale afterwards. `made`: only where it tells of this topic.
    fn take(&self, made: Option<&str>) -> &'static [&'static str] {
        let mut state = self.lock();
        let inherits = |topic| state.all || state.deleted.contains(topic);
        if made.is_some_and(|topic| !inherits(topic)) {
            return &[];
        }
        let State {
            all,
            deleted,
            cleaned,
        } = std::mem::take(&mut *state);
        match (all || !deleted.is_empty(), cleaned) {
            (true, _) => &[RECOVERY_POINT, LOG_START, HIGH_WATERMARK, CLEANER],
            (false, true) => &[CLEANER],
            (false, false) => &[],
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        !state.all && state.deleted.is_empty() && !state.cleaned
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replicas {
    /// Writes the checkpoints that are stale.
    pub(super) fn refresh_checkpoints(&self) {
        self.refresh(None);
    }

    /// To be called before a log of this topic is made. Also waits for who is writing what it would inherit.
    pub(super) fn forget_deleted(&self, topic: &str) {
        self.refresh(Some(topic));
    }

    fn refresh(&self, made: Option<&str>) {
        // What was not written is as stale as before.
        self.checkpoint_due(|| self.stale.take(made), || self.stale.all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_is_made_waits_for_what_it_would_inherit_alone() {
        let stale = StaleCheckpoints::default();
        assert_eq!(stale.take(None).len(), 0);
        let topic: Arc<str> = "t".into();
        stale.deleted(&topic);
        assert_eq!(stale.take(Some("other")).len(), 0);
        assert_eq!(stale.take(Some("t")).len(), 4);
        assert_eq!(stale.take(Some("t")).len(), 0);
        stale.all();
        assert_eq!(stale.take(Some("other")).len(), 4);
        stale.cleaned();
        assert_eq!(stale.take(Some("t")).len(), 0);
        assert_eq!(stale.take(None), [CLEANER]);
        assert_eq!(stale.take(None).len(), 0);
    }
}
