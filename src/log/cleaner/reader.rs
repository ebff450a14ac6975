//! Reads a segment's batches whole, one after another, with every CRC checked: what is wrong on the disk must not be
//! written anew as if it were right.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{CleanError, Watch};
use crate::log::error::Error;
use crate::log::segment::Segment;
use crate::record::BatchHeader;
use crate::record::batch::HEADER_LEN;

/// Where the CRC's range begins in a batch.
const CRC_FROM: usize = 21;

/// A batch and where it lies in its segment.
#[derive(Debug)]
pub(super) struct Found<'b> {
    pub(super) header: BatchHeader,
    pub(super) position: u64,
    /// Header and records.
    pub(super) bytes: &'b [u8],
}

/// A walk over one segment, through a buffer that goes from one to the next.
pub(super) struct BatchReader<'a> {
    segment: &'a Arc<Segment>,
    file: Arc<File>,
    buffer: &'a mut Vec<u8>,
    /// The part of the buffer that holds batches not walked over yet, the first of which lies at `position`.
    from: usize,
    to: usize,
    position: u64,
    end: u64,
}

impl<'a> BatchReader<'a> {
    /// The buffer gives its size; it grows for a batch that is larger.
    pub(super) fn new(
        segment: &'a Arc<Segment>,
        position: u64,
        end: u64,
        buffer: &'a mut Vec<u8>,
    ) -> Result<BatchReader<'a>, Error> {
        Ok(BatchReader {
            segment,
            file: segment.file()?,
            buffer,
            from: 0,
            to: 0,
            position,
            end,
        })
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self, watch: &dyn Watch) -> Result<Option<Found<'_>>, CleanError> {
        if self.position == self.end {
            return Ok(None);
        }
        self.hold(HEADER_LEN, "the segment ends within a batch header", watch)?;
        let header = BatchHeader::parse(&self.buffer[self.from..self.to])
            .map_err(|_| self.corrupt("no batch header"))?;
        let size = header.size();
        self.hold(size, "the segment ends within a batch", watch)?;
        let (from, position) = (self.from, self.position);
        let bytes = &self.buffer[from..from + size];
        if crc_fast::crc32_iscsi(&bytes[CRC_FROM..]) != header.crc {
            return Err(self.corrupt("wrong CRC").into());
        }
        if header.last_offset_delta < 0 || header.base_offset < self.segment.base_offset() {
            return Err(self.corrupt("offsets outside the segment's").into());
        }
        self.from += size;
        self.position += size as u64;
        let bytes = &self.buffer[from..from + size];
        Ok(Some(Found {
            header,
            position,
            bytes,
        }))
    }

    /// Has `len` bytes from the position on in the buffer, and as many more as fit.
    fn hold(
        &mut self,
        len: usize,
        what: &'static str,
        watch: &dyn Watch,
    ) -> Result<(), CleanError> {
        let held = self.to - self.from;
        if held >= len {
            return Ok(());
        }
        let left = self.end - self.position;
        if len as u64 > left {
            return Err(self.corrupt(what).into());
        }
        if !watch.go_on() {
            return Err(CleanError::Stopped);
        }
        self.buffer.copy_within(self.from..self.to, 0);
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        let to = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(self.buffer.len());
        self.file
            .read_exact_at(&mut self.buffer[held..to], self.position + held as u64)
            .map_err(Error::io(&self.segment.path()))?;
        (self.from, self.to) = (0, to);
        watch.moved((to - held) as u64);
        Ok(())
    }

    fn corrupt(&self, what: &'static str) -> Error {
        Error::corrupt(&self.segment.path(), self.position, what)
    }
}
