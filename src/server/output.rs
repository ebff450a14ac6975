//! What waits to be written to a client: encoded responses, whose record bytes may still lie in segment files.
//!
//! Bytes leave by `send`, file ranges by `sendfile`, so that records go from the page cache to the socket untouched. Before
//! that the page cache is asked for the end and the middle of each window: the kernel reads ahead and forgets in order, and the
//! look-up that found the range may have read at its ends. What is missing is left to the caller to bring in.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use bytes::Buf;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::log::page_cache::{Source, is_cached, read_at};
use crate::messages::{FileRange, Frame, Piece};

/// Pieces handed to the kernel in one `sendmsg`.
const GATHER_MAX: usize = 64;

/// Bytes of a file range that are asked for, and sent, at a time.
const WINDOW: usize = 256 * 1024;

/// Bytes of a file range that are brought in at a time.
const BROUGHT_IN_MAX: usize = 1024 * 1024;

/// Responses in the order in which they leave.
#[derive(Default)]
pub(super) struct Output {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece, a file range, that are in the page cache.
    cached: usize,
}

/// How far a write came.
#[derive(Debug)]
pub(super) enum Written {
    All,
    /// The socket takes no more for now.
    SocketFull,
    /// What comes next has to be brought into the page cache, and [`Output::brought_in`] to be called.
    Missing(FileRange),
}

