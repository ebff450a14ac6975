//! Has the end markers of one partition's transactions written, and tells the coordinator when all are. What cannot be
//! written now is tried again until it is, or until the partition is gone: no transaction is left half ended.
//! (TransactionMarkerChannelManager, TransactionMarkerRequestCompletionHandler)

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::Coordinator;
use crate::coordinator::markers::{Marker, Markers, Written};
use crate::coordinator::runtime::{Answer, Unavailable};
use crate::coordinator::transaction::{Prepared, Request, Response, Work};
use crate::error_code::ErrorCode;
use crate::ids::{Offset, ProducerId, TopicPartition};
use crate::metadata::{Image, Published};
use crate::record::control::EndMarker;

/// Before a marker that could not be written is written again. (retry.backoff.ms)
const RETRY_BACKOFF: Duration = Duration::from_millis(100);

/// Gives a producer id that nobody had.
pub type ProducerIdSource = Box<dyn Fn() -> FreshId + Send + Sync>;

type FreshId = Pin<Box<dyn Future<Output = Result<ProducerId, ErrorCode>> + Send>>;

type Taken = Pin<Box<dyn Future<Output = Result<Response, ErrorCode>> + Send>>;

/// A partition's marker that the in-sync replicas do not have yet.
type Later = (
    TopicPartition,
    Pin<Box<dyn Future<Output = Result<(), ErrorCode>> + Send>>,
);

/// What became of the markers of one transaction.
type Results = Vec<(TopicPartition, Result<(), ErrorCode>)>;

/// What the coordinator says of a transaction whose markers are written.
type Completing = Pin<Box<dyn Future<Output = (Prepared, Result<Response, ErrorCode>)> + Send>>;

/// The markers of a transaction on their way to the in-sync replicas.
type Writing = Pin<Box<dyn Future<Output = (Prepared, Results)> + Send>>;

/// See the module.
pub(super) struct Sender {
    pub(super) coordinator: Coordinator,
    pub(super) markers: Arc<Markers>,
    pub(super) metadata: Arc<Published>,
    /// The end offset of the image that made this broker the coordinator. Those before do not tell which partitions are
    /// gone: when the node starts, none is in them.
    pub(super) since: Offset,
    pub(super) producer_ids: Arc<OnceLock<ProducerIdSource>>,
}

/// A transaction some of whose partitions have no marker yet, or of which the coordinator does not know that all have.
struct Unfinished {
    prepared: Prepared,
    left: Vec<TopicPartition>,
    retry_at: Instant,
}

/// Transactions that are not complete.
#[derive(Default)]
struct Open {
    /// In the order of their times.
    unfinished: VecDeque<Unfinished>,
    /// The in-sync replicas do not have the markers yet.
    writing: FuturesUnordered<Writing>,
    completing: FuturesUnordered<Completing>,
}

impl Open {
    fn retry(&mut self, prepared: Prepared, left: Vec<TopicPartition>) {
        self.unfinished.push_back(Unfinished {
            prepared,
            left,
            retry_at: Instant::now() + RETRY_BACKOFF,
        });
    }
}

/// What becomes of a transaction whose markers were written as far as they could be.
enum Progress {
    Complete,
    /// Another coordinator, or a later producer, has taken over: nothing more is written.
    Abandoned,
    Left(Vec<TopicPartition>),
}

impl Sender {
    /// Runs until another broker, or a later epoch, coordinates the partition.
    pub(super) async fn run(self, loading: Option<JoinHandle<()>>) {
        if let Some(loading) = loading {
            // It ends when the partition is read, or led here no more.
            let _ = loading.await;
        }
        let is_known = |image: &Image| image.provenance().end_offset >= self.since;
        self.metadata.wait_for(is_known).await;
        if let Err(Unavailable::NotCoordinator | Unavailable::Loading) = self.serve().await {
            debug!(partition = %self.coordinator.partition, epoch = %self.coordinator.epoch, "markers are sent no more");
        }
    }

