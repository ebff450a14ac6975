//! Sends records to one topic: partitioned as Kafka's clients do, a batch a partition, idempotent when acks=all.

use std::collections::BTreeMap;

use super::{Backoff, Client, Error, check};
use crate::clock::Clock;
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::messages::{InitProducerIdRequest, ProduceRequest, text};
use crate::record::batch::increment_sequence;
use crate::record::compress::Codec;
use crate::record::{self, BatchBuilder};

/// Key and value of a header.
pub type OutgoingHeader = (Vec<u8>, Option<Vec<u8>>);

/// A record on its way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<OutgoingHeader>,
}

impl Outgoing {
    /// Its bytes, about.
    pub fn size(&self) -> usize {
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self
            .headers
            .iter()
            .map(|(key, value)| key.len() + optional(value))
            .sum::<usize>();
        optional(&self.key) + optional(&self.value) + headers
    }
}

/// How records are sent.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// -1: once all in-sync replicas have them; 1: once the leader has; 0: without an answer.
    pub acks: i16,
    pub codec: Codec,
    /// Milliseconds that the broker may wait for its replicas.
    pub timeout_ms: i32,
}

/// Sends to one topic.
pub struct Producer {
    client: Client,
    topic: String,
    topic_id: uuid::Uuid,
    options: Options,
    clock: Clock,
    identity: Option<(ProducerId, ProducerEpoch)>,
    leaders: Vec<i32>,
    sequences: BTreeMap<usize, i32>,
    /// Where the next records without a key go.
    next_partition: usize,
}

impl Producer {
    pub fn new(client: Client, topic: String, options: Options, clock: Clock) -> Producer {
        Producer {
            client,
            topic,
            topic_id: uuid::Uuid::nil(),
            options,
            clock,
            identity: None,
            leaders: Vec::new(),
            sequences: BTreeMap::new(),
            next_partition: 0,
        }
    }

    /// Sends the records and waits until they are acknowledged. Records without a key go to one partition, the next
    /// call's to another.
    pub async fn send(&mut self, records: Vec<Outgoing>) -> Result<(), Error> {
        if self.leaders.is_empty() {
            self.learn_topic().await?;
        }
        if self.options.acks == -1 && self.identity.is_none() {
            self.learn_identity().await?;
        }
        let mut batches: BTreeMap<usize, BatchBuilder> = BTreeMap::new();
        let keyless = self.next_partition % self.leaders.len();
        self.next_partition = self.next_partition.wrapping_add(1);
        for record in &records {
            let partition = record
                .key
                .as_deref()
                .map_or(keyless, |key| partition_of(key, self.leaders.len()));
            let batch = batches
                .entry(partition)
                .or_insert_with(|| BatchBuilder::new().codec(self.options.codec));
            let headers = record
                .headers
                .iter()
                .map(|(key, value)| (key.as_slice(), value.as_deref()));
            batch.append_with_headers(
                self.clock.now(),
                record.key.as_deref(),
                record.value.as_deref(),
                headers,
            );
        }
        for (partition, batch) in batches {
            self.send_batch(partition, batch).await?;
        }
        Ok(())
    }

    /// Sends one batch, again while the broker's refusal may pass.
    async fn send_batch(&mut self, partition: usize, mut batch: BatchBuilder) -> Result<(), Error> {
        let count = batch.record_count();
        let sequence = self.sequences.entry(partition).or_default();
        if let Some((id, epoch)) = self.identity {
            batch = batch.producer(record::Producer {
                id,
                epoch,
                base_sequence: *sequence,
            });
            *sequence = increment_sequence(*sequence, count);
        }
        let request = self.request(partition, batch);
        let mut backoff = Backoff::default();
        loop {
            let leader = self.leaders[partition];
            if self.options.acks == 0 {
                return self.client.send_to(leader, &request).await;
            }
            let response = self.client.call_broker(leader, &request).await?;
            let result = response
                .responses
                .first()
                .and_then(|topic| topic.partition_responses.first());
            let code = result.map_or(ErrorCode::UnknownServerError.code(), |result| {
                result.error_code
            });
            let duplicate = code == ErrorCode::DuplicateSequenceNumber.code();
            if code == ErrorCode::None.code() || duplicate {
                return Ok(());
            }
            let retriable = matches!(
                ErrorCode::from_code(code),
                ErrorCode::NotLeaderOrFollower
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::NotEnoughReplicas
                    | ErrorCode::NotEnoughReplicasAfterAppend
                    | ErrorCode::RequestTimedOut
                    | ErrorCode::KafkaStorageError
            );
            if !retriable || !backoff.wait().await {
                return check(code, || {
                    format!("topic {} partition {partition}", self.topic)
                });
            }
            self.learn_topic().await?;
        }
    }

