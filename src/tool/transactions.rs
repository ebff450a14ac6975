//! `dohle transactions`: lists, describes, finds and ends transactions, with the flags and output of
//! `kafka-transactions.sh` (org.apache.kafka.tools.TransactionsCommand; KIP-664).

mod hanging;

use clap::{Args, Subcommand};

use self::hanging::FindHanging;
use super::client::{Backoff, Client, check};
use super::print::say;
use super::{Connect, Failure};
use crate::clock::Clock;
use crate::error_code::ErrorCode;
use crate::messages::describe_producers_request::TopicRequest;
use crate::messages::describe_producers_response::ProducerState;
use crate::messages::describe_transactions_response::TransactionState;
use crate::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use crate::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest,
    ListTransactionsRequest, TopicName, TransactionalId, WriteTxnMarkersRequest, text,
};

/// The timeout that a fenced id is left with: the longest that brokers take by default.
const FENCED_TIMEOUT_MS: i32 = 60_000;

#[derive(Args, Debug)]
pub struct Transactions {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List transactions
    List(List),
    /// Describe the state of a transactional id
    Describe {
        #[arg(long)]
        transactional_id: String,
    },
    /// Describe the producers that write to a partition
    DescribeProducers(DescribeProducers),
    /// Find transactions that nobody will end
    FindHanging(FindHanging),
    /// Abort a hanging transaction in one partition
    Abort(Abort),
    /// Abort the transaction of a transactional id and fence its producer
    #[command(name = "forceTerminateTransaction", alias = "force-terminate")]
    ForceTerminate {
        #[arg(long = "transactionalId", alias = "transactional-id")]
        transactional_id: String,
    },
}

#[derive(Args, Debug)]
struct List {
    /// Only transactions that have been open for longer than this many milliseconds
    #[arg(long, value_name = "MS", allow_hyphen_values = true)]
    duration_filter: Option<i64>,
    /// Only transactional ids that match this regular expression
    #[arg(long, value_name = "REGEX")]
    transactional_id_pattern: Option<String>,
}

#[derive(Args, Debug)]
struct DescribeProducers {
    /// The broker whose replica is asked; else the leader's
    #[arg(long)]
    broker_id: Option<i32>,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partition: i32,
}

#[derive(Args, Debug)]
struct Abort {
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partition: i32,
    /// Where the transaction begins
    #[arg(long)]
    start_offset: Option<i64>,
    /// With brokers before 3.0, in place of the start offset
    #[arg(long)]
    producer_id: Option<i64>,
    #[arg(long)]
    producer_epoch: Option<i16>,
    #[arg(long, allow_hyphen_values = true)]
    coordinator_epoch: Option<i32>,
}

impl Transactions {
    pub async fn run(&self) -> Result<(), Failure> {
        let mut client = self.connect.client("dohle-transactions")?;
        match &self.action {
            Action::List(list) => list.run(&mut client).await,
            Action::Describe { transactional_id } => describe(&mut client, transactional_id).await,
            Action::DescribeProducers(producers) => producers.run(&mut client).await,
            Action::FindHanging(find) => find.run(&mut client).await,
            Action::Abort(abort) => abort.run(&mut client).await,
            Action::ForceTerminate { transactional_id } => {
                force_terminate(&mut client, transactional_id).await
            }
        }
    }
}

impl List {
    async fn run(&self, client: &mut Client) -> Result<(), Failure> {
        let request = ListTransactionsRequest::default()
            .with_duration_filter(self.duration_filter.unwrap_or(-1))
            .with_transactional_id_pattern(self.transactional_id_pattern.as_deref().map(text));
        let listed = list(client, &request)
            .await
            .map_err(|failure| failure.context("Failed to list transactions: "))?;
        let headers = [
            "TransactionalId",
            "Coordinator",
            "ProducerId",
            "TransactionState",
        ];
        let rows = listed.into_iter().map(|listed| {
            vec![
                listed.id,
                listed.coordinator.to_string(),
                listed.producer_id.to_string(),
                listed.state,
            ]
        });
        print_table(&headers, rows.collect());
        Ok(())
    }
}

/// One line of ListTransactions.
struct Listed {
    id: String,
    coordinator: i32,
    producer_id: i64,
    state: String,
}

/// Asks every broker.
async fn list(
    client: &mut Client,
    request: &ListTransactionsRequest,
) -> Result<Vec<Listed>, Failure> {
    let metadata = client.metadata(Some(&[]), false).await?;
    let mut listed = Vec::new();
    for broker in &metadata.brokers {
        let id = broker.node_id.0;
        let response = client.call_broker(id, request).await?;
        check(response.error_code, || format!("broker {id}"))?;
        let states = response.transaction_states.into_iter();
        listed.extend(states.map(|state| Listed {
            id: state.transactional_id.to_string(),
            coordinator: id,
            producer_id: state.producer_id.0,
            state: state.transaction_state.to_string(),
        }));
    }
    Ok(listed)
}

