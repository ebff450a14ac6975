//! A connection with many requests on their way: frames are collected and leave in one vectored write, answers are cut out
//! of a buffer that is used again, and who waits is woken to the microsecond. The versions are agreed on by the client
//! that the tools share; nothing here knows what the frames say.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes, BytesMut};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;

use super::schedule::Epoch;
use crate::messages::{Piece, Writer};

/// Pieces in one write; the system takes no more than 1,024.
const PIECES_MAX: usize = 64;
/// The least room to read into.
const READ_MIN: usize = 64 * 1024;
/// The largest answer that is accepted.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// See the module.
pub(super) struct Link {
    stream: TcpStream,
    epoch: Epoch,
    timer: Timer,
    /// Frames that are being collected.
    collected: Writer,
    /// Frames on their way.
    leaving: VecDeque<Bytes>,
    arrived: BytesMut,
    correlation_id: i32,
    /// What the timer is set to, when it is.
    armed: Option<u64>,
}

impl Link {
    pub(super) fn new(stream: TcpStream, epoch: Epoch) -> io::Result<Link> {
        Ok(Link {
            stream,
            epoch,
            timer: Timer::new()?,
            collected: Writer::new(),
            leaving: VecDeque::new(),
            arrived: BytesMut::new(),
            correlation_id: 0,
            armed: None,
        })
    }

    /// Where the next frame is written, with its length, and the id by which its answer is known.
    pub(super) fn next_request(&mut self) -> (&mut Writer, i32) {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        (&mut self.collected, self.correlation_id)
    }

    /// Sends as much as the system takes now; whether that was all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        if !self.collected.is_empty() {
            let frames = std::mem::take(&mut self.collected).finish();
            let pieces = frames.pieces.into_iter();
            self.leaving.extend(pieces.map(|piece| match piece {
                Piece::Bytes(bytes) => bytes,
                Piece::File(_) => unreachable!("a request holds no file"),
            }));
        }
        while !self.leaving.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let count = self.leaving.len().min(PIECES_MAX);
            for (slice, piece) in slices.iter_mut().zip(&self.leaving) {
                *slice = IoSlice::new(piece);
            }
            match self.stream.try_write_vectored(&slices[..count]) {
                Ok(written) => self.left(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn left(&mut self, mut written: usize) {
        while let Some(first) = self.leaving.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.leaving.pop_front();
        }
    }

    /// Whether requests wait to be sent.
    pub(super) fn is_sending(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Waits until something arrives, the system takes more of what is to be sent, or it is `until`.
    pub(super) async fn wait(&mut self, until: u64) -> io::Result<()> {
        let now = self.epoch.now();
        if until <= now {
            // Answers and other tasks have their turn, however late this one is.
            tokio::task::yield_now().await;
            return self.take_what_is_there();
        }
        if self.armed != Some(until) {
            self.timer.set(until - now)?;
            self.armed = Some(until);
        }
        self.make_room();
        let is_sending = self.is_sending();
        let (mut reader, writer) = self.stream.split();
        tokio::select! {
            biased;
            read = reader.read_buf(&mut self.arrived) => match read? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            },
            ready = writer.writable(), if is_sending => ready,
            expired = self.timer.expired() => {
                self.armed = None;
                expired
            }
        }
    }

    fn take_what_is_there(&mut self) -> io::Result<()> {
        self.make_room();
        match self.stream.try_read_buf(&mut self.arrived) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Room for the rest of the answer that has begun to arrive; the buffer's own when its answers are gone.
    fn make_room(&mut self) {
        let missing = match self.arrived.first_chunk::<4>() {
            Some(length) => (u32::from_be_bytes(*length) as usize + 4)
                .min(ANSWER_BYTES_MAX)
                .saturating_sub(self.arrived.len()),
            None => 0,
        };
        if self.arrived.capacity() - self.arrived.len() < missing.max(READ_MIN / 4) {
            self.arrived.reserve(missing.max(READ_MIN));
        }
    }

    /// The next answer that is there, without its length.
    pub(super) fn next_answer(&mut self) -> io::Result<Option<Bytes>> {
        let Some(length) = self.arrived.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > ANSWER_BYTES_MAX {
            let absurd = "an absurd response length";
            return Err(io::Error::new(io::ErrorKind::InvalidData, absurd));
        }
        if self.arrived.len() < 4 + length {
            return Ok(None);
        }
        self.arrived.advance(4);
        Ok(Some(self.arrived.split_to(length).freeze()))
    }
}

/// A timer of the system: the runtime's own count milliseconds.
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "what it cannot promise of any type holds for an OwnedFd: the descriptor is its own"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Timer(fd))
    }

    /// Expires once, in so many nanoseconds (more than 0); not at an earlier time that was set.
    fn set(&self, nanos: u64) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: (nanos % 1_000_000_000) as _,
            },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    async fn expired(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let mut count = [0; 8];
            let read = guard.try_io(|fd| Ok(rustix::io::read(fd, &mut count)?));
            if let Ok(read) = read {
                return read.map(|_| ());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let link = Link::new(client.unwrap(), Epoch::begin()).unwrap();
        (link, server.unwrap().0)
    }

    #[tokio::test]
    async fn frames_leave_in_order_and_answers_are_cut_apart() {
        let (mut link, mut server) = pair().await;
        let large = Bytes::from(vec![7; 3 << 20]);
        for _ in 0..100 {
            let (out, _) = link.next_request();
            out.put_slice(b"head");
            out.put_bytes(&large.slice(..5000));
        }
        let (out, id) = link.next_request();
        out.put_bytes(&large);
        assert_eq!(id, 101);
        let reader = tokio::spawn(async move {
            let mut all = vec![0; 100 * 5004 + (3 << 20)];
            server.read_exact(&mut all).await.unwrap();
            server
                .write_all(&[0, 0, 0, 2, 1, 2, 0, 0, 0, 1])
                .await
                .unwrap();
            server.write_all(&[3]).await.unwrap();
            (all, server)
        });
        let mut answers = Vec::new();
        while answers.len() < 2 {
            link.flush().unwrap();
            link.wait(u64::MAX / 2).await.unwrap();
            while let Some(answer) = link.next_answer().unwrap() {
                answers.push(answer.to_vec());
            }
        }
        assert_eq!(answers, [vec![1, 2], vec![3]]);
        let (all, server) = reader.await.unwrap();
        assert!(
            all.chunks(5004)
                .take(100)
                .all(|frame| &frame[..5] == b"head\x07")
        );
        assert!(!link.is_sending());
        drop(server);
        let closed = link.wait(u64::MAX / 2).await.unwrap_err();
        assert_eq!(closed.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_wait_ends_at_its_time() {
        let (mut link, _server) = pair().await;
        for wait in [300_000, 0, 2_000_000] {
            let until = link.epoch.now() + wait;
            link.wait(until).await.unwrap();
            assert!(link.epoch.now() >= until);
        }
    }

    #[tokio::test]
    async fn an_absurd_length_is_refused() {
        let (mut link, mut server) = pair().await;
        server.write_all(&[0x7f, 0xff, 0xff, 0xff]).await.unwrap();
        link.wait(u64::MAX / 2).await.unwrap();
        let error = link.next_answer().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
