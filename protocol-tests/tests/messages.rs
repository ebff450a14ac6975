//! Every message of Kafka 4.3.0 in every version, against bytes that Kafka itself wrote
//! (`fixtures/messages/messages.tsv`, by `record/MessageFixtures.java`) and against the schema table.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use dohle::messages::schema::{self, Layouts};
use dohle::messages::{self, EncodeError, Message, records};
use serde_json::Value;

/// What Kafka has and we do not: headers are read by functions of their own, which `messages::header` tests.
const LEFT_OUT: [(&str, i16); 4] = [
    ("RequestHeader", 1),
    ("RequestHeader", 2),
    ("ResponseHeader", 0),
    ("ResponseHeader", 1),
];

/// Where Kafka's default for a nullable field is an empty value, ours is null in these. That shows only in what a
/// sender leaves out; in tagged fields, where it shows to a reader, the defaults are Kafka's.
const NULL_BY_DEFAULT: [&str; 16] = [
    "AddRaftVoterRequest",
    "AddRaftVoterResponse",
    "ConfigRecord",
    "ConsumerGroupMemberMetadataValue",
    "DescribeLogDirsRequest",
    "GroupMetadataValue",
    "InitProducerIdRequest",
    "OffsetFetchRequest",
    "QuorumState",
    "RegisterBrokerRecord",
    "ShareAcknowledgeRequest",
    "ShareFetchRequest",
    "ShareGroupMemberMetadataValue",
    "StreamsGroupHeartbeatResponse",
    "StreamsGroupMemberMetadataValue",
    "TransactionLogValue",
];

struct Codec {
    name: &'static str,
    versions: RangeInclusive<i16>,
    recode: fn(Bytes, i16) -> Result<Bytes, String>,
    default: fn(i16) -> Result<Bytes, EncodeError>,
}

fn codec<M: Message>() -> Codec {
    Codec {
        name: M::NAME,
        versions: M::VERSIONS,
        recode: |bytes, version| {
            let message = M::decode_exact(bytes, version).map_err(|error| error.to_string())?;
            message.to_bytes(version).map_err(|error| error.to_string())
        },
        default: |version| M::default().to_bytes(version),
    }
}

macro_rules! codecs {
    ($($message:ty),* $(,)?) => { [$(codec::<$message>()),*] };
}

