//! One consumer's connection to one leader: it reads its partitions from their beginning on, with a fetch session as
//! Kafka's consumer does, and measures how old the records are when they arrive.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::batches::read_stamp;
use super::link::Link;
use super::meter::{Meter, Slot, add};
use super::plan::{CLIENT_ID, Plan, Topic};
use super::producer::io;
use crate::error_code::ErrorCode;
use crate::ids::PartitionIndex;
use crate::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::messages::fetch_response::PartitionData;
use crate::messages::{
    DecodeError, FetchRequest, FetchResponse, Message, Records, Request, RequestHeader,
    ResponseHeader, text,
};
use crate::record::{Batch, batches};
use crate::tool::client::{self, Client};

/// How long consumers may go on behind the window to read what is left.
const GRACE: u64 = 10_000_000_000;
/// Who has no fetch session, or asks for one. (FetchMetadata.INITIAL_EPOCH)
const NO_SESSION: (i32, i32) = (0, 0);

/// See the module.
pub(super) struct Lane {
    plan: Arc<Plan>,
    link: Link,
    address: String,
    version: i16,
    topic: Topic,
    positions: Vec<Position>,
    /// Id and epoch of the fetch session.
    session: (i32, i32),
    /// The intended times of the records of one answer.
    intended: Vec<u64>,
}

struct Position {
    partition: PartitionIndex,
    offset: i64,
    /// The broker's session has another offset.
    changed: bool,
}

impl Lane {
    /// Connects to the leader of these partitions.
    pub(super) async fn open(
        client: &mut Client,
        plan: &Arc<Plan>,
        topic: &Topic,
        leader: i32,
        partitions: Vec<PartitionIndex>,
    ) -> Result<Lane, client::Error> {
        let address = client.broker_address(leader).unwrap_or("?").to_owned();
        let connection = client.connect(leader).await?;
        let version = connection.version::<FetchRequest>()?;
        let link = Link::new(connection.into_stream(), plan.epoch);
        let position = |partition| Position {
            partition,
            offset: 0,
            changed: true,
        };
        Ok(Lane {
            plan: Arc::clone(plan),
            link: link.map_err(|source| io(&address, source))?,
            address,
            version,
            topic: topic.clone(),
            positions: partitions.into_iter().map(position).collect(),
            session: NO_SESSION,
            intended: Vec::new(),
        })
    }

    /// Reads until the window is over and nothing is left to read.
    pub(super) async fn run(&mut self, meter: &Meter, slot: &Slot) -> Result<(), client::Error> {
        let repeats = self.plan.workload.read_repeatedly;
        loop {
            // Asked before the request: what is produced later may be missing from its answer.
            let produced = meter.produced.load(Ordering::Acquire);
            let response = self.fetch().await?;
            add(&slot.fetch_requests, 1);
            let found = self.take(response, meter, slot)?;
            let now = self.plan.epoch.now();
            let over = now >= meter.window.until;
            let given_up = now >= meter.window.until.saturating_add(GRACE);
            let read_all = produced && !found;
            if given_up || if repeats { over } else { read_all } {
                return Ok(());
            }
            if !found && repeats {
                for position in &mut self.positions {
                    (position.offset, position.changed) = (0, true);
                }
            }
        }
    }

    async fn fetch(&mut self) -> Result<FetchResponse, client::Error> {
        let request = self.request();
        let header = RequestHeader {
            request_api_key: FetchRequest::KEY,
            request_api_version: self.version,
            client_id: Some(text(CLIENT_ID)),
            ..RequestHeader::default()
        };
        let (out, correlation_id) = self.link.next_request();
        out.put_i32(0);
        let header = RequestHeader {
            correlation_id,
            ..header
        };
        header.write(out)?;
        request.encode(out, self.version)?;
        let length = out.len() - 4;
        out.patch_i32(0, i32::try_from(length).unwrap_or(i32::MAX));
        let answer = self.exchange().await;
        let answer = answer.map_err(|error| io(&self.address, error))?;
        self.decode(answer)
            .map_err(|source| client::Error::Malformed {
                address: self.address.clone(),
                source,
            })
    }

