//! One producer's connection to one leader: it asks its pace what is due, writes requests of ready-made records, keeps
//! several of them on their way and measures when each is answered.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::again::{Again, Flown};
use super::batches::{Entry, Outline};
use super::lane::Task;
use super::link::Link;
use super::meter::{Sent, Slot, add};
use super::plan::{CLIENT_ID, Plan, TIMEOUT_MS, Topic};
use super::requests::{self, Requests};
use super::schedule::{Next, Pace, nanos};
use super::transactions::{End, Identity, Transactions, producer_id};
use super::turns::{Keys, Turns};
use super::workload::{KEY_LEN, KeyDistributor, Workload};
use crate::error_code::ErrorCode;
use crate::ids::PartitionIndex;
use crate::messages::{Message, ProduceRequest, ProduceResponse, Request, ResponseHeader, text};
use crate::record::Producer;
use crate::record::batch::increment_sequence;
use crate::tool::client::{self, Client};

/// How long answers are waited for when nothing is sent any more.
pub(super) const GRACE: u64 = 30_000_000_000;
/// The most that a request with keyed records holds. (ProducerConfig.MAX_REQUEST_SIZE_CONFIG)
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub(super) struct Lane {
    plan: Arc<Plan>,
    link: Link,
    address: String,
    requests: Requests,
    partitions: Vec<Partition>,
    /// Where the next batch of records without keys goes.
    turns: Turns,
    keys: Keys,
    /// An idempotent producer's; sequences are the partitions' own.
    identity: Option<Identity>,
    transactions: Option<Transactions>,
    /// Records in a batch.
    batch_max: u32,
    /// Records in a request.
    capacity: u32,
    /// The batches of the request that is being made; the first `filled` count.
    batches: Vec<Batch>,
    filled: usize,
    flying: VecDeque<Flight>,
    /// A transactional producer's.
    again: Again,
    /// Lists to be filled anew.
    spare: Vec<Vec<Entry>>,
    sent: u64,
}

struct Partition {
    index: PartitionIndex,
    next_sequence: i32,
}

#[derive(Default)]
struct Batch {
    /// Place in the lane's partitions.
    partition: usize,
    count: u32,
    entries: Vec<Entry>,
}

/// A request on its way.
struct Flight {
    correlation_id: i32,
    sent: Sent,
    batches: Vec<Flown>,
}

