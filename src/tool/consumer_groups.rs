//! `dohle consumer-groups`: lists, describes and deletes consumer groups, with the flags and output of
//! `kafka-consumer-groups.sh` (org.apache.kafka.tools.consumer.group.ConsumerGroupCommand).

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use super::client::{Client, LATEST, check, list_offsets, read_assignment};
use super::print::{complain, say};
use super::table::Table;
use super::{Connect, Failure};
use crate::error_code::ErrorCode;
use crate::ids::TopicPartition;
use crate::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::messages::list_groups_response::ListedGroup;
use crate::messages::offset_fetch_request::OffsetFetchRequestGroup;
use crate::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetFetchRequest, text,
};

#[derive(Args, Debug)]
pub struct ConsumerGroups {
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    action: Action,
    /// A group to act on; may be given several times
    #[arg(long)]
    group: Vec<String>,
    /// Act on all groups
    #[arg(long, conflicts_with = "group")]
    all_groups: bool,
    /// Describe the members
    #[arg(long, conflicts_with_all = ["offsets", "state"])]
    members: bool,
    /// Describe the offsets and how far they lag (the default)
    #[arg(long, conflicts_with = "state")]
    offsets: bool,
    /// Describe the state; with --list, show it, or list the groups in these states
    #[arg(long, num_args = 0..=1, default_missing_value = "")]
    state: Option<String>,
    /// With --list, show the type, or list the groups of these types
    #[arg(long = "type", num_args = 0..=1, default_missing_value = "")]
    kind: Option<String>,
    /// Describe more
    #[arg(long)]
    verbose: bool,
    /// Accepted for compatibility
    #[arg(long, value_name = "MS", hide = true)]
    timeout: Option<i64>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Action {
    /// List the groups
    #[arg(long)]
    list: bool,
    /// Describe groups
    #[arg(long)]
    describe: bool,
    /// Delete groups without members
    #[arg(long)]
    delete: bool,
}

impl ConsumerGroups {
    pub async fn run(&self) -> Result<(), Failure> {
        let mut client = self.connect.client("dohle-consumer-groups")?;
        let done = match &self.action {
            Action { list: true, .. } => self.list(&mut client).await,
            Action { describe: true, .. } => self.describe(&mut client).await,
            _ => self.delete(&mut client).await,
        };
        done.map_err(|failure| failure.context("Error: "))
    }

    async fn list(&self, client: &mut Client) -> Result<(), Failure> {
        let groups = list_groups(client, self.state.as_deref(), self.kind.as_deref()).await?;
        if self.state.is_none() && self.kind.is_none() {
            for group in &groups {
                say!("{}", group.group_id.as_str());
            }
            return Ok(());
        }
        let mut line = format!("{:<25}", "GROUP");
        if self.kind.is_some() {
            line += &format!(" {:<20}", "TYPE");
        }
        if self.state.is_some() {
            line += &format!(" {:<20}", "STATE");
        }
        say!("{line}");
        for group in &groups {
            let mut line = format!("{:<25}", group.group_id.as_str());
            if self.kind.is_some() {
                line += &format!(" {:<20}", capitalized(&group.group_type));
            }
            if self.state.is_some() {
                line += &format!(" {:<20}", group.group_state.as_str());
            }
            say!("{line}");
        }
        Ok(())
    }

    /// The groups that the flags name.
    async fn named(&self, client: &mut Client) -> Result<Vec<String>, Failure> {
        if self.all_groups {
            let groups = list_groups(client, None, None).await?;
            return Ok(groups
                .iter()
                .map(|group| group.group_id.to_string())
                .collect());
        }
        if self.group.is_empty() {
            return Err(Failure::new(
                "one of these options is needed: --group, --all-groups",
            ));
        }
        Ok(self.group.clone())
    }

