//! Where each raft entry lies in the log: its last offset and its epoch, by index. Twelve bytes an entry, for the entries
//! that are still in the log; see the parent module for what an index is.

use std::collections::VecDeque;

use super::{LogId, epoch_of, log_id};
use crate::ids::{LeaderEpoch, Offset};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    last_offset: i64,
    epoch: i32,
}

/// The entries of the log. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entries {
    /// Index of the first of `places`.
    first_index: u64,
    /// Where the first of `places` begins: the end offset of all that is purged.
    first_offset: Offset,
    /// Epoch of the last purged entry; `None` when the log is whole.
    purged_epoch: Option<LeaderEpoch>,
    places: VecDeque<Place>,
}

impl Entries {
    /// No entries: the next one is at `start`, before which a snapshot whose last entry is of `purged_epoch` holds
    /// everything.
    pub(crate) fn new(start: Offset, purged_epoch: Option<LeaderEpoch>) -> Entries {
        Entries {
            first_index: u64::try_from(start.0).expect("offsets are not negative"),
            first_offset: start,
            purged_epoch,
            places: VecDeque::new(),
        }
    }

    /// Adds the entry behind the last one.
    ///
    /// # Panics
    /// When it does not end behind the last one.
    pub(crate) fn push(&mut self, last_offset: Offset, epoch: LeaderEpoch) -> LogId {
        assert!(
            last_offset >= self.end_offset(),
            "entries follow each other: {last_offset} in {self:?}"
        );
        let id = log_id(epoch, self.next_index());
        self.places.push_back(Place {
            last_offset: last_offset.0,
            epoch: epoch.0,
        });
        id
    }

    pub(crate) fn next_index(&self) -> u64 {
        self.first_index + self.places.len() as u64
    }

    /// Index of the first entry that is still there, or would be.
    pub(crate) fn first_index(&self) -> u64 {
        self.first_index
    }

    /// Offset behind the last entry.
    pub(crate) fn end_offset(&self) -> Offset {
        self.places
            .back()
            .map_or(self.first_offset, |last| Offset(last.last_offset + 1))
    }

    fn place(&self, index: u64) -> Option<Place> {
        let at = index.checked_sub(self.first_index)?;
        self.places.get(usize::try_from(at).ok()?).copied()
    }

    pub(crate) fn log_id(&self, index: u64) -> Option<LogId> {
        self.place(index)
            .map(|place| log_id(LeaderEpoch(place.epoch), index))
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.log_id(self.next_index().checked_sub(1)?)
            .or(self.purged())
    }

