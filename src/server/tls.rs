//! TLS over one socket: the handshake, and then records in and out, as many at a time as there are.
//!
//! What is read and written goes through buffers of the thread, so that a connection holds only what it must: the beginning of
//! a record whose end has not come, and what is encrypted and the socket has not taken.
//! (org.apache.kafka.common.network.SslTransportLayer)

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::net::SendFlags;
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest, Ready};
use tokio::net::TcpStream;

use super::frame::FrameBuffer;
use super::output::{Output, Written};
use crate::security::NoMatchingRule;

/// Until then a handshake is done: Kafka's clients give up after as long. (socket.connection.setup.timeout.max.ms)
pub(super) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);

/// Bytes that a client may send before the handshake is done; a chain of certificates is a few thousand.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// What a read of the handshake makes room for.
const HANDSHAKE_READ: usize = 4 * 1024;

/// A whole record as it travels, at most. (RFC 5246: 2^14 + 2048 and the header)
const RECORD_MAX: usize = 16 * 1024 + 2048 + 5;

/// Taken off the socket at a time.
const READ_BYTES: usize = 128 * 1024;

/// Encrypted and sent at a time: eight full records.
const WRITE_BYTES: usize = 8 * 16 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeFailed {
    #[error("not done within {0:?}")]
    TooSlow(Duration),
    #[error("the client closed the connection")]
    Closed,
    #[error("it is longer than {HANDSHAKE_BYTES_MAX} bytes")]
    TooLong,
    /// The first byte is none of TLS: a length in front of a request begins with 0.
    #[error("this is no TLS; a client that speaks PLAINTEXT?")]
    Plaintext,
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Principal(#[from] NoMatchingRule),
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(super) struct TlsStream {
    stream: TcpStream,
    tls: UnbufferedServerConnection,
    /// The beginning of a record.
    partial: Vec<u8>,
    unsent: Unsent,
    /// Whether the client has said that nothing more comes.
    is_closed: bool,
}

/// What is encrypted and the socket has not taken.
#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
    /// Bytes of the output that are in it.
    output_bytes: usize,
}

/// What the connections of a thread use in turn.
struct Scratch {
    received: Vec<u8>,
    plain: Vec<u8>,
    encrypted: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        received: vec![0; RECORD_MAX + READ_BYTES],
        plain: Vec::with_capacity(WRITE_BYTES),
        // Headers and tags; and what rustls has to send besides.
        encrypted: vec![0; WRITE_BYTES + WRITE_BYTES / 16],
    });
}

impl TlsStream {
    /// The handshake. What the client sent behind it comes into `received`.
    pub(super) async fn accept(
        stream: TcpStream,
        config: Arc<ServerConfig>,
        received: &mut FrameBuffer,
    ) -> Result<TlsStream, HandshakeFailed> {
        let mut tls = TlsStream {
            stream,
            tls: UnbufferedServerConnection::new(config)?,
            partial: Vec::new(),
            unsent: Unsent::default(),
            is_closed: false,
        };
        let mut taken = 0;
        loop {
            tls.partial.reserve(HANDSHAKE_READ);
            let read = tls.stream.read_buf(&mut tls.partial).await?;
            if read == 0 {
                return Err(HandshakeFailed::Closed);
            }
            if taken == 0 && tls.partial[0] == 0 {
                return Err(HandshakeFailed::Plaintext);
            }
            taken += read;
            let mut partial = std::mem::take(&mut tls.partial);
            let processed = tls.process(&mut partial, received);
            let to_send = std::mem::take(&mut tls.unsent.bytes);
            // An alert says what is wrong. Where nobody hears it, that is not what went wrong.
            let told = tls.stream.write_all(&to_send).await;
            partial.drain(..processed?);
            told?;
            tls.partial = partial;
            if !tls.tls.is_handshaking() {
                tls.partial.shrink_to_fit();
                return Ok(tls);
            }
            if taken > HANDSHAKE_BYTES_MAX {
                return Err(HandshakeFailed::TooLong);
            }
        }
    }