    async fn exchange(&mut self) -> std::io::Result<Bytes> {
        loop {
            self.link.flush()?;
            self.link.wait(u64::MAX / 2).await?;
            if let Some(answer) = self.link.next_answer()? {
                return Ok(answer);
            }
        }
    }

    fn decode(&self, mut answer: Bytes) -> Result<FetchResponse, DecodeError> {
        ResponseHeader::read(&mut answer, FetchRequest::KEY, self.version)?;
        FetchResponse::decode(answer, self.version)
    }

    /// Names all partitions, or those whose offsets the session does not have.
    fn request(&mut self) -> FetchRequest {
        let workload = &self.plan.workload;
        let whole = self.session.1 == 0;
        let mut partitions = Vec::new();
        for position in &mut self.positions {
            if whole || position.changed {
                position.changed = false;
                partitions.push(FetchPartition {
                    partition: position.partition.0,
                    fetch_offset: position.offset,
                    partition_max_bytes: workload.max_partition_fetch_bytes,
                    ..FetchPartition::default()
                });
            }
        }
        let topic = FetchTopic {
            topic: text(&self.topic.name),
            topic_id: self.topic.id,
            partitions,
            ..FetchTopic::default()
        };
        let named = !topic.partitions.is_empty();
        FetchRequest {
            max_wait_ms: i32::try_from(workload.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: workload.fetch_min_bytes,
            max_bytes: workload.fetch_max_bytes,
            isolation_level: i8::from(workload.records_per_transaction.is_some()),
            session_id: self.session.0,
            session_epoch: self.session.1,
            topics: named.then_some(topic).into_iter().collect(),
            ..FetchRequest::default()
        }
    }

    /// Counts the records of an answer and goes on behind them; whether there were any.
    fn take(
        &mut self,
        response: FetchResponse,
        meter: &Meter,
        slot: &Slot,
    ) -> Result<bool, client::Error> {
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None if response.session_id == 0 => self.session = NO_SESSION,
            ErrorCode::None => {
                let next = self.session.1.checked_add(1).unwrap_or(1);
                self.session = (response.session_id, next);
            }
            ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch => {
                self.session = NO_SESSION;
                return Ok(true);
            }
            _ => client::check(response.error_code, || "a fetch".to_owned())?,
        }
        let now = self.plan.epoch.now();
        let mut found = false;
        self.intended.clear();
        for data in response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let of = |position: &Position| position.partition.0 == data.partition_index;
            let Some(at) = self.positions.iter().position(of) else {
                continue;
            };
            found |= self.take_partition(at, data, slot)?;
        }
        if !self.intended.is_empty() {
            meter.arrived(slot, &self.intended, now);
        }
        Ok(found)
    }

    fn take_partition(
        &mut self,
        at: usize,
        data: PartitionData,
        slot: &Slot,
    ) -> Result<bool, client::Error> {
        let what = || format!("{}-{}", self.topic.name, data.partition_index);
        client::check(data.error_code, what)?;
        let Some(Records::Bytes(records)) = data.records else {
            return Ok(false);
        };
        let corrupt = |_| client::Error::Refused {
            what: what(),
            code: ErrorCode::CorruptMessage,
        };
        let stamped = self.plan.template.is_stamped();
        let mut next = self.positions[at].offset;
        let mut count = 0;
        add(&slot.fetched_bytes, records.len() as u64);
        for batch in batches(records) {
            let batch = batch.map_err(corrupt)?;
            next = next.max(batch.header.next_offset().0);
            if batch.header.is_control() {
                continue;
            }
            count += u64::try_from(batch.header.record_count).unwrap_or(0);
            if stamped {
                let tag = self.plan.tag;
                read_stamps(&batch, tag, &mut self.intended).map_err(corrupt)?;
            }
        }
        add(&slot.consumed, count);
        let position = &mut self.positions[at];
        let found = next > position.offset;
        position.changed |= found;
        position.offset = next;
        Ok(found)
    }
}

fn read_stamps(
    batch: &Batch,
    tag: [u8; 4],
    to: &mut Vec<u64>,
) -> Result<(), crate::record::Corrupt> {
    let mut reader = batch.reader()?;
    while let Some(record) = reader.next()? {
        let stamp = record.value.and_then(|value| read_stamp(value, tag));
        to.extend(stamp);
    }
    Ok(())
}