/// The coordinator of an id and what it says; `None` when it knows nothing of it.
async fn state_of(
    client: &mut Client,
    id: &str,
) -> Result<Option<(i32, TransactionState)>, Failure> {
    let coordinator = client.transaction_coordinator(id).await?;
    let request = DescribeTransactionsRequest::default()
        .with_transactional_ids(vec![TransactionalId(text(id))]);
    let response = client.call_broker(coordinator, &request).await?;
    let state = response.transaction_states.into_iter().next();
    let state = state.ok_or_else(|| Failure::new("the coordinator says nothing"))?;
    if ErrorCode::from_code(state.error_code) == ErrorCode::TransactionalIdNotFound {
        return Ok(None);
    }
    check(state.error_code, || format!("transactional id {id}"))?;
    Ok(Some((coordinator, state)))
}

async fn describe(client: &mut Client, id: &str) -> Result<(), Failure> {
    let before = format!("Failed to describe transaction state of transactional-id `{id}`: ");
    let found = state_of(client, id).await;
    let found = found.and_then(|found| {
        found.ok_or_else(|| {
            Failure::new(
                "The transactional id could not be found. Enable debug logging for additional detail.",
            )
        })
    });
    let (coordinator, state) = found.map_err(|failure| failure.context(&before))?;
    let none = || String::from("None");
    let start = state.transaction_start_time_ms;
    let (start, duration) = match start >= 0 {
        true => (
            start.to_string(),
            (Clock::system().now().0 - start).to_string(),
        ),
        false => (none(), none()),
    };
    let partitions = state.topics.iter().flat_map(|topic| {
        let name: &str = &topic.topic;
        topic
            .partitions
            .iter()
            .map(move |index| format!("{name}-{index}"))
    });
    let headers = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    let row = vec![
        coordinator.to_string(),
        id.to_owned(),
        state.producer_id.0.to_string(),
        state.producer_epoch.to_string(),
        state.transaction_state.to_string(),
        state.transaction_timeout_ms.to_string(),
        start,
        duration,
        partitions.collect::<Vec<_>>().join(","),
    ];
    print_table(&headers, vec![row]);
    Ok(())
}

impl DescribeProducers {
    async fn run(&self, client: &mut Client) -> Result<(), Failure> {
        let (topic, partition) = (&self.topic, self.partition);
        let on = match self.broker_id {
            Some(broker) => format!("broker {broker}"),
            None => String::from("leader"),
        };
        let before =
            format!("Failed to describe producers for partition {topic}-{partition} on {on}: ");
        let producers = producers(client, topic, partition, self.broker_id)
            .await
            .map_err(|failure| failure.context(&before))?;
        let headers = [
            "ProducerId",
            "ProducerEpoch",
            "LatestCoordinatorEpoch",
            "LastSequence",
            "LastTimestamp",
            "CurrentTransactionStartOffset",
        ];
        let rows = producers.iter().map(|producer| {
            let start = producer.current_txn_start_offset;
            vec![
                producer.producer_id.0.to_string(),
                producer.producer_epoch.to_string(),
                producer.coordinator_epoch.to_string(),
                producer.last_sequence.to_string(),
                producer.last_timestamp.to_string(),
                if start >= 0 {
                    start.to_string()
                } else {
                    String::from("None")
                },
            ]
        });
        print_table(&headers, rows.collect());
        Ok(())
    }
}

/// The leader of a partition.
async fn leader(client: &mut Client, topic: &str, partition: i32) -> Result<i32, Failure> {
    let metadata = client.metadata(Some(&[topic]), false).await?;
    let partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
    let found = partitions
        .into_iter()
        .find(|found| found.partition_index == partition)
        .map(|found| found.leader_id.0)
        .filter(|leader| *leader >= 0);
    found.ok_or_else(|| {
        Failure::new("This server does not host this topic-partition. Enable debug logging for additional detail.")
    })
}

/// The producers of a partition, as the leader's replica or that of `broker` has them.
async fn producers(
    client: &mut Client,
    topic: &str,
    partition: i32,
    broker: Option<i32>,
) -> Result<Vec<ProducerState>, Failure> {
    let leader = leader(client, topic, partition).await?;
    let request = DescribeProducersRequest::default().with_topics(vec![
        TopicRequest::default()
            .with_name(TopicName(text(topic)))
            .with_partition_indexes(vec![partition]),
    ]);
    let response = client
        .call_broker(broker.unwrap_or(leader), &request)
        .await?;
    let found = response
        .topics
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .next();
    let found = found.ok_or_else(|| Failure::new("the broker says nothing"))?;
    Failure::check(found.error_code, found.error_message.as_deref())?;
    Ok(found.active_producers)
}

