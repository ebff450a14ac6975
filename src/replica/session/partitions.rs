//! The partitions of one fetch session in the order in which they are read: one that had records goes to the end,
//! so that a small answer does not starve the others. Those that had nothing to tell are passed over until they change, which
//! makes no difference to the others: they would give no bytes and take none.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{PartitionKey, Told, Wanted};
use crate::ids::Offset;
use crate::replica::waiting::Waiting;
use crate::replica::watching::{Changes, Watching};

/// A map by key whose entries have an order. Slots stay where they are.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    by_key: HashMap<PartitionKey, u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Those that the next request looks at: the order and the slot.
    due: BTreeSet<(u64, u32)>,
    next_order: u64,
    changes: Arc<Changes>,
}

#[derive(Debug)]
struct Slot {
    wanted: Wanted,
    high_watermark: Offset,
    log_start_offset: Offset,
    order: u64,
    /// From the first look on that found the partition here.
    watching: Option<Watching>,
}

impl Partitions {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Partitions that are passed over.
    pub(super) fn idle(&self) -> usize {
        self.len() - self.due.len()
    }

    pub(super) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Adds a partition at the end, or changes what is wanted of it.
    pub(super) fn upsert(&mut self, wanted: &Wanted) -> u32 {
        if let Some(&at) = self.by_key.get(&wanted.key) {
            let slot = self.slot(at);
            slot.wanted.clone_from(wanted);
            let order = slot.order;
            self.due.insert((order, at));
            return at;
        }
        let order = self.take_order();
        let fresh = Some(Slot {
            wanted: wanted.clone(),
            high_watermark: Offset(-1),
            log_start_offset: Offset(-1),
            order,
            watching: None,
        });
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = fresh;
                at
            }
            None => {
                self.slots.push(fresh);
                u32::try_from(self.slots.len() - 1).expect("a session is bounded")
            }
        };
        self.by_key.insert(wanted.key.clone(), at);
        self.due.insert((order, at));
        at
    }

    pub(super) fn remove(&mut self, key: &PartitionKey) {
        if let Some(at) = self.by_key.remove(key) {
            let order = self.slot(at).order;
            self.due.remove(&(order, at));
            self.slots[at as usize] = None;
            self.free.push(at);
        }
    }

    /// Has every partition looked at.
    pub(super) fn make_all_due(&mut self) {
        let all = self.slots.iter().zip(0..);
        let all = all.filter_map(|(slot, at)| Some((slot.as_ref()?.order, at)));
        self.due.extend(all);
    }

    /// Has those looked at that have changed.
    pub(super) fn note_changes(&mut self) {
        for at in self.changes.take() {
            // It may have been forgotten since.
            if let Some(slot) = &self.slots[at as usize] {
                self.due.insert((slot.order, at));
            }
        }
    }

    /// What is wanted of those that are due, and their slots, in order.
    pub(super) fn due(&self) -> (Vec<Wanted>, Vec<u32>) {
        let due = self.due.iter().filter_map(|&(_, at)| {
            let slot = self.slots[at as usize].as_ref()?;
            Some((slot.wanted.clone(), at))
        });
        due.unzip()
    }

    /// Is told of the next change of the partition of a slot, `None` for one that is not here. Comes before each look.
    pub(super) fn watch(&mut self, at: u32, partition: Option<&Arc<Waiting>>) {
        let changes = self.changes.clone();
        let slot = self.slot(at);
        match (partition, &slot.watching) {
            (Some(waiting), Some(watching)) if watching.is_of(waiting) => watching.again(),
            (Some(waiting), _) => slot.watching = Some(Watching::begin(waiting, &changes, at)),
            (None, _) => slot.watching = None,
        }
    }

    /// Keeps what a first answer told.
    pub(super) fn remember(&mut self, at: u32, told: &Told) {
        let slot = self.slot(at);
        slot.high_watermark = told.high_watermark;
        slot.log_start_offset = told.log_start_offset;
    }

    /// Whether the answer has to name the partition; if so what it tells is kept.
    /// (CachedPartition.maybeUpdateResponseData)
    pub(super) fn tell(&mut self, at: u32, told: &Told) -> bool {
        let slot = self.slot(at);
        let changed = slot.high_watermark != told.high_watermark
            || slot.log_start_offset != told.log_start_offset;
        slot.high_watermark = told.high_watermark;
        slot.log_start_offset = told.log_start_offset;
        if told.has_error {
            // So that the answer after the error is told.
            slot.high_watermark = Offset(-1);
        }
        let (order, is_watched) = (slot.order, slot.watching.is_some());
        if told.has_records {
            self.due.remove(&(order, at));
            let order = self.take_order();
            self.slot(at).order = order;
            self.due.insert((order, at));
        } else if told.is_at_end && is_watched {
            // A change since the look is noted, and makes it due again.
            self.due.remove(&(order, at));
        }
        changed || told.has_records || told.has_error || told.has_hint
    }

    fn slot(&mut self, at: u32) -> &mut Slot {
        self.slots[at as usize]
            .as_mut()
            .expect("who names a slot has seen that nothing was forgotten since")
    }

    fn take_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }
}
