//! The partitions of one fetch session in the order in which they are read: one that had records goes to the end,
//! so that a small answer does not starve the others.

use std::collections::HashMap;

use super::{PartitionKey, Told, Wanted};
use crate::ids::Offset;

const NONE: u32 = u32::MAX;

/// A map by key whose entries are linked in an order. Slots stay where they are.
#[derive(Debug)]
pub(super) struct Partitions {
    by_key: HashMap<PartitionKey, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    first: u32,
    last: u32,
}

#[derive(Debug)]
struct Slot {
    wanted: Wanted,
    high_watermark: Offset,
    log_start_offset: Offset,
    before: u32,
    after: u32,
}

impl Default for Partitions {
    fn default() -> Partitions {
        Partitions {
            by_key: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            first: NONE,
            last: NONE,
        }
    }
}

impl Partitions {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Adds a partition at the end, or changes what is wanted of it.
    pub(super) fn upsert(&mut self, wanted: &Wanted) -> u32 {
        if let Some(&slot) = self.by_key.get(&wanted.key) {
            self.slot(slot).wanted.clone_from(wanted);
            return slot;
        }
        let fresh = Slot {
            wanted: wanted.clone(),
            high_watermark: Offset(-1),
            log_start_offset: Offset(-1),
            before: NONE,
            after: NONE,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = fresh;
                slot
            }
            None => {
                self.slots.push(fresh);
                u32::try_from(self.slots.len() - 1).expect("a session is bounded")
            }
        };
        self.by_key.insert(wanted.key.clone(), slot);
        self.link_last(slot);
        slot
    }

    pub(super) fn remove(&mut self, key: &PartitionKey) {
        if let Some(slot) = self.by_key.remove(key) {
            self.unlink(slot);
            self.free.push(slot);
        }
    }

    /// What is wanted, and the slots, in order.
    pub(super) fn in_order(&self) -> (Vec<Wanted>, Vec<u32>) {
        let mut wanted = Vec::with_capacity(self.len());
        let mut slots = Vec::with_capacity(self.len());
        let mut at = self.first;
        while at != NONE {
            let slot = &self.slots[at as usize];
            wanted.push(slot.wanted.clone());
            slots.push(at);
            at = slot.after;
        }
        (wanted, slots)
    }

    /// Keeps what a first answer told.
    pub(super) fn remember(&mut self, slot: u32, told: &Told) {
        let slot = self.slot(slot);
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
        if told.has_records {
            self.unlink(at);
            self.link_last(at);
        }
        changed || told.has_records || told.has_error || told.has_hint
    }

    fn slot(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    fn link_last(&mut self, slot: u32) {
        let last = self.last;
        self.slot(slot).before = last;
        self.slot(slot).after = NONE;
        match last {
            NONE => self.first = slot,
            last => self.slot(last).after = slot,
        }
        self.last = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { before, after, .. } = self.slots[slot as usize];
        match before {
            NONE => self.first = after,
            before => self.slot(before).after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.slot(after).before = before,
        }
    }
}
