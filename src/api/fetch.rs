//! Fetch (1), versions 4–18: reads record batches, waiting for them where there are too few.
//!
//! The answer holds ranges of files, not records, which the connection sends. Where even finding them takes the disk, a thread
//! that may wait does it. The answer is ready at once when there are `min_bytes`, when `max_wait_ms`
//! is 0, or when a partition fails; else the request waits for its partitions to advance, and nothing polls. At least
//! one batch is read however small the limits are, so that a client always gets on. A request of a session looks at what has
//! changed since the last one and not at the other partitions. Followers are not served yet:
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

use tokio::time::{Instant, timeout_at};

use super::leaders::Leaders;
use super::{Api, Context, Reply, errors};
use crate::broker::Broker;
use crate::error_code::ErrorCode;
use crate::ids::PartitionIndex;
use crate::log::Source;
use crate::messages::{FetchRequest, FetchResponse};
use crate::metadata::Topic;
use crate::replica::session::{self, News, TopicKey, Wanted};
use crate::replica::{self, Isolation, Partition, Read, ReadInfo, Subscription, Waiter};

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
        let sees = (limits.max_bytes >= 0).then_some(isolation);
        let asked = request::asked(ctx.version(), &leaders, sees, request);
        let session = match ctx
            .broker
            .fetch_sessions()
            .open(asked, ctx.broker.clock().steady())
        {
            Ok(session) => session,
            Err(error) => return Reply::Now(answer::session_error(error)),
        };
        let mut fetching = Fetching {
            broker: ctx.broker.clone(),
            version: ctx.version(),
            leaders,
            session,
            targets: Vec::new(),
            from_follower,
            limits,
        };
        fetching.find_targets();
        let pass = match fetching.read(Source::PageCache) {
            Some(pass) if fetching.is_done(&pass) => return Reply::Now(fetching.answer(pass)),
            pass => pass,
        };
        let deadline = Instant::now() + fetching.limits.max_wait;
        Reply::later(fetching.wait(pass, deadline))
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

    fn partition(&self) -> Option<&Arc<Partition>> {
        match self {
            Target::Unknown(_) | Target::Failed(..) => None,
            Target::Here(_, partition) => Some(partition),
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
    from_follower: bool,
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
    /// Finds what is behind the partitions that are wanted. A session is told of their changes from here on.
    fn find_targets(&mut self) {
        let wanted = self.session.wanted().iter();
        self.targets = wanted
            .map(|wanted| Target::of(&self.leaders, wanted, self.from_follower))
            .collect();
        let partitions = self.targets.iter().map(Target::partition);
        self.session
            .watch(partitions.map(|partition| partition.map(Arc::as_ref)));
    }

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
        let nothing_to_wait_for =
            || !self.session.has_idle() && self.targets.iter().all(|t| t.partition().is_none());
        pass.urgent
            || pass.bytes >= self.limits.min_bytes
            || self.limits.max_wait.is_zero()
            || nothing_to_wait_for()
    }

    /// Looks at what may have changed since `pass`.
    async fn look_again(mut self, pass: Option<Pass>) -> (Fetching, Result<Pass, session::Error>) {
        match (self.session.renew(), pass) {
            (Err(error), _) => return (self, Err(error)),
            (Ok(News::Nothing), Some(pass)) => return (self, Ok(pass)),
            (Ok(News::Changes), _) => {
                self.leaders.renew();
                self.find_targets();
            }
            (Ok(News::Nothing | News::Unknown), _) => {}
        }
        let (fetching, pass) = self.read_patiently().await;
        (fetching, Ok(pass))
    }

    /// Answers when there is enough or `max_wait_ms` has passed. `pass` is the first look, if it did not have to wait.
    async fn wait(mut self, mut pass: Option<Pass>, deadline: Instant) -> FetchResponse {
        let waiter = Arc::new(Waiter::default());
        let in_session = self.session.wait_by(&waiter);
        let _subscriptions: Vec<_> = match in_session {
            Some(_) => Vec::new(),
            None => self.subscribe(&waiter),
        };
        let mut in_time = true;
        loop {
            waiter.count_from_now();
            let session_id = self.session.session_id();
            let (fetching, looked) = self.look_again(pass).await;
            let found = match looked {
                Ok(found) if in_time && !fetching.is_done(&found) => found,
                Ok(found) => return fetching.answer(found),
                Err(error) => return answer::superseded(session_id, error),
            };
            self = fetching;
            waiter.want(self.limits.min_bytes - found.bytes);
            pass = Some(found);
            in_time = timeout_at(deadline, waiter.woken()).await.is_ok();
        }
    }

    fn subscribe(&self, waiter: &Arc<Waiter>) -> Vec<Subscription> {
        let partitions = self.targets.iter().filter_map(Target::partition);
        partitions
            .map(|partition| partition.subscribe(waiter))
            .collect()
    }
}

/// The index of a wanted partition.
fn index_of(wanted: &Wanted) -> PartitionIndex {
    wanted.key.partition
}
