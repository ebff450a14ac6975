//! The levels of `metadata.version` by name, and the levels of the other features that came with them
//! (MetadataVersion, Feature.defaultLevel).

use crate::config::features::METADATA_VERSION;

/// A level of `metadata.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) level: i16,
    pub(super) name: &'static str,
}

/// From level 7 on, without gaps.
const NAMES: [&str; 24] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
    "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0",
    "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
];
const OLDEST: i16 = 7;

/// Feature, level, and the level of `metadata.version` from which on a new cluster has it.
const SINCE: [(&str, i16, i16); 5] = [
    ("eligible.leader.replicas.version", 1, 26),
    ("group.version", 1, 22),
    ("share.version", 1, 28),
    ("streams.version", 1, 29),
    ("transaction.version", 2, 24),
];

impl Release {
    pub(super) const LATEST: Release = Release {
        level: 30,
        name: "4.3-IV0",
    };

    /// By a name, or by that of a release such as `4.0`, or `4.0.1`, which stands for its last level.
    pub(super) fn parse(text: &str) -> Option<Release> {
        let all = (OLDEST..).zip(NAMES);
        let is_named = |name: &str| {
            let release = name.split('-').next().unwrap_or(name);
            name == text
                || release == text
                || text
                    .strip_prefix(release)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        all.filter(|(_, name)| is_named(name))
            .last()
            .map(|(level, name)| Release { level, name })
    }

    /// By a level that is known.
    pub(super) fn of_level(level: i16) -> Release {
        let at = usize::try_from(level - OLDEST).unwrap_or(0);
        Release {
            level,
            name: NAMES.get(at).copied().unwrap_or("unknown"),
        }
    }

    pub(super) fn names() -> String {
        NAMES.join(", ")
    }

    /// What a new cluster of this release has.
    pub(super) fn features(self) -> impl Iterator<Item = (&'static str, i16)> {
        let others = SINCE
            .into_iter()
            .filter(move |(_, _, since)| *since <= self.level);
        others
            .map(|(name, level, _)| (name, level))
            .chain([(METADATA_VERSION, self.level)])
    }
}
