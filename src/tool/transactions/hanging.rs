//! `dohle transactions find-hanging`: transactions that are open in a partition and that no coordinator will end.
//! (org.apache.kafka.tools.TransactionsCommand.FindHangingTransactionsCommand)

use std::collections::{BTreeMap, HashMap};

use clap::Args;

use super::{list, print_table, producers, state_of};
use crate::clock::Clock;
use crate::messages::ListTransactionsRequest;
use crate::messages::describe_producers_response::ProducerState;
use crate::messages::describe_transactions_response::TransactionState;
use crate::tool::Failure;
use crate::tool::client::Client;

const MS_PER_MINUTE: i64 = 60_000;

#[derive(Args, Debug)]
pub(super) struct FindHanging {
    /// Only on this broker
    #[arg(long)]
    broker_id: Option<i32>,
    /// Only transactions whose producers have written nothing for longer than this many minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 15)]
    max_transaction_timeout: i64,
    /// Only in this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only in this partition of the topic
    #[arg(long)]
    partition: Option<i32>,
}

/// A transaction that is open in a partition.
struct Open {
    topic: String,
    partition: i32,
    producer: ProducerState,
}

impl FindHanging {
    pub(super) async fn run(&self, client: &mut Client) -> Result<(), Failure> {
        if self.topic.is_none() && self.broker_id.is_none() {
            return Err(Failure::new(
                "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
            ));
        }
        if self.topic.is_none() && self.partition.is_some() {
            return Err(Failure::new(
                "The --partition argument requires --topic to be provided",
            ));
        }
        let now = Clock::system().now().0;
        let candidates = self.candidates(client, now).await?;
        let hanging = match candidates.is_empty() {
            true => Vec::new(),
            false => hanging(client, candidates).await?,
        };
        print(&hanging, now);
        Ok(())
    }

    /// The partitions to look at.
    async fn partitions(&self, client: &mut Client) -> Result<Vec<(String, i32)>, Failure> {
        if let (Some(topic), Some(partition)) = (&self.topic, self.partition) {
            return Ok(vec![(topic.clone(), partition)]);
        }
        let named = self.topic.as_deref().map(|topic| [topic]);
        let named = named.as_ref().map(|named| &named[..]);
        let metadata = client.metadata(named, false).await?;
        let mut partitions = Vec::new();
        for topic in &metadata.topics {
            let name = topic.name.as_ref().map(|name| name.to_string());
            let name = name.unwrap_or_default();
            Failure::check(topic.error_code, None).map_err(|failure| {
                failure.context(&format!("Failed to describe topic {name}: "))
            })?;
            let here = topic.partitions.iter().filter(|partition| {
                let hosts =
                    |broker: i32| partition.replica_nodes.iter().any(|node| node.0 == broker);
                self.broker_id.is_none_or(hosts)
            });
            partitions.extend(here.map(|it| (name.clone(), it.partition_index)));
        }
        Ok(partitions)
    }

    async fn candidates(&self, client: &mut Client, now: i64) -> Result<Vec<Open>, Failure> {
        let longest = self.max_transaction_timeout.saturating_mul(MS_PER_MINUTE);
        let mut open = Vec::new();
        for (topic, partition) in self.partitions(client).await? {
            let producers = producers(client, &topic, partition, self.broker_id).await;
            let producers = producers.map_err(|failure| {
                failure.context(&format!(
                    "Failed to describe producers for partition {topic}-{partition}: "
                ))
            })?;
            let old = producers.into_iter().filter(|producer| {
                producer.current_txn_start_offset >= 0 && now - producer.last_timestamp > longest
            });
            open.extend(old.map(|producer| Open {
                topic: topic.clone(),
                partition,
                producer,
            }));
        }
        Ok(open)
    }
}

/// Those of which no coordinator knows that they are in the partition.
async fn hanging(client: &mut Client, candidates: Vec<Open>) -> Result<Vec<Open>, Failure> {
    let mut producer_ids: Vec<i64> = candidates
        .iter()
        .map(|open| open.producer.producer_id.0)
        .collect();
    producer_ids.sort_unstable();
    producer_ids.dedup();
    let filters = producer_ids.into_iter().map(Into::into).collect();
    let request = ListTransactionsRequest::default()
        .with_producer_id_filters(filters)
        .with_duration_filter(-1);
    let listed = list(client, &request).await?;
    let mut states: HashMap<i64, Option<TransactionState>> = HashMap::new();
    for listed in listed {
        let state = state_of(client, &listed.id).await?.map(|(_, state)| state);
        states.insert(listed.producer_id, state);
    }
    let is_known = |open: &Open| {
        states
            .get(&open.producer.producer_id.0)
            .and_then(Option::as_ref)
            .is_some_and(|state| {
                state.topics.iter().any(|topic| {
                    let name: &str = &topic.topic;
                    name == open.topic && topic.partitions.contains(&open.partition)
                })
            })
    };
    // By producer id, as Kafka's tool groups them.
    let mut found: BTreeMap<i64, Vec<Open>> = BTreeMap::new();
    for open in candidates.into_iter().filter(|open| !is_known(open)) {
        let producer_id = open.producer.producer_id.0;
        found.entry(producer_id).or_default().push(open);
    }
    Ok(found.into_values().flatten().collect())
}

fn print(hanging: &[Open], now: i64) {
    let headers = [
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ];
    let rows = hanging.iter().map(|open| {
        let producer = &open.producer;
        vec![
            open.topic.clone(),
            open.partition.to_string(),
            producer.producer_id.0.to_string(),
            producer.producer_epoch.to_string(),
            producer.coordinator_epoch.to_string(),
            producer.current_txn_start_offset.to_string(),
            producer.last_timestamp.to_string(),
            ((now - producer.last_timestamp) / MS_PER_MINUTE).to_string(),
        ]
    });
    print_table(&headers, rows.collect());
}
