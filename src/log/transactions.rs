//! The aborted transactions of a segment, in its `.txnindex`, which exists only where there are any. A consumer that
//! reads committed records skips what they cover.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | version = 0 |
//! | 2 | 8 | producer id |
//! | 10 | 8 | first offset of the transaction |
//! | 18 | 8 | last offset: that of the ABORT marker |
//! | 26 | 8 | last stable offset once the marker was written |
//!
//! (org.apache.kafka.storage.internals.log.{TransactionIndex, AbortedTxn})

use crate::ids::{Offset, ProducerId};

/// Bytes of an entry.
pub(crate) const ENTRY_SIZE: usize = 34;
/// The end of its file's name.
pub(crate) const SUFFIX: &str = "txnindex";

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    pub(crate) fn encode(&self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        let fields = [
            self.producer_id.0,
            self.first_offset.0,
            self.last_offset.0,
            self.last_stable_offset.0,
        ];
        for (to, field) in bytes[2..].chunks_exact_mut(8).zip(fields) {
            to.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<AbortedTransaction> {
        let field = |at: usize| Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        (bytes[..2] == [0, 0]).then_some(())?;
        Some(AbortedTransaction {
            producer_id: ProducerId(field(2)?),
            first_offset: Offset(field(10)?),
            last_offset: Offset(field(18)?),
            last_stable_offset: Offset(field(26)?),
        })
    }
}

/// The entries of a file's bytes; `None` when they are not whole or not in order.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<AbortedTransaction>> {
    let entries: Vec<AbortedTransaction> = bytes
        .chunks(ENTRY_SIZE)
        .map(AbortedTransaction::decode)
        .collect::<Option<_>>()?;
    entries
        .is_sorted_by_key(|entry| entry.last_offset)
        .then_some(entries)
}

/// The bytes to keep of a file whose last write was cut off by a crash: the sound entries before an entry that did not
/// arrive as a whole. `None` when more than that is wrong.
pub(crate) fn untorn(bytes: &[u8]) -> Option<usize> {
    let mut last = Offset(i64::MIN);
    let sound = |chunk: &&[u8]| {
        let entry = (chunk.len() == ENTRY_SIZE).then(|| AbortedTransaction::decode(chunk));
        entry.flatten().is_some_and(|entry| {
            let is_sound = entry.last_offset >= last && entry.last_offset >= entry.first_offset;
            last = entry.last_offset;
            is_sound
        })
    };
    let kept = ENTRY_SIZE * bytes.chunks(ENTRY_SIZE).take_while(sound).count();
    // What did not arrive may be missing from the file or zeros.
    let arrived = bytes.iter().rposition(|byte| *byte != 0);
    (arrived.map_or(0, |at| at + 1) < kept + ENTRY_SIZE).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_kafkas() {
        let entry = AbortedTransaction {
            producer_id: ProducerId(4),
            first_offset: Offset(11),
            last_offset: Offset(21),
            last_stable_offset: Offset(22),
        };
        let bytes = entry.encode();
        assert_eq!((bytes[9], bytes[17], bytes[25], bytes[33]), (4, 11, 21, 22));
        assert_eq!(decode(&bytes), Some(vec![entry]));
        assert_eq!(decode(&bytes[..33]), None);
        let two = [bytes, bytes].concat();
        assert_eq!(untorn(&two), Some(68));
        assert_eq!(untorn(&two[..67]), Some(34));
        assert_eq!(untorn(&two[..10]), Some(0));
        let zeros = [&bytes[..], &bytes[..20], &[0; 60]].concat();
        assert_eq!(untorn(&zeros), Some(34));
        let mut wrong = two;
        wrong[0] = 1;
        assert_eq!(untorn(&wrong), None, "not at the end");
    }
}
