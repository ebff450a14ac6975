//! For each key of the dirty part of a log the offset at which it was written last. Keys stand for themselves by a keyed
//! hash of 128 bits, so that the map's size is told by the number of keys alone and no client can make two of them meet.
//!
//! The map is made of shards that grow one by one: it takes memory as it is filled, never more than it may, and growing
//! needs room for one shard more. (org.apache.kafka.storage.internals.log.SkimpyOffsetMap)

use std::hash::{BuildHasher, Hasher, RandomState};

use siphasher::sip128::SipHasher13;

use crate::ids::Offset;

/// Bytes that one key takes.
pub(super) const SLOT_BYTES: u64 = size_of::<Slot>() as u64;
const SHARDS_MAX: usize = 256;
/// A map with fewer slots for each shard has fewer shards.
const SHARD_SLOTS: usize = 4096;
/// Slots of a shard when its first key comes.
const FIRST_SLOTS: usize = 64;
const FREE: Slot = Slot {
    digest: [0; 2],
    offset: Offset(-1),
};

#[derive(Clone, Copy, Debug)]
struct Slot {
    digest: [u64; 2],
    offset: Offset,
}

/// Open addressing, linear probing; never full, so that every search ends.
#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    keys: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct OffsetMap {
    shards: Vec<Shard>,
    slots_max: usize,
    keys_max: usize,
    keys: usize,
    hasher: SipHasher13,
    /// Up to here the log is in the map.
    latest: Offset,
}

impl OffsetMap {
    /// A map of at most `bytes`, of which the share `load` is used.
    pub(super) fn new(bytes: u64, load: f64) -> OffsetMap {
        let slots = usize::try_from(bytes / SLOT_BYTES)
            .unwrap_or(usize::MAX)
            .max(2);
        let shards = (slots / SHARD_SLOTS).clamp(1, SHARDS_MAX);
        let shards = 1 << shards.ilog2();
        let random = || RandomState::new().build_hasher().finish();
        OffsetMap {
            shards: std::iter::repeat_with(Shard::default)
                .take(shards)
                .collect(),
            slots_max: slots / shards,
            keys_max: ((slots as f64 * load) as usize).clamp(1, slots - 1),
            keys: 0,
            hasher: SipHasher13::new_with_keys(random(), random()),
            latest: Offset(-1),
        }
    }

    /// Notes that `key` was written at `offset`, which is above all before. False when there is no room for another
    /// key.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let digest = self.digest(key);
        let (may_grow, slots_max) = (self.keys < self.keys_max, self.slots_max);
        let shard = self.shard_of(digest);
        match self.shards[shard].put(digest, offset, may_grow, slots_max) {
            None => return false,
            Some(is_new) => self.keys += usize::from(is_new),
        }
        self.latest = offset;
        true
    }

    /// Where `key` was written last.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let digest = self.digest(key);
        self.shards[self.shard_of(digest)].get(digest)
    }

    /// The log up to, and with, `offset` is in the map.
    pub(super) fn advance(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// The last offset that is in the map; -1 when none is.
    pub(super) fn latest(&self) -> Offset {
        self.latest
    }

    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// Which share of all its slots is taken.
    pub(super) fn utilization(&self) -> f64 {
        self.keys as f64 / (self.slots_max * self.shards.len()) as f64
    }

    /// The memory that it holds.
    pub(super) fn bytes(&self) -> u64 {
        let slots: usize = self.shards.iter().map(|shard| shard.slots.len()).sum();
        slots as u64 * SLOT_BYTES
    }

    fn digest(&self, key: &[u8]) -> [u64; 2] {
        let hash = self.hasher.hash(key);
        [hash.h1, hash.h2]
    }

    fn shard_of(&self, digest: [u64; 2]) -> usize {
        (digest[0] & (self.shards.len() as u64 - 1)) as usize
    }
}

