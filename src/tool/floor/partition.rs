//! A partition of the floor: a file without a name, where each batch begins in it, and the next offset.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::batch::HEADER_LEN;

/// Where the CRC stands in a batch, what it covers begins, and the offset of the last record stands.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;

pub(super) struct Partition {
    pub file: File,
    tail: Mutex<Tail>,
}

#[derive(Default)]
struct Tail {
    next_offset: i64,
    position: u64,
    /// First offset and position of each batch.
    batches: Vec<(i64, u64)>,
}

/// What a fetch gets: bytes of the file, and the end of the log.
pub(super) struct Found {
    pub position: u64,
    pub len: usize,
    pub next_offset: i64,
}

impl Partition {
    pub(super) fn create(folder: &Path) -> io::Result<Partition> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("dohle-floor-{}-{number}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Partition {
            file,
            tail: Mutex::default(),
        })
    }

    /// Appends a batch and returns its offset; `None` when it is none, or not the one that was sent.
    pub(super) fn append(&self, batch: &mut [u8]) -> io::Result<Option<i64>> {
        if batch.len() < HEADER_LEN {
            return Ok(None);
        }
        let crc = crc_fast::crc32_iscsi(&batch[CRC_FROM..]);
        if batch[CRC_AT..CRC_FROM] != crc.to_be_bytes() {
            return Ok(None);
        }
        let last = batch[LAST_OFFSET_DELTA_AT..].first_chunk().copied();
        let records = i64::from(last.map_or(0, i32::from_be_bytes)) + 1;
        let mut tail = self.tail.lock().expect("no holder panics");
        let offset = tail.next_offset;
        batch[..8].copy_from_slice(&offset.to_be_bytes());
        let position = tail.position;
        self.file.write_all_at(batch, position)?;
        tail.batches.push((offset, position));
        tail.next_offset += records;
        tail.position += batch.len() as u64;
        Ok(Some(offset))
    }

    /// Whole batches from the one with that offset on, the first however large it is.
    pub(super) fn find(&self, offset: i64, max_bytes: usize) -> Found {
        let tail = self.tail.lock().expect("no holder panics");
        let found = |position: u64, len| Found {
            position,
            len,
            next_offset: tail.next_offset,
        };
        if offset < 0 || offset >= tail.next_offset {
            return found(0, 0);
        }
        let holds = |&(first, _): &(i64, u64)| first <= offset;
        let at = tail.batches.partition_point(holds) - 1;
        let (_, position) = tail.batches[at];
        let fits = |end: u64| end - position <= max_bytes as u64;
        let more = tail.batches[at + 1..].partition_point(|&(_, next)| fits(next));
        let end = match tail.batches.get(at + more.max(1)) {
            Some(&(_, next)) if !fits(tail.position) => next,
            _ => tail.position,
        };
        found(position, (end - position) as usize)
    }

    pub(super) fn next_offset(&self) -> i64 {
        self.tail.lock().expect("no holder panics").next_offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Timestamp;
    use crate::record::BatchBuilder;

    fn batch(records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        for _ in 0..records {
            builder.append(Timestamp(7), None, Some(&[b'x'; 100]));
        }
        builder.build().bytes.to_vec()
    }

    #[test]
    fn batches_are_found_by_any_of_their_offsets() {
        let partition = Partition::create(&std::env::temp_dir()).unwrap();
        let size = batch(3).len();
        for expected in [0, 3, 6] {
            let offset = partition.append(&mut batch(3)).unwrap();
            assert_eq!(offset, Some(expected));
        }
        assert_eq!(partition.next_offset(), 9);
        let find = |offset, max_bytes| {
            let found = partition.find(offset, max_bytes);
            assert_eq!(found.next_offset, 9);
            (found.position as usize, found.len)
        };
        assert_eq!(find(0, 1), (0, size));
        assert_eq!(find(2, 2 * size), (0, 2 * size));
        assert_eq!(find(2, 2 * size - 1), (0, size));
        assert_eq!(find(3, 1 << 20), (size, 2 * size));
        assert_eq!(find(8, 1), (2 * size, size));
        assert_eq!(find(9, 1 << 20), (0, 0));
        let mut first = vec![0; size];
        partition
            .file
            .read_exact_at(&mut first, size as u64)
            .unwrap();
        assert_eq!(first[..8], 3_i64.to_be_bytes());
    }

    #[test]
    fn a_batch_that_was_changed_is_refused() {
        let partition = Partition::create(&std::env::temp_dir()).unwrap();
        let mut changed = batch(1);
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(partition.append(&mut changed).unwrap(), None);
        assert_eq!(partition.append(&mut [0; 60]).unwrap(), None);
        assert_eq!(partition.next_offset(), 0);
    }
}