impl Abort {
    async fn run(&self, client: &mut Client) -> Result<(), Failure> {
        let (topic, partition) = (&*self.topic, self.partition);
        let (id, epoch, coordinator_epoch) = self.transaction(client).await?;
        let leader = leader(client, topic, partition).await?;
        let marker = WritableTxnMarker {
            producer_id: id,
            producer_epoch: epoch,
            transaction_result: false,
            coordinator_epoch,
            topics: vec![WritableTxnMarkerTopic {
                name: text(topic),
                partition_indexes: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        let request = WriteTxnMarkersRequest {
            markers: vec![marker],
            ..Default::default()
        };
        let response = client.call_broker(leader, &request).await?;
        let results = response.markers.iter().flat_map(|marker| &marker.topics);
        for result in results.flat_map(|topic| &topic.partitions) {
            check(result.error_code, || {
                format!("Failed to abort transaction of producer {id} on {topic}-{partition}")
            })?;
        }
        Ok(())
    }

    /// Producer id and epoch, and the coordinator epoch.
    async fn transaction(&self, client: &mut Client) -> Result<(i64, i16, i32), Failure> {
        let missing = |name: &str| Failure::new(format!("Missing required argument --{name}"));
        match (self.start_offset, self.producer_id) {
            (Some(start), _) => {
                let name = format!("{}-{}", self.topic, self.partition);
                let before = format!("Failed to validate producer state for partition {name}: ");
                let producers = producers(client, &self.topic, self.partition, None)
                    .await
                    .map_err(|failure| failure.context(&before))?;
                let found = producers
                    .iter()
                    .find(|producer| producer.current_txn_start_offset == start)
                    .ok_or_else(|| {
                        Failure::new(format!(
                            "Could not find any open transactions starting at offset {start} on partition {name}"
                        ))
                    })?;
                let epoch = i16::try_from(found.producer_epoch).unwrap_or(i16::MAX);
                // A producer whose first transaction hangs has had no coordinator yet.
                Ok((found.producer_id.0, epoch, found.coordinator_epoch.max(0)))
            }
            (None, Some(id)) => {
                let epoch = self
                    .producer_epoch
                    .ok_or_else(|| missing("producer-epoch"))?;
                let coordinator_epoch = self
                    .coordinator_epoch
                    .ok_or_else(|| missing("coordinator-epoch"))?;
                Ok((id, epoch, coordinator_epoch.max(0)))
            }
            (None, None) => Err(Failure::new(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or \
                 with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
            )),
        }
    }
}

/// Takes the id over, which aborts what is open. (FenceProducersHandler)
async fn force_terminate(client: &mut Client, id: &str) -> Result<(), Failure> {
    let request = InitProducerIdRequest {
        transactional_id: Some(text(id)),
        transaction_timeout_ms: FENCED_TIMEOUT_MS,
        ..Default::default()
    };
    let mut backoff = Backoff::default();
    loop {
        let coordinator = client.transaction_coordinator(id).await?;
        let response = client.call_broker(coordinator, &request).await?;
        let code = ErrorCode::from_code(response.error_code);
        let retriable = [
            ErrorCode::ConcurrentTransactions,
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
        ];
        if !retriable.contains(&code) || !backoff.wait().await {
            check(response.error_code, || {
                format!("Failed to force terminate transactionalId `{id}`")
            })?;
            return Ok(());
        }
    }
}

/// Columns as wide as their widest value, each followed by a tab. (ToolsUtils.prettyPrintTable)
fn print_table(headers: &[&str], rows: Vec<Vec<String>>) {
    for line in table(headers, &rows) {
        say!("{line}");
    }
}

fn table(headers: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let widths: Vec<usize> = headers
        .iter()
        .enumerate()
        .map(|(at, header)| {
            let widest = rows.iter().map(|row| row[at].chars().count()).max();
            widest.unwrap_or(0).max(header.chars().count())
        })
        .collect();
    let line = |values: &mut dyn Iterator<Item = &str>| {
        let padded = values.zip(&widths);
        padded
            .map(|(value, width)| format!("{value:<width$}\t"))
            .collect::<String>()
    };
    let head = line(&mut headers.iter().copied());
    let rows = rows
        .iter()
        .map(|row| line(&mut row.iter().map(String::as_str)));
    std::iter::once(head).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_laid_out_as_kafkas() {
        let row = ["mytx", "1", "4", "Ongoing"].map(str::to_owned).to_vec();
        let headers = [
            "TransactionalId",
            "Coordinator",
            "ProducerId",
            "TransactionState",
        ];
        assert_eq!(
            table(&headers, &[row]),
            [
                "TransactionalId\tCoordinator\tProducerId\tTransactionState\t",
                "mytx           \t1          \t4         \tOngoing         \t"
            ]
        );
    }
}
