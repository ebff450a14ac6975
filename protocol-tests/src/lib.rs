//! What the tests through a socket share: a node in this process, and a connection that sends raw frames.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use dohle::broker::Broker;
use dohle::config::Settings;
use dohle::messages::{Message, Request, RequestHeader, ResponseHeader, Writer, text};
use dohle::server::Server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub mod exchange;

/// For what takes milliseconds, on a machine that has much else to do too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for something that has to come soon: a test that cannot go on fails.
pub async fn within(what: &str, done: impl Future<Output = ()>) {
    let waited = tokio::time::timeout(PATIENCE, done).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// A node on a free port, with its data in a folder of its own.
pub struct Node {
    data: tempfile::TempDir,
    overrides: Vec<(String, String)>,
    server: Server,
}

impl Node {
    pub async fn start() -> Node {
        Node::start_with(&[]).await
    }

    /// Starts with some settings changed.
    pub async fn start_with(overrides: &[(&str, &str)]) -> Node {
        Node::start_in(
            tempfile::tempdir().expect("a folder for the data"),
            overrides,
        )
        .await
    }

    /// Starts with its data in this folder.
    pub async fn start_in(data: tempfile::TempDir, overrides: &[(&str, &str)]) -> Node {
        let overrides: Vec<_> = overrides
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let server = serve(&data, &overrides).await;
        Node {
            data,
            overrides,
            server,
        }
    }

    /// Stops cleanly and starts again on the same data, on other ports.
    pub async fn restart(self) -> Node {
        self.restart_with(&[]).await
    }

    /// The same with some settings changed, or given once more.
    pub async fn restart_with(self, changed: &[(&str, &str)]) -> Node {
        let Node {
            data,
            mut overrides,
            server,
        } = self;
        server.stop().await.expect("a clean stop");
        for (name, value) in changed {
            overrides.push(((*name).to_owned(), (*value).to_owned()));
        }
        let server = serve(&data, &overrides).await;
        Node {
            data,
            overrides,
            server,
        }
    }

    /// Stops cleanly and leaves the folder.
    pub async fn stop_and_keep(self) -> tempfile::TempDir {
        self.server.stop().await.expect("a clean stop");
        self.data
    }

    pub async fn stop(self) {
        self.server.stop().await.expect("a clean stop");
    }

    /// The address of the broker's listener.
    pub fn address(&self) -> SocketAddr {
        self.server.addresses().first().expect("a listener").1
    }

    pub async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address()).await;
        Connection::over(stream.expect("the node listens"))
    }

    pub fn broker(&self) -> &Arc<Broker> {
        self.server.broker()
    }

    pub fn data(&self) -> &std::path::Path {
        self.data.path()
    }
}

async fn serve(data: &tempfile::TempDir, overrides: &[(String, String)]) -> Server {
    let settings = Settings::on_free_ports(data.path())
        .with(overrides)
        .expect("valid settings");
    Server::start(settings).await.expect("the node starts")
}

/// A connection that sends what it is told, right or wrong.
pub struct Connection {
    stream: Box<dyn Stream>,
    correlation_id: i32,
}

/// What a connection may go over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Connection {
    pub fn over(stream: impl Stream + 'static) -> Connection {
        Connection {
            stream: Box::new(stream),
            correlation_id: 0,
        }
    }

    /// Sends a request and reads its answer.
    pub async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version).await;
        self.receive::<R>(version).await
    }

    /// Sends a request without reading; returns its correlation id.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        let body = request.to_bytes(version).expect("what the version can say");
        self.send_body(R::KEY, version, &body).await
    }

    /// Sends any bytes as the body of a request.
    pub async fn send_body(&mut self, key: i16, version: i16, body: &[u8]) -> i32 {
        self.correlation_id += 1;
        let header = RequestHeader {
            request_api_key: key,
            request_api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(text("test")),
            ..RequestHeader::default()
        };
        let mut frame = Writer::new();
        header.write(&mut frame).expect("a header");
        frame.put_slice(body);
        self.send_frame(&frame.into_bytes()).await;
        self.correlation_id
    }

    /// Sends a frame: its length, then these bytes.
    pub async fn send_frame(&mut self, frame: &[u8]) {
        let mut bytes = BytesMut::new();
        bytes.put_i32(i32::try_from(frame.len()).expect("a small frame"));
        bytes.put_slice(frame);
        self.send_raw(&bytes).await;
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the node reads");
    }

    /// Reads the answer to the oldest request that has none yet, which is an `R` of that version.
    pub async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self.receive_frame().await.expect("an answer");
        ResponseHeader::read(&mut frame, R::KEY, version).expect("a response header");
        R::Response::decode_exact(frame, version).expect("a response")
    }

    /// Reads one frame without its length; an error when the node closes the connection.
    pub async fn receive_frame(&mut self) -> io::Result<Bytes> {
        let length = self.stream.read_i32().await?;
        let mut frame = vec![0; usize::try_from(length).expect("a length")];
        self.stream.read_exact(&mut frame).await?;
        Ok(frame.into())
    }

    /// Whether the node closes the connection without another answer.
    pub async fn is_closed(&mut self) -> bool {
        match self.stream.read_u8().await {
            Ok(_) => false,
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            ),
        }
    }
}
