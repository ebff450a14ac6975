//! The leader epochs of a log and where each began (KIP-101), kept in `leader-epoch-checkpoint` as lines of
//! `epoch start-offset`. Followers and consumers ask it where an epoch ended.
//! (org.apache.kafka.storage.internals.epoch.LeaderEpochFileCache)

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::checkpoints;
use super::error::Error;
use super::fs::{self, Fs};
use super::open_segments::Home;
use crate::ids::{LeaderEpoch, Offset};

/// The name of its file in a partition's directory.
pub(crate) const FILE: &str = "leader-epoch-checkpoint";

/// One epoch and its first offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start_offset: Offset,
}

/// The epochs of a log, ascending in epoch and start offset.
#[derive(Debug)]
pub(crate) struct Epochs {
    home: Arc<Home>,
    entries: Vec<EpochEntry>,
    /// What the file holds.
    stored: Box<[EpochEntry]>,
    /// Changed since it was brought to the device.
    dirty: bool,
}

impl Epochs {
    pub(crate) fn load(home: Arc<Home>) -> Result<Epochs, Error> {
        let entry = |line: &str| {
            let (epoch, start) = line.trim().split_once(' ')?;
            Some(EpochEntry {
                epoch: LeaderEpoch(epoch.parse().ok()?),
                start_offset: Offset(start.parse().ok()?),
            })
        };
        let stored = checkpoints::read_lines(&path(&home), entry)?;
        let mut epochs = Epochs {
            stored: stored.into(),
            // Who wrote it last may not have had a reason to.
            dirty: true,
            ..Epochs::none(home)
        };
        for at in 0..epochs.stored.len() {
            epochs.insert(epochs.stored[at]);
        }
        Ok(epochs)
    }

    /// Without its file, whatever that holds.
    pub(crate) fn none(home: Arc<Home>) -> Epochs {
        Epochs {
            home,
            entries: Vec::new(),
            stored: Box::default(),
            dirty: false,
        }
    }

    pub(crate) fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    pub(crate) fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// Notes that `epoch` began at `start_offset`. Entries that contradict this are dropped: they describe records
    /// that are gone.
    pub(crate) fn assign(
        &mut self,
        fs: &dyn Fs,
        epoch: LeaderEpoch,
        start_offset: Offset,
    ) -> Result<(), Error> {
        self.insert(EpochEntry {
            epoch,
            start_offset,
        });
        self.write(fs)
    }

    /// `assign` without the file: for a scan that ends with [`Epochs::write`], and for an epoch that has no batch yet.
    pub(crate) fn insert(&mut self, entry: EpochEntry) {
        let known = self.latest().is_some_and(|last| {
            last.epoch == entry.epoch && last.start_offset <= entry.start_offset
        });
        if known || entry.epoch.0 < 0 {
            return;
        }
        let conflicting =
            |old: &EpochEntry| old.epoch >= entry.epoch || old.start_offset >= entry.start_offset;
        while self.entries.last().is_some_and(conflicting) {
            self.entries.pop();
        }
        self.entries.push(entry);
    }

    /// The epoch that answers a question for the end of `epoch`, and that end: the start of the next one, or
    /// `log_end_offset` for the latest. `None` for an epoch that is unknown or above all.
    pub(crate) fn end_offset(
        &self,
        epoch: LeaderEpoch,
        log_end_offset: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        // Other numbers below 0 are answered as epochs before all known, as Kafka does.
        if epoch == LeaderEpoch::UNKNOWN {
            return None;
        }
        if self.latest().is_some_and(|last| last.epoch == epoch) {
            return Some((epoch, log_end_offset));
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(higher)?.start_offset;
        let floor = higher
            .checked_sub(1)
            .map_or(epoch, |at| self.entries[at].epoch);
        Some((floor, end))
    }

    /// The log ends at `end` now.
    pub(crate) fn truncate_from_end(&mut self, fs: &dyn Fs, end: Offset) -> Result<(), Error> {
        self.drop_from(end);
        self.write(fs)
    }

    /// `truncate_from_end` without the file: what is opened again is truncated again.
    pub(crate) fn drop_from(&mut self, end: Offset) {
        self.entries.retain(|entry| entry.start_offset < end);
    }

    /// The log begins at `start` now. The epoch in which that offset lies is kept, beginning there.
    pub(crate) fn truncate_from_start(&mut self, fs: &dyn Fs, start: Offset) -> Result<(), Error> {
        let below = self
            .entries
            .partition_point(|entry| entry.start_offset <= start);
        let Some(last) = below.checked_sub(1) else {
            return Ok(());
        };
        if last == 0 && self.entries[0].start_offset == start {
            return Ok(());
        }
        self.entries.drain(..last);
        self.entries[0].start_offset = start;
        self.write(fs)
    }

    pub(crate) fn clear(&mut self, fs: &dyn Fs) -> Result<(), Error> {
        self.entries.clear();
        self.write(fs)
    }

    /// Replaces the file where it holds something else. It is not brought to the device: after a crash a scan finds
    /// the epochs in the batches behind the recovery point, and [`Epochs::sync`] comes before that point moves.
    pub(crate) fn write(&mut self, fs: &dyn Fs) -> Result<(), Error> {
        if *self.entries == *self.stored {
            return Ok(());
        }
        self.dirty = true;
        self.replace(fs, false)?;
        self.stored = self.entries.as_slice().into();
        Ok(())
    }

    /// Brings the file to the device when it has changed.
    pub(crate) fn sync(&mut self, fs: &dyn Fs) -> Result<(), Error> {
        if self.dirty {
            self.replace(fs, true)?;
            self.dirty = false;
        }
        Ok(())
    }

    fn replace(&self, fs: &dyn Fs, durable: bool) -> Result<(), Error> {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            let _ = writeln!(text, "{} {}", entry.epoch, entry.start_offset);
        }
        let path = path(&self.home);
        fs::replace(fs, &path, text.as_bytes(), durable).map_err(Error::io(&path))
    }
}

