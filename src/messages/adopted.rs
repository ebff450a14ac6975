//! The kafka-protocol messages behind our traits. Its decoders size memory by the wire's counts, so a body passes the
//! walk of `schema.rs` first; what is then decoded holds as many elements as were announced. This file and the
//! re-exports of `mod.rs` are the only places that name the crate.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{self, Decodable, Encodable};

use super::schema::Layouts;
use super::{DecodeError, EncodeError, Fault, Message, Request, Writer};

macro_rules! adopt {
    ($($key:literal $request:ident $response:ident,)*) => {$(
        adopt!(@message $request);
        adopt!(@message $response);

        impl Request for $request {
            const KEY: i16 = $key;
            type Response = $response;
        }
    )*};
    (@message $message:ident) => {
        impl Message for $message {
            const NAME: &'static str = stringify!($message);
            const VERSIONS: RangeInclusive<i16> =
                <$message as protocol::Message>::VERSIONS.min..=<$message as protocol::Message>::VERSIONS.max;

            fn read(bytes: &mut Bytes, version: i16) -> Result<Self, DecodeError> {
                static LAYOUTS: Layouts = Layouts::new(stringify!($message));
                read(&LAYOUTS, bytes, version)
            }

            fn encode(&self, out: &mut Writer, version: i16) -> Result<(), EncodeError> {
                encode(self, out, version)
            }
        }
    };
}

fn read<M: Message + Decodable>(
    layouts: &Layouts,
    bytes: &mut Bytes,
    version: i16,
) -> Result<M, DecodeError> {
    match layouts.check(bytes, version) {
        Err(error) if error.fault == Fault::NotUtf8 => *bytes = layouts.mended(bytes, version)?,
        checked => {
            checked?;
        }
    }
    let length = bytes.len();
    <M as Decodable>::decode(bytes, version)
        .map_err(|_| Fault::Refused.of(M::NAME, version, length - bytes.len()))
}

fn encode<M: Message + Encodable>(
    message: &M,
    out: &mut Writer,
    version: i16,
) -> Result<(), EncodeError> {
    Encodable::encode(message, out.buffer(), version).map_err(|error| {
        match M::VERSIONS.contains(&version) {
            true => EncodeError::Refused {
                message: M::NAME,
                version,
                reason: error.to_string(),
            },
            false => EncodeError::UnsupportedVersion {
                message: M::NAME,
                version,
            },
        }
    })
}

adopt! {
    3 MetadataRequest MetadataResponse,
    10 FindCoordinatorRequest FindCoordinatorResponse,
    11 JoinGroupRequest JoinGroupResponse,
    12 HeartbeatRequest HeartbeatResponse,
    13 LeaveGroupRequest LeaveGroupResponse,
    14 SyncGroupRequest SyncGroupResponse,
    15 DescribeGroupsRequest DescribeGroupsResponse,
    16 ListGroupsRequest ListGroupsResponse,
    17 SaslHandshakeRequest SaslHandshakeResponse,
    18 ApiVersionsRequest ApiVersionsResponse,
    19 CreateTopicsRequest CreateTopicsResponse,
    20 DeleteTopicsRequest DeleteTopicsResponse,
    21 DeleteRecordsRequest DeleteRecordsResponse,
    23 OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse,
    24 AddPartitionsToTxnRequest AddPartitionsToTxnResponse,
    25 AddOffsetsToTxnRequest AddOffsetsToTxnResponse,
    26 EndTxnRequest EndTxnResponse,
    28 TxnOffsetCommitRequest TxnOffsetCommitResponse,
    29 DescribeAclsRequest DescribeAclsResponse,
    30 CreateAclsRequest CreateAclsResponse,
    31 DeleteAclsRequest DeleteAclsResponse,
    32 DescribeConfigsRequest DescribeConfigsResponse,
    33 AlterConfigsRequest AlterConfigsResponse,
    34 AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse,
    36 SaslAuthenticateRequest SaslAuthenticateResponse,
    37 CreatePartitionsRequest CreatePartitionsResponse,
    38 CreateDelegationTokenRequest CreateDelegationTokenResponse,
    39 RenewDelegationTokenRequest RenewDelegationTokenResponse,
    40 ExpireDelegationTokenRequest ExpireDelegationTokenResponse,
    41 DescribeDelegationTokenRequest DescribeDelegationTokenResponse,
    42 DeleteGroupsRequest DeleteGroupsResponse,
    43 ElectLeadersRequest ElectLeadersResponse,
    44 IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse,
    45 AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse,
    46 ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse,
    47 OffsetDeleteRequest OffsetDeleteResponse,
    48 DescribeClientQuotasRequest DescribeClientQuotasResponse,
    49 AlterClientQuotasRequest AlterClientQuotasResponse,
    50 DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse,
    51 AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse,
    52 VoteRequest VoteResponse,
    53 BeginQuorumEpochRequest BeginQuorumEpochResponse,
    54 EndQuorumEpochRequest EndQuorumEpochResponse,
    55 DescribeQuorumRequest DescribeQuorumResponse,
    56 AlterPartitionRequest AlterPartitionResponse,
    57 UpdateFeaturesRequest UpdateFeaturesResponse,
    58 EnvelopeRequest EnvelopeResponse,
    59 FetchSnapshotRequest FetchSnapshotResponse,
    60 DescribeClusterRequest DescribeClusterResponse,
    61 DescribeProducersRequest DescribeProducersResponse,
    62 BrokerRegistrationRequest BrokerRegistrationResponse,
    64 UnregisterBrokerRequest UnregisterBrokerResponse,
    65 DescribeTransactionsRequest DescribeTransactionsResponse,
    66 ListTransactionsRequest ListTransactionsResponse,
    67 AllocateProducerIdsRequest AllocateProducerIdsResponse,
    68 ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse,
    69 ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse,
    70 ControllerRegistrationRequest ControllerRegistrationResponse,
    71 GetTelemetrySubscriptionsRequest GetTelemetrySubscriptionsResponse,
    72 PushTelemetryRequest PushTelemetryResponse,
    73 AssignReplicasToDirsRequest AssignReplicasToDirsResponse,
    74 ListConfigResourcesRequest ListConfigResourcesResponse,
    75 DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse,
    76 ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse,
    77 ShareGroupDescribeRequest ShareGroupDescribeResponse,
    81 RemoveRaftVoterRequest RemoveRaftVoterResponse,
    82 UpdateRaftVoterRequest UpdateRaftVoterResponse,
    83 InitializeShareGroupStateRequest InitializeShareGroupStateResponse,
    84 ReadShareGroupStateRequest ReadShareGroupStateResponse,
    86 DeleteShareGroupStateRequest DeleteShareGroupStateResponse,
    91 AlterShareGroupOffsetsRequest AlterShareGroupOffsetsResponse,
    92 DeleteShareGroupOffsetsRequest DeleteShareGroupOffsetsResponse,
}

adopt!(@message ConsumerProtocolAssignment);
adopt!(@message ConsumerProtocolSubscription);
