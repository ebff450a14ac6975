//! The APIs: one file a key, one table of all of them. Dispatch, the advertised versions and the header versions
//! follow from the table, so that what is advertised is what is handled.
//!
//! A handler runs on the connection's task: it decodes (done here), authorizes, acts, answers. It must not block and
//! must have done, or put in order, all its effects when it returns: the connection goes on with the next request
//! at once, while answers leave in request order. What is slow to answer returns [`Reply::Later`].
//!
//! Called by `server::connection`; knows nothing of sockets.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::broker::Broker;
use crate::messages::{
    DecodeError, EncodeError, Frame, Message, Request, RequestHeader, ResponseHeader, Writer,
};
use crate::security::KafkaPrincipal;

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod alter_replica_log_dirs;
mod api_versions;
pub(crate) mod auto_topics;
mod cluster;
mod config_changes;
mod controlled;
mod coordinated;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod end_txn;
mod errors;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leaders;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_transactions;
mod log_levels;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
#[cfg(test)]
mod testing;
mod transactional;
mod txn_offset_commit;
mod update_features;
mod write_txn_markers;

/// The length in front of a frame.
const LENGTH_BYTES: usize = 4;

/// Room for a response to begin with; most need no more.
const RESPONSE_BYTES: usize = 256;

/// What a handler answers.
pub enum Reply<R> {
    /// The response is ready.
    Now(R),
    /// The effects are under way and in order; the response follows. The connection polls only the oldest
    /// outstanding reply, so nothing but the answer may depend on this future being polled.
    Later(Pin<Box<dyn Future<Output = R> + Send>>),
    /// No response is sent (Produce with acks=0).
    Silent,
    /// The connection is closed once what came before has been answered, as Kafka does when it cannot answer
    /// (Produce with acks=0 that failed).
    Close,
}

impl<R> Reply<R> {
    pub(crate) fn later(future: impl Future<Output = R> + Send + 'static) -> Reply<R> {
        Reply::Later(Box::pin(future))
    }
}

/// What a connection is and has learnt of its client; handlers may change it.
pub struct Session {
    /// Distinct among the connections since start.
    pub connection_id: u64,
    /// The address of the client, without its port.
    pub client_host: std::net::IpAddr,
    /// The name of the listener that it came in by.
    pub listener: Arc<str>,
    /// Who the client is, by its certificate.
    pub principal: KafkaPrincipal,
    /// From ApiVersions (KIP-511).
    pub client_software: Option<ClientSoftware>,
}

/// The name and version that a client gave in ApiVersions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSoftware {
    pub name: Arc<str>,
    pub version: Arc<str>,
}

/// What a handler gets beside the request itself.
pub struct Context<'a> {
    pub broker: &'a Arc<Broker>,
    pub session: &'a mut Session,
    pub header: &'a RequestHeader,
}

impl Context<'_> {
    pub(crate) fn version(&self) -> i16 {
        self.header.request_api_version
    }
}

/// One API key.
pub(crate) trait Api {
    type Request: Request;

    /// The versions that are handled.
    const VERSIONS: RangeInclusive<i16>;

    /// The version after them that is handled with `unstable.api.versions.enable`.
    const UNSTABLE: Option<i16> = None;

    /// The lowest version that ApiVersions names; below `VERSIONS` only for Produce, where old clients look for it.
    const ADVERTISED_FROM: i16 = *Self::VERSIONS.start();

    fn handle(
        ctx: &mut Context<'_>,
        request: Self::Request,
    ) -> Reply<<Self::Request as Request>::Response>;

    /// The answer, and the version to encode it in, for a version that is not handled; `None` closes the connection.
    fn unsupported_version() -> Option<(<Self::Request as Request>::Response, i16)> {
        None
    }
}

