//! Producer snapshots: what a log knew of its producers at one offset, so that opening it reads only what follows.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | version = 1 |
//! | 2 | 4 | CRC-32C of all that follows |
//! | 6 | 4 | number of entries |
//! | 10 | 46 each | producer id (8), epoch (2), last sequence (4), last offset (8), offset delta (4), timestamp (8), coordinator epoch (4), first offset of the open transaction or -1 (8) |
//!
//! Written when a segment is rolled, for its base offset, and at a clean shutdown, for the log end offset.
//! (org.apache.kafka.storage.internals.log.ProducerStateManager.{readSnapshot, writeSnapshot})

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};

use super::error::Error;
use super::fs::{self, Fs};
use super::producers::{BatchMetadata, ProducerState, Producers};
use crate::ids::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// The end of its file's name.
pub(crate) const SUFFIX: &str = "snapshot";

const VERSION: i16 = 1;
const HEADER_SIZE: usize = 10;
const CRC_FROM: usize = 6;
const ENTRY_SIZE: usize = 46;

/// The snapshot at `offset` in a partition's directory.
pub(crate) fn path(dir: &Path, offset: Offset) -> PathBuf {
    dir.join(format!("{offset:020}.{SUFFIX}"))
}

/// Writes the snapshot at `offset`.
pub(crate) fn write(
    fs: &dyn Fs,
    dir: &Path,
    offset: Offset,
    producers: &Producers,
) -> Result<(), Error> {
    let path = path(dir, offset);
    fs::replace(fs, &path, &encode(producers), false).map_err(Error::io(&path))
}

/// Reads a snapshot; `Ok(None)` when its bytes are wrong: it can be made again from the log.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<ProducerState>>, Error> {
    Ok(decode(&std::fs::read(path).map_err(Error::io(path))?))
}

fn encode(producers: &Producers) -> Vec<u8> {
    let mut states: Vec<&ProducerState> = producers.states().collect();
    states.sort_unstable_by_key(|state| state.producer_id);
    let mut bytes = Vec::with_capacity(HEADER_SIZE + states.len() * ENTRY_SIZE);
    bytes.put_i16(VERSION);
    bytes.put_u32(0);
    bytes.put_i32(
        i32::try_from(states.len()).expect("producers fit in memory, so their number in 31 bits"),
    );
    for state in states {
        let last = state.last_batch();
        bytes.put_i64(state.producer_id.0);
        bytes.put_i16(state.epoch.0);
        bytes.put_i32(state.last_sequence());
        bytes.put_i64(last.map_or(-1, |batch| batch.last_offset.0));
        bytes.put_i32(last.map_or(0, |batch| batch.offset_delta));
        bytes.put_i64(state.last_timestamp.0);
        bytes.put_i32(state.coordinator_epoch);
        bytes.put_i64(state.current_txn_first_offset.map_or(-1, |first| first.0));
    }
    let crc = crc_fast::crc32_iscsi(&bytes[CRC_FROM..]);
    bytes[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<ProducerState>> {
    let mut header = bytes.get(..HEADER_SIZE)?;
    let (version, crc, count) = (header.get_i16(), header.get_u32(), header.get_i32());
    let entries = &bytes[HEADER_SIZE..];
    let count = usize::try_from(count).ok()?;
    if version != VERSION || crc != crc_fast::crc32_iscsi(&bytes[CRC_FROM..]) {
        return None;
    }
    if entries.len() != count.checked_mul(ENTRY_SIZE)? {
        return None;
    }
    Some(entries.chunks_exact(ENTRY_SIZE).map(decode_entry).collect())
}

fn decode_entry(mut entry: &[u8]) -> ProducerState {
    let mut state = ProducerState::unknown(ProducerId(entry.get_i64()));
    state.epoch = ProducerEpoch(entry.get_i16());
    let (last_sequence, last_offset) = (entry.get_i32(), Offset(entry.get_i64()));
    let (offset_delta, timestamp) = (entry.get_i32(), Timestamp(entry.get_i64()));
    state.last_timestamp = timestamp;
    state.coordinator_epoch = entry.get_i32();
    let first_offset = entry.get_i64();
    state.current_txn_first_offset = (first_offset >= 0).then_some(Offset(first_offset));
    if last_offset >= Offset::ZERO {
        state.add(BatchMetadata {
            last_sequence,
            last_offset,
            offset_delta,
            timestamp,
        });
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Kafka 4.3.0: an idempotent producer and one with an open transaction.
    const RECORDED: &[u8] = include_bytes!("testdata/fx-0/00000000000000000029.snapshot");

    #[test]
    fn kafkas_snapshot_is_read_and_written_again() {
        let states = decode(RECORDED).unwrap();
        assert_eq!(states.len(), 2);
        assert_eq!(
            (states[0].last_sequence(), states[0].last_offset()),
            (11, Some(Offset(11)))
        );
        assert_eq!(states[1].current_txn_first_offset, Some(Offset(28)));
        let mut producers = Producers::default();
        states.into_iter().for_each(|state| producers.load(state));
        let ours = encode(&producers);
        assert_eq!(decode(&ours), decode(RECORDED));
        assert_eq!(ours, RECORDED);
    }

    #[test]
    fn a_damaged_snapshot_is_no_snapshot() {
        for at in 0..RECORDED.len() {
            let mut bytes = RECORDED.to_vec();
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes), None, "byte {at}");
            assert_eq!(decode(&RECORDED[..at]), None, "length {at}");
        }
    }
}
