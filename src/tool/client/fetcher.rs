//! Reads partitions: where a topic's partitions begin and end, and the records from there on.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Client, Connection, Error, check};
use crate::error_code::ErrorCode;
use crate::ids::TopicPartition;
use crate::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::messages::fetch_response::PartitionData;
use crate::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::messages::{FetchRequest, ListOffsetsRequest, Records, text};
use crate::record::{Record, TimestampType, batches};

/// What ListOffsets calls the end and the beginning of a partition.
pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

const MAX_WAIT_MS: i32 = 500;
const MAX_BYTES: i32 = 50 * 1024 * 1024;
const PARTITION_MAX_BYTES: i32 = 1024 * 1024;

/// A record that was read, and where.
pub struct Fetched {
    pub partition: TopicPartition,
    pub timestamp_type: TimestampType,
    pub record: Record,
}

/// A partition that is read.
struct Position {
    topic_id: uuid::Uuid,
    leader: i32,
    offset: i64,
}

/// Reads a set of partitions from the positions that it keeps.
pub struct Fetcher {
    read_committed: bool,
    /// Where to go on when an offset is out of range: [`EARLIEST`] or [`LATEST`].
    reset_to: i64,
    positions: BTreeMap<TopicPartition, Position>,
    connections: HashMap<i32, Connection>,
}

impl Fetcher {
    pub fn new(read_committed: bool, reset_to: i64) -> Fetcher {
        Fetcher {
            read_committed,
            reset_to,
            positions: BTreeMap::new(),
            connections: HashMap::new(),
        }
    }

    /// Reads these partitions from these offsets on, and no others; a negative offset is a place to look up.
    pub async fn assign(
        &mut self,
        client: &mut Client,
        offsets: BTreeMap<TopicPartition, i64>,
    ) -> Result<(), Error> {
        self.positions.clear();
        self.connections.clear();
        let topics: HashSet<&str> = offsets.keys().map(|partition| &*partition.topic).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let metadata = client.metadata(Some(&topics), false).await?;
        for topic in metadata.topics {
            let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
            for partition in topic.partitions {
                let at = TopicPartition::new(name.as_str(), partition.partition_index);
                if let Some(&offset) = offsets.get(&at) {
                    let position = Position {
                        topic_id: topic.topic_id,
                        leader: partition.leader_id.0,
                        offset,
                    };
                    self.positions.insert(at, position);
                }
            }
        }
        let unknown: Vec<_> = self
            .positions
            .iter()
            .filter(|(_, position)| position.offset < 0)
            .collect();
        let unknown = unknown
            .into_iter()
            .map(|(partition, position)| (partition.clone(), position.offset))
            .collect();
        for (partition, offset) in list_offsets(client, unknown, self.read_committed).await? {
            if let Some(position) = self.positions.get_mut(&partition) {
                position.offset = offset.unwrap_or(0);
            }
        }
        Ok(())
    }