    async fn serve(&self) -> Result<(), Unavailable> {
        let mut open = Open::default();
        // One at most. It waits for the controller; markers do not wait for it.
        let mut fresh_id = FuturesUnordered::new();
        let mut taken = self.take_work(false)?;
        loop {
            let retry_at = open.unfinished.front().map(|it| it.retry_at);
            let retry = async {
                match retry_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                work = &mut taken => {
                    let again = self.deal_with(work, &mut open, &mut fresh_id).await?;
                    taken = self.take_work(again)?;
                }
                Some(id) = fresh_id.next() => self.give_producer_id(id)?,
                Some((prepared, results)) = open.writing.next() => {
                    self.settle(prepared, results, &mut open)?;
                }
                Some((prepared, said)) = open.completing.next() => {
                    note_completed(prepared, said, &mut open);
                }
                () = retry => {
                    if let Some(Unfinished { prepared, left, .. }) = open.unfinished.pop_front() {
                        self.end(prepared, left, &mut open)?;
                    }
                }
            }
        }
    }

    fn take_work(&self, again: bool) -> Result<Taken, Unavailable> {
        Ok(match self.coordinator.ask(Request::TakeWork { again })? {
            Answer::Now(response) => Box::pin(async move { Ok(response) }),
            Answer::Later(response) => response,
        })
    }

    /// Returns whether what was told has to be told again, since it could not be heard.
    async fn deal_with(
        &self,
        work: Result<Response, ErrorCode>,
        open: &mut Open,
        fresh_id: &mut FuturesUnordered<FreshId>,
    ) -> Result<bool, Unavailable> {
        let work = match work {
            Ok(Response::Work(work)) => work,
            Ok(_) => Ok(Work::default()),
            Err(ErrorCode::NotCoordinator | ErrorCode::NotLeaderOrFollower) => {
                return Err(Unavailable::NotCoordinator);
            }
            Err(code) => Err(code),
        };
        let Work {
            prepared,
            producer_id_wanted,
        } = match work {
            Ok(work) => work,
            Err(code) => {
                warn!(partition = %self.coordinator.partition, error = code.name(), "decisions about transactions are not committed");
                tokio::time::sleep(RETRY_BACKOFF).await;
                *open = Open::default();
                return Ok(true);
            }
        };
        for prepared in prepared {
            let left = prepared.partitions.iter().collect();
            self.end(prepared, left, open)?;
        }
        let wanted = producer_id_wanted && fresh_id.is_empty();
        if let Some(source) = self.producer_ids.get().filter(|_| wanted) {
            fresh_id.push(source());
        }
        Ok(false)
    }

    fn give_producer_id(&self, fresh: Result<ProducerId, ErrorCode>) -> Result<(), Unavailable> {
        match fresh {
            Ok(id) => self
                .coordinator
                .ask(Request::GiveProducerId(id))
                .map(|_| ()),
            Err(code) => {
                debug!(
                    error = code.name(),
                    "no producer id for a transaction that timed out"
                );
                Ok(())
            }
        }
    }

    /// Writes the markers of a transaction that are left, and completes it when all are written.
    fn end(
        &self,
        prepared: Prepared,
        left: Vec<TopicPartition>,
        open: &mut Open,
    ) -> Result<(), Unavailable> {
        let (mut results, later) = self.write(&prepared, left);
        if later.is_empty() {
            return self.settle(prepared, results, open);
        }
        open.writing.push(Box::pin(async move {
            for (partition, written) in later {
                results.push((partition, written.await));
            }
            (prepared, results)
        }));
        Ok(())
    }

