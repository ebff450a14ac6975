//! Cuts the byte stream of a client into frames: a 4-byte length, then that many bytes.
//!
//! | bytes | field                                       |
//! |-------|---------------------------------------------|
//! | 4     | length of the rest, 0 up to the setting     |
//! | n     | request header and body                     |

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::memory::Granted;

/// What the first read of a connection makes room for.
const READ_BYTES: usize = 16 * 1024;

/// What a read makes room for on a connection that keeps filling it: several requests of a producer's usual batches.
const READ_BYTES_MAX: usize = 128 * 1024;

/// Room made at once for a frame whose length is known; a longer one grows with what has arrived, so that a length
/// alone reserves little.
const RESERVE_BYTES_MAX: usize = 1024 * 1024;

/// A length prefix that no request has. (NetworkReceive: InvalidReceiveException)
#[derive(Debug, thiserror::Error)]
#[error("a frame of {length} bytes; socket.request.max.bytes is {max}{}", looks_like(*length))]
pub(super) struct InvalidLength {
    length: i32,
    max: usize,
}

/// A hint at who speaks another protocol: the first bytes of a TLS handshake are its type and version, those of HTTP a word.
fn looks_like(length: i32) -> &'static str {
    match &length.to_be_bytes() {
        [22, 3, ..] => " (the client speaks TLS, and this listener does not)",
        b"GET " | b"HEAD" | b"POST" | b"PUT " => " (the client speaks HTTP)",
        _ => "",
    }
}

/// Bytes received and not yet handed on.
pub(super) struct FrameBuffer {
    bytes: BytesMut,
    frame_bytes_max: usize,
    /// What the next read makes room for: twice as much after one that was filled, half after one that was not.
    read_bytes: usize,
    /// For the frame that is being received.
    granted: Option<Granted>,
}

impl FrameBuffer {
    pub(super) fn new(frame_bytes_max: usize) -> FrameBuffer {
        FrameBuffer {
            bytes: BytesMut::new(),
            frame_bytes_max,
            read_bytes: READ_BYTES,
            granted: None,
        }
    }