fn path(home: &Home) -> PathBuf {
    home.path.load().join(FILE)
}

#[cfg(test)]
mod tests {
    use super::super::Storage;
    use super::super::fs::Disk;
    use super::*;

    fn epochs(dir: &tempfile::TempDir, entries: &[(i32, i64)]) -> Epochs {
        let home = Home::new(dir.path().to_owned(), Storage::default(), true);
        let mut epochs = Epochs::load(Arc::new(home)).unwrap();
        for (epoch, start) in entries {
            epochs
                .assign(&Disk, LeaderEpoch(*epoch), Offset(*start))
                .unwrap();
        }
        epochs
    }

    fn pairs(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs
            .entries()
            .iter()
            .map(|entry| (entry.epoch.0, entry.start_offset.0))
            .collect()
    }

    #[test]
    fn file_is_kafkas() {
        let dir = tempfile::tempdir().unwrap();
        epochs(&dir, &[(0, 0), (3, 17)]);
        assert_eq!(
            std::fs::read_to_string(dir.path().join(FILE)).unwrap(),
            "0\n2\n0 0\n3 17\n"
        );
        assert_eq!(pairs(&epochs(&dir, &[])), [(0, 0), (3, 17)]);
    }

    #[test]
    fn an_epoch_without_a_batch_waits_for_the_next_change_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut of_leader = epochs(&dir, &[]);
        let begun = |epoch| EpochEntry {
            epoch: LeaderEpoch(epoch),
            start_offset: Offset(0),
        };
        of_leader.insert(begun(1));
        assert_eq!(pairs(&of_leader), [(1, 0)]);
        assert!(!dir.path().join(FILE).exists());
        of_leader.assign(&Disk, LeaderEpoch(1), Offset(0)).unwrap();
        assert_eq!(pairs(&epochs(&dir, &[])), [(1, 0)]);
    }

    #[test]
    fn a_new_epoch_drops_what_contradicts_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            pairs(&epochs(&dir, &[(0, 0), (1, 10), (2, 20), (2, 25), (3, 10)])),
            [(0, 0), (3, 10)]
        );
    }

    #[test]
    fn ends_of_epochs() {
        let dir = tempfile::tempdir().unwrap();
        let epochs = epochs(&dir, &[(2, 5), (4, 10), (7, 20)]);
        let end = |epoch| {
            epochs
                .end_offset(LeaderEpoch(epoch), Offset(30))
                .map(|(epoch, end)| (epoch.0, end.0))
        };
        assert_eq!(end(-1), None);
        assert_eq!(end(1), Some((1, 5)), "below all known");
        assert_eq!(end(2), Some((2, 10)));
        assert_eq!(end(3), Some((2, 10)));
        assert_eq!(end(6), Some((4, 20)));
        assert_eq!(end(7), Some((7, 30)));
        assert_eq!(end(8), None, "above all known");
    }

    #[test]
    fn truncation_at_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut epochs = epochs(&dir, &[(2, 5), (4, 10), (7, 20)]);
        epochs.truncate_from_end(&Disk, Offset(20)).unwrap();
        assert_eq!(pairs(&epochs), [(2, 5), (4, 10)]);
        epochs.truncate_from_start(&Disk, Offset(12)).unwrap();
        assert_eq!(pairs(&epochs), [(4, 12)]);
        epochs.truncate_from_start(&Disk, Offset(3)).unwrap();
        assert_eq!(pairs(&epochs), [(4, 12)]);
    }
}