/// One row of the table: an [`Api`] with its types erased.
pub(crate) struct Entry {
    pub(crate) key: i16,
    pub(crate) advertised: RangeInclusive<i16>,
    versions: RangeInclusive<i16>,
    /// Also handled, and named by ApiVersions, with `unstable.api.versions.enable`.
    pub(crate) unstable: Option<i16>,
    dispatch: fn(&mut Context<'_>, Bytes) -> Result<Answer, Rejected>,
    unsupported_version: fn(&RequestHeader) -> Result<Answer, Rejected>,
}

const fn entry<A: Api>() -> Entry {
    Entry {
        key: A::Request::KEY,
        advertised: A::ADVERTISED_FROM..=*A::VERSIONS.end(),
        versions: A::VERSIONS,
        unstable: A::UNSTABLE,
        dispatch: dispatch::<A>,
        unsupported_version: unsupported_version::<A>,
    }
}

/// A reply with its response encoded.
pub type Answer = Reply<Result<Frame, EncodeError>>;

/// Every API that is served, by key.
pub(crate) static TABLE: &[Entry] = &[
    entry::<produce::Produce>(),
    entry::<fetch::Fetch>(),
    entry::<list_offsets::ListOffsets>(),
    entry::<metadata::Metadata>(),
    entry::<offset_commit::OffsetCommit>(),
    entry::<offset_fetch::OffsetFetch>(),
    entry::<find_coordinator::FindCoordinator>(),
    entry::<join_group::JoinGroup>(),
    entry::<heartbeat::Heartbeat>(),
    entry::<leave_group::LeaveGroup>(),
    entry::<sync_group::SyncGroup>(),
    entry::<describe_groups::DescribeGroups>(),
    entry::<list_groups::ListGroups>(),
    entry::<api_versions::ApiVersions>(),
    entry::<create_topics::CreateTopics>(),
    entry::<delete_topics::DeleteTopics>(),
    entry::<delete_records::DeleteRecords>(),
    entry::<init_producer_id::InitProducerId>(),
    entry::<offset_for_leader_epoch::OffsetForLeaderEpoch>(),
    entry::<add_partitions_to_txn::AddPartitionsToTxn>(),
    entry::<add_offsets_to_txn::AddOffsetsToTxn>(),
    entry::<end_txn::EndTxn>(),
    entry::<write_txn_markers::WriteTxnMarkers>(),
    entry::<txn_offset_commit::TxnOffsetCommit>(),
    entry::<describe_configs::DescribeConfigs>(),
    entry::<alter_configs::AlterConfigs>(),
    entry::<alter_replica_log_dirs::AlterReplicaLogDirs>(),
    entry::<describe_log_dirs::DescribeLogDirs>(),
    entry::<create_partitions::CreatePartitions>(),
    entry::<delete_groups::DeleteGroups>(),
    entry::<incremental_alter_configs::IncrementalAlterConfigs>(),
    entry::<offset_delete::OffsetDelete>(),
    entry::<describe_quorum::DescribeQuorum>(),
    entry::<update_features::UpdateFeatures>(),
    entry::<describe_cluster::DescribeCluster>(),
    entry::<describe_producers::DescribeProducers>(),
    entry::<describe_transactions::DescribeTransactions>(),
    entry::<list_transactions::ListTransactions>(),
    entry::<list_config_resources::ListConfigResources>(),
    entry::<describe_topic_partitions::DescribeTopicPartitions>(),
];

/// Why a request closes its connection. (As SocketServer.processCompletedReceives does.)
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    #[error("no API has the key {0}")]
    UnknownKey(i16),
    #[error("{name} has no version {version} here")]
    UnsupportedVersion { name: &'static str, version: i16 },
    #[error("{name} version {version}: {source}")]
    Malformed {
        name: &'static str,
        version: i16,
        source: DecodeError,
    },
    #[error("a request header: {0}")]
    MalformedHeader(DecodeError),
}

/// Handles one request: its header and body as they came off the wire.
pub fn handle(
    broker: &Arc<Broker>,
    session: &mut Session,
    mut request: Bytes,
) -> Result<Answer, Rejected> {
    let header = RequestHeader::read(&mut request).map_err(Rejected::MalformedHeader)?;
    let entry = find(header.request_api_key).ok_or(Rejected::UnknownKey(header.request_api_key))?;
    if !entry.versions.contains(&header.request_api_version) && !is_unstable(broker, entry, &header)
    {
        return (entry.unsupported_version)(&header);
    }
    (entry.dispatch)(
        &mut Context {
            broker,
            session,
            header: &header,
        },
        request,
    )
}

fn is_unstable(broker: &Broker, entry: &Entry, header: &RequestHeader) -> bool {
    entry.unstable == Some(header.request_api_version)
        && broker.settings().unstable_api_versions_enable()
}

fn find(key: i16) -> Option<&'static Entry> {
    TABLE
        .binary_search_by_key(&key, |entry| entry.key)
        .ok()
        .map(|at| &TABLE[at])
}

fn dispatch<A: Api>(ctx: &mut Context<'_>, body: Bytes) -> Result<Answer, Rejected> {
    let version = ctx.version();
    let request = A::Request::decode(body, version).map_err(|source| Rejected::Malformed {
        name: A::Request::NAME,
        version,
        source,
    })?;
    let correlation_id = ctx.header.correlation_id;
    Ok(match A::handle(ctx, request) {
        Reply::Now(response) => Reply::Now(encode::<A>(correlation_id, &response, version)),
        Reply::Later(response) => {
            Reply::later(async move { encode::<A>(correlation_id, &response.await, version) })
        }
        Reply::Silent => Reply::Silent,
        Reply::Close => Reply::Close,
    })
}

fn unsupported_version<A: Api>(header: &RequestHeader) -> Result<Answer, Rejected> {
    match A::unsupported_version() {
        Some((response, version)) => Ok(Reply::Now(encode::<A>(
            header.correlation_id,
            &response,
            version,
        ))),
        None => Err(Rejected::UnsupportedVersion {
            name: A::Request::NAME,
            version: header.request_api_version,
        }),
    }
}

/// The whole frame of a response: length, header, body. An error is a handler's: it said something that the version
/// of the request has no field for.
fn encode<A: Api>(
    correlation_id: i32,
    response: &<A::Request as Request>::Response,
    version: i16,
) -> Result<Frame, EncodeError> {
    let mut out = Writer::with_capacity(RESPONSE_BYTES);
    out.put_i32(0);
    let header = ResponseHeader {
        correlation_id,
        ..ResponseHeader::default()
    };
    header.write(&mut out, A::Request::KEY, version)?;
    response.encode(&mut out, version)?;
    let length = out.len() - LENGTH_BYTES;
    out.patch_i32(
        0,
        i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?,
    );
    Ok(out.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_by_key() {
        assert!(TABLE.is_sorted_by_key(|entry| entry.key));
    }
}
