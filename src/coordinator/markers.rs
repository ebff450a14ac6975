//! End markers of transactions, written into the partitions that this broker leads: by WriteTxnMarkers for the
//! coordinators of other brokers, and by this broker's own, which writes in memory what it would send to itself.
//! A marker in `__consumer_offsets` goes through the group coordinator, which has offsets waiting for it.
//! (KafkaApis.handleWriteTxnMarkersRequest)

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::ProducerIdAndEpoch;
use super::groups::GroupCoordinator;
use super::runtime::{Said, journal_error};
use super::topic::LookUp;
use crate::clock::Clock;
use crate::error_code::ErrorCode;
use crate::ids::{Timestamp, TopicPartition};
use crate::log::Origin;
use crate::metadata::{CONSUMER_OFFSETS, Image};
use crate::record::ValidBatch;
use crate::record::control::EndMarker;
use crate::replica::{ACKS_ALL, Partition};

/// The end of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    pub producer: ProducerIdAndEpoch,
    pub end: EndMarker,
    pub transaction_version: i16,
}

impl Marker {
    /// The batch that is written.
    pub(super) fn batch(&self, now: Timestamp) -> ValidBatch {
        let ProducerIdAndEpoch { id, epoch } = self.producer;
        self.end.batch(id, epoch, now)
    }
}

/// What became of a marker, now or when the in-sync replicas have it.
pub enum Written {
    Now(Result<(), ErrorCode>),
    Later(Pin<Box<dyn Future<Output = Result<(), ErrorCode>> + Send>>),
}

/// Writes end markers.
pub struct Markers {
    replicas: LookUp,
    groups: Arc<GroupCoordinator>,
    clock: Clock,
    /// How long the in-sync replicas may take (`request.timeout.ms`).
    timeout: Duration,
}

impl Markers {
    pub fn new(
        replicas: LookUp,
        groups: Arc<GroupCoordinator>,
        clock: Clock,
        timeout: Duration,
    ) -> Markers {
        Markers {
            replicas,
            groups,
            clock,
            timeout,
        }
    }

    /// Writes a marker, which is in the log when this returns. UNKNOWN_TOPIC_OR_PARTITION when the partition is not
    /// on this broker.
    pub fn write(&self, image: &Image, partition: &TopicPartition, marker: &Marker) -> Written {
        let replica = image
            .topics()
            .by_name(&partition.topic)
            .and_then(|topic| (self.replicas)(topic.id, partition.partition));
        let Some(replica) = replica else {
            return Written::Now(Err(ErrorCode::UnknownTopicOrPartition));
        };
        if &*partition.topic == CONSUMER_OFFSETS {
            return self.end_offsets(partition, marker);
        }
        self.append(replica, marker)
    }

    fn append(&self, partition: Arc<Partition>, marker: &Marker) -> Written {
        let origin = Origin::Marker(marker.transaction_version);
        let now = self.clock.now();
        let batch = marker.batch(now);
        let appended = match partition.append_as_leader(&batch, origin, ACKS_ALL, None, now) {
            Ok(appended) => appended,
            Err(error) => return Written::Now(Err(journal_error(&error))),
        };
        let after = appended.info.last_offset + 1;
        if partition.high_watermark() >= after {
            return Written::Now(Ok(()));
        }
        let timeout = self.timeout;
        Written::Later(Box::pin(async move {
            let replicated = partition.wait_for_high_watermark(after, appended.leader_epoch);
            match tokio::time::timeout(timeout, replicated).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(journal_error(&error)),
                Err(_) => Err(ErrorCode::RequestTimedOut),
            }
        }))
    }

    fn end_offsets(&self, partition: &TopicPartition, marker: &Marker) -> Written {
        let seen_by_coordinators = |code| match code {
            ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotCoordinator => ErrorCode::NotLeaderOrFollower,
            other => other,
        };
        match self.groups.end_transaction(partition.partition, marker) {
            Said::Now(said) => Written::Now(said.map_err(seen_by_coordinators)),
            Said::Later(said) => {
                Written::Later(Box::pin(
                    async move { said.await.map_err(seen_by_coordinators) },
                ))
            }
        }
    }
}