    /// The offset after the last record that was handed out, a partition.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.positions
            .iter()
            .map(|(partition, position)| (partition, position.offset))
    }

    /// Goes back to hand out what follows `offset` again.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(position) = self.positions.get_mut(partition) {
            position.offset = offset;
        }
    }

    /// Asks each leader once, one after the other; waits up to half a second at one that has nothing.
    pub async fn poll(&mut self, client: &mut Client) -> Result<Vec<Fetched>, Error> {
        let leaders: HashSet<i32> = self
            .positions
            .values()
            .map(|position| position.leader)
            .collect();
        let mut fetched = Vec::new();
        let mut lost = Vec::new();
        for leader in leaders {
            let request = self.request(leader);
            let connection = match self.connections.entry(leader) {
                Entry::Occupied(connection) => connection.into_mut(),
                Entry::Vacant(place) => place.insert(client.connect(leader).await?),
            };
            let response = connection.call(&request).await?;
            check(response.error_code, || "a fetch".to_owned())?;
            for topic in response.responses {
                let of = |topic: &str, id: uuid::Uuid, position: (&TopicPartition, &Position)| {
                    &*position.0.topic == topic || position.1.topic_id == id && !id.is_nil()
                };
                for data in topic.partitions {
                    let found = self.positions.iter().find(|(partition, position)| {
                        partition.partition.0 == data.partition_index
                            && of(&topic.topic, topic.topic_id, (partition, position))
                    });
                    let Some(partition) = found.map(|(partition, _)| partition.clone()) else {
                        continue;
                    };
                    match ErrorCode::from_code(data.error_code) {
                        ErrorCode::None => self.take(&partition, data, &mut fetched)?,
                        _ => lost.push((partition, data.error_code)),
                    }
                }
            }
        }
        if !lost.is_empty() {
            self.recover(client, lost).await?;
        }
        Ok(fetched)
    }

    fn request(&self, leader: i32) -> FetchRequest {
        let mut topics: BTreeMap<&str, FetchTopic> = BTreeMap::new();
        for (partition, position) in self
            .positions
            .iter()
            .filter(|(_, position)| position.leader == leader)
        {
            let topic = topics
                .entry(&partition.topic)
                .or_insert_with(|| FetchTopic {
                    topic: text(&*partition.topic),
                    topic_id: position.topic_id,
                    ..FetchTopic::default()
                });
            topic.partitions.push(FetchPartition {
                partition: partition.partition.0,
                fetch_offset: position.offset,
                partition_max_bytes: PARTITION_MAX_BYTES,
                ..FetchPartition::default()
            });
        }
        FetchRequest {
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: MAX_BYTES,
            isolation_level: i8::from(self.read_committed),
            topics: topics.into_values().collect(),
            ..FetchRequest::default()
        }
    }

    /// Hands out the records of one partition, without markers and without what was aborted.
    fn take(
        &mut self,
        partition: &TopicPartition,
        data: PartitionData,
        to: &mut Vec<Fetched>,
    ) -> Result<(), Error> {
        let Some(position) = self.positions.get_mut(partition) else {
            return Ok(());
        };
        let Some(Records::Bytes(records)) = data.records else {
            return Ok(());
        };
        let corrupt = |_| Error::Refused {
            what: partition.to_string(),
            code: ErrorCode::CorruptMessage,
        };
        let mut aborted = data.aborted_transactions.unwrap_or_default();
        aborted.sort_by_key(|transaction| transaction.first_offset);
        let mut aborted = aborted.into_iter().peekable();
        let mut aborting = HashSet::new();
        for batch in batches(records) {
            let batch = batch.map_err(corrupt)?;
            batch.check_crc().map_err(corrupt)?;
            while let Some(begun) =
                aborted.next_if(|next| next.first_offset <= batch.header.last_offset().0)
            {
                aborting.insert(begun.producer_id);
            }
            let producer = batch.header.producer_id.0;
            let skipped = batch.header.is_control()
                || batch.header.is_transactional() && aborting.contains(&producer);
            if batch.header.is_control() {
                aborting.remove(&producer);
            }
            if !skipped {
                for record in batch.records().map_err(corrupt)? {
                    let record = record.map_err(corrupt)?;
                    if record.offset.0 >= position.offset {
                        let timestamp_type = batch.header.timestamp_type();
                        to.push(Fetched {
                            partition: partition.clone(),
                            timestamp_type,
                            record,
                        });
                    }
                }
            }
            position.offset = position.offset.max(batch.header.next_offset().0);
        }
        Ok(())
    }

    /// Finds new leaders, and new places for offsets that are out of range.
    async fn recover(
        &mut self,
        client: &mut Client,
        lost: Vec<(TopicPartition, i16)>,
    ) -> Result<(), Error> {
        let mut offsets: BTreeMap<_, _> = self
            .positions()
            .map(|(partition, offset)| (partition.clone(), offset))
            .collect();
        for (partition, code) in lost {
            match ErrorCode::from_code(code) {
                ErrorCode::OffsetOutOfRange => {
                    offsets.insert(partition, self.reset_to);
                }
                ErrorCode::NotLeaderOrFollower
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::KafkaStorageError => {}
                _ => check(code, || partition.to_string())?,
            }
        }
        self.assign(client, offsets).await
    }
}

/// The offsets at the given times (or [`LATEST`], [`EARLIEST`], ...) in their partitions; `None` where there is none.
pub async fn list_offsets(
    client: &mut Client,
    times: BTreeMap<TopicPartition, i64>,
    read_committed: bool,
) -> Result<BTreeMap<TopicPartition, Option<i64>>, Error> {
    let mut found = BTreeMap::new();
    if times.is_empty() {
        return Ok(found);
    }
    let topics: HashSet<&str> = times.keys().map(|partition| &*partition.topic).collect();
    let metadata = client
        .metadata(Some(&topics.into_iter().collect::<Vec<_>>()), false)
        .await?;
    let mut requests: BTreeMap<i32, Vec<ListOffsetsTopic>> = BTreeMap::new();
    for topic in metadata.topics {
        let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
        check(topic.error_code, || format!("topic {name}"))?;
        for partition in topic.partitions {
            let at = TopicPartition::new(name.as_str(), partition.partition_index);
            let Some(&timestamp) = times.get(&at) else {
                continue;
            };
            let asked = ListOffsetsPartition {
                partition_index: partition.partition_index,
                timestamp,
                ..ListOffsetsPartition::default()
            };
            let topic = ListOffsetsTopic {
                name: text(&name),
                partitions: vec![asked],
                ..ListOffsetsTopic::default()
            };
            requests
                .entry(partition.leader_id.0)
                .or_default()
                .push(topic);
        }
    }
    for (leader, topics) in requests {
        let isolation_level = i8::from(read_committed);
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level,
            topics,
            ..ListOffsetsRequest::default()
        };
        for topic in client.call_broker(leader, &request).await?.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                check(partition.error_code, || at.to_string())?;
                found.insert(at, Some(partition.offset).filter(|offset| *offset >= 0));
            }
        }
    }
    Ok(found)
}
