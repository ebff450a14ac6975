//! `__consumer_offsets`: what a group coordinator keeps (reference: internal-records.md, section 2). `GroupRecord` is
//! one record of any kind; the kinds' fields are in the modules by protocol.

use super::coordinator::coordinator_records;

pub mod classic;
pub mod consumer;
pub mod share;
pub mod streams;

use classic::*;
use consumer::*;
use share::*;
use streams::*;

coordinator_records! {
    /// One record of `__consumer_offsets`: its key and its value, or `None` for a tombstone.
    GroupRecord {
        0 LegacyOffsetCommit(LegacyOffsetCommitKey, LegacyOffsetCommitValue),
        1 OffsetCommit(OffsetCommitKey, OffsetCommitValue),
        2 GroupMetadata(GroupMetadataKey, GroupMetadataValue),
        3 ConsumerGroupMetadata(ConsumerGroupMetadataKey, ConsumerGroupMetadataValue),
        4 ConsumerGroupPartitionMetadata(ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue),
        5 ConsumerGroupMemberMetadata(ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue),
        6 ConsumerGroupTargetAssignmentMetadata(ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue),
        7 ConsumerGroupTargetAssignmentMember(ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue),
        8 ConsumerGroupCurrentMemberAssignment(ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue),
        10 ShareGroupMemberMetadata(ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue),
        11 ShareGroupMetadata(ShareGroupMetadataKey, ShareGroupMetadataValue),
        12 ShareGroupTargetAssignmentMetadata(ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue),
        13 ShareGroupTargetAssignmentMember(ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue),
        14 ShareGroupCurrentMemberAssignment(ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue),
        15 ShareGroupStatePartitionMetadata(ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue),
        16 ConsumerGroupRegularExpression(ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue),
        17 StreamsGroupMetadata(StreamsGroupMetadataKey, StreamsGroupMetadataValue),
        19 StreamsGroupMemberMetadata(StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue),
        20 StreamsGroupTargetAssignmentMetadata(StreamsGroupTargetAssignmentMetadataKey, StreamsGroupTargetAssignmentMetadataValue),
        21 StreamsGroupTargetAssignmentMember(StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMemberValue),
        22 StreamsGroupCurrentMemberAssignment(StreamsGroupCurrentMemberAssignmentKey, StreamsGroupCurrentMemberAssignmentValue),
        23 StreamsGroupTopology(StreamsGroupTopologyKey, StreamsGroupTopologyValue),
    }
}
