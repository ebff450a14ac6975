//! One connection to one broker: its versions are asked for first, then requests go out in the newest version that
//! both sides have.

use std::collections::HashMap;
use std::io;

use bytes::{Bytes, BytesMut};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Error;
use crate::messages::{
    ApiVersionsRequest, Frame, Message, Request, RequestHeader, ResponseHeader, Writer, text,
};

/// The largest answer that is accepted; a broker sends at most `fetch.max.bytes` and a batch.
const RESPONSE_BYTES_MAX: usize = 1 << 30;

pub struct Connection {
    address: String,
    client_id: &'static str,
    stream: TcpStream,
    correlation_id: i32,
    /// The highest version of each key that the broker has, and the lowest.
    versions: HashMap<i16, (i16, i16)>,
}

impl Connection {
    /// Connects to `host:port` and asks for the versions.
    pub async fn open(address: &str, client_id: &'static str) -> Result<Connection, Error> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|source| Error::Connect {
            address: address.to_owned(),
            source,
        })?;
        stream.set_nodelay(true).map_err(|source| Error::Io {
            address: address.to_owned(),
            source,
        })?;
        let mut connection = Connection {
            address: address.to_owned(),
            client_id,
            stream,
            correlation_id: 0,
            versions: HashMap::new(),
        };
        connection.negotiate().await?;
        Ok(connection)
    }

    async fn negotiate(&mut self) -> Result<(), Error> {
        const VERSION: i16 = 3;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text("dohle"))
            .with_client_software_version(text(env!("CARGO_PKG_VERSION")));
        let response = self.exchange(&request, VERSION).await?;
        let range = |api: &crate::messages::api_versions_response::ApiVersion| {
            (api.min_version, api.max_version)
        };
        self.versions = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, range(api)))
            .collect();
        Ok(())
    }

    /// The version in which a request goes out; an error when the two sides have none in common.
    pub fn version<R: Request>(&self) -> Result<i16, Error> {
        let own = R::VERSIONS;
        let common = self
            .versions
            .get(&R::KEY)
            .map(|(min, max)| (*min.max(own.start()), *max.min(own.end())));
        match common {
            Some((min, max)) if min <= max => Ok(max),
            _ => Err(Error::Unsupported {
                address: self.address.clone(),
                api: R::NAME,
            }),
        }
    }

    /// The socket, for who has frames of its own to send; their versions are asked for before.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Whether the broker has closed it, as it does with one that was idle for long (`connections.max.idle.ms`).
    pub fn is_closed(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        // Nothing was asked for: whatever comes, it cannot go on.
        let received = rustix::net::recv(&self.stream, &mut [0; 1], flags);
        received.err() != Some(Errno::AGAIN)
    }

    pub async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, Error> {
        self.call_up_to(request, i16::MAX).await
    }

    /// Calls in a version that is not above `max`.
    pub async fn call_up_to<R: Request>(
        &mut self,
        request: &R,
        max: i16,
    ) -> Result<R::Response, Error> {
        let version = self.version::<R>()?.min(max);
        self.exchange(request, version).await
    }

    /// Sends what is not answered.
    pub async fn send<R: Request>(&mut self, request: &R) -> Result<(), Error> {
        let frame = self.encode(request, self.version::<R>()?)?;
        let sent = self
            .stream
            .write_all(&frame.into_bytes().expect("a request holds no file"))
            .await;
        sent.map_err(|source| Error::Io {
            address: self.address.clone(),
            source,
        })
    }

    async fn exchange<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, Error> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = self.encode(request, version)?;
        let body = self.round_trip(frame).await.map_err(|source| Error::Io {
            address: self.address.clone(),
            source,
        })?;
        self.decode::<R>(body, version)
            .map_err(|source| Error::Malformed {
                address: self.address.clone(),
                source,
            })
    }

    fn encode<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<Frame, crate::messages::EncodeError> {
        let mut out = Writer::new();
        out.put_i32(0);
        let header = RequestHeader {
            request_api_key: R::KEY,
            request_api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(text(self.client_id)),
            ..RequestHeader::default()
        };
        header.write(&mut out)?;
        request.encode(&mut out, version)?;
        let length = out.len() - 4;
        out.patch_i32(
            0,
            i32::try_from(length).map_err(|_| crate::messages::EncodeError::TooLong(length))?,
        );
        Ok(out.finish())
    }

    async fn round_trip(&mut self, frame: Frame) -> io::Result<Bytes> {
        let request = frame.into_bytes().expect("a request holds no file");
        self.stream.write_all(&request).await?;
        let length = self.stream.read_i32().await?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= RESPONSE_BYTES_MAX);
        let length = length.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "an absurd response length")
        })?;
        let mut body = BytesMut::with_capacity(length);
        while body.len() < length {
            let missing = (length - body.len()) as u64;
            if (&mut self.stream).take(missing).read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(body.freeze())
    }

    fn decode<R: Request>(
        &self,
        mut body: Bytes,
        version: i16,
    ) -> Result<R::Response, crate::messages::DecodeError> {
        ResponseHeader::read(&mut body, R::KEY, version)?;
        R::Response::decode(body, version)
    }
}
