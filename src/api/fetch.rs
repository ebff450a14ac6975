//! Fetch (1), versions 4–18: reads record batches, waiting for them where there are too few.
//!
//! The answer holds ranges of files, not records, which the connection sends. Where even finding them takes the disk, a thread
//! that may wait does it. The answer is ready at once when there are `min_bytes`, when `max_wait_ms`
//! is 0, or when a partition fails; else the request waits for its partitions to advance, and nothing polls. At least
//! one batch is read however small the limits are, so that a client always gets on. Followers are not served yet:
//! no broker but this one is a replica.
//!
//! | version | adds                                                                             |
//! |---------|----------------------------------------------------------------------------------|
//! | 4       | isolation level, last stable offset, aborted transactions (KIP-98)               |
//! | 5       | log start offset (KIP-107)                                                       |
//! | 7       | fetch sessions (KIP-227)                                                         |
//! | 9       | the leader epoch that the client knows (KIP-320)                                 |
//! | 11      | rack, preferred read replica (KIP-392)                                           |
//! | 12      | last fetched epoch and where it diverges (KIP-595); flexible                     |
//! | 13      | topic ids (KIP-516)                                                              |
//! | 15      | replica state (KIP-903)                                                          |
//! | 16      | the addresses of current leaders (KIP-951)                                       |
//! | 17      | the directory of a follower's replica (KIP-853)                                  |
//! | 18      | a follower's high watermark (KIP-1166)                                           |
//!
//! (KafkaApis.handleFetchRequest, ReplicaManager.fetchMessages, DelayedFetch)

mod answer;
mod request;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::leaders::Leaders;
use super::{Api, Context, Reply, errors};
use crate::broker::Broker;
use crate::error_code::ErrorCode;
use crate::ids::PartitionIndex;
use crate::log::Source;
use crate::messages::{FetchRequest, FetchResponse};
use crate::metadata::Topic;
use crate::replica::session::{self, TopicKey, Wanted};
use crate::replica::{self, Isolation, Partition, Read, ReadInfo, Waiter};

pub(super) struct Fetch;

impl Api for Fetch {
    type Request = FetchRequest;
    const VERSIONS: RangeInclusive<i16> = 4..=18;

    fn handle(ctx: &mut Context<'_>, request: FetchRequest) -> Reply<FetchResponse> {
        let Some(isolation) = request::isolation(ctx.version(), &request) else {
            return Reply::Now(answer::refused(
                ctx.version(),
                ErrorCode::UnknownServerError,
                request,
            ));
        };
        let limits = Limits::of(ctx.broker, &request, isolation);
        let from_follower = request::replica_id(ctx.version(), &request) >= 0;
        let leaders = Leaders::new(ctx);
        let asked = request::asked(ctx.version(), &leaders, request);
        let session = match ctx
            .broker
            .fetch_sessions()
            .open(asked, ctx.broker.clock().steady())
        {
            Ok(session) => session,
            Err(error) => return Reply::Now(answer::session_error(error)),
        };
        let targets = session
            .wanted()
            .iter()
            .map(|wanted| Target::of(&leaders, wanted, from_follower))
            .collect();
        let fetching = Fetching {
            broker: ctx.broker.clone(),
            version: ctx.version(),
            leaders,
            session,
            targets,
            limits,
        };
        match fetching.read(Source::PageCache) {
            Some(pass) if fetching.is_done(&pass) => return Reply::Now(fetching.answer(pass)),
            _ => {}
        }
        let deadline = Instant::now() + fetching.limits.max_wait;
        Reply::later(fetching.wait(deadline))
    }
}

/// What bounds the answer as a whole.
struct Limits {
    max_wait: Duration,
    min_bytes: usize,
    /// Negative where the client says so; every read fails then, as in Kafka.
    max_bytes: i32,
    isolation: Isolation,
}

impl Limits {
    fn of(broker: &Broker, request: &FetchRequest, isolation: Isolation) -> Limits {
        let max_bytes = request.max_bytes.min(broker.settings().fetch_max_bytes());
        Limits {
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            min_bytes: usize::try_from(request.min_bytes.min(max_bytes)).unwrap_or(0),
            max_bytes,
            isolation,
        }
    }
}

/// What is behind one partition of the request.
enum Target {
    /// A topic or partition that the cluster does not have. Does not keep the others from waiting.
    Unknown(ErrorCode),
    /// A partition of the cluster that cannot be read here.
    Failed(Arc<Topic>, ErrorCode),
    Here(Arc<Topic>, Arc<Partition>),
}

impl Target {
    fn of(leaders: &Leaders, wanted: &Wanted, from_follower: bool) -> Target {
        let topics = leaders.image().topics();
        let topic = match &wanted.key.topic {
            TopicKey::Id(id) => topics.by_id(*id).ok_or(ErrorCode::UnknownTopicId),
            TopicKey::Name(name) => topics
                .by_name(name)
                .ok_or(ErrorCode::UnknownTopicOrPartition),
        };
        let topic = match topic {
            Ok(topic) => topic,
            Err(code) => return Target::Unknown(code),
        };
        if topic.partition(wanted.key.partition).is_none() {
            return Target::Unknown(ErrorCode::UnknownTopicOrPartition);
        }
        match leaders.partition(topic, wanted.key.partition) {
            // Not one of the partition's replicas. (Partition.fetchRecords)
            Ok(_) if from_follower => Target::Failed(topic.clone(), ErrorCode::NotLeaderOrFollower),
            Ok(partition) => Target::Here(topic.clone(), partition),
            Err(error) => Target::Failed(topic.clone(), errors::of_replica(&error)),
        }
    }

