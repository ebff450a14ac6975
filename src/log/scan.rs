//! Walks the batches of a segment file from a batch's position on: headers alone for a look-up, with every byte
//! checked for recovery. It reads through the caller's buffer and keeps nothing of the records.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

use super::page_cache::{Source, read_exact_at};
use crate::ids::Offset;
use crate::record::batch::{Batch, BatchHeader, HEADER_LEN};
use crate::record::control::EndMarker;
use crate::record::{Corrupt, RecordReader};

/// Where the CRC's range begins in a batch.
const CRC_FROM: usize = 21;
/// The largest control batch that is opened; a marker has 78 bytes.
const CONTROL_BATCH_MAX: usize = 64 * 1024;

/// For [`Scan::next`]: no CRC is checked.
pub(crate) const UNVERIFIED: Offset = Offset(i64::MAX);

/// Why a walk cannot go on.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    /// What lies at `position` is no whole, sound batch.
    Bad {
        position: u64,
        reason: &'static str,
    },
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

/// A walk over `file` up to `end`.
pub(crate) struct Scan<'a> {
    file: &'a File,
    position: u64,
    end: u64,
    buffer: &'a mut [u8],
    /// The part of the file that the buffer holds.
    held_from: u64,
    held: usize,
    /// Offsets below it would go back.
    next_offset: Offset,
    source: Source,
}

impl<'a> Scan<'a> {
    /// `buffer` has room for a header at least.
    pub(crate) fn new(file: &'a File, position: u64, end: u64, buffer: &'a mut [u8]) -> Scan<'a> {
        debug_assert!(buffer.len() >= HEADER_LEN, "room for a header");
        Scan {
            file,
            position,
            end,
            buffer,
            held_from: 0,
            held: 0,
            next_offset: Offset(i64::MIN),
            source: Source::Disk,
        }
    }

    /// Reads no more than the source gives.
    pub(crate) fn from(self, source: Source) -> Scan<'a> {
        Scan { source, ..self }
    }

    /// Where the next batch begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch's position and header; `None` at the end. Its CRC is checked when it holds `verify_from` or
    /// what follows.
    pub(crate) fn next(
        &mut self,
        verify_from: Offset,
    ) -> Result<Option<(u64, BatchHeader)>, Fault> {
        let position = self.position;
        let left = self.end.saturating_sub(position);
        if left == 0 {
            return Ok(None);
        }
        let bad = |reason| Fault::Bad { position, reason };
        if left < HEADER_LEN as u64 {
            return Err(bad("the file ends within a batch header"));
        }
        let header = BatchHeader::parse(self.hold(position, HEADER_LEN)?)
            .map_err(|_| bad("no batch header"))?;
        if header.size() as u64 > left {
            return Err(bad("the file ends within a batch"));
        }
        if header.base_offset < self.next_offset || header.last_offset_delta < 0 {
            return Err(bad("offsets go back"));
        }
        if header.last_offset() >= verify_from && self.crc(position, header.size())? != header.crc {
            return Err(bad("wrong CRC"));
        }
        self.position = position + header.size() as u64;
        self.next_offset = header.next_offset();
        Ok(Some((position, header)))
    }

    /// The end marker that a control batch holds.
    pub(crate) fn marker(
        &mut self,
        position: u64,
        header: &BatchHeader,
    ) -> io::Result<Option<EndMarker>> {
        if !header.is_control() || header.size() > CONTROL_BATCH_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; header.size()];
        self.file.read_exact_at(&mut bytes, position)?;
        Ok(Batch::parse(&Bytes::from(bytes))
            .ok()
            .and_then(|batch| end_marker(batch.reader())))
    }

    /// Whether a batch has the bytes that its CRC was made of.
    pub(crate) fn has_crc(&mut self, position: u64, header: &BatchHeader) -> io::Result<bool> {
        Ok(self.crc(position, header.size())? == header.crc)
    }

    fn crc(&mut self, position: u64, size: usize) -> io::Result<u32> {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let (mut at, end) = (position + CRC_FROM as u64, position + size as u64);
        while at < end {
            let wanted = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            let held = self.held_from + self.held as u64;
            // What is held already is used up first, so that every byte is read once.
            let len = if at >= self.held_from && at < held {
                wanted.min((held - at) as usize)
            } else {
                wanted
            };
            digest.update(self.hold(at, len)?);
            at += len as u64;
        }
        Ok(digest.finalize() as u32)
    }

    /// The file's bytes at `position`, read with what follows them if need be.
    fn hold(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let held_to = self.held_from + self.held as u64;
        if position < self.held_from || position + len as u64 > held_to {
            let room = (self.end - position).min(self.buffer.len() as u64) as usize;
            self.held = 0;
            read_exact_at(self.file, &mut self.buffer[..room], position, self.source)?;
            (self.held_from, self.held) = (position, room);
        }
        let at = (position - self.held_from) as usize;
        Ok(&self.buffer[at..at + len])
    }
}

/// The marker in a control batch's first record; `None` for other control records and for an emptied batch.
pub(crate) fn end_marker(records: Result<RecordReader<'_>, Corrupt>) -> Option<EndMarker> {
    EndMarker::parse(&records.ok()?.next().ok()??)
}
