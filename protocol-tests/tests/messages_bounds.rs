//! Whatever bytes arrive, decoding neither panics nor takes more memory than a small multiple of them. In a test
//! program of its own, because it counts the allocations of the process.

use bytes::Bytes;
use dohle::messages::{self, Message, Request};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The largest element of a decoded array, relative to the one byte that it may have taken on the wire.
const MEMORY_PER_BYTE: usize = 400;
const MEMORY_FIXED: usize = 64 * 1024;

/// A sequence of numbers that looks random and is the same in each run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Bytes that lengths and counts are made of.
const EVIL: [&[u8]; 8] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0x80, 0x00, 0x00, 0x00],
    &[0x00, 0x0f, 0xff, 0xff],
    &[0x7f, 0xff],
    &[0x00],
];

fn mutated(golden: &[u8], numbers: &mut Numbers) -> Bytes {
    let mut bytes = golden.to_vec();
    for _ in 0..=numbers.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = numbers.below(bytes.len());
        match numbers.below(4) {
            0 => bytes.truncate(at),
            1 => bytes[at] = numbers.next() as u8,
            _ => {
                let evil = EVIL[numbers.below(EVIL.len())];
                let end = bytes.len().min(at + evil.len());
                bytes.splice(at..end, evil.iter().copied());
            }
        }
    }
    Bytes::from(bytes)
}

fn decode<M: Message>(body: Bytes, version: i16) {
    let limit = MEMORY_FIXED + MEMORY_PER_BYTE * body.len();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let decoded = M::decode(body.clone(), version);
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(
        taken <= limit,
        "{} {version}: {taken} bytes for {body:02x?}",
        M::NAME
    );
    if let Ok(message) = decoded {
        // What was accepted can be written again, or is refused; it does not panic.
        let _ = message.to_bytes(version);
    }
}

struct Codec {
    name: &'static str,
    versions: std::ops::RangeInclusive<i16>,
    decode: fn(Bytes, i16),
}

fn codec<M: Message>() -> Codec {
    Codec {
        name: M::NAME,
        versions: M::VERSIONS,
        decode: decode::<M>,
    }
}

macro_rules! requests {
    ($($request:ident)*) => {
        vec![$(codec::<messages::$request>(), codec::<<messages::$request as Request>::Response>()),*]
    };
}

#[test]
fn mutated_messages_neither_panic_nor_take_memory() {
    let codecs = requests!(
        ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest
        OffsetCommitRequest OffsetFetchRequest FindCoordinatorRequest JoinGroupRequest
        HeartbeatRequest LeaveGroupRequest SyncGroupRequest DescribeGroupsRequest
        ListGroupsRequest SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest
        DeleteTopicsRequest DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
        AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest
        TxnOffsetCommitRequest DescribeAclsRequest CreateAclsRequest DeleteAclsRequest
        DescribeConfigsRequest AlterConfigsRequest AlterReplicaLogDirsRequest DescribeLogDirsRequest
        SaslAuthenticateRequest CreatePartitionsRequest CreateDelegationTokenRequest RenewDelegationTokenRequest
        ExpireDelegationTokenRequest DescribeDelegationTokenRequest DeleteGroupsRequest ElectLeadersRequest
        IncrementalAlterConfigsRequest AlterPartitionReassignmentsRequest ListPartitionReassignmentsRequest OffsetDeleteRequest
        DescribeClientQuotasRequest AlterClientQuotasRequest DescribeUserScramCredentialsRequest AlterUserScramCredentialsRequest
        VoteRequest BeginQuorumEpochRequest EndQuorumEpochRequest DescribeQuorumRequest
        AlterPartitionRequest UpdateFeaturesRequest EnvelopeRequest FetchSnapshotRequest
        DescribeClusterRequest DescribeProducersRequest BrokerRegistrationRequest BrokerHeartbeatRequest
        UnregisterBrokerRequest DescribeTransactionsRequest ListTransactionsRequest AllocateProducerIdsRequest
        ConsumerGroupHeartbeatRequest ConsumerGroupDescribeRequest ControllerRegistrationRequest GetTelemetrySubscriptionsRequest
        PushTelemetryRequest AssignReplicasToDirsRequest ListConfigResourcesRequest DescribeTopicPartitionsRequest
        ShareGroupHeartbeatRequest ShareGroupDescribeRequest ShareFetchRequest ShareAcknowledgeRequest
        AddRaftVoterRequest RemoveRaftVoterRequest UpdateRaftVoterRequest InitializeShareGroupStateRequest
        ReadShareGroupStateRequest WriteShareGroupStateRequest DeleteShareGroupStateRequest ReadShareGroupStateSummaryRequest
        StreamsGroupHeartbeatRequest StreamsGroupDescribeRequest DescribeShareGroupOffsetsRequest AlterShareGroupOffsetsRequest
        DeleteShareGroupOffsetsRequest
    );
    let mut numbers = Numbers(1);
    for line in include_str!("../fixtures/messages/messages.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let columns: Vec<_> = line.split('\t').collect();
        let [class, versions, _, hex, _] = columns[..] else {
            panic!("five columns: {line}")
        };
        let version: i16 = versions
            .split('-')
            .next()
            .and_then(|first| first.parse().ok())
            .expect("a version");
        let Some(codec) = codecs.iter().find(|codec| codec.name == class) else {
            continue;
        };
        if !codec.versions.contains(&version) {
            continue;
        }
        let golden: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect();
        for _ in 0..200 {
            (codec.decode)(mutated(&golden, &mut numbers), version);
        }
    }
}