    /// The last entry that is no longer there.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.purged_epoch
            .map(|epoch| log_id(epoch, self.first_index - 1))
    }

    /// Offset behind the entry `index`; `None` when it is neither there nor the last purged one.
    pub(crate) fn end_of(&self, index: u64) -> Option<Offset> {
        if index.checked_add(1) == Some(self.first_index) {
            return Some(self.first_offset);
        }
        self.place(index).map(|place| Offset(place.last_offset + 1))
    }

    /// First offset of the entry `index`.
    pub(crate) fn start_of(&self, index: u64) -> Option<Offset> {
        self.place(index)?;
        index
            .checked_sub(1)
            .map_or(Some(self.first_offset), |before| self.end_of(before))
    }

    /// The entry that ends before `end`, which is the end of an entry; `None` when no entry ends there or none is before
    /// it.
    pub(crate) fn ending_at(&self, end: Offset) -> Option<LogId> {
        if end == self.first_offset {
            return self.purged();
        }
        let at = self
            .places
            .binary_search_by_key(&(end.0 - 1), |place| place.last_offset)
            .ok()?;
        self.log_id(self.first_index + at as u64)
    }

    /// Removes what is behind `index`; everything with `None`.
    pub(crate) fn truncate_after(&mut self, index: Option<u64>) {
        let keep = index.map_or(0, |index| (index + 1).saturating_sub(self.first_index));
        self.places
            .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }

    /// Removes what is up to `upto`, which may be behind the last entry: all is gone then, and the log begins at
    /// `end`, the offset behind `upto`.
    pub(crate) fn purge(&mut self, upto: LogId, end: Offset) {
        let count = (upto.index + 1).saturating_sub(self.first_index);
        let count = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(self.places.len());
        self.places.drain(..count);
        self.first_index = upto.index + 1;
        self.first_offset = end;
        self.purged_epoch = Some(epoch_of(&upto));
    }

    /// First entry of each epoch and the last entry, within `indexes`: what openraft keeps in memory of the log.
    pub(crate) fn key_log_ids(&self, first: u64, last: u64) -> Vec<LogId> {
        let mut ids: Vec<LogId> = Vec::new();
        for index in first..=last {
            let Some(id) = self.log_id(index) else {
                continue;
            };
            let epoch_begins = ids
                .last()
                .is_none_or(|before| before.committed_leader_id() != id.committed_leader_id());
            if epoch_begins {
                ids.push(id);
            }
        }
        if let Some(id) = self.log_id(last).filter(|id| ids.last() != Some(id)) {
            ids.push(id);
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of 1, 9 and 1 records, then a new epoch with 2.
    fn sample() -> Entries {
        let mut entries = Entries::new(Offset(0), None);
        for (last_offset, epoch) in [(0, 1), (9, 1), (10, 1), (12, 2)] {
            entries.push(Offset(last_offset), LeaderEpoch(epoch));
        }
        entries
    }

    #[test]
    fn indexes_and_offsets_map_both_ways() {
        let entries = sample();
        assert_eq!(entries.last(), Some(log_id(LeaderEpoch(2), 3)));
        assert_eq!(entries.end_offset(), Offset(13));
        assert_eq!(
            (entries.start_of(1), entries.end_of(1)),
            (Some(Offset(1)), Some(Offset(10)))
        );
        assert_eq!(
            (entries.start_of(0), entries.start_of(4)),
            (Some(Offset(0)), None)
        );
        assert_eq!(
            entries.ending_at(Offset(10)),
            Some(log_id(LeaderEpoch(1), 1))
        );
        assert_eq!(entries.ending_at(Offset(9)), None);
        assert_eq!(entries.ending_at(Offset(0)), None);
        assert_eq!(entries.purged(), None);
    }

    #[test]
    fn what_is_truncated_can_be_written_anew() {
        let mut entries = sample();
        entries.truncate_after(Some(1));
        assert_eq!(entries.end_offset(), Offset(10));
        assert_eq!(
            entries.push(Offset(11), LeaderEpoch(3)),
            log_id(LeaderEpoch(3), 2)
        );
        entries.truncate_after(None);
        assert_eq!((entries.last(), entries.end_offset()), (None, Offset(0)));
    }

    #[test]
    fn a_purge_keeps_the_place_of_the_last_entry() {
        let mut entries = sample();
        entries.purge(log_id(LeaderEpoch(1), 1), Offset(10));
        assert_eq!(entries.purged(), Some(log_id(LeaderEpoch(1), 1)));
        assert_eq!((entries.first_index(), entries.next_index()), (2, 4));
        assert_eq!(
            (entries.end_of(1), entries.start_of(2)),
            (Some(Offset(10)), Some(Offset(10)))
        );
        assert_eq!(entries.ending_at(Offset(10)), entries.purged());
        assert_eq!(entries.start_of(0), None);

        entries.purge(log_id(LeaderEpoch(4), 20), Offset(40));
        assert_eq!(
            (entries.next_index(), entries.end_offset()),
            (21, Offset(40))
        );
        assert_eq!(entries.last(), Some(log_id(LeaderEpoch(4), 20)));
    }

    #[test]
    fn a_log_opened_behind_a_snapshot_has_indexes_above_those_before() {
        let entries = Entries::new(Offset(13), Some(LeaderEpoch(2)));
        assert_eq!(entries.last(), Some(log_id(LeaderEpoch(2), 12)));
        assert_eq!(entries.next_index(), 13);
        assert!(entries.last() > sample().last());
    }

    #[test]
    fn the_key_log_ids_are_the_epochs_begins_and_the_end() {
        let entries = sample();
        let ids: Vec<_> = entries
            .key_log_ids(0, 3)
            .iter()
            .map(|id| (epoch_of(id).0, id.index))
            .collect();
        assert_eq!(ids, [(1, 0), (2, 3)]);
        let ids: Vec<_> = entries
            .key_log_ids(1, 2)
            .iter()
            .map(|id| id.index)
            .collect();
        assert_eq!(ids, [1, 2]);
    }
}
