//! The small client that the tools share: connections that agree on versions with the broker, the cluster's leaders
//! and coordinators, and the errors in a user's words. One request at a time a connection; no background tasks.

mod backoff;
mod connection;
mod fetcher;
mod member;
mod producer;

use std::collections::HashMap;
use std::io;

pub use backoff::Backoff;
pub use connection::Connection;
pub use fetcher::{EARLIEST, Fetched, Fetcher, LATEST, list_offsets};
pub use member::{Member, read_assignment};
pub use producer::{Options, Outgoing, OutgoingHeader, Producer, partition_of};

use crate::error_code::ErrorCode;
use crate::messages::metadata_request::MetadataRequestTopic;
use crate::messages::{
    DecodeError, EncodeError, FindCoordinatorRequest, MetadataRequest, MetadataResponse, Request,
    text,
};

/// Types of the keys that have coordinators.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Why a call to the cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the connection to {address} failed: {source}")]
    Io { address: String, source: io::Error },
    #[error("{address} does not serve {api} in a version that this tool speaks")]
    Unsupported { address: String, api: &'static str },
    #[error("{address} answered what cannot be read: {source}")]
    Malformed {
        address: String,
        source: DecodeError,
    },
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("none of the bootstrap servers answers; the last: {0}")]
    NoServer(Box<Error>),
    #[error("'{0}' is no host:port")]
    Address(String),
    #[error("{what}: {code}", code = .code.name())]
    Refused { what: String, code: ErrorCode },
}

/// Fails with what the broker refused.
pub fn check(code: i16, what: impl FnOnce() -> String) -> Result<(), Error> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => Err(Error::Refused { what: what(), code }),
    }
}

/// A cluster as a client sees it.
pub struct Client {
    client_id: &'static str,
    bootstrap: Vec<String>,
    brokers: HashMap<i32, String>,
    connections: HashMap<String, Connection>,
}

impl Client {
    /// `servers`: `host:port`, separated by commas. Nothing is connected yet.
    pub fn new(servers: &str, client_id: &'static str) -> Result<Client, Error> {
        let bootstrap: Vec<String> = servers
            .split(',')
            .map(|server| server.trim().to_owned())
            .collect();
        for server in &bootstrap {
            let valid = server
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !valid {
                return Err(Error::Address(server.clone()));
            }
        }
        Ok(Client {
            client_id,
            bootstrap,
            brokers: HashMap::new(),
            connections: HashMap::new(),
        })
    }

    /// Sends to any broker.
    pub async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, Error> {
        let mut last = None;
        for server in self.bootstrap.clone() {
            match self.connection(&server).await {
                Ok(connection) => return connection.call(request).await,
                Err(error) => last = Some(error),
            }
        }
        Err(Error::NoServer(Box::new(
            last.expect("there is at least one server"),
        )))
    }

    /// Sends to the broker with that id, as the last metadata had it.
    pub async fn call_broker<R: Request>(
        &mut self,
        broker: i32,
        request: &R,
    ) -> Result<R::Response, Error> {
        let address = self.address(broker)?;
        self.connection(&address).await?.call(request).await
    }

    /// Sends an OffsetFetch or OffsetCommit that names topics rather than their ids.
    pub async fn call_broker_by_name<R: Request>(
        &mut self,
        broker: i32,
        request: &R,
    ) -> Result<R::Response, Error> {
        let address = self.address(broker)?;
        self.connection(&address)
            .await?
            .call_up_to(request, member::OFFSETS_BY_NAME)
            .await
    }

    /// `host:port` of a broker, as the last metadata had it.
    pub fn broker_address(&self, broker: i32) -> Option<&str> {
        self.brokers.get(&broker).map(String::as_str)
    }

    /// Sends to the broker with that id what it does not answer.
    pub async fn send_to<R: Request>(&mut self, broker: i32, request: &R) -> Result<(), Error> {
        let address = self.address(broker)?;
        self.connection(&address).await?.send(request).await
    }

    fn address(&self, broker: i32) -> Result<String, Error> {
        let unknown = || Error::Refused {
            what: format!("broker {broker}"),
            code: ErrorCode::BrokerNotAvailable,
        };
        self.brokers.get(&broker).cloned().ok_or_else(unknown)
    }

    /// A connection of its own to that broker: for what waits on the server, such as long polls.
    pub async fn connect(&self, broker: i32) -> Result<Connection, Error> {
        let address = self.address(broker)?;
        Connection::open(&address, self.client_id).await
    }

    /// The topics of those names, or all; the brokers are remembered for [`Client::call_broker`].
    pub async fn metadata(
        &mut self,
        topics: Option<&[&str]>,
        create: bool,
    ) -> Result<MetadataResponse, Error> {
        let topics = topics.map(|names| {
            let topic =
                |name: &&str| MetadataRequestTopic::default().with_name(Some(text(name).into()));
            names.iter().map(topic).collect()
        });
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(create);
        let response = self.call(&request).await?;
        let address = |host: &str, port: i32| format!("{host}:{port}");
        self.brokers = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id.0, address(&broker.host, broker.port)))
            .collect();
        Ok(response)
    }

    /// The broker that coordinates a group; asks again while none can be named.
    pub async fn coordinator(&mut self, group: &str) -> Result<i32, Error> {
        self.coordinator_of(GROUP, group, "group").await
    }

    /// The same of a transactional id.
    pub async fn transaction_coordinator(&mut self, id: &str) -> Result<i32, Error> {
        self.coordinator_of(TRANSACTION, id, "transactional id")
            .await
    }

    async fn coordinator_of(&mut self, key_type: i8, key: &str, kind: &str) -> Result<i32, Error> {
        let request = FindCoordinatorRequest::default()
            .with_key_type(key_type)
            .with_coordinator_keys(vec![text(key)]);
        let mut backoff = Backoff::default();
        loop {
            let response = self.call(&request).await?;
            let (code, id) = match response.coordinators.first() {
                Some(found) => (found.error_code, found.node_id.0),
                None => (response.error_code, response.node_id.0),
            };
            let code = ErrorCode::from_code(code);
            if code == ErrorCode::None {
                if !self.brokers.contains_key(&id) {
                    self.metadata(Some(&[]), false).await?;
                }
                return Ok(id);
            }
            let retriable = [
                ErrorCode::CoordinatorNotAvailable,
                ErrorCode::CoordinatorLoadInProgress,
            ];
            if !retriable.contains(&code) || !backoff.wait().await {
                return Err(Error::Refused {
                    what: format!("the coordinator of {kind} {key}"),
                    code,
                });
            }
        }
    }

    async fn connection(&mut self, address: &str) -> Result<&mut Connection, Error> {
        let present = self.connections.get(address);
        if present.is_none_or(Connection::is_closed) {
            let connection = Connection::open(address, self.client_id).await?;
            self.connections.insert(address.to_owned(), connection);
        }
        Ok(self.connections.get_mut(address).expect("it was put there"))
    }
}
