//! What becomes of partitions when brokers come and go: new leaders, smaller ISRs, eligible leader replicas (KIP-966).
//! (PartitionChangeBuilder; ReplicationControlManager.generateLeaderAndIsrUpdates)

use crate::config::{Settings, Value};
use crate::ids::{DirectoryId, NodeId, PartitionIndex, TopicId};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::PartitionChangeRecord;
use crate::metadata::record::{NO_LEADER, NO_LEADER_CHANGE, NO_RECOVERY_CHANGE, numbers};
use crate::metadata::{Broker, Image, LeaderRecoveryState, Partition, Topic};

/// What happened to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It goes or went down, and keeps its logs: leaves the ISRs.
    Removed(NodeId),
    /// It is back: may lead partitions that have no leader.
    Added(NodeId),
    /// It went down and may have lost the end of its logs: leaves the ISRs, and is not eligible either.
    UncleanShutdown(NodeId),
    /// Directories of it went offline; the image still has them.
    DirectoryLost(NodeId, DirectoryId),
}

impl Event {
    /// The broker that cannot lead now, whatever the image says.
    fn gone(self) -> Option<NodeId> {
        match self {
            Event::Removed(node) | Event::UncleanShutdown(node) | Event::DirectoryLost(node, _) => {
                Some(node)
            }
            Event::Added(_) => None,
        }
    }

    fn touches(self, partition: &Partition) -> bool {
        match self {
            Event::Removed(node) => partition.isr.contains(&node),
            Event::Added(_) => partition.leader.is_none(),
            Event::UncleanShutdown(node) => {
                partition.isr.contains(&node) || partition.elr.contains(&node)
            }
            Event::DirectoryLost(node, directory) => {
                partition.isr.contains(&node) && partition.directory(node) == Some(directory)
            }
        }
    }
}

/// The changes of all partitions that an event touches, topic after topic. Looks at every partition of the cluster;
/// events are rare.
pub(super) fn changes(image: &Image, settings: &Settings, event: Event) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in image.topics().iter() {
        let mut rules = None;
        for (index, partition) in topic
            .indexed()
            .filter(|(_, partition)| event.touches(partition))
        {
            let rules = rules.get_or_insert_with(|| Rules::of(image, settings, topic));
            let change = PartitionChange::new(image, rules, partition, event);
            records.extend(change.build(topic.id, index).map(MetadataRecord::from));
        }
    }
    records
}

/// The change that an event makes of one partition, as it stands after changes that are not in the image yet.
pub(super) fn change_of_one(
    image: &Image,
    settings: &Settings,
    topic: &Topic,
    (index, partition): (PartitionIndex, &Partition),
    event: Event,
) -> Option<MetadataRecord> {
    let rules = Rules::of(image, settings, topic);
    let change = PartitionChange::new(image, &rules, partition, event);
    change.build(topic.id, index).map(MetadataRecord::from)
}

/// Whether a broker leads a partition.
pub(super) fn has_leaderships(image: &Image, node: NodeId) -> bool {
    let leads = |topic: &Topic| {
        topic
            .partitions
            .iter()
            .any(|partition| partition.leader == Some(node))
    };
    image.topics().iter().any(|topic| leads(topic))
}

/// What holds for all partitions of a topic.
struct Rules {
    /// `min.insync.replicas`, but never more than there are replicas.
    min_isr: usize,
    unclean_election: bool,
    eligible_leader_replicas: bool,
    leader_epoch_bump_on_isr_shrink: bool,
}

impl Rules {
    fn of(image: &Image, settings: &Settings, topic: &Topic) -> Rules {
        let value = |setting| image.topic_value(&topic.name, setting, settings);
        let replicas = topic
            .partitions
            .first()
            .map_or(1, |partition| partition.replicas.len());
        let min_isr = value("min.insync.replicas")
            .and_then(|value| value.as_whole_number())
            .unwrap_or(1);
        Rules {
            min_isr: usize::try_from(min_isr).unwrap_or(1).min(replicas),
            unclean_election: value("unclean.leader.election.enable") == Some(Value::Boolean(true)),
            eligible_leader_replicas: image.features().eligible_leader_replicas(),
            leader_epoch_bump_on_isr_shrink: image
                .features()
                .metadata_version()
                .leader_epoch_bump_on_isr_shrink(),
        }
    }
}

/// One partition on its way to another state.
struct PartitionChange<'a> {
    image: &'a Image,
    rules: &'a Rules,
    partition: &'a Partition,
    event: Event,
    isr: Vec<NodeId>,
    elr: Vec<NodeId>,
    record: PartitionChangeRecord,
}

