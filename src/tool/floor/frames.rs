//! Produce and Fetch, version 13 of both, read and answered byte by byte. The answers of what arrived together leave
//! together; records leave by `sendfile`.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustix::net::SendFlags;
use uuid::Uuid;

use super::partition::Found;
use super::work::work;
use super::{Topic, Topics, control, malformed};
use crate::error_code::ErrorCode;
use crate::messages::{FetchRequest, ProduceRequest, Request};

/// Of Produce and Fetch: topics have ids, and there is a response header with tags.
pub(super) const VERSION: i16 = 13;
/// Partitions that one Fetch request may name.
const FILES_MAX: usize = 1 << 16;

/// The answers of a connection that are not yet sent.
pub(super) struct Answers<'a> {
    stream: TcpStream,
    topics: &'a Topics,
    /// The topic of the request before.
    latest: Option<Arc<Topic>>,
    bytes: Vec<u8>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(stream: TcpStream, topics: &'a Topics) -> Answers<'a> {
        Answers {
            stream,
            topics,
            latest: None,
            bytes: Vec::new(),
        }
    }

    /// Does what a request asks. Its answer leaves with [`Answers::flush`].
    pub(super) fn answer(&mut self, request: &mut [u8]) -> io::Result<()> {
        let mut walk = Walk {
            rest: &mut *request,
        };
        let (key, version) = (walk.i16()?, walk.i16()?);
        match key {
            ProduceRequest::KEY if version == VERSION => {
                let correlation_id = walk.header()?;
                self.produce(correlation_id, walk)
            }
            FetchRequest::KEY if version == VERSION => {
                let correlation_id = walk.header()?;
                self.fetch(correlation_id, walk)
            }
            _ => control::answer(request, self.topics, &mut self.bytes),
        }
    }

    /// Sends what there is; `more` comes right behind it.
    pub(super) fn flush(&mut self, more: bool) -> io::Result<()> {
        let flags = match more {
            true => SendFlags::NOSIGNAL | SendFlags::MORE,
            false => SendFlags::NOSIGNAL,
        };
        let mut sent = 0;
        while sent < self.bytes.len() {
            match rustix::net::send(&self.stream, &self.bytes[sent..], flags) {
                Ok(count) => sent += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.bytes.clear();
        Ok(())
    }

    fn topic(&mut self, id: &Uuid) -> io::Result<Arc<Topic>> {
        if let Some(topic) = self.latest.as_ref().filter(|topic| topic.id == *id) {
            return Ok(Arc::clone(topic));
        }
        // Who names what is not there has its connection closed: this is no broker for everyday use.
        let topic = self.topics.get(id).ok_or_else(malformed)?;
        self.latest = Some(Arc::clone(&topic));
        Ok(topic)
    }

    fn produce(&mut self, correlation_id: i32, mut walk: Walk<'_>) -> io::Result<()> {
        let before = self.bytes.len();
        walk.text()?;
        let acks = walk.i16()?;
        walk.i32()?;
        let begun = self.begin(correlation_id);
        let topics = walk.count()?;
        self.put_count(topics);
        for _ in 0..topics {
            let id = walk.uuid()?;
            let topic = self.topic(&id)?;
            let partitions = walk.count()?;
            self.bytes.extend_from_slice(id.as_bytes());
            self.put_count(partitions);
            for _ in 0..partitions {
                let index = walk.i32()?;
                let batch = walk.bytes()?;
                walk.no_tags()?;
                self.work(batch);
                let partition = topic.partition(index).ok_or_else(malformed)?;
                let (code, offset) = match partition.append(batch)? {
                    Some(offset) => (ErrorCode::None, offset),
                    None => (ErrorCode::CorruptMessage, -1),
                };
                self.put(&index.to_be_bytes());
                self.put(&(code as i16).to_be_bytes());
                self.put(&offset.to_be_bytes());
                self.put(&(-1_i64).to_be_bytes()); // log append time
                self.put(&0_i64.to_be_bytes()); // log start offset
                self.put(&[1, 0, 0]); // no records at fault, no message, no tags
            }
            walk.no_tags()?;
            self.put(&[0]);
        }
        self.put(&[0, 0, 0, 0, 0]); // throttle time, no tags
        self.end(begun, 0);
        if acks == 0 {
            self.bytes.truncate(before);
        }
        Ok(())
    }

    /// What stands for the code of a broker, for one partition of a request.
    fn work(&self, bytes: &[u8]) {
        if !self.topics.bare {
            work(bytes);
        }
    }

    fn fetch(&mut self, correlation_id: i32, mut walk: Walk<'_>) -> io::Result<()> {
        walk.i32()?; // replica
        walk.i32()?; // longest wait: nothing is waited for
        walk.i32()?; // fewest bytes
        let mut left = walk.i32()?.max(0) as usize;
        walk.take(1 + 4 + 4)?; // isolation level, session
        let begun = self.begin(correlation_id);
        self.put(&[0; 4 + 2 + 4]); // throttle time, no error, no session
        let topics = walk.count()?;
        self.put_count(topics);
        // Files go between what stands in `bytes`: each with its place there.
        let mut files = Vec::new();
        for _ in 0..topics {
            let id = walk.uuid()?;
            let topic = self.topic(&id)?;
            let partitions = walk.count()?;
            self.bytes.extend_from_slice(id.as_bytes());
            self.put_count(partitions);
            for _ in 0..partitions {
                let asked = Asked::read(&mut walk)?;
                self.work(topic.id.as_bytes());
                let partition = topic.partition(asked.index).ok_or_else(malformed)?;
                let found = partition.find(asked.offset, asked.max_bytes.min(left));
                left = left.saturating_sub(found.len);
                self.put_partition(&asked, &found);
                if files.len() == FILES_MAX {
                    return Err(malformed());
                }
                files.push((self.bytes.len(), asked.index, Arc::clone(&topic), found));
                self.put(&[0]);
            }
            walk.no_tags()?;
            self.put(&[0]);
        }
        self.put(&[0]);
        let in_files = files.iter().map(|(_, _, _, found)| found.len).sum();
        self.end(begun, in_files);
        let rest = std::mem::take(&mut self.bytes);
        let mut from = 0;
        for (at, index, topic, found) in files {
            if found.len > 0 {
                self.put(&rest[from..at]);
                from = at;
                self.flush(true)?;
                self.send_file(&topic, index, &found)?;
            }
        }
        self.put(&rest[from..]);
        Ok(())
    }

    fn put_partition(&mut self, asked: &Asked, found: &Found) {
        self.put(&asked.index.to_be_bytes());
        self.put(&[0, 0]); // no error
        self.put(&found.next_offset.to_be_bytes()); // high watermark
        self.put(&found.next_offset.to_be_bytes()); // last stable offset
        self.put(&0_i64.to_be_bytes()); // log start offset
        self.put(&[0]); // no aborted transactions
        self.put(&(-1_i32).to_be_bytes()); // preferred replica
        self.put_count(found.len);
    }

    fn send_file(&mut self, topic: &Topic, index: i32, found: &Found) -> io::Result<()> {
        let partition = topic.partition(index).ok_or_else(malformed)?;
        let (mut position, mut left) = (found.position, found.len);
        while left > 0 {
            let file = &partition.file;
            match rustix::fs::sendfile(&self.stream, file, Some(&mut position), left) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => left -= sent,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Begins an answer; where it does.
    fn begin(&mut self, correlation_id: i32) -> usize {
        let at = self.bytes.len();
        self.put(&[0; 4]);
        self.put(&correlation_id.to_be_bytes());
        self.put(&[0]);
        at
    }

    /// Ends the answer that began there, with so many bytes that are in files.
    fn end(&mut self, begun: usize, in_files: usize) {
        let length = self.bytes.len() - begun - 4 + in_files;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.bytes[begun..begun + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The count of an array, or the length of bytes, in the compact form.
    fn put_count(&mut self, count: usize) {
        let mut value = count + 1;
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// A partition that a fetch names.
struct Asked {
    index: i32,
    offset: i64,
    max_bytes: usize,
}

impl Asked {
    fn read(walk: &mut Walk<'_>) -> io::Result<Asked> {
        let index = walk.i32()?;
        walk.i32()?; // leader epoch
        let offset = walk.i64()?;
        walk.take(4 + 8)?; // last fetched epoch, log start offset
        let max_bytes = walk.i32()?.max(0) as usize;
        walk.no_tags()?;
        Ok(Asked {
            index,
            offset,
            max_bytes,
        })
    }
}

/// What is left of a request.
struct Walk<'a> {
    rest: &'a mut [u8],
}

impl<'a> Walk<'a> {
    fn take(&mut self, count: usize) -> io::Result<&'a mut [u8]> {
        let taken = self.rest.split_off_mut(..count);
        taken.ok_or_else(malformed)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let taken = self.take(N)?;
        taken.first_chunk().copied().ok_or_else(malformed)
    }

    fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn uuid(&mut self) -> io::Result<Uuid> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    fn uvarint(&mut self) -> io::Result<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed())
    }

    /// The count of a compact array; null has none.
    fn count(&mut self) -> io::Result<usize> {
        Ok(self.uvarint()?.saturating_sub(1))
    }

    fn bytes(&mut self) -> io::Result<&'a mut [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    fn text(&mut self) -> io::Result<()> {
        self.bytes().map(|_| ())
    }

    /// Tagged fields, which the client has none of.
    fn no_tags(&mut self) -> io::Result<()> {
        match self.uvarint()? {
            0 => Ok(()),
            _ => Err(malformed()),
        }
    }

    /// The rest of the request header; the correlation id.
    fn header(&mut self) -> io::Result<i32> {
        let correlation_id = self.i32()?;
        let client_id = self.i16()?;
        self.take(usize::try_from(client_id).unwrap_or(0))?;
        self.no_tags()?;
        Ok(correlation_id)
    }
}
