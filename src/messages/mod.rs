//! Every request, response and record of Kafka 4.3 as a Rust type. kafka-protocol's types serve for the RPCs that it
//! has in their newest versions (`adopted.rs`); `messages!` (`define.rs`) defines the others and all records. Callers
//! cannot tell which is which: they use `Message` and `Request`, and the modules and types re-exported here.
//!
//! Nothing that a peer sends makes decoding panic, or allocate more than a small multiple of what it sent. The layer
//! knows schemas and bytes, not what a field means.

mod adopted;
pub mod define;
mod error;
mod header;
mod lossy;
pub mod records;
mod rpc;
pub mod schema;
pub mod wire;
mod writer;

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::{Buf, Bytes};

pub use error::{DecodeError, EncodeError, Fault};
pub use header::{
    RequestHeader, ResponseHeader, is_flexible, request_header_version, response_header_version,
};
pub use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, AllocateProducerIdsRequest, AllocateProducerIdsResponse,
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterPartitionRequest,
    AlterPartitionResponse, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse,
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ApiVersionsRequest,
    ApiVersionsResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, BrokerRegistrationRequest,
    BrokerRegistrationResponse, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ControllerRegistrationRequest,
    ControllerRegistrationResponse, CreateAclsRequest, CreateAclsResponse,
    CreateDelegationTokenRequest, CreateDelegationTokenResponse, CreatePartitionsRequest,
    CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteAclsRequest,
    DeleteAclsResponse, DeleteGroupsRequest, DeleteGroupsResponse, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse,
    DeleteShareGroupStateRequest, DeleteShareGroupStateResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, DescribeAclsRequest, DescribeAclsResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    DescribeProducersRequest, DescribeProducersResponse, DescribeQuorumRequest,
    DescribeQuorumResponse, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTransactionsRequest, DescribeTransactionsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, ElectLeadersRequest, ElectLeadersResponse,
    EndQuorumEpochRequest, EndQuorumEpochResponse, EndTxnRequest, EndTxnResponse, EnvelopeRequest,
    EnvelopeResponse, ExpireDelegationTokenRequest, ExpireDelegationTokenResponse,
    FetchSnapshotRequest, FetchSnapshotResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, HeartbeatRequest,
    HeartbeatResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    InitializeShareGroupStateRequest, InitializeShareGroupStateResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListConfigResourcesRequest,
    ListConfigResourcesResponse, ListGroupsRequest, ListGroupsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, ListTransactionsRequest,
    ListTransactionsResponse, MetadataRequest, MetadataResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    PushTelemetryRequest, PushTelemetryResponse, ReadShareGroupStateRequest,
    ReadShareGroupStateResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
    RenewDelegationTokenRequest, RenewDelegationTokenResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    ShareGroupDescribeRequest, ShareGroupDescribeResponse, ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse, SyncGroupRequest, SyncGroupResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse, UnregisterBrokerRequest, UnregisterBrokerResponse,
    UpdateFeaturesRequest, UpdateFeaturesResponse, UpdateRaftVoterRequest, UpdateRaftVoterResponse,
    VoteRequest, VoteResponse,
};
pub use kafka_protocol::messages::{BrokerId, GroupId, ProducerId, TopicName, TransactionalId};
pub use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
pub use kafka_protocol::messages::{
    add_offsets_to_txn_request, add_offsets_to_txn_response, add_partitions_to_txn_request,
    add_partitions_to_txn_response, allocate_producer_ids_request, allocate_producer_ids_response,
    alter_client_quotas_request, alter_client_quotas_response, alter_configs_request,
    alter_configs_response, alter_partition_reassignments_request,
    alter_partition_reassignments_response, alter_partition_request, alter_partition_response,
    alter_replica_log_dirs_request, alter_replica_log_dirs_response,
    alter_share_group_offsets_request, alter_share_group_offsets_response,
    alter_user_scram_credentials_request, alter_user_scram_credentials_response,
    api_versions_request, api_versions_response, assign_replicas_to_dirs_request,
    assign_replicas_to_dirs_response, begin_quorum_epoch_request, begin_quorum_epoch_response,
    broker_registration_request, broker_registration_response, consumer_group_describe_request,
    consumer_group_describe_response, consumer_group_heartbeat_request,
    consumer_group_heartbeat_response, consumer_protocol_assignment,
    consumer_protocol_subscription, controller_registration_request,
    controller_registration_response, create_acls_request, create_acls_response,
    create_delegation_token_request, create_delegation_token_response, create_partitions_request,
    create_partitions_response, create_topics_request, create_topics_response, delete_acls_request,
    delete_acls_response, delete_groups_request, delete_groups_response, delete_records_request,
    delete_records_response, delete_share_group_offsets_request,
    delete_share_group_offsets_response, delete_share_group_state_request,
    delete_share_group_state_response, delete_topics_request, delete_topics_response,
    describe_acls_request, describe_acls_response, describe_client_quotas_request,
    describe_client_quotas_response, describe_cluster_request, describe_cluster_response,
    describe_configs_request, describe_configs_response, describe_delegation_token_request,
    describe_delegation_token_response, describe_groups_request, describe_groups_response,
    describe_producers_request, describe_producers_response, describe_quorum_request,
    describe_quorum_response, describe_topic_partitions_request,
    describe_topic_partitions_response, describe_transactions_request,
    describe_transactions_response, describe_user_scram_credentials_request,
    describe_user_scram_credentials_response, elect_leaders_request, elect_leaders_response,
    end_quorum_epoch_request, end_quorum_epoch_response, end_txn_request, end_txn_response,
    envelope_request, envelope_response, expire_delegation_token_request,
    expire_delegation_token_response, fetch_snapshot_request, fetch_snapshot_response,
    find_coordinator_request, find_coordinator_response, get_telemetry_subscriptions_request,
    get_telemetry_subscriptions_response, heartbeat_request, heartbeat_response,
    incremental_alter_configs_request, incremental_alter_configs_response,
    initialize_share_group_state_request, initialize_share_group_state_response,
    join_group_request, join_group_response, leave_group_request, leave_group_response,
    list_config_resources_request, list_config_resources_response, list_groups_request,
    list_groups_response, list_partition_reassignments_request,
    list_partition_reassignments_response, list_transactions_request, list_transactions_response,
    metadata_request, metadata_response, offset_delete_request, offset_delete_response,
    offset_for_leader_epoch_request, offset_for_leader_epoch_response, push_telemetry_request,
    push_telemetry_response, read_share_group_state_request, read_share_group_state_response,
    remove_raft_voter_request, remove_raft_voter_response, renew_delegation_token_request,
    renew_delegation_token_response, sasl_authenticate_request, sasl_authenticate_response,
    sasl_handshake_request, sasl_handshake_response, share_group_describe_request,
    share_group_describe_response, share_group_heartbeat_request, share_group_heartbeat_response,
    sync_group_request, sync_group_response, txn_offset_commit_request, txn_offset_commit_response,
    unregister_broker_request, unregister_broker_response, update_features_request,
    update_features_response, update_raft_voter_request, update_raft_voter_response, vote_request,
    vote_response,
};
pub use kafka_protocol::protocol::StrBytes;
pub use lossy::lossy;
pub use rpc::add_raft_voter_request::AddRaftVoterRequest;
pub use rpc::add_raft_voter_response::AddRaftVoterResponse;
pub use rpc::broker_heartbeat_request::BrokerHeartbeatRequest;
pub use rpc::broker_heartbeat_response::BrokerHeartbeatResponse;
pub use rpc::describe_log_dirs_request::DescribeLogDirsRequest;
pub use rpc::describe_log_dirs_response::DescribeLogDirsResponse;
pub use rpc::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequest;
pub use rpc::describe_share_group_offsets_response::DescribeShareGroupOffsetsResponse;
pub use rpc::fetch_request::FetchRequest;
pub use rpc::fetch_response::FetchResponse;
pub use rpc::init_producer_id_request::InitProducerIdRequest;
pub use rpc::init_producer_id_response::InitProducerIdResponse;
pub use rpc::list_offsets_request::ListOffsetsRequest;
pub use rpc::list_offsets_response::ListOffsetsResponse;
pub use rpc::offset_commit_request::OffsetCommitRequest;
pub use rpc::offset_commit_response::OffsetCommitResponse;
pub use rpc::offset_fetch_request::OffsetFetchRequest;
pub use rpc::offset_fetch_response::OffsetFetchResponse;
pub use rpc::produce_request::ProduceRequest;
pub use rpc::produce_response::ProduceResponse;
pub use rpc::read_share_group_state_summary_request::ReadShareGroupStateSummaryRequest;
pub use rpc::read_share_group_state_summary_response::ReadShareGroupStateSummaryResponse;
pub use rpc::share_acknowledge_request::ShareAcknowledgeRequest;
pub use rpc::share_acknowledge_response::ShareAcknowledgeResponse;
pub use rpc::share_fetch_request::ShareFetchRequest;
pub use rpc::share_fetch_response::ShareFetchResponse;
pub use rpc::streams_group_describe_request::StreamsGroupDescribeRequest;
pub use rpc::streams_group_describe_response::StreamsGroupDescribeResponse;
pub use rpc::streams_group_heartbeat_request::StreamsGroupHeartbeatRequest;
pub use rpc::streams_group_heartbeat_response::StreamsGroupHeartbeatResponse;
pub use rpc::write_share_group_state_request::WriteShareGroupStateRequest;
pub use rpc::write_share_group_state_response::WriteShareGroupStateResponse;
pub use rpc::write_txn_markers_request::WriteTxnMarkersRequest;
pub use rpc::write_txn_markers_response::WriteTxnMarkersResponse;
pub use rpc::{
    add_raft_voter_request, add_raft_voter_response, broker_heartbeat_request,
    broker_heartbeat_response, describe_log_dirs_request, describe_log_dirs_response,
    describe_share_group_offsets_request, describe_share_group_offsets_response, fetch_request,
    fetch_response, init_producer_id_request, init_producer_id_response, list_offsets_request,
    list_offsets_response, offset_commit_request, offset_commit_response, offset_fetch_request,
    offset_fetch_response, produce_request, produce_response,
    read_share_group_state_summary_request, read_share_group_state_summary_response,
    share_acknowledge_request, share_acknowledge_response, share_fetch_request,
    share_fetch_response, streams_group_describe_request, streams_group_describe_response,
    streams_group_heartbeat_request, streams_group_heartbeat_response,
    write_share_group_state_request, write_share_group_state_response, write_txn_markers_request,
    write_txn_markers_response,
};
pub use writer::{FileRange, Frame, Piece, Records, Writer};