    /// Reads what there is, up to the room that was made for it; returns the bytes read, 0 at the end.
    pub(super) async fn read_from(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<usize> {
        let room = {
            let spare = self.spare();
            spare.capacity() - spare.len()
        };
        let read = stream.read_buf(&mut self.bytes).await?;
        self.read_bytes = match read < room {
            true => (self.read_bytes / 2).max(READ_BYTES),
            false => (self.read_bytes * 2).min(READ_BYTES_MAX),
        };
        Ok(read)
    }

    /// Takes what was received in another way than [`FrameBuffer::read_from`].
    pub(super) fn extend(&mut self, received: &[u8]) {
        self.spare().extend_from_slice(received);
    }

    /// The buffer to read into, with room for more.
    fn spare(&mut self) -> &mut BytesMut {
        let missing = match self.announced() {
            Some(length) => (length + 4).saturating_sub(self.bytes.len()),
            None => READ_BYTES,
        };
        let room = missing
            .max(self.read_bytes)
            .min(self.bytes.len().max(RESERVE_BYTES_MAX));
        if self.bytes.capacity() - self.bytes.len()
            < room.min(self.read_bytes / 2).max(missing.min(room))
        {
            self.bytes.reserve(room);
        }
        &mut self.bytes
    }

    /// The next whole frame without its length; `None` until all of it is here.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, InvalidLength> {
        let Some(prefix) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*prefix);
        let invalid = InvalidLength {
            length,
            max: self.frame_bytes_max,
        };
        let Ok(frame_bytes) = usize::try_from(length) else {
            return Err(invalid);
        };
        if frame_bytes > self.frame_bytes_max {
            return Err(invalid);
        }
        if self.bytes.len() < 4 + frame_bytes {
            return Ok(None);
        }
        self.granted = None;
        self.bytes.advance(4);
        Ok(Some(self.bytes.split_to(frame_bytes).freeze()))
    }

    /// What has to be granted before more of the frame is read that is being received. A frame that is here already, or
    /// no longer than what every connection may read at a time, needs no grant.
    pub(super) fn ungranted(&self) -> Option<u32> {
        if self.granted.is_some() {
            return None;
        }
        let length = self.announced().filter(|length| *length > READ_BYTES)?;
        let is_whole = self.bytes.len() >= 4 + length;
        (!is_whole).then(|| u32::try_from(length).ok()).flatten()
    }

    /// Takes what [`FrameBuffer::ungranted`] told; it is given back when the frame is handed on.
    pub(super) fn grant(&mut self, granted: Granted) {
        self.granted = Some(granted);
    }

    /// Gives the memory back when nothing is held: an idle connection costs no buffer.
    pub(super) fn release_when_empty(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    fn announced(&self) -> Option<usize> {
        let prefix = self.bytes.first_chunk::<4>()?;
        usize::try_from(i32::from_be_bytes(*prefix)).ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::memory::RequestMemory;
    use super::*;

    fn buffer(bytes: &[u8]) -> FrameBuffer {
        let mut buffer = FrameBuffer::new(100 * 1024 * 1024);
        buffer.spare().extend_from_slice(bytes);
        buffer
    }

    #[test]
    fn frames_are_cut_at_their_length() {
        let mut buffer = buffer(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(buffer.next().unwrap().unwrap(), [7, 8][..]);
        assert_eq!(buffer.next().unwrap().unwrap(), [][..]);
        assert!(buffer.next().unwrap().is_none());
        buffer.spare().extend_from_slice(&[9]);
        assert_eq!(buffer.next().unwrap().unwrap(), [9][..]);
    }

    #[test]
    fn only_a_long_frame_needs_a_grant_and_only_until_it_is_whole() {
        let long = READ_BYTES + 1;
        let whole = [&(long as u32).to_be_bytes()[..], &vec![7; long]].concat();
        assert_eq!(buffer(&whole).ungranted(), None);
        assert_eq!(buffer(&[0, 0, 0]).ungranted(), None);
        assert_eq!(buffer(&(READ_BYTES as u32).to_be_bytes()).ungranted(), None);
        let mut buffer = buffer(&(long as u32).to_be_bytes());
        assert_eq!(buffer.ungranted(), Some(long as u32));
        let memory = RequestMemory::new(long as u64);
        buffer.grant(memory.try_take(long as u32).unwrap());
        assert_eq!(buffer.ungranted(), None);
        buffer.spare().extend_from_slice(&vec![7; long]);
        assert!(memory.try_take(1).is_none());
        assert_eq!(buffer.next().unwrap().unwrap().len(), long);
        assert!(memory.try_take(long as u32).is_some());
    }

    #[test]
    fn negative_and_absurd_lengths_are_refused() {
        assert!(buffer(&(-1i32).to_be_bytes()).next().is_err());
        assert!(buffer(&i32::MAX.to_be_bytes()).next().is_err());
    }

    #[test]
    fn who_fills_each_read_is_given_more_room_and_loses_it_again() {
        let sent = vec![0; 1024 * 1024];
        let mut socket = &sent[..];
        let mut buffer = buffer(&[]);
        let mut read = |socket: &mut &[u8]| {
            let read = buffer.read_from(socket).now_or_never().unwrap().unwrap();
            while buffer.next().unwrap().is_some() {}
            buffer.release_when_empty();
            read
        };
        let first = read(&mut socket);
        let most = std::iter::from_fn(|| Some(read(&mut socket)).filter(|bytes| *bytes > 0)).max();
        assert!(first < 2 * READ_BYTES, "{first}");
        assert_eq!(most, Some(READ_BYTES_MAX));
        for _ in 0..4 {
            assert_eq!(read(&mut &sent[..4]), 4);
        }
        assert!(read(&mut &sent[..]) < 2 * READ_BYTES);
    }

    #[test]
    fn a_length_alone_reserves_little() {
        let mut buffer = buffer(&(100i32 * 1024 * 1024).to_be_bytes());
        assert!(buffer.spare().capacity() <= 2 * RESERVE_BYTES_MAX);
    }
}