fn codecs() -> BTreeMap<&'static str, Codec> {
    let codecs = codecs![
        messages::ProduceRequest,
        messages::ProduceResponse,
        messages::FetchRequest,
        messages::FetchResponse,
        messages::ListOffsetsRequest,
        messages::ListOffsetsResponse,
        messages::MetadataRequest,
        messages::MetadataResponse,
        messages::OffsetCommitRequest,
        messages::OffsetCommitResponse,
        messages::OffsetFetchRequest,
        messages::OffsetFetchResponse,
        messages::FindCoordinatorRequest,
        messages::FindCoordinatorResponse,
        messages::JoinGroupRequest,
        messages::JoinGroupResponse,
        messages::HeartbeatRequest,
        messages::HeartbeatResponse,
        messages::LeaveGroupRequest,
        messages::LeaveGroupResponse,
        messages::SyncGroupRequest,
        messages::SyncGroupResponse,
        messages::DescribeGroupsRequest,
        messages::DescribeGroupsResponse,
        messages::ListGroupsRequest,
        messages::ListGroupsResponse,
        messages::SaslHandshakeRequest,
        messages::SaslHandshakeResponse,
        messages::ApiVersionsRequest,
        messages::ApiVersionsResponse,
        messages::CreateTopicsRequest,
        messages::CreateTopicsResponse,
        messages::DeleteTopicsRequest,
        messages::DeleteTopicsResponse,
        messages::DeleteRecordsRequest,
        messages::DeleteRecordsResponse,
        messages::InitProducerIdRequest,
        messages::InitProducerIdResponse,
        messages::OffsetForLeaderEpochRequest,
        messages::OffsetForLeaderEpochResponse,
        messages::AddPartitionsToTxnRequest,
        messages::AddPartitionsToTxnResponse,
        messages::AddOffsetsToTxnRequest,
        messages::AddOffsetsToTxnResponse,
        messages::EndTxnRequest,
        messages::EndTxnResponse,
        messages::WriteTxnMarkersRequest,
        messages::WriteTxnMarkersResponse,
        messages::TxnOffsetCommitRequest,
        messages::TxnOffsetCommitResponse,
        messages::DescribeAclsRequest,
        messages::DescribeAclsResponse,
        messages::CreateAclsRequest,
        messages::CreateAclsResponse,
        messages::DeleteAclsRequest,
        messages::DeleteAclsResponse,
        messages::DescribeConfigsRequest,
        messages::DescribeConfigsResponse,
        messages::AlterConfigsRequest,
        messages::AlterConfigsResponse,
        messages::AlterReplicaLogDirsRequest,
        messages::AlterReplicaLogDirsResponse,
        messages::DescribeLogDirsRequest,
        messages::DescribeLogDirsResponse,
        messages::SaslAuthenticateRequest,
        messages::SaslAuthenticateResponse,
        messages::CreatePartitionsRequest,
        messages::CreatePartitionsResponse,
        messages::CreateDelegationTokenRequest,
        messages::CreateDelegationTokenResponse,
        messages::RenewDelegationTokenRequest,
        messages::RenewDelegationTokenResponse,
        messages::ExpireDelegationTokenRequest,
        messages::ExpireDelegationTokenResponse,
        messages::DescribeDelegationTokenRequest,
        messages::DescribeDelegationTokenResponse,
        messages::DeleteGroupsRequest,
        messages::DeleteGroupsResponse,
        messages::ElectLeadersRequest,
        messages::ElectLeadersResponse,
        messages::IncrementalAlterConfigsRequest,
        messages::IncrementalAlterConfigsResponse,
        messages::AlterPartitionReassignmentsRequest,
        messages::AlterPartitionReassignmentsResponse,
        messages::ListPartitionReassignmentsRequest,
        messages::ListPartitionReassignmentsResponse,
        messages::OffsetDeleteRequest,
        messages::OffsetDeleteResponse,
        messages::DescribeClientQuotasRequest,
        messages::DescribeClientQuotasResponse,
        messages::AlterClientQuotasRequest,
        messages::AlterClientQuotasResponse,
        messages::DescribeUserScramCredentialsRequest,
        messages::DescribeUserScramCredentialsResponse,
        messages::AlterUserScramCredentialsRequest,
        messages::AlterUserScramCredentialsResponse,
        messages::VoteRequest,
        messages::VoteResponse,
        messages::BeginQuorumEpochRequest,
        messages::BeginQuorumEpochResponse,
        messages::EndQuorumEpochRequest,
        messages::EndQuorumEpochResponse,
        messages::DescribeQuorumRequest,
        messages::DescribeQuorumResponse,
        messages::AlterPartitionRequest,
        messages::AlterPartitionResponse,
        messages::UpdateFeaturesRequest,
        messages::UpdateFeaturesResponse,
        messages::EnvelopeRequest,
        messages::EnvelopeResponse,
        messages::FetchSnapshotRequest,
        messages::FetchSnapshotResponse,
        messages::DescribeClusterRequest,
        messages::DescribeClusterResponse,
        messages::DescribeProducersRequest,
        messages::DescribeProducersResponse,
        messages::BrokerRegistrationRequest,
        messages::BrokerRegistrationResponse,
        messages::BrokerHeartbeatRequest,
        messages::BrokerHeartbeatResponse,
        messages::UnregisterBrokerRequest,
        messages::UnregisterBrokerResponse,
        messages::DescribeTransactionsRequest,
        messages::DescribeTransactionsResponse,
        messages::ListTransactionsRequest,
        messages::ListTransactionsResponse,
        messages::AllocateProducerIdsRequest,
        messages::AllocateProducerIdsResponse,
        messages::ConsumerGroupHeartbeatRequest,
        messages::ConsumerGroupHeartbeatResponse,
        messages::ConsumerGroupDescribeRequest,
        messages::ConsumerGroupDescribeResponse,
        messages::ControllerRegistrationRequest,
        messages::ControllerRegistrationResponse,
        messages::GetTelemetrySubscriptionsRequest,
        messages::GetTelemetrySubscriptionsResponse,
        messages::PushTelemetryRequest,
        messages::PushTelemetryResponse,
        messages::AssignReplicasToDirsRequest,
        messages::AssignReplicasToDirsResponse,
        messages::ListConfigResourcesRequest,
        messages::ListConfigResourcesResponse,
        messages::DescribeTopicPartitionsRequest,
        messages::DescribeTopicPartitionsResponse,
        messages::ShareGroupHeartbeatRequest,
        messages::ShareGroupHeartbeatResponse,
        messages::ShareGroupDescribeRequest,
        messages::ShareGroupDescribeResponse,
        messages::ShareFetchRequest,
        messages::ShareFetchResponse,
        messages::ShareAcknowledgeRequest,
        messages::ShareAcknowledgeResponse,
        messages::AddRaftVoterRequest,
        messages::AddRaftVoterResponse,
        messages::RemoveRaftVoterRequest,
        messages::RemoveRaftVoterResponse,
        messages::UpdateRaftVoterRequest,
        messages::UpdateRaftVoterResponse,
        messages::InitializeShareGroupStateRequest,
        messages::InitializeShareGroupStateResponse,
        messages::ReadShareGroupStateRequest,
        messages::ReadShareGroupStateResponse,
        messages::WriteShareGroupStateRequest,
        messages::WriteShareGroupStateResponse,
        messages::DeleteShareGroupStateRequest,
        messages::DeleteShareGroupStateResponse,
        messages::ReadShareGroupStateSummaryRequest,
        messages::ReadShareGroupStateSummaryResponse,
        messages::StreamsGroupHeartbeatRequest,
        messages::StreamsGroupHeartbeatResponse,
        messages::StreamsGroupDescribeRequest,
        messages::StreamsGroupDescribeResponse,
        messages::DescribeShareGroupOffsetsRequest,
        messages::DescribeShareGroupOffsetsResponse,
        messages::AlterShareGroupOffsetsRequest,
        messages::AlterShareGroupOffsetsResponse,
        messages::DeleteShareGroupOffsetsRequest,
        messages::DeleteShareGroupOffsetsResponse,
        messages::ConsumerProtocolAssignment,
        messages::ConsumerProtocolSubscription,
        records::control::ControlRecordTypeSchema,
        records::control::EndTxnMarker,
        records::control::LeaderChangeMessage,
        records::control::SnapshotHeaderRecord,
        records::control::SnapshotFooterRecord,
        records::control::KRaftVersionRecord,
        records::control::VotersRecord,
        records::file::QuorumState,
        records::file::ProducerSnapshot,
        records::file::DefaultPrincipal,
        records::group::classic::LegacyOffsetCommitKey,
        records::group::classic::LegacyOffsetCommitValue,
        records::group::classic::OffsetCommitKey,
        records::group::classic::OffsetCommitValue,
        records::group::classic::GroupMetadataKey,
        records::group::classic::GroupMetadataValue,
        records::group::consumer::ConsumerGroupMetadataKey,
        records::group::consumer::ConsumerGroupMetadataValue,
        records::group::consumer::ConsumerGroupPartitionMetadataKey,
        records::group::consumer::ConsumerGroupPartitionMetadataValue,
        records::group::consumer::ConsumerGroupMemberMetadataKey,
        records::group::consumer::ConsumerGroupMemberMetadataValue,
        records::group::consumer::ConsumerGroupTargetAssignmentMetadataKey,
        records::group::consumer::ConsumerGroupTargetAssignmentMetadataValue,
        records::group::consumer::ConsumerGroupTargetAssignmentMemberKey,
        records::group::consumer::ConsumerGroupTargetAssignmentMemberValue,
        records::group::consumer::ConsumerGroupCurrentMemberAssignmentKey,
        records::group::consumer::ConsumerGroupCurrentMemberAssignmentValue,
        records::group::consumer::ConsumerGroupRegularExpressionKey,
        records::group::consumer::ConsumerGroupRegularExpressionValue,
        records::group::share::ShareGroupMemberMetadataKey,
        records::group::share::ShareGroupMemberMetadataValue,
        records::group::share::ShareGroupMetadataKey,
        records::group::share::ShareGroupMetadataValue,
        records::group::share::ShareGroupTargetAssignmentMetadataKey,
        records::group::share::ShareGroupTargetAssignmentMetadataValue,
        records::group::share::ShareGroupTargetAssignmentMemberKey,
        records::group::share::ShareGroupTargetAssignmentMemberValue,
        records::group::share::ShareGroupCurrentMemberAssignmentKey,
        records::group::share::ShareGroupCurrentMemberAssignmentValue,
        records::group::share::ShareGroupStatePartitionMetadataKey,
        records::group::share::ShareGroupStatePartitionMetadataValue,
        records::group::streams::StreamsGroupMetadataKey,
        records::group::streams::StreamsGroupMetadataValue,
        records::group::streams::StreamsGroupMemberMetadataKey,
        records::group::streams::StreamsGroupMemberMetadataValue,
        records::group::streams::StreamsGroupTargetAssignmentMetadataKey,
        records::group::streams::StreamsGroupTargetAssignmentMetadataValue,
        records::group::streams::StreamsGroupTargetAssignmentMemberKey,
        records::group::streams::StreamsGroupTargetAssignmentMemberValue,
        records::group::streams::StreamsGroupCurrentMemberAssignmentKey,
        records::group::streams::StreamsGroupCurrentMemberAssignmentValue,
        records::group::streams::StreamsGroupTopologyKey,
        records::group::streams::StreamsGroupTopologyValue,
        records::metadata::RegisterBrokerRecord,
        records::metadata::UnregisterBrokerRecord,
        records::metadata::TopicRecord,
        records::metadata::PartitionRecord,
        records::metadata::ConfigRecord,
        records::metadata::PartitionChangeRecord,
        records::metadata::FenceBrokerRecord,
        records::metadata::UnfenceBrokerRecord,
        records::metadata::RemoveTopicRecord,
        records::metadata::DelegationTokenRecord,
        records::metadata::UserScramCredentialRecord,
        records::metadata::FeatureLevelRecord,
        records::metadata::ClientQuotaRecord,
        records::metadata::ProducerIdsRecord,
        records::metadata::BrokerRegistrationChangeRecord,
        records::metadata::AccessControlEntryRecord,
        records::metadata::RemoveAccessControlEntryRecord,
        records::metadata::NoOpRecord,
        records::metadata::ZkMigrationStateRecord,
        records::metadata::RemoveUserScramCredentialRecord,
        records::metadata::BeginTransactionRecord,
        records::metadata::EndTransactionRecord,
        records::metadata::AbortTransactionRecord,
        records::metadata::RemoveDelegationTokenRecord,
        records::metadata::RegisterControllerRecord,
        records::metadata::ClearElrRecord,
        records::remote_log::RemoteLogSegmentMetadataRecord,
        records::remote_log::RemoteLogSegmentMetadataUpdateRecord,
        records::remote_log::RemotePartitionDeleteMetadataRecord,
        records::remote_log::RemoteLogSegmentMetadataSnapshotRecord,
        records::share_state::ShareSnapshotKey,
        records::share_state::ShareSnapshotValue,
        records::share_state::ShareUpdateKey,
        records::share_state::ShareUpdateValue,
        records::transaction::TransactionLogKey,
        records::transaction::TransactionLogValue,
    ];
    codecs
        .into_iter()
        .map(|codec| (codec.name, codec))
        .collect()
}