    async fn delete(&self, client: &mut Client) -> Result<(), Failure> {
        let mut deleted = Vec::new();
        let mut failed = Vec::new();
        for group in self.named(client).await? {
            let coordinator = client.coordinator(&group).await?;
            let request =
                DeleteGroupsRequest::default().with_groups_names(vec![text(&group).into()]);
            let response = client.call_broker(coordinator, &request).await?;
            let code = response
                .results
                .first()
                .map_or(0, |result| result.error_code);
            match ErrorCode::from_code(code) {
                ErrorCode::None => deleted.push(format!("'{group}'")),
                code => failed.push(format!(
                    "* Group '{group}' could not be deleted due to: {}",
                    code.name()
                )),
            }
        }
        let deleted = deleted.join(", ");
        if failed.is_empty() {
            say!("Deletion of requested consumer groups ({deleted}) was successful.");
            return Ok(());
        }
        if !deleted.is_empty() {
            say!("These consumer groups were deleted successfully: {deleted}");
        }
        Err(Failure::new(format!(
            "Deletion of some consumer groups failed:\n{}",
            failed.join("\n")
        )))
    }

    async fn describe(&self, client: &mut Client) -> Result<(), Failure> {
        for name in self.named(client).await? {
            let coordinator = client.coordinator(&name).await?;
            let group = describe_group(client, coordinator, &name).await?;
            match group.group_state.as_str() {
                "Empty" => complain!("\nConsumer group '{name}' has no active members."),
                "PreparingRebalance" | "CompletingRebalance" => {
                    complain!("\nWarning: Consumer group '{name}' is rebalancing.");
                }
                _ => {}
            }
            if self.members {
                self.print_members(&name, &group);
            } else if self.state.is_some() {
                print_state(client, coordinator, &name, &group);
            } else {
                self.print_offsets(client, coordinator, &name, &group)
                    .await?;
            }
        }
        Ok(())
    }

    async fn print_offsets(
        &self,
        client: &mut Client,
        coordinator: i32,
        name: &str,
        group: &DescribedGroup,
    ) -> Result<(), Failure> {
        let committed = committed_offsets(client, coordinator, name).await?;
        let mut owners: BTreeMap<TopicPartition, Option<&DescribedGroupMember>> = committed
            .keys()
            .map(|partition| (partition.clone(), None))
            .collect();
        for member in &group.members {
            owners.extend(
                assignment(member)
                    .into_iter()
                    .map(|partition| (partition, Some(member))),
            );
        }
        let ends = owners
            .keys()
            .map(|partition| (partition.clone(), LATEST))
            .collect();
        let ends = list_offsets(client, ends, false).await?;
        let mut table = Table::new(&[
            ("GROUP", 15),
            ("TOPIC", 15),
            ("PARTITION", 10),
            ("LEADER-EPOCH", 15),
            ("CURRENT-OFFSET", 15),
            ("LOG-END-OFFSET", 15),
            ("LAG", 15),
            ("CONSUMER-ID", 15),
            ("HOST", 15),
            ("CLIENT-ID", 0),
        ]);
        for (partition, owner) in owners {
            let current = committed.get(&partition);
            let end = ends.get(&partition).copied().flatten();
            let lag = current.zip(end).map(|(current, end)| end - current.offset);
            table.row(vec![
                name.to_owned(),
                partition.topic.to_string(),
                partition.partition.to_string(),
                or_dash(
                    current
                        .filter(|current| current.leader_epoch >= 0)
                        .map(|current| current.leader_epoch),
                ),
                or_dash(current.map(|current| current.offset)),
                or_dash(end),
                or_dash(lag),
                or_dash(owner.map(|owner| owner.member_id.as_str())),
                or_dash(owner.map(|owner| owner.client_host.as_str())),
                or_dash(owner.map(|owner| owner.client_id.as_str())),
            ]);
        }
        if !self.verbose {
            table.drop_column("LEADER-EPOCH");
        }
        table.print();
        Ok(())
    }