impl Lane {
    /// Connects to the leader of these partitions, as a topic's producer of that number.
    pub(super) async fn open(
        client: &mut Client,
        plan: &Arc<Plan>,
        topic: &Topic,
        (leader, partitions): (i32, Vec<PartitionIndex>),
        number: usize,
    ) -> Result<Lane, client::Error> {
        let workload = &plan.workload;
        let mut transactions = None;
        let mut identity = None;
        let transactional_id = format!("{}-{leader}-{number}", topic.name);
        if let Some(records) = workload.records_per_transaction {
            let opened = Transactions::open(client, &transactional_id, records).await?;
            transactions = Some(opened.0);
            identity = Some(opened.1);
        } else if workload.idempotent {
            identity = Some(producer_id(client).await?);
        }
        let address = client.broker_address(leader).unwrap_or("?").to_owned();
        let connection = client.connect(leader).await?;
        let version = connection.version::<ProduceRequest>()?;
        let named = requests::Topic {
            name: &topic.name,
            id: topic.id,
        };
        let terms = requests::Terms {
            transactional_id: transactions.is_some().then(|| text(&transactional_id)),
            acks: workload.acks,
            timeout_ms: TIMEOUT_MS,
        };
        let requests = Requests::new(CLIENT_ID, version, &named, &terms)?;
        let link = Link::new(connection.into_stream(), plan.epoch);
        let keys = Keys::new(workload.key_distributor, &partitions, topic.leaders.len());
        let span = match workload.partitions_per_transaction {
            Some(span) => partitions.len().min(span as usize),
            None => partitions.len(),
        };
        let batch_max = plan.template.records_max().min(workload.batch_share());
        Ok(Lane {
            plan: Arc::clone(plan),
            link: link.map_err(|source| io(&address, source))?,
            address,
            requests,
            turns: Turns::new(number, span, partitions.len()),
            keys,
            identity,
            transactions,
            batch_max,
            capacity: capacity(workload, batch_max, span),
            batches: partitions.iter().map(|_| Batch::default()).collect(),
            partitions: partitions
                .into_iter()
                .map(|index| Partition {
                    index,
                    next_sequence: 0,
                })
                .collect(),
            filled: 0,
            flying: VecDeque::new(),
            again: Again::new(),
            spare: Vec::new(),
            sent: 0,
        })
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Sends until it is time, or the limit is reached, and waits for the answers. Returns how many records were due
    /// and could not be sent.
    pub(super) async fn run(&mut self, task: &Task, slot: &Slot) -> Result<u64, client::Error> {
        let without_answers = self.plan.workload.acks == 0;
        let give_up = task.until.saturating_add(GRACE);
        self.sent = 0;
        let mut rest_sent = false;
        loop {
            let now = self.plan.epoch.now();
            let ended = now >= task.until || self.sent >= task.limit;
            if ended && !rest_sent {
                rest_sent = true;
                self.send_rest(task, slot, now);
            }
            self.end_transaction(task, slot, ended).await?;
            // That may have taken a while.
            let now = self.plan.epoch.now();
            if !ended && now >= task.until {
                continue;
            }
            let mut wake = match ended {
                _ if !self.again.is_empty() => self.send_again(slot, now).min(give_up),
                true => give_up,
                false => self.send_due(task, slot, now).min(task.until),
            };
            let flushed = self
                .link
                .flush()
                .map_err(|error| io(&self.address, error))?;
            if without_answers && flushed {
                let now = self.plan.epoch.now();
                for flight in self.flying.drain(..) {
                    task.meter.answered(slot, &task.pace, &flight.sent, now);
                }
                if task.pace == Pace::Unlimited {
                    wake = 0;
                }
            }
            if ended && flushed && self.is_settled() {
                break;
            }
            if now >= give_up {
                self.give_up(task, slot);
                break;
            }
            self.link
                .wait(wake)
                .await
                .map_err(|error| io(&self.address, error))?;
            self.take_answers(task, slot)?;
        }
        Ok(task.unsent(self.sent))
    }

    /// Makes the requests that are due and have room; returns when there may be more to do, as far as that is known.
    fn send_due(&mut self, task: &Task, slot: &Slot, now: u64) -> u64 {
        let linger = nanos(self.plan.workload.linger);
        while self.flying.len() < self.plan.workload.max_in_flight {
            let capacity = self.room(task);
            if capacity == 0 {
                return u64::MAX;
            }
            match task.pace.next(self.sent, capacity, linger, now) {
                Next::WaitUntil(at) => return at,
                Next::Send(count) => self.send(task, slot, count, now),
            }
        }
        u64::MAX
    }

    /// At the end of an open loop, what lingers goes out: no more than a request.
    fn send_rest(&mut self, task: &Task, slot: &Slot, now: u64) {
        let has_room = self.flying.len() < self.plan.workload.max_in_flight;
        let has_room = has_room && self.again.is_empty();
        let capacity = self.room(task);
        if task.pace == Pace::Unlimited || capacity == 0 || !has_room {
            return;
        }
        if let Next::Send(count) = task.pace.next(self.sent, capacity, 0, task.until - 1) {
            self.send(task, slot, count, now);
        }
    }

    /// Records that the next request may hold.
    fn room(&self, task: &Task) -> u32 {
        let left = u32::try_from(task.limit - self.sent).unwrap_or(u32::MAX);
        let open = self
            .transactions
            .as_ref()
            .map_or(u32::MAX, Transactions::room);
        self.capacity.min(left).min(open)
    }

    /// Ends the transaction that is full and answered, or, at the end, the one that is open.
    async fn end_transaction(
        &mut self,
        task: &Task,
        slot: &Slot,
        ended: bool,
    ) -> Result<(), client::Error> {
        let (Some(transactions), Some(identity)) = (&mut self.transactions, self.identity) else {
            return Ok(());
        };
        let settled = self.flying.is_empty() && self.again.is_empty();
        let Some(end) = transactions.end_due(ended).filter(|_| settled) else {
            return Ok(());
        };
        let begun = self.plan.epoch.now();
        self.identity = Some(transactions.end(end, identity).await?);
        if end == End::Commit {
            task.meter.committed(slot, begun, self.plan.epoch.now());
        }
        let written = |partition: &&mut Partition| partition.next_sequence > 0;
        for partition in self.partitions.iter_mut().filter(written) {
            partition.next_sequence = 0;
            add(&slot.markers, 1);
        }
        self.turns.begin_next();
        Ok(())
    }

    fn send(&mut self, task: &Task, slot: &Slot, wanted: u32, now: u64) {
        let count = self.fill(&task.pace, wanted, now);
        self.write_request(count, now);
        add(&slot.produce_requests, 1);
    }

    /// Shares out the next `wanted` records over batches; returns how many found room.
    fn fill(&mut self, pace: &Pace, wanted: u32, now: u64) -> u32 {
        self.filled = 0;
        if !self.keys.is_empty() {
            return self.fill_by_key(pace, wanted, now);
        }
        let needs_entries = self.plan.template.needs_entries();
        let mut number = self.sent;
        let mut left = wanted;
        while left > 0 {
            let count = left.min(self.batch_max);
            let batch = &mut self.batches[self.filled];
            batch.partition = self.turns.take();
            batch.count = count;
            batch.entries.clear();
            if needs_entries {
                if batch.entries.capacity() == 0 {
                    batch.entries = self.spare.pop().unwrap_or_default();
                }
                let entry = |number| Entry {
                    intended: pace.intended(number, now),
                    key: [0; KEY_LEN],
                };
                let numbers = number..number + u64::from(count);
                batch.entries.extend(numbers.map(entry));
            }
            self.filled += 1;
            number += u64::from(count);
            left -= count;
        }
        wanted
    }

    fn fill_by_key(&mut self, pace: &Pace, wanted: u32, now: u64) -> u32 {
        let records_max = self.plan.template.records_max();
        for (partition, batch) in self.batches.iter_mut().enumerate() {
            batch.partition = partition;
            batch.count = 0;
            batch.entries.clear();
        }
        let mut taken = 0;
        while taken < wanted {
            let (partition, key) = self.keys.peek();
            let batch = &mut self.batches[partition];
            if batch.count == records_max {
                break;
            }
            batch.count += 1;
            if batch.entries.capacity() == 0 {
                batch.entries = self.spare.pop().unwrap_or_default();
            }
            batch.entries.push(Entry {
                intended: pace.intended(self.sent + u64::from(taken), now),
                key,
            });
            self.keys.advance();
            taken += 1;
        }
        self.batches.sort_unstable_by_key(|batch| batch.count == 0);
        self.filled = self
            .batches
            .iter()
            .take_while(|batch| batch.count > 0)
            .count();
        taken
    }

    fn write_request(&mut self, count: u32, now: u64) {
        let mut batches = Vec::with_capacity(self.filled);
        let mut first = self.sent;
        for batch in &mut self.batches[..self.filled] {
            let partition = &mut self.partitions[batch.partition];
            let base_sequence = partition.next_sequence;
            if self.identity.is_some() {
                let by = i32::try_from(batch.count).expect("a batch of less than 2 GiB");
                partition.next_sequence = increment_sequence(base_sequence, by);
            }
            batches.push(Flown {
                partition: batch.partition,
                base_sequence,
                sent: Sent {
                    first,
                    count: batch.count,
                    at: now,
                },
                entries: std::mem::take(&mut batch.entries),
            });
            first += u64::from(batch.count);
        }
        let sent = Sent {
            first: self.sent,
            count,
            at: now,
        };
        self.sent += u64::from(count);
        if let Some(transactions) = &mut self.transactions {
            transactions.add(count);
        }
        self.write(sent, batches);
    }

    fn write(&mut self, sent: Sent, batches: Vec<Flown>) {
        let (out, correlation_id) = self.link.next_request();
        let timestamp = self.plan.clock.now();
        let begun = self.requests.begin(out, correlation_id, batches.len());
        for batch in &batches {
            let producer = match self.identity {
                Some((id, epoch)) => Producer {
                    id,
                    epoch,
                    base_sequence: batch.base_sequence,
                },
                None => Producer::NONE,
            };
            let index = self.partitions[batch.partition].index;
            self.requests.partition(out, index);
            let outline = Outline {
                count: batch.sent.count,
                timestamp,
                producer,
                transactional: self.transactions.is_some(),
                entries: &batch.entries,
            };
            let flexible = self.requests.is_flexible();
            self.plan.template.write(out, flexible, &outline);
            self.requests.end_partition(out);
        }
        self.requests.end(out, begun);
        self.flying.push_back(Flight {
            correlation_id,
            sent,
            batches,
        });
    }

    /// Sends what was refused for the moment, when it is due and the answers to all else are there; returns when there may
    /// be more to do. Nothing else is sent meanwhile.
    fn send_again(&mut self, slot: &Slot, now: u64) -> u64 {
        if !self.flying.is_empty() {
            return u64::MAX;
        }
        if now < self.again.due() {
            return self.again.due();
        }
        let partitions = self.plan.workload.partitions_per_request as usize;
        while !self.again.is_empty() && self.flying.len() < self.plan.workload.max_in_flight {
            let batches = self.again.next_request(partitions);
            // Each batch is counted by itself when it is answered.
            let sent = Sent::default();
            self.write(sent, batches);
            add(&slot.produce_requests, 1);
        }
        self.again.sent();
        u64::MAX
    }

    fn is_settled(&self) -> bool {
        self.flying.is_empty() && self.again.is_empty()
    }

    fn take_answers(&mut self, task: &Task, slot: &Slot) -> Result<(), client::Error> {
        let mut now = None;
        while let Some(answer) = self
            .link
            .next_answer()
            .map_err(|error| io(&self.address, error))?
        {
            let now = *now.get_or_insert_with(|| self.plan.epoch.now());
            let response = self.decode(answer)?;
            let Some(flight) = self.flying.pop_front() else {
                return Err(self.unexpected());
            };
            if response.0 != flight.correlation_id {
                return Err(self.unexpected());
            }
            self.landed(task, slot, (flight, &response.1), now)?;
        }
        Ok(())
    }

    fn decode(&self, mut answer: Bytes) -> Result<(i32, ProduceResponse), client::Error> {
        let version = self.requests.version();
        let header = ResponseHeader::read(&mut answer, ProduceRequest::KEY, version);
        let response = header.and_then(|header| {
            let response = ProduceResponse::decode(answer, version)?;
            Ok((header.correlation_id, response))
        });
        response.map_err(|source| client::Error::Malformed {
            address: self.address.clone(),
            source,
        })
    }

    /// Counts what came of a request. What is refused for the moment is sent again; another refusal ends an idempotent
    /// producer, whose sequences have a gap then, and the transaction of a transactional one.
    fn landed(
        &mut self,
        task: &Task,
        slot: &Slot,
        (mut flight, response): (Flight, &ProduceResponse),
        now: u64,
    ) -> Result<(), client::Error> {
        let results = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let sent_batches = flight.batches.len();
        for result in results {
            let code = ErrorCode::from_code(result.error_code);
            if matches!(code, ErrorCode::None | ErrorCode::DuplicateSequenceNumber) {
                continue;
            }
            let of = |batch: &Flown| self.partitions[batch.partition].index.0 == result.index;
            let at = flight.batches.iter().position(of);
            let batch = at.map(|at| flight.batches.swap_remove(at));
            self.refused(task, slot, (code, batch.unwrap_or_default()), now)?;
        }
        let taken_all = flight.batches.len() == sent_batches;
        // What was sent again counts by the batch: its records do not follow one another.
        let at_once = taken_all && flight.sent.count > 0;
        if at_once {
            task.meter.answered(slot, &task.pace, &flight.sent, now);
        }
        if taken_all {
            self.again.settled();
        }
        for mut batch in flight.batches {
            if !at_once {
                task.meter.answered(slot, &task.pace, &batch.sent, now);
            }
            if batch.entries.capacity() > 0 {
                batch.entries.clear();
                self.spare.push(batch.entries);
            }
        }
        Ok(())
    }

    fn refused(
        &mut self,
        task: &Task,
        slot: &Slot,
        (code, batch): (ErrorCode, Flown),
        now: u64,
    ) -> Result<(), client::Error> {
        let Some(transactions) = &mut self.transactions else {
            task.meter
                .failed(slot, code.name(), u64::from(batch.sent.count));
            return match self.identity {
                Some(_) => Err(client::Error::Refused {
                    what: format!(
                        "partition {} of an idempotent producer",
                        self.partitions[batch.partition].index.0
                    ),
                    code,
                }),
                None => Ok(()),
            };
        };
        if !transactions.is_broken() && self.again.takes(code, &batch, now) {
            self.again.add(batch, now);
            return Ok(());
        }
        transactions.break_off();
        task.meter
            .failed(slot, code.name(), u64::from(batch.sent.count));
        // What waits goes with its transaction.
        for batch in self.again.give_up() {
            task.meter
                .failed(slot, code.name(), u64::from(batch.sent.count));
        }
        Ok(())
    }

    fn give_up(&mut self, task: &Task, slot: &Slot) {
        let flying = self.flying.drain(..).flat_map(|flight| flight.batches);
        for batch in flying.chain(self.again.give_up()) {
            let count = u64::from(batch.sent.count);
            task.meter.failed(slot, "not answered in time", count);
        }
    }

    fn unexpected(&self) -> client::Error {
        let text = "an answer to no request, or out of order";
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, text);
        io(&self.address, source)
    }
}

pub(super) fn io(address: &str, source: std::io::Error) -> client::Error {
    client::Error::Io {
        address: address.to_owned(),
        source,
    }
}

/// Records in a request to so many partitions.
fn capacity(workload: &Workload, records_max: u32, partitions: usize) -> u32 {
    let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
    if workload.key_distributor == KeyDistributor::NoKey {
        return records_max.saturating_mul(workload.partitions_per_request.min(partitions));
    }
    let fit = REQUEST_BYTES_MAX / (workload.message_size + KEY_LEN);
    let fit = u32::try_from(fit).unwrap_or(u32::MAX).max(records_max);
    records_max.saturating_mul(partitions).min(fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_batches_for_several_partitions() {
        let wide = Workload {
            partitions_per_request: 50,
            ..Workload::default()
        };
        assert_eq!(capacity(&wide, 4, 50), 200);
        assert_eq!(capacity(&wide, 4, 10), 40);
        let keyed = Workload {
            key_distributor: KeyDistributor::Random,
            message_size: 1016,
            ..Workload::default()
        };
        assert_eq!(capacity(&keyed, 16, 10), 160);
        assert_eq!(capacity(&keyed, 16, 1000), 1024);
    }
}