impl Output {
    pub(super) fn push(&mut self, frame: Frame) {
        self.pieces.extend(frame.pieces);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The file that is being sent, where one is.
    pub(super) fn file(&self) -> Option<&File> {
        match self.pieces.front()? {
            Piece::File(range) => Some(&range.file),
            Piece::Bytes(_) => None,
        }
    }

    /// Writes until all is out, or as far as it goes without waiting.
    pub(super) fn write(&mut self, stream: &TcpStream) -> io::Result<Written> {
        while let Some(first) = self.pieces.front_mut() {
            let written = match first {
                Piece::File(range) => {
                    if self.cached == 0 {
                        self.cached = cached(range);
                    }
                    if self.cached == 0 {
                        return Ok(Written::Missing(to_bring_in(range)));
                    }
                    let len = self.cached;
                    stream.try_io(Interest::WRITABLE, || send_file(stream, range, len))
                }
                Piece::Bytes(_) => {
                    stream.try_io(Interest::WRITABLE, || send_bytes(stream, &self.pieces))
                }
            };
            match written {
                Ok(bytes) => self.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Written::SocketFull);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Written::All)
    }

    /// What was missing is there now. It is not asked for again: where nothing can be told of the page cache that would
    /// never end.
    pub(super) fn brought_in(&mut self, missing: &FileRange) {
        self.cached = missing.len;
    }

    /// Takes copies of what comes next until the buffer is full, or nothing is left; says what is missing where that is the
    /// first. What was taken stays here until [`Output::advance`] says that it is on its way.
    pub(super) fn copy_to(&self, buffer: &mut Vec<u8>, bytes_max: usize) -> io::Result<Written> {
        for (at, piece) in self.pieces.iter().enumerate() {
            let room = bytes_max - buffer.len();
            if room == 0 {
                break;
            }
            let range = match piece {
                Piece::Bytes(bytes) => {
                    buffer.extend_from_slice(&bytes[..room.min(bytes.len())]);
                    continue;
                }
                Piece::File(range) => range,
            };
            // What was brought in is not asked for again: see `brought_in`.
            let (source, there) = match at == 0 && self.cached > 0 {
                true => (Source::Disk, self.cached),
                false => (Source::PageCache, range.len),
            };
            match copy_range(range, room.min(there), source, buffer) {
                Ok(taken) if taken == range.len => {}
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && buffer.is_empty() => {
                    return Ok(Written::Missing(to_bring_in(range)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Written::All)
    }

    /// So many bytes are on their way.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = self.pieces.front_mut() {
            let taken = bytes.min(first.len());
            bytes -= taken;
            match first {
                Piece::Bytes(piece) => piece.advance(taken),
                Piece::File(range) => {
                    range.position += taken as u64;
                    range.len -= taken;
                    self.cached = self.cached.saturating_sub(taken);
                }
            }
            if !first.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
    }
}

/// Sends the bytes up to the next file range; says that more follows when one does, so that a header does not travel
/// in a packet of its own.
fn send_bytes(stream: &TcpStream, pieces: &VecDeque<Piece>) -> io::Result<usize> {
    let mut gathered = [io::IoSlice::new(&[]); GATHER_MAX];
    let mut count = 0;
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) if count < GATHER_MAX => gathered[count] = io::IoSlice::new(bytes),
            _ => break,
        }
        count += 1;
    }
    let more = if count < pieces.len() {
        SendFlags::MORE
    } else {
        SendFlags::empty()
    };
    let mut control = rustix::net::SendAncillaryBuffer::default();
    let flags = more | SendFlags::NOSIGNAL;
    Ok(rustix::net::sendmsg(
        stream.as_fd(),
        &gathered[..count],
        &mut control,
        flags,
    )?)
}

/// The part of a range that is brought in at a time.
fn to_bring_in(range: &FileRange) -> FileRange {
    FileRange {
        len: range.len.min(BROUGHT_IN_MAX),
        ..range.clone()
    }
}

/// Appends up to `len` bytes from the beginning of a range; returns how many there were.
fn copy_range(
    range: &FileRange,
    len: usize,
    source: Source,
    buffer: &mut Vec<u8>,
) -> io::Result<usize> {
    let begin = buffer.len();
    buffer.resize(begin + len, 0);
    let read = read_at(&range.file, &mut buffer[begin..], range.position, source);
    buffer.truncate(begin + read.as_ref().map_or(0, |read| *read));
    match read {
        Ok(0) => Err(shorter()),
        read => read,
    }
}

fn shorter() -> io::Error {
    let text = "a segment file is shorter than the records in it";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

/// How much of the beginning of a range is in the page cache, as far as one window is concerned.
fn cached(range: &FileRange) -> usize {
    let len = range.len.min(WINDOW);
    let is_there = |at: usize| is_cached(&range.file, range.position + at as u64);
    if is_there(len - 1) && is_there(len / 2) {
        len
    } else {
        0
    }
}

fn send_file(stream: &TcpStream, range: &FileRange, len: usize) -> io::Result<usize> {
    let mut position = range.position;
    let sent = rustix::fs::sendfile(stream.as_fd(), range.file.as_fd(), Some(&mut position), len)?;
    if sent == 0 {
        return Err(shorter());
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use bytes::Bytes;
    use rustix::fs::Advice;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::log::page_cache::{bring_in, is_of_one_that_tells};

    #[tokio::test]
    async fn what_is_missing_in_the_page_cache_is_asked_for_and_then_sent() {
        let records: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&records, 0).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let tells = is_of_one_that_tells(&file);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut output = Output::default();
        let range = FileRange {
            file: Arc::new(file),
            position: 1_000,
            len: 2_500_000,
        };
        let pieces = vec![
            Piece::Bytes(Bytes::from_static(b"header")),
            Piece::File(range.clone()),
            Piece::Bytes(Bytes::from_static(b"end")),
        ];
        let len = pieces.iter().map(Piece::len).sum();
        output.push(Frame { pieces, len });
        let mut received = Vec::new();
        let mut missing = Vec::new();
        while received.len() < len {
            match output.write(&stream).unwrap() {
                Written::Missing(part) => {
                    assert!(part.len <= BROUGHT_IN_MAX, "bounded");
                    bring_in(&part.file, part.position, part.len as u64).unwrap();
                    output.brought_in(&part);
                    missing.push(part.position);
                }
                Written::All | Written::SocketFull => {
                    client.read_buf(&mut received).await.unwrap();
                }
            }
        }
        assert!(output.is_empty());
        if tells {
            assert_eq!(missing.first(), Some(&1_000));
        }
        assert!(missing.is_sorted());
        let expected = [b"header", &records[1_000..2_501_000], b"end"].concat();
        assert_eq!(received, expected);
    }

    #[test]
    fn copies_go_across_pieces_and_ask_for_what_is_missing() {
        let records: Vec<u8> = (0..300_000u32).map(|n| (n / 7) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&records, 0).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let range = FileRange {
            file: Arc::new(file),
            position: 1_000,
            len: 250_000,
        };
        let pieces = vec![
            Piece::Bytes(Bytes::from_static(b"header")),
            Piece::File(range),
            Piece::Bytes(Bytes::from_static(b"end")),
        ];
        let len = pieces.iter().map(Piece::len).sum();
        let mut output = Output::default();
        output.push(Frame { pieces, len });
        let mut copied = Vec::new();
        let mut buffer = Vec::new();
        while !output.is_empty() {
            buffer.clear();
            match output.copy_to(&mut buffer, 65_536).unwrap() {
                Written::Missing(part) => {
                    assert!(buffer.is_empty());
                    bring_in(&part.file, part.position, part.len as u64).unwrap();
                    output.brought_in(&part);
                }
                Written::All | Written::SocketFull => {
                    assert!((1..=65_536).contains(&buffer.len()));
                    copied.extend_from_slice(&buffer);
                    output.advance(buffer.len());
                }
            }
        }
        let expected = [b"header", &records[1_000..251_000], b"end"].concat();
        assert_eq!(copied, expected);
    }
}