/// A body that has versions: a request, a response, a record's key or value.
pub trait Message: Sized + Clone + Debug + PartialEq + Default + Send + 'static {
    /// The name in `schemas.tsv`, for example `ProduceRequest`.
    const NAME: &'static str;
    /// The versions that can be read and written.
    const VERSIONS: RangeInclusive<i16>;

    /// Decodes from the front of `bytes` and leaves what follows. Byte fields are slices, not copies.
    fn read(bytes: &mut Bytes, version: i16) -> Result<Self, DecodeError>;

    fn encode(&self, out: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Decodes a body. Bytes after it are ignored, as Kafka does for requests and responses
    /// (AbstractRequest.parseRequest).
    fn decode(mut bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        Self::read(&mut bytes, version)
    }

    /// Decodes a body after which nothing may follow.
    fn decode_exact(mut bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let length = bytes.len();
        let message = Self::read(&mut bytes, version)?;
        match bytes.len() {
            0 => Ok(message),
            left => Err(Fault::Trailing(left).of(Self::NAME, version, length - left)),
        }
    }

    /// Decodes an int16 version and the body after it: the form of embedded data, such as a coordinator's values, the
    /// consumer protocol and the principal in an Envelope. `ReadAsNewest` reads a version that is too new as the newest
    /// known one, as Kafka does for the consumer protocol (ConsumerProtocol.checkSubscriptionVersion).
    fn decode_versioned(mut bytes: Bytes, newer: Newer) -> Result<(Self, i16), DecodeError> {
        let Some(version) = bytes
            .first_chunk()
            .map(|version| i16::from_be_bytes(*version))
        else {
            return Err(Fault::Truncated {
                needs: 2,
                left: bytes.len(),
            }
            .of(Self::NAME, -1, 0));
        };
        bytes.advance(2);
        let readable = match newer {
            Newer::Refuse => version,
            Newer::ReadAsNewest => version.min(*Self::VERSIONS.end()),
        };
        Ok((Self::decode(bytes, readable)?, version))
    }

    /// The int16 version and the body.
    fn to_versioned_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut out = Writer::new();
        out.put_i16(version);
        self.encode(&mut out, version)?;
        Ok(out.into_bytes())
    }

    /// The body alone, as one run of bytes. For messages without file ranges.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut out = Writer::new();
        self.encode(&mut out, version)?;
        Ok(out.into_bytes())
    }
}

/// What `Message::decode_versioned` does with a version above the newest known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newer {
    Refuse,
    ReadAsNewest,
}

/// A request and the type of its answer, which has the same version.
pub trait Request: Message {
    const KEY: i16;
    type Response: Message;
}

/// A text field from what handlers have at hand. Copies; a field of a request is cloned instead.
pub fn text(value: impl AsRef<str>) -> StrBytes {
    StrBytes::from_string(value.as_ref().to_owned())
}

#[cfg(test)]
mod tests;
