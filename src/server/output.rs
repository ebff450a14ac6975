//! What waits to be written to a client: encoded responses, whose record bytes may still lie in segment files.
//!
//! Bytes leave by `send`, file ranges by `sendfile`, so that records go from the page cache to the socket untouched.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use bytes::Buf;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::messages::{FileRange, Frame, Piece};

/// Pieces handed to the kernel in one `sendmsg`.
const GATHER_MAX: usize = 64;

/// Responses in the order in which they leave.
#[derive(Default)]
pub(super) struct Output {
    pieces: VecDeque<Piece>,
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

    /// Writes until all is out or the socket takes no more; `Ok(false)` in the latter case.
    pub(super) fn write(&mut self, stream: &TcpStream) -> io::Result<bool> {
        while let Some(first) = self.pieces.front_mut() {
            let written = match first {
                Piece::File(range) => {
                    stream.try_io(Interest::WRITABLE, || send_file(stream, range))
                }
                Piece::Bytes(_) => {
                    stream.try_io(Interest::WRITABLE, || send_bytes(stream, &self.pieces))
                }
            };
            match written {
                Ok(bytes) => self.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = self.pieces.front_mut() {
            let taken = bytes.min(first.len());
            bytes -= taken;
            match first {
                Piece::Bytes(piece) => piece.advance(taken),
                Piece::File(range) => {
                    range.position += taken as u64;
                    range.len -= taken;
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

fn send_file(stream: &TcpStream, range: &FileRange) -> io::Result<usize> {
    let mut position = range.position;
    let sent = rustix::fs::sendfile(
        stream.as_fd(),
        range.file.as_fd(),
        Some(&mut position),
        range.len,
    )?;
    if sent == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "a segment file is shorter than the records in it",
        ));
    }
    Ok(sent)
}
