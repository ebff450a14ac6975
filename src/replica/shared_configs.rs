//! Settings of partitions that are equal are kept once: most topics have none of their own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::config::PartitionConfig;

/// Settings that are remembered. Who has others than the last so many keeps them for itself.
const REMEMBERED: usize = 32;

/// The settings that were last given out, the newest first.
#[derive(Debug, Default)]
pub(super) struct SharedConfigs(Mutex<VecDeque<Arc<PartitionConfig>>>);

impl SharedConfigs {
    pub(super) fn share(&self, config: PartitionConfig) -> Arc<PartitionConfig> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = remembered.iter().position(|known| **known == config);
        let config = known
            .and_then(|at| remembered.remove(at))
            .unwrap_or_else(|| Arc::new(config));
        remembered.truncate(REMEMBERED - 1);
        remembered.push_front(config.clone());
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_settings_are_one() {
        let shared = SharedConfigs::default();
        let with = |replicas| PartitionConfig {
            min_insync_replicas: replicas,
            ..PartitionConfig::default()
        };
        let first = shared.share(with(1));
        assert!(Arc::ptr_eq(&first, &shared.share(with(1))));
        for replicas in 2..=REMEMBERED {
            shared.share(with(replicas));
        }
        assert!(Arc::ptr_eq(&first, &shared.share(with(1))));
        for replicas in 2..=REMEMBERED + 1 {
            shared.share(with(replicas));
        }
        assert!(!Arc::ptr_eq(&first, &shared.share(with(1))));
    }
}