    fn topic(&self) -> Option<&Arc<Topic>> {
        match self {
            Target::Unknown(_) => None,
            Target::Failed(topic, _) | Target::Here(topic, _) => Some(topic),
        }
    }
}

/// One request, from its session to its answer.
struct Fetching {
    broker: Arc<Broker>,
    version: i16,
    leaders: Leaders,
    session: session::Context,
    /// For each partition that is wanted.
    targets: Vec<Target>,
    limits: Limits,
}

/// One look at all the partitions.
struct Pass {
    /// For each partition that is wanted.
    reads: Vec<Result<ReadInfo, ErrorCode>>,
    bytes: usize,
    /// Something that the client has to hear at once: an error, a diverging epoch.
    urgent: bool,
}

impl Fetching {
    /// `None` where a look-up would have to wait for the disk.
    fn read(&self, source: Source) -> Option<Pass> {
        let mut pass = Pass {
            reads: Vec::with_capacity(self.targets.len()),
            bytes: 0,
            urgent: false,
        };
        let mut left = self.limits.max_bytes;
        for (target, wanted) in self.targets.iter().zip(self.session.wanted()) {
            let read = match target {
                Target::Unknown(code) => Err(*code),
                Target::Failed(_, code) => {
                    pass.urgent = true;
                    Err(*code)
                }
                Target::Here(_, partition) => {
                    let read = self
                        .read_one(partition, wanted, left, pass.bytes == 0, source)
                        .transpose()?;
                    pass.urgent |= read.as_ref().map_or(true, |info| info.diverging.is_some());
                    read
                }
            };
            if let Ok(info) = &read {
                let length = info.records.len();
                pass.bytes += length;
                left = left
                    .saturating_sub(i32::try_from(length).unwrap_or(i32::MAX))
                    .max(0);
            }
            pass.reads.push(read);
        }
        Some(pass)
    }

    /// Reads; on a thread that may wait where something has to be waited for.
    async fn read_patiently(self) -> (Fetching, Pass) {
        match self.read(Source::PageCache) {
            Some(pass) => (self, pass),
            None => {
                let disk_reads = self.broker.replicas().disk_reads().clone();
                let read = move || {
                    let pass = self.read(Source::Disk);
                    (self, pass.expect("the disk is waited for"))
                };
                disk_reads.run(read).await
            }
        }
    }

    /// `Ok(None)` where a look-up would have to wait for the disk.
    fn read_one(
        &self,
        partition: &Partition,
        wanted: &Wanted,
        left: i32,
        min_one_batch: bool,
        source: Source,
    ) -> Result<Option<ReadInfo>, ErrorCode> {
        let max_bytes = usize::try_from(wanted.max_bytes.min(left))
            .map_err(|_| ErrorCode::UnknownServerError)?;
        let read = partition.read(&Read {
            from: wanted.fetch_offset,
            max_bytes,
            min_one_batch,
            isolation: self.limits.isolation,
            current_leader_epoch: wanted.current_leader_epoch,
            last_fetched_epoch: wanted.last_fetched_epoch,
            source,
        });
        let error = match read {
            Ok(info) => return Ok(Some(info)),
            Err(error) if source == Source::PageCache && error.would_wait() => return Ok(None),
            Err(error) => error,
        };
        if let replica::Error::Storage(error) = &error {
            tracing::error!(partition = %partition.topic_partition(), %error, "records cannot be read");
        }
        match errors::of_replica(&error) {
            // Clients of that time take it for one that they should not try again.
            ErrorCode::KafkaStorageError if self.version <= 5 => {
                Err(ErrorCode::NotLeaderOrFollower)
            }
            code => Err(code),
        }
    }

    /// Whether the answer goes out now. (ReplicaManager.fetchMessages)
    fn is_done(&self, pass: &Pass) -> bool {
        let nothing_to_wait_for = || {
            !self
                .targets
                .iter()
                .any(|target| matches!(target, Target::Here(..)))
        };
        pass.urgent
            || pass.bytes >= self.limits.min_bytes
            || self.limits.max_wait.is_zero()
            || nothing_to_wait_for()
    }

    /// Answers when there is enough or `max_wait_ms` has passed.
    async fn wait(mut self, deadline: Instant) -> FetchResponse {
        let waiter = Arc::new(Waiter::default());
        let subscriptions: Vec<_> = self
            .targets
            .iter()
            .filter_map(|target| match target {
                Target::Here(_, partition) => Some(partition.subscribe(&waiter)),
                Target::Unknown(_) | Target::Failed(..) => None,
            })
            .collect();
        loop {
            waiter.count_from_now();
            let pass;
            (self, pass) = self.read_patiently().await;
            if self.is_done(&pass) {
                drop(subscriptions);
                return self.answer(pass);
            }
            waiter.want(self.limits.min_bytes - pass.bytes);
            if tokio::time::timeout_at(deadline, waiter.woken())
                .await
                .is_err()
            {
                drop(subscriptions);
                let (fetching, pass) = self.read_patiently().await;
                return fetching.answer(pass);
            }
        }
    }
}

/// The index of a wanted partition.
fn index_of(wanted: &Wanted) -> PartitionIndex {
    wanted.key.partition
}
