//! What carries the bytes of a connection: a socket, or TLS over one.
//! (org.apache.kafka.common.network.TransportLayer)

use std::io;

use futures_util::FutureExt as _;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

use super::frame::FrameBuffer;
use super::output::{Output, Written};
use super::tls::TlsStream;

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Transport {
    /// Writes until all is out, or as far as it goes without waiting.
    pub(super) fn write(&mut self, output: &mut Output) -> io::Result<Written> {
        match self {
            Transport::Plain(stream) => output.write(stream),
            Transport::Tls(stream) => stream.write(output),
        }
    }

    /// Takes some of what the socket has; `None` when it has nothing. Returns the bytes taken, 0 at the end.
    pub(super) fn read(&mut self, received: &mut FrameBuffer) -> Option<io::Result<usize>> {
        match self {
            // Polled once. A read that does not fill the buffer has emptied the socket: tokio then asks it no more.
            Transport::Plain(stream) => received.read_from(stream).now_or_never(),
            Transport::Tls(stream) => stream.read(received),
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Transport::Plain(stream) => stream.ready(interest).await,
            Transport::Tls(stream) => stream.ready(interest).await,
        }
    }

    /// Says goodbye where that is usual, without waiting.
    pub(super) fn close(&mut self) {
        if let Transport::Tls(stream) = self {
            stream.close();
        }
    }
}