    fn write(&self, prepared: &Prepared, partitions: Vec<TopicPartition>) -> (Results, Vec<Later>) {
        let image = self.metadata.image();
        let marker = Marker {
            producer: prepared.producer,
            end: EndMarker {
                commit: prepared.commit,
                coordinator_epoch: self.coordinator.epoch.0,
            },
            transaction_version: prepared.transaction_version,
        };
        let (mut results, mut later) = (Results::new(), Vec::new());
        for partition in partitions {
            let is_there = image
                .topics()
                .by_name(&partition.topic)
                .is_some_and(|topic| topic.partition(partition.partition).is_some());
            if !is_there {
                info!(%partition, id = %prepared.id, "the partition is gone; it needs no marker");
                continue;
            }
            match self.markers.write(&image, &partition, &marker) {
                Written::Now(result) => results.push((partition, result)),
                Written::Later(written) => later.push((partition, written)),
            }
        }
        (results, later)
    }

    fn settle(
        &self,
        prepared: Prepared,
        results: Results,
        open: &mut Open,
    ) -> Result<(), Unavailable> {
        match progress(&prepared, results) {
            Progress::Complete => self.complete(prepared, open),
            Progress::Abandoned => Ok(()),
            Progress::Left(left) => {
                open.retry(prepared, left);
                Ok(())
            }
        }
    }

    /// Tells the coordinator that all markers are written.
    fn complete(&self, prepared: Prepared, open: &mut Open) -> Result<(), Unavailable> {
        let (id, producer) = (prepared.id.clone(), prepared.producer);
        match self.coordinator.ask(Request::Complete { id, producer })? {
            Answer::Now(said) => note_completed(prepared, Ok(said), open),
            Answer::Later(said) => open
                .completing
                .push(Box::pin(async move { (prepared, said.await) })),
        }
        Ok(())
    }
}

/// What the coordinator could not write down it is told again, but not at once.
fn note_completed(prepared: Prepared, said: Result<Response, ErrorCode>, open: &mut Open) {
    let code = match said {
        Ok(Response::Complete(code)) => code,
        Ok(_) => ErrorCode::UnknownServerError,
        // It is written down, and may be lost with its leader, whose successor begins anew. Told again, it could be taken
        // for the end of the next transaction, which has the same epoch with `transaction.version` 1.
        Err(code) => {
            debug!(id = %prepared.id, error = code.name(), "whether a transaction is complete is not known");
            return;
        }
    };
    match code {
        // It is complete now, or is so already.
        ErrorCode::None | ErrorCode::InvalidTxnState | ErrorCode::InvalidProducerIdMapping => {}
        code => {
            debug!(id = %prepared.id, error = code.name(), "a transaction is not complete yet");
            open.retry(prepared, Vec::new());
        }
    }
}

fn progress(prepared: &Prepared, results: Results) -> Progress {
    let mut left = Vec::new();
    for (partition, result) in results {
        match result {
            Ok(()) => {}
            Err(
                code @ (ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced),
            ) => {
                info!(%partition, id = %prepared.id, error = code.name(), "no more markers are sent");
                return Progress::Abandoned;
            }
            Err(code) => {
                debug!(%partition, id = %prepared.id, error = code.name(), "a marker is not written yet");
                left.push(partition);
            }
        }
    }
    match left.is_empty() {
        true => Progress::Complete,
        false => Progress::Left(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::ProducerIdAndEpoch;

    #[tokio::test]
    async fn what_was_written_down_is_not_told_again() {
        let prepared = Prepared {
            id: Arc::from("t"),
            producer: ProducerIdAndEpoch::NONE,
            commit: true,
            transaction_version: 1,
            partitions: Arc::default(),
        };
        let mut open = Open::default();
        let refused = Response::Complete(ErrorCode::CoordinatorNotAvailable);
        note_completed(prepared.clone(), Ok(refused), &mut open);
        assert_eq!(open.unfinished.len(), 1);
        note_completed(prepared, Err(ErrorCode::RequestTimedOut), &mut open);
        assert_eq!(open.unfinished.len(), 1);
    }
}