    pub(super) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        if self.is_closed && interest == Interest::READABLE {
            return Ok(Ready::READABLE);
        }
        self.stream.ready(interest).await
    }

    /// Takes what the socket has, up to a bound, and decrypts the whole records in it; `None` when it has nothing. Returns
    /// the bytes taken, 0 at the end.
    pub(super) fn read(&mut self, received: &mut FrameBuffer) -> Option<io::Result<usize>> {
        if self.is_closed {
            return Some(Ok(0));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let begun = self.partial.len();
            let buffer = &mut scratch.received;
            buffer[..begun].copy_from_slice(&self.partial);
            // Polled once. A read that does not fill the buffer has emptied the socket: tokio then asks it no more.
            let room = &mut buffer[begun..];
            let read = match self.stream.read(room).now_or_never()? {
                Ok(read) => read,
                Err(error) => return Some(Err(error)),
            };
            let taken = &mut buffer[..begun + read];
            let processed = match self.process(taken, received) {
                Ok(processed) => processed,
                Err(error) => return Some(Err(self.broken(error))),
            };
            let rest = &taken[processed..];
            if rest.len() > RECORD_MAX {
                let text = "a TLS record that does not end";
                return Some(Err(io::Error::new(ErrorKind::InvalidData, text)));
            }
            match rest.is_empty() {
                true => self.partial = Vec::new(),
                false => {
                    self.partial.clear();
                    self.partial.extend_from_slice(rest);
                }
            }
            Some(Ok(read))
        })
    }

    /// Encrypts and writes until all is out, or as far as it goes without waiting.
    pub(super) fn write(&mut self, output: &mut Output) -> io::Result<Written> {
        loop {
            if !self.flush()? {
                return Ok(Written::SocketFull);
            }
            output.advance(std::mem::take(&mut self.unsent.output_bytes));
            if output.is_empty() {
                return Ok(Written::All);
            }
            let written = SCRATCH.with_borrow_mut(|scratch| self.write_some(output, scratch))?;
            match written {
                Written::All => {}
                missing_or_full => return Ok(missing_or_full),
            }
        }
    }

    fn write_some(&mut self, output: &mut Output, scratch: &mut Scratch) -> io::Result<Written> {
        let Scratch {
            plain, encrypted, ..
        } = scratch;
        plain.clear();
        if let Written::Missing(range) = output.copy_to(plain, WRITE_BYTES)? {
            return Ok(Written::Missing(range));
        }
        let bytes = self.encrypt(plain, encrypted)?;
        if !self.unsent.bytes.is_empty() {
            // Something of rustls' own goes first.
            self.unsent.bytes.extend_from_slice(&encrypted[..bytes]);
            self.unsent.output_bytes = plain.len();
            return Ok(Written::All);
        }
        let mut sent = 0;
        while sent < bytes {
            match send(&self.stream, &encrypted[sent..bytes]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent = Unsent {
                        bytes: encrypted[sent..bytes].to_vec(),
                        sent: 0,
                        output_bytes: plain.len(),
                    };
                    return Ok(Written::SocketFull);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        output.advance(plain.len());
        Ok(Written::All)
    }

    /// Tells the client that nothing more comes, if the socket takes it at once. (SslTransportLayer.close)
    pub(super) fn close(&mut self) {
        if !self.unsent.bytes.is_empty() {
            return;
        }
        let mut goodbye = [0; 256];
        let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut self.partial);
        let bytes = match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.queue_close_notify(&mut goodbye).unwrap_or(0)
            }
            _ => 0,
        };
        // Nothing is left to be done where it does not arrive.
        let _ = send(&self.stream, &goodbye[..bytes]);
    }

    /// Sends what is encrypted; says whether it is all out.
    fn flush(&mut self) -> io::Result<bool> {
        while self.unsent.sent < self.unsent.bytes.len() {
            match send(&self.stream, &self.unsent.bytes[self.unsent.sent..]) {
                Ok(count) => self.unsent.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if !self.unsent.bytes.is_empty() {
            self.unsent.bytes = Vec::new();
            self.unsent.sent = 0;
        }
        Ok(true)
    }

    /// Goes through the whole records of `incoming`: what is decrypted comes into `received`, what has to be answered into
    /// `unsent`. Returns the bytes that are done with.
    fn process(
        &mut self,
        incoming: &mut [u8],
        received: &mut FrameBuffer,
    ) -> Result<usize, rustls::Error> {
        let mut done = 0;
        loop {
            let UnbufferedStatus {
                mut discard, state, ..
            } = self.tls.process_tls_records(&mut incoming[done..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        received.extend(record.payload);
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent.bytes),
                // It is sent before anything else is.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.is_closed = true;
                    return Ok(incoming.len());
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    return Ok(done + discard);
                }
                Ok(_) => {
                    return Err(rustls::Error::General(
                        "early data was not asked for".into(),
                    ));
                }
                Err(error) => {
                    self.encode_alert(&mut incoming[done..]);
                    return Err(error);
                }
            }
            done += discard;
        }
    }

    /// What rustls has to say to the client of the error that it has just told of.
    fn encode_alert(&mut self, incoming: &mut [u8]) {
        while let Ok(ConnectionState::EncodeTlsData(data)) =
            self.tls.process_tls_records(incoming).state
        {
            encode(data, &mut self.unsent.bytes);
        }
    }

    /// Encrypts `plain`; returns how many bytes of `encrypted` that took.
    fn encrypt(&mut self, plain: &[u8], encrypted: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut self.partial);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    match traffic.encrypt(plain, encrypted) {
                        Ok(bytes) => return Ok(bytes),
                        Err(EncryptError::InsufficientSize(needed)) => {
                            encrypted.resize(needed.required_size, 0);
                        }
                        Err(exhausted) => return Err(io::Error::other(exhausted)),
                    }
                }
                // Goes out first: it has an earlier number than what follows.
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent.bytes),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) => return Err(ErrorKind::NotConnected.into()),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// What a connection that rustls gave up ends with; the client is told if the socket takes it at once.
    fn broken(&mut self, error: rustls::Error) -> io::Error {
        let _ = self.flush();
        io::Error::new(ErrorKind::InvalidData, error)
    }
}

/// Appends a record of rustls' own.
fn encode(mut data: EncodeTlsData<'_, rustls::server::ServerConnectionData>, to: &mut Vec<u8>) {
    let begin = to.len();
    let mut room = HANDSHAKE_READ;
    loop {
        to.resize(begin + room, 0);
        match data.encode(&mut to[begin..]) {
            Ok(bytes) => return to.truncate(begin + bytes),
            Err(EncodeError::InsufficientSize(needed)) => room = needed.required_size,
            Err(EncodeError::AlreadyEncoded) => return to.truncate(begin),
        }
    }
}

fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    stream.try_io(Interest::WRITABLE, || {
        Ok(rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)?)
    })
}