impl Shard {
    /// Whether the key is new; `None` when it is and there is no room.
    fn put(
        &mut self,
        digest: [u64; 2],
        offset: Offset,
        may_grow: bool,
        slots_max: usize,
    ) -> Option<bool> {
        if !self.slots.is_empty() {
            let at = self.find(digest);
            if self.slots[at].offset >= Offset::ZERO {
                self.slots[at].offset = offset;
                return Some(false);
            }
        }
        if !may_grow || self.keys + 1 >= slots_max {
            return None;
        }
        // Few probes while there is memory left; up to the load that was asked for when there is none.
        if self.keys >= self.slots.len() / 4 * 3 && self.slots.len() < slots_max {
            self.grow(slots_max);
        }
        let at = self.find(digest);
        self.slots[at] = Slot { digest, offset };
        self.keys += 1;
        Some(true)
    }

    fn get(&self, digest: [u64; 2]) -> Option<Offset> {
        if self.slots.is_empty() {
            return None;
        }
        let offset = self.slots[self.find(digest)].offset;
        (offset >= Offset::ZERO).then_some(offset)
    }

    /// The key's slot, or the free one where it belongs.
    fn find(&self, digest: [u64; 2]) -> usize {
        let slots = self.slots.len();
        let mut at = ((u128::from(digest[1]) * slots as u128) >> 64) as usize;
        while self.slots[at].offset >= Offset::ZERO && self.slots[at].digest != digest {
            at += 1;
            if at == slots {
                at = 0;
            }
        }
        at
    }

    fn grow(&mut self, slots_max: usize) {
        let slots = (self.slots.len() * 2).clamp(FIRST_SLOTS, slots_max.max(FIRST_SLOTS));
        let slots = slots.min(slots_max);
        let old = std::mem::replace(&mut self.slots, vec![FREE; slots]);
        for slot in old.into_iter().filter(|slot| slot.offset >= Offset::ZERO) {
            let at = self.find(slot.digest);
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_key_is_found_at_its_last_offset() {
        for bytes in [48, 1 << 10, 1 << 20, 4 << 20] {
            let mut map = OffsetMap::new(bytes, 0.9);
            let mut model = HashMap::new();
            let mut refused = 0;
            for offset in 0..60_000_i64 {
                let key = format!("key-{}", offset * 7919 % 30_000);
                if map.put(key.as_bytes(), Offset(offset)) {
                    model.insert(key, Offset(offset));
                } else {
                    assert!(!model.contains_key(&key), "a known key always has room");
                    refused += 1;
                }
            }
            assert_eq!((map.keys(), refused == 0), (model.len(), bytes > 1 << 19));
            for (key, offset) in &model {
                assert_eq!(map.get(key.as_bytes()), Some(*offset));
            }
            assert_eq!(map.get(b"another"), None);
            assert!(map.bytes() <= bytes, "{} of {bytes}", map.bytes());
        }
    }

    #[test]
    fn it_is_filled_to_the_load_that_was_asked_for() {
        for (bytes, load) in [(4800, 0.5), (1 << 20, 0.9), (8 << 20, 0.9)] {
            let mut map = OffsetMap::new(bytes, load);
            let keys = (0..400_000_i64).take_while(|n| map.put(&n.to_be_bytes(), Offset(*n)));
            let expected = (bytes / SLOT_BYTES) as f64 * load;
            let keys = keys.count() as f64;
            assert!(
                (keys - expected).abs() <= 2.0 + expected / 50.0,
                "{keys} {expected}"
            );
            assert!(map.utilization() <= load + 0.01);
        }
    }

    #[test]
    fn memory_follows_the_keys() {
        let mut map = OffsetMap::new(128 << 20, 0.9);
        assert_eq!(map.bytes(), 0);
        for n in 0..1000_i64 {
            map.put(&n.to_be_bytes(), Offset(n));
        }
        assert!(map.bytes() < 1 << 20, "{}", map.bytes());
        assert_eq!(map.latest(), Offset(999));
        map.advance(Offset(10));
        assert_eq!(map.latest(), Offset(999));
    }
}