/// A line of the fixture file, for one of its versions.
struct Golden {
    class: &'static str,
    version: i16,
    variant: &'static str,
    bytes: Bytes,
    /// What Kafka's JsonConverter makes of it; without unknown tagged fields.
    json: &'static str,
}

fn golden() -> Vec<Golden> {
    let mut all = Vec::new();
    for line in include_str!("../fixtures/messages/messages.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let columns: Vec<_> = line.split('\t').collect();
        let [class, versions, variant, hex, json] = columns[..] else {
            panic!("five columns: {line}")
        };
        let (first, last) = versions.split_once('-').expect("a range");
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect();
        for version in first.parse().expect("a version")..=last.parse().expect("a version") {
            all.push(Golden {
                class,
                version,
                variant,
                bytes: Bytes::from(bytes.clone()),
                json,
            });
        }
    }
    all
}

#[test]
fn every_message_of_kafka_is_there() {
    let codecs = codecs();
    let mut missing = Vec::new();
    for (class, first, last) in schema::classes() {
        for version in first..=last {
            let known = codecs
                .get(class)
                .is_some_and(|codec| codec.versions.contains(&version));
            if known == LEFT_OUT.contains(&(class, version)) {
                missing.push((class, version));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn kafkas_bytes_survive_decoding_and_encoding() {
    let codecs = codecs();
    let mut wrong = Vec::new();
    for Golden {
        class,
        version,
        variant,
        bytes,
        ..
    } in golden()
    {
        if LEFT_OUT.contains(&(class, version)) {
            continue;
        }
        match (codecs[class].recode)(bytes.clone(), version) {
            Ok(written) if written == bytes => {}
            Ok(written) => wrong.push(format!(
                "{class} {version} {variant}\n  {bytes:02x?}\n  {written:02x?}"
            )),
            Err(error) => wrong.push(format!("{class} {version} {variant}: {error}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_walk_accepts_kafkas_bytes_exactly() {
    for Golden {
        class,
        version,
        variant,
        bytes,
        ..
    } in golden()
    {
        let layouts = Layouts::new(class);
        assert_eq!(
            layouts.check(&bytes, version),
            Ok(bytes.len()),
            "{class} {version} {variant}"
        );
        for cut in 0..bytes.len() {
            assert!(
                layouts.check(&bytes[..cut], version).is_err(),
                "{class} {version} {variant} cut at {cut}"
            );
        }
    }
}

#[test]
fn defaults_are_kafkas() {
    let codecs = codecs();
    let mut wrong = Vec::new();
    for Golden {
        class,
        version,
        variant,
        bytes,
        ..
    } in golden()
    {
        if variant != "default"
            || LEFT_OUT.contains(&(class, version))
            || NULL_BY_DEFAULT.contains(&class)
        {
            continue;
        }
        match (codecs[class].default)(version) {
            Ok(written) if written == bytes => {}
            Ok(written) => wrong.push(format!(
                "{class} {version}\n  {bytes:02x?}\n  {written:02x?}"
            )),
            Err(error) => wrong.push(format!("{class} {version}: {error}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// `tag200` and the like: unknown tagged fields, which Kafka's converter leaves out.
fn drop_unknown(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                name.strip_prefix("tag")
                    .is_none_or(|tag| tag.parse::<u32>().is_err())
            });
            fields.values_mut().for_each(drop_unknown);
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_unknown),
        _ => {}
    }
}

#[test]
fn bodies_are_described_as_kafka_describes_them() {
    for Golden {
        class,
        version,
        variant,
        bytes,
        json,
    } in golden()
    {
        let mut described = schema::describe(class, version, &bytes).expect("a whole body");
        drop_unknown(&mut described);
        assert_eq!(described.to_string(), json, "{class} {version} {variant}");
    }
}