    fn request(&self, partition: usize, batch: BatchBuilder) -> ProduceRequest {
        let partition = PartitionProduceData {
            index: i32::try_from(partition).unwrap_or(i32::MAX),
            records: Some(batch.build().bytes),
            ..PartitionProduceData::default()
        };
        let topic = TopicProduceData {
            name: text(&self.topic),
            topic_id: self.topic_id,
            partition_data: vec![partition],
            ..TopicProduceData::default()
        };
        ProduceRequest {
            acks: self.options.acks,
            timeout_ms: self.options.timeout_ms,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        }
    }

    /// Asks for the topic, which the broker may create, until it has leaders.
    async fn learn_topic(&mut self) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        loop {
            let metadata = self.client.metadata(Some(&[&self.topic]), true).await?;
            let topic = metadata.topics.into_iter().next().unwrap_or_default();
            let led = topic
                .partitions
                .iter()
                .all(|partition| partition.leader_id.0 >= 0);
            if topic.error_code == 0 && led && !topic.partitions.is_empty() {
                self.topic_id = topic.topic_id;
                self.leaders = vec![-1; topic.partitions.len()];
                for partition in &topic.partitions {
                    let at = usize::try_from(partition.partition_index).unwrap_or(usize::MAX);
                    if let Some(leader) = self.leaders.get_mut(at) {
                        *leader = partition.leader_id.0;
                    }
                }
                return Ok(());
            }
            let passing = [
                ErrorCode::UnknownTopicOrPartition,
                ErrorCode::LeaderNotAvailable,
                ErrorCode::None,
            ];
            if !passing.contains(&ErrorCode::from_code(topic.error_code)) || !backoff.wait().await {
                let code = if topic.error_code == 0 {
                    ErrorCode::LeaderNotAvailable.code()
                } else {
                    topic.error_code
                };
                return check(code, || format!("topic {}", self.topic));
            }
        }
    }

    async fn learn_identity(&mut self) -> Result<(), Error> {
        let request = InitProducerIdRequest {
            transaction_timeout_ms: i32::MAX,
            ..Default::default()
        };
        let mut backoff = Backoff::default();
        loop {
            let response = self.client.call(&request).await?;
            if response.error_code == ErrorCode::None.code() {
                self.identity = Some((
                    ProducerId(response.producer_id),
                    ProducerEpoch(response.producer_epoch),
                ));
                return Ok(());
            }
            let passing = [
                ErrorCode::CoordinatorLoadInProgress,
                ErrorCode::CoordinatorNotAvailable,
            ];
            if !passing.contains(&ErrorCode::from_code(response.error_code))
                || !backoff.wait().await
            {
                return check(response.error_code, || "a producer id".to_owned());
            }
        }
    }
}

/// The partition of a key. (BuiltInPartitioner.partitionForKey)
pub fn partition_of(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// MurmurHash2 as Kafka's clients have it. (Utils.murmur2)
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().expect("four bytes")).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    for (at, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of org.apache.kafka.common.utils.UtilsTest.testMurmur2.
    #[test]
    fn murmur2_is_kafkas() {
        let cases: [(&[u8], i32); 7] = [
            (b"21", -973932308),
            (b"foobar", -790332482),
            (b"a-little-bit-long-string", -985981536),
            (b"a-little-bit-longer-string", -1486304829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58897971,
            ),
            (b"abc", 479470107),
            (b"", 275646681),
        ];
        for (data, hash) in cases {
            assert_eq!(murmur2(data).cast_signed(), hash, "{data:?}");
        }
    }
}