impl<'a> PartitionChange<'a> {
    fn new(
        image: &'a Image,
        rules: &'a Rules,
        partition: &'a Partition,
        event: Event,
    ) -> PartitionChange<'a> {
        let isr = partition
            .isr
            .iter()
            .copied()
            .filter(|&node| Some(node) != event.gone())
            .collect();
        let elr = partition.elr.clone();
        PartitionChange {
            image,
            rules,
            partition,
            event,
            isr,
            elr,
            record: PartitionChangeRecord::default(),
        }
    }

    fn build(mut self, topic_id: TopicId, index: PartitionIndex) -> Option<PartitionChangeRecord> {
        self.find_eligible();
        let is_clean = self.elect();
        self.record_isr_and_elr(is_clean);
        self.record_last_known_leader();
        let empty = PartitionChangeRecord::default();
        (self.record != empty).then(|| PartitionChangeRecord {
            topic_id: topic_id.0,
            partition_id: index.0,
            ..self.record
        })
    }

    /// The members that leave an ISR which is (or becomes) smaller than it has to be stay eligible: they have all that
    /// was acknowledged.
    fn find_eligible(&mut self) {
        if !self.rules.eligible_leader_replicas {
            return;
        }
        if self.isr.len() >= self.rules.min_isr {
            self.elr.clear();
            return;
        }
        let lost = match self.event {
            Event::UncleanShutdown(node) => Some(node),
            _ => None,
        };
        let mut eligible: Vec<NodeId> = self
            .elr
            .iter()
            .chain(&self.partition.isr)
            .copied()
            .collect();
        eligible.sort_unstable();
        eligible.dedup();
        eligible.retain(|node| !self.isr.contains(node) && Some(*node) != lost);
        self.elr = eligible;
    }

    /// Keeps the leader or finds another; false when it had to be one that may lack records.
    fn elect(&mut self) -> bool {
        let (elected, is_clean) = self.elected();
        if elected == self.partition.leader {
            return true;
        }
        self.record.leader = elected.map_or(NO_LEADER, |node| node.0);
        let Some(leader) = elected else {
            return true;
        };
        if self.elr.contains(&leader) {
            self.isr = vec![leader];
            self.elr.retain(|&node| node != leader);
        }
        if !is_clean {
            // Whatever else is in the log of others gives way to what the leader has.
            self.isr = vec![leader];
            if self.partition.leader_recovery_state == LeaderRecoveryState::Recovered {
                self.record.leader_recovery_state = LeaderRecoveryState::Recovering.code();
            }
        }
        is_clean
    }

    fn elected(&self) -> (Option<NodeId>, bool) {
        let partition = self.partition;
        let mut candidates = partition.leader.iter().chain(&partition.replicas);
        if let Some(&leader) =
            candidates.find(|&&node| self.is_in_sync(node) && self.is_acceptable(node))
        {
            return (Some(leader), true);
        }
        if let Some(last) = self.last_known_leader() {
            return (Some(last), false);
        }
        if self.rules.unclean_election
            && let Some(&leader) = partition
                .replicas
                .iter()
                .find(|&&node| self.is_acceptable(node))
        {
            return (Some(leader), false);
        }
        (None, true)
    }

    fn is_in_sync(&self, node: NodeId) -> bool {
        self.isr.contains(&node) || (self.isr.is_empty() && self.elr.contains(&node))
    }

    fn is_acceptable(&self, node: NodeId) -> bool {
        let Some(broker) = self.image.brokers().get(node) else {
            return false;
        };
        let is_active = self.event == Event::Added(node) || broker.is_active();
        let is_online = self
            .partition
            .directory(node)
            .is_none_or(|directory| has_online(broker, directory));
        Some(node) != self.event.gone() && is_active && is_online
    }

    /// When nobody is in sync or eligible any more, the one who led last has the most.
    fn last_known_leader(&self) -> Option<NodeId> {
        let is_needed =
            self.rules.eligible_leader_replicas && self.isr.is_empty() && self.elr.is_empty();
        match self.partition.last_known_elr.as_slice() {
            &[last] if is_needed && self.is_acceptable(last) => Some(last),
            _ => None,
        }
    }

    fn record_isr_and_elr(&mut self, is_clean: bool) {
        if !is_clean || !self.rules.eligible_leader_replicas {
            self.elr.clear();
        }
        if self.elr != self.partition.elr {
            self.record.eligible_leader_replicas = Some(numbers(&self.elr));
        }
        // Without eligible leader replicas the last member stays in the ISR, be it gone.
        let may_be_empty = self.rules.eligible_leader_replicas;
        if self.isr != self.partition.isr && (may_be_empty || !self.isr.is_empty()) {
            self.record.isr = Some(numbers(&self.isr));
            let shrinks = self
                .partition
                .isr
                .iter()
                .any(|node| !self.isr.contains(node));
            if shrinks
                && self.rules.leader_epoch_bump_on_isr_shrink
                && self.record.leader == NO_LEADER_CHANGE
            {
                self.record.leader = self.partition.leader_or_none().0;
            }
        }
    }

    /// The field for the last known ELR holds who led last, while nobody does.
    fn record_last_known_leader(&mut self) {
        if !self.rules.eligible_leader_replicas {
            return;
        }
        let (partition, record) = (self.partition, &mut self.record);
        let has_leader =
            record.leader >= 0 || (partition.leader.is_some() && record.leader != NO_LEADER);
        let is_emptied = record.isr.as_ref().is_some_and(Vec::is_empty);
        if let Some(last) = partition.leader
            && is_emptied
            && partition.last_known_elr != [last]
        {
            record.last_known_elr = Some(vec![last.0]);
        } else if has_leader && !partition.last_known_elr.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
        debug_assert!(record.leader_recovery_state == NO_RECOVERY_CHANGE || record.leader >= 0);
    }
}

/// Whether a replica that is said to lie in this directory can be served. A directory that is not known yet may be.
/// (DirectoryId.isOnline)
fn has_online(broker: &Broker, directory: DirectoryId) -> bool {
    match directory {
        DirectoryId::ZERO | DirectoryId::ONE => true,
        DirectoryId::TWO => false,
        directory => broker.log_dirs.is_empty() || broker.log_dirs.contains(&directory),
    }
}
