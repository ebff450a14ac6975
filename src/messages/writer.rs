//! `Writer` collects the bytes of one frame. Ranges of open files are woven in by reference, so that a response is
//! headers in memory plus ranges that the server sends by `sendfile`; large byte fields are kept by reference too.
//! Knows nothing of messages. Called by the encoders, and by `server` that adds the length and the header.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Byte fields from this size on are sent as they are and not copied into the frame.
const COPY_MAX: usize = 4096;

/// Record batches of a response: bytes in memory, or bytes of a segment that are never read into the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    Bytes(Bytes),
    File(FileRange),
}

impl Default for Records {
    fn default() -> Records {
        Records::Bytes(Bytes::new())
    }
}

impl Records {
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::File(range) => range.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Bytes(bytes)
    }
}

/// `len` bytes of an open file from `position` on. The file must keep these bytes until the frame is sent.
#[derive(Clone)]
pub struct FileRange {
    pub file: Arc<File>,
    pub position: u64,
    pub len: usize,
}

impl PartialEq for FileRange {
    fn eq(&self, other: &FileRange) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
            && self.position == other.position
            && self.len == other.len
    }
}

impl Eq for FileRange {}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileRange({}+{})", self.position, self.len)
    }
}

/// A run of a finished frame, to be sent in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes(Bytes),
    File(FileRange),
}

impl Piece {
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File(range) => range.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What `Writer::finish` gives: the pieces, none of them empty, and their total length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub pieces: Vec<Piece>,
    pub len: usize,
}

impl Frame {
    /// The whole frame as one run of bytes; file ranges are an error of the caller.
    pub fn into_bytes(self) -> Option<Bytes> {
        let mut pieces = self.pieces.into_iter();
        let Some(first) = pieces.next() else {
            return Some(Bytes::new());
        };
        if pieces.len() == 0 {
            return match first {
                Piece::Bytes(bytes) => Some(bytes),
                Piece::File(_) => None,
            };
        }
        let mut all = BytesMut::with_capacity(self.len);
        for piece in std::iter::once(first).chain(pieces) {
            match piece {
                Piece::Bytes(bytes) => all.extend_from_slice(&bytes),
                Piece::File(_) => return None,
            }
        }
        Some(all.freeze())
    }
}

/// Collects one frame. All positions count what is written to the buffer, not the woven pieces.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    /// Pieces that are not in the buffer, each with the buffer position that it stands before; ascending.
    woven: Vec<(usize, Piece)>,
    woven_len: usize,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    pub fn with_capacity(capacity: usize) -> Writer {
        Writer {
            buffer: Vec::with_capacity(capacity),
            ..Writer::default()
        }
    }

    /// Length of all that was written, woven pieces included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.woven_len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in memory; for encoders that want a `BufMut`. Only append to it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Overwrites the four bytes at `position` of the buffer: a length that is known only later. The position must
    /// have been written before.
    pub fn patch_i32(&mut self, position: usize, value: i32) {
        self.buffer[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub fn put_i16(&mut self, value: i16) {
        self.put_slice(&value.to_be_bytes());
    }

    pub fn put_i32(&mut self, value: i32) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Unsigned varint: seven bits a byte, the lowest first.
    pub fn put_uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// Byte content without its length; a large one is woven in and not copied.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < COPY_MAX {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.weave(Piece::Bytes(bytes.clone()));
        }
    }

    /// Record content without its length.
    pub fn put_records(&mut self, records: &Records) {
        match records {
            Records::Bytes(bytes) => self.put_bytes(bytes),
            Records::File(range) if range.len == 0 => {}
            Records::File(range) => self.weave(Piece::File(range.clone())),
        }
    }

    fn weave(&mut self, piece: Piece) {
        self.woven_len += piece.len();
        self.woven.push((self.buffer.len(), piece));
    }

    pub fn finish(self) -> Frame {
        let len = self.len();
        let mut rest = Bytes::from(self.buffer);
        if self.woven.is_empty() {
            return Frame {
                pieces: if rest.is_empty() {
                    Vec::new()
                } else {
                    vec![Piece::Bytes(rest)]
                },
                len,
            };
        }
        let mut pieces = Vec::with_capacity(2 * self.woven.len() + 1);
        let mut taken = 0;
        for (position, piece) in self.woven {
            if position > taken {
                pieces.push(Piece::Bytes(rest.split_to(position - taken)));
                taken = position;
            }
            pieces.push(piece);
        }
        if !rest.is_empty() {
            pieces.push(Piece::Bytes(rest));
        }
        Frame { pieces, len }
    }

    /// All that was written as one run of bytes; woven bytes are copied in. For record values, which hold no file.
    ///
    /// # Panics
    /// When a file range was woven in.
    pub fn into_bytes(self) -> Bytes {
        self.finish()
            .into_bytes()
            .expect("only responses weave in file ranges")
    }
}