    fn print_members(&self, name: &str, group: &DescribedGroup) {
        let mut table = Table::new(&[
            ("GROUP", 15),
            ("CONSUMER-ID", 15),
            ("GROUP-INSTANCE-ID", 17),
            ("HOST", 15),
            ("CLIENT-ID", 15),
            ("#PARTITIONS", 15),
            ("CURRENT-EPOCH", 15),
            ("CURRENT-ASSIGNMENT", 20),
            ("TARGET-EPOCH", 15),
            ("TARGET-ASSIGNMENT", 20),
        ]);
        let mut any_static = false;
        for member in &group.members {
            let partitions = assignment(member);
            any_static |= member.group_instance_id.is_some();
            let shown = shown_assignment(&partitions);
            table.row(vec![
                name.to_owned(),
                member.member_id.to_string(),
                or_dash(member.group_instance_id.as_ref().map(|id| id.as_str())),
                member.client_host.to_string(),
                member.client_id.to_string(),
                partitions.len().to_string(),
                or_dash(None::<i32>),
                shown,
                or_dash(None::<i32>),
                or_dash(None::<i32>),
            ]);
        }
        if !any_static {
            table.drop_column("GROUP-INSTANCE-ID");
        }
        if !self.verbose {
            for column in [
                "CURRENT-EPOCH",
                "CURRENT-ASSIGNMENT",
                "TARGET-EPOCH",
                "TARGET-ASSIGNMENT",
            ] {
                table.drop_column(column);
            }
        }
        table.print();
    }
}

fn print_state(client: &Client, coordinator: i32, name: &str, group: &DescribedGroup) {
    let address = client.broker_address(coordinator).unwrap_or_default();
    let mut table = Table::new(&[
        ("GROUP", 15),
        ("COORDINATOR (ID)", 25),
        ("ASSIGNMENT-STRATEGY", 20),
        ("STATE", 20),
        ("#MEMBERS", 0),
    ]);
    table.row(vec![
        name.to_owned(),
        format!("{address}  ({coordinator})"),
        or_dash(Some(group.protocol_data.as_str()).filter(|protocol| !protocol.is_empty())),
        group.group_state.to_string(),
        group.members.len().to_string(),
    ]);
    table.print();
}

/// A committed offset.
struct Committed {
    offset: i64,
    leader_epoch: i32,
}

async fn committed_offsets(
    client: &mut Client,
    coordinator: i32,
    group: &str,
) -> Result<BTreeMap<TopicPartition, Committed>, Failure> {
    let asked = OffsetFetchRequestGroup {
        group_id: text(group),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![asked],
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let response = client.call_broker_by_name(coordinator, &request).await?;
    let mut committed = BTreeMap::new();
    for answered in response.groups {
        check(answered.error_code, || {
            format!("the offsets of group {group}")
        })?;
        for topic in answered.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                check(partition.error_code, || at.to_string())?;
                let offset = Committed {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                };
                committed.insert(at, offset);
            }
        }
    }
    Ok(committed)
}

async fn describe_group(
    client: &mut Client,
    coordinator: i32,
    name: &str,
) -> Result<DescribedGroup, Failure> {
    let request = DescribeGroupsRequest::default().with_groups(vec![text(name).into()]);
    let response = client.call_broker(coordinator, &request).await?;
    let group = response.groups.into_iter().next().unwrap_or_default();
    Failure::check(group.error_code, group.error_message.as_deref())?;
    if group.group_state.as_str() == "Dead" {
        return Err(Failure::new(format!(
            "Consumer group '{name}' does not exist."
        )));
    }
    Ok(group)
}

/// The groups of all brokers, of these states and types when such are named.
pub(super) async fn list_groups(
    client: &mut Client,
    states: Option<&str>,
    types: Option<&str>,
) -> Result<Vec<ListedGroup>, Failure> {
    let names = |list: Option<&str>| {
        let list = list
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        list.map(text).collect::<Vec<_>>()
    };
    let request = ListGroupsRequest::default()
        .with_states_filter(names(states))
        .with_types_filter(names(types));
    let metadata = client.metadata(Some(&[]), false).await?;
    let mut groups = Vec::new();
    for broker in metadata.brokers {
        let response = client.call_broker(broker.node_id.0, &request).await?;
        check(response.error_code, || "the list of groups".to_owned())?;
        groups.extend(response.groups);
    }
    // What is neither a consumer's nor without members and protocol is no consumer group, such as Connect's.
    groups.retain(|group| matches!(group.protocol_type.as_str(), "" | "consumer"));
    Ok(groups)
}

fn assignment(member: &DescribedGroupMember) -> BTreeSet<TopicPartition> {
    read_assignment(&member.member_assignment).unwrap_or_default()
}

/// `t1:0,1;t2:0`
fn shown_assignment(partitions: &BTreeSet<TopicPartition>) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for partition in partitions {
        topics
            .entry(&partition.topic)
            .or_default()
            .push(partition.partition.to_string());
    }
    let shown: Vec<_> = topics
        .into_iter()
        .map(|(topic, list)| format!("{topic}:{}", list.join(",")))
        .collect();
    or_dash(Some(shown.join(";")).filter(|shown| !shown.is_empty()))
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
