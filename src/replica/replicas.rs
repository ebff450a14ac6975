//! The partitions that have a replica on this broker, and the log directories that hold them.
//!
//! The cluster's metadata says which these are: [`Replicas::apply`] makes, changes and removes them before an image
//! is published. The first image opens what the directories hold; what it does not name is put aside. Calls that
//! wait for the disk are made off the reactor; a look-up waits for nothing.
//! (kafka.server.ReplicaManager, kafka.log.LogManager)

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;

use super::assignment::Assignments;
use super::cleaning::Cleaning;
use super::config::PartitionConfig;
use super::directories::{Directories, Found, LogDir};
use super::disk_reads::DiskReads;
use super::failure::DirectoryStates;
use super::moves::Moves;
use super::partition::{Error, Partition};
use super::shared_configs::SharedConfigs;
use super::stale::StaleCheckpoints;
use crate::clock::Clock;
use crate::config::{CurrentSettings, Layers, Settings};
use crate::ids::{BrokerEpoch, DirectoryId, NodeId, PartitionIndex, TopicId, TopicPartition};
use crate::metadata::{self, Delta, Image, MetadataListener, Resource, ResourceKind, Topic};

pub(super) type Key = (TopicId, PartitionIndex);

/// See the module.
#[derive(Debug)]
pub struct Replicas {
    settings: CurrentSettings,
    node: NodeId,
    clock: Clock,
    pub(super) directories: Directories,
    pub(super) hosted: DashMap<Key, Hosted>,
    /// Which directories are offline and which are cordoned.
    pub(super) states: DirectoryStates,
    /// What the controller is to be told of where replicas lie.
    pub(super) assignments: Assignments,
    pub(super) cleaning: Cleaning,
    /// Logs that are on their way from one directory to another.
    pub(super) moves: Moves,
    configs: SharedConfigs,
    disk_reads: DiskReads,
    /// Whether the directories have been opened, by the first image.
    loaded: AtomicBool,
    /// Whether the logs are closed; locked by each piece of upkeep and while they are being closed, so that no upkeep
    /// touches a closed log.
    closed: Mutex<bool>,
    /// Locked while checkpoints are written.
    checkpointing: Mutex<()>,
    pub(super) stale: StaleCheckpoints,
}

/// A replica here.
#[derive(Clone, Debug)]
pub(super) enum Hosted {
    Online {
        partition: Arc<Partition>,
        /// Its place among the directories.
        directory: usize,
    },
    /// Its log or its directory cannot be used; why was told when that was found.
    Offline,
}

impl Replicas {
    /// The replicas of a broker with these locked directories. None is open until the first image is applied.
    pub fn new(
        settings: impl Into<CurrentSettings>,
        clock: Clock,
        directories: Vec<LogDir>,
    ) -> Replicas {
        let settings = settings.into();
        let directories = Directories::new(&settings, directories);
        directories.cordon(settings.file().list("cordoned.log.dirs"));
        Replicas {
            node: settings.file().node_id(),
            states: DirectoryStates::of(&directories),
            assignments: Assignments::default(),
            moves: Moves::default(),
            directories,
            clock,
            hosted: DashMap::new(),
            cleaning: Cleaning::default(),
            configs: SharedConfigs::default(),
            disk_reads: DiskReads::new(settings.file().num_io_threads()),
            loaded: AtomicBool::new(false),
            closed: Mutex::new(false),
            checkpointing: Mutex::default(),
            stale: StaleCheckpoints::default(),
            settings,
        }
    }

    /// Where reads wait for the device.
    pub fn disk_reads(&self) -> &DiskReads {
        &self.disk_reads
    }

    /// A partition that is here. [`Error::NotLeader`] when it is not, [`Error::Offline`] when its log is not usable.
    pub fn get(&self, topic: TopicId, partition: PartitionIndex) -> Result<Arc<Partition>, Error> {
        match self.hosted.get(&(topic, partition)).as_deref() {
            Some(Hosted::Online { partition, .. }) => Ok(partition.clone()),
            Some(Hosted::Offline) => Err(Error::Offline),
            None => Err(Error::NotLeader),
        }
    }

    /// A partition that is here, by the name that its topic has in `image`.
    pub fn by_name(
        &self,
        image: &Image,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<Arc<Partition>, Error> {
        let topic = image.topics().by_name(topic).ok_or(Error::Gone)?;
        self.get(topic.id, partition)
    }

    /// Every partition whose log is open, with the id of its directory.
    pub fn online(&self) -> Vec<(Arc<Partition>, DirectoryId)> {
        self.list(|partition, directory| Some((partition.clone(), self.directories.id(directory))))
    }

    /// The settings of a topic by an image: its own, over those of the brokers, over the file's.
    pub fn config_of(&self, image: &Image, topic: &str) -> Arc<PartitionConfig> {
        let look_up = |resource: Resource| {
            move |name: &str| {
                image
                    .configs()
                    .value(&resource, name)
                    .map(|value| value.to_string())
            }
        };
        let own = look_up(Resource::topic(topic));
        let broker = look_up(Resource::broker(self.node));
        let cluster = look_up(Resource::all_brokers());
        let layers = Layers {
            own: &own,
            broker: &broker,
            cluster: &cluster,
        };
        self.configs
            .share(PartitionConfig::of(&self.settings.file().topic(layers)))
    }

    /// Opens every log that the directories hold and the image names; puts others aside as strays.
    fn load(&self, image: &Image) {
        let now = self.clock.now();
        let configs: DashMap<TopicId, Arc<PartitionConfig>> = DashMap::new();
        let wanted = |found: &Found| -> Option<Arc<PartitionConfig>> {
            let topic = image.topics().by_name(&found.name.topic)?;
            let here = topic
                .partition(found.name.partition)
                .is_some_and(|partition| partition.is_replica(self.node));
            // A log of before topic ids belongs to the topic of its name.
            let same = found.topic_id.is_none_or(|id| id == topic.id);
            let config = || self.config_of(image, &topic.name);
            (here && same).then(|| configs.entry(topic.id).or_insert_with(config).clone())
        };
        let mut unopened = BTreeSet::new();
        for opened in self.directories.open_all(&wanted, now) {
            let Some(topic) = image.topics().by_name(&opened.name.topic) else {
                continue;
            };
            let name = TopicPartition {
                topic: topic.name.clone(),
                partition: opened.name.partition,
            };
            let key = (topic.id, name.partition);
            let hosted = match opened.log {
                Ok((log, config)) => {
                    let known = self.directories.high_watermark(opened.directory, &name);
                    let partition = Partition::new(
                        name,
                        topic.id,
                        Arc::new(log),
                        config,
                        known,
                        self.directories.flusher(opened.directory),
                    );
                    Hosted::Online {
                        partition,
                        directory: opened.directory,
                    }
                }
                Err(error) => {
                    tracing::error!(partition = %name, %error, "the partition stays offline");
                    self.directories.went_offline(opened.directory);
                    unopened.insert((opened.directory, name));
                    Hosted::Offline
                }
            };
            self.host(key, hosted);
        }
        self.resume_moves(image);
        self.directories.forget_checkpoints(&unopened);
        self.stale.all();
        self.directories.sync_names();
    }

    /// Takes a replica in. One whose directory has failed meanwhile is offline with it.
    pub(super) fn host(&self, key: Key, hosted: Hosted) {
        let directory = match &hosted {
            Hosted::Online { directory, .. } => Some(*directory),
            Hosted::Offline => None,
        };
        self.hosted.insert(key, hosted);
        if let Some(directory) = directory.filter(|at| !self.directories.is_online(*at)) {
            self.take_offline(directory);
        }
    }

    /// Makes partitions of a topic what the image says of them.
    fn settle_all(
        &self,
        image: &Image,
        topic: &Topic,
        partitions: impl Iterator<Item = PartitionIndex>,
    ) {
        let config = OnceCell::new();
        let config = || {
            config
                .get_or_init(|| self.config_of(image, &topic.name))
                .clone()
        };
        partitions.for_each(|index| {
            self.settle(topic, index, &config);
            self.compare_assignment(image, topic, index);
        });
    }

    fn settle(
        &self,
        topic: &Topic,
        index: PartitionIndex,
        config: &dyn Fn() -> Arc<PartitionConfig>,
    ) {
        let Some(registration) = topic.partition(index) else {
            return;
        };
        if !registration.is_replica(self.node) {
            return self.remove(topic, index);
        }
        let key = (topic.id, index);
        if !self.hosted.contains_key(&key) {
            let hosted = self.create(topic, index, registration, config());
            self.host(key, hosted);
        }
        let Ok(partition) = self.get(topic.id, index) else {
            return;
        };
        if let Err(error) = self.give_role(&partition, registration) {
            tracing::error!(partition = %partition.topic_partition(), %error, "the partition goes offline");
            partition.go_offline();
            if let Some(Hosted::Online { directory, .. }) = self.hosted.insert(key, Hosted::Offline)
            {
                self.directories.keep_checkpoints(directory, &partition);
                self.directories.went_offline(directory);
            }
        }
    }

    fn create(
        &self,
        topic: &Topic,
        index: PartitionIndex,
        registration: &metadata::Partition,
        config: Arc<PartitionConfig>,
    ) -> Hosted {
        let name = TopicPartition {
            topic: topic.name.clone(),
            partition: index,
        };
        self.forget_deleted(&name.topic);
        let place = self.directories.place(
            registration.directory(self.node),
            self.preferred(&name),
            || self.count_by_directory(),
        );
        let Some(directory) = place else {
            tracing::warn!(partition = %name, "the partition lies in a log directory that is offline");
            return Hosted::Offline;
        };
        match self.directories.create(
            directory,
            &name,
            topic.id,
            config.log.clone(),
            self.clock.now(),
        ) {
            Ok(log) => {
                let start = log.log_start_offset();
                let partition = Partition::new(
                    name,
                    topic.id,
                    Arc::new(log),
                    config,
                    start,
                    self.directories.flusher(directory),
                );
                Hosted::Online {
                    partition,
                    directory,
                }
            }
            Err(error) => {
                tracing::error!(partition = %name, %error, "the partition's log cannot be made");
                Hosted::Offline
            }
        }
    }

    fn give_role(
        &self,
        partition: &Partition,
        registration: &metadata::Partition,
    ) -> Result<(), Error> {
        if registration.leader != Some(self.node) {
            partition.stop_leading(registration.leader_epoch);
            return Ok(());
        }
        let (isr, replicas) = (registration.isr.len(), registration.replicas.len());
        partition.lead(
            registration.leader_epoch,
            registration.partition_epoch,
            isr,
            replicas,
        )
    }

    /// Ends a partition here and has its files removed later.
    fn remove(&self, topic: &Topic, index: PartitionIndex) {
        let _changing = self.lock_changing();
        match self.hosted.remove(&(topic.id, index)) {
            Some((
                _,
                Hosted::Online {
                    partition,
                    directory,
                },
            )) => {
                partition.retire();
                self.stale.deleted(&topic.name);
                self.forget_uncleanable(&partition);
                self.drop_future(&partition);
                let name = partition.topic_partition();
                let now = self.clock.steady();
                self.directories
                    .delete(directory, name, &partition.log(), now);
            }
            Some((_, Hosted::Offline)) => {
                self.directories.forget_unopened(&TopicPartition {
                    topic: topic.name.clone(),
                    partition: index,
                });
                self.stale.deleted(&topic.name);
            }
            None => {}
        }
    }

    fn count_by_directory(&self) -> Vec<usize> {
        let mut counts = vec![0; self.directories.len()];
        for hosted in &self.hosted {
            if let Hosted::Online { directory, .. } = hosted.value() {
                counts[*directory] += 1;
            }
        }
        counts
    }

    fn reconfigure(&self, image: &Image, topic: &Topic) {
        let config = self.config_of(image, &topic.name);
        for (index, _) in topic.indexed() {
            if let Ok(partition) = self.get(topic.id, index) {
                partition.update_config(config.clone());
            }
        }
    }

    fn apply_configs(&self, image: &Image, delta: &Delta) {
        let broker = Resource::broker(self.node);
        if delta.configs.contains(&broker) {
            self.cordon_as(image);
        }
        if delta.configs.contains(&Resource::all_brokers()) {
            self.limit_moves_as(image);
        }
        if delta
            .configs
            .iter()
            .any(|changed| *changed == broker || *changed == Resource::all_brokers())
        {
            self.follow_settings();
            return image
                .topics()
                .iter()
                .for_each(|topic| self.reconfigure(image, topic));
        }
        for changed in delta
            .configs
            .iter()
            .filter(|changed| changed.kind == ResourceKind::Topic)
        {
            if let Some(topic) = image.topics().by_name(&changed.name) {
                self.reconfigure(image, topic);
            }
        }
    }

    fn follow_settings(&self) {
        self.directories.follow_settings();
        self.disk_reads.resize(self.settings().num_io_threads());
    }

    /// Closes every log and marks the directories as cleanly stopped. Nothing may be appended any more.
    pub fn shut_down(&self, broker_epoch: BrokerEpoch) {
        self.cleaning.stop();
        let mut closed = self.closed();
        *closed = true;
        self.stop_moves();
        let online = self.online_by_directory();
        for (partition, _) in &online {
            partition.retire();
        }
        self.close_futures(&online);
        let loaded = self.loaded.load(Ordering::Acquire);
        self.directories
            .close(&online, loaded.then_some(broker_epoch));
    }

    /// Writes the checkpoints `names` of the partitions that are here now.
    pub(super) fn checkpoint(&self, names: &[&'static str]) {
        self.checkpoint_due(|| names, || {});
    }

    /// The same of those that `due` names when nobody else writes any. `failed` is called where one of them could not be
    /// written, before anybody else asks what is due.
    pub(super) fn checkpoint_due<'a>(
        &self,
        due: impl FnOnce() -> &'a [&'static str],
        failed: impl FnOnce(),
    ) {
        // An older list must not be written over a newer one.
        let _one = self
            .checkpointing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let names = due();
        if !names.is_empty()
            && !self
                .directories
                .checkpoint(&self.online_by_directory(), names)
        {
            failed();
        }
    }

    pub(super) fn closed(&self) -> MutexGuard<'_, bool> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list: who waits for the disk with each of them must not hold up look-ups meanwhile.
    pub(super) fn online_by_directory(&self) -> Vec<(Arc<Partition>, usize)> {
        self.list(|partition, directory| Some((partition.clone(), directory)))
    }

    /// Those with `cleanup.policy=compact`, likewise.
    pub(super) fn compacted(&self) -> Vec<Arc<Partition>> {
        self.list(|partition, _| partition.is_compacted().then(|| partition.clone()))
    }

    fn list<T>(&self, of: impl Fn(&Arc<Partition>, usize) -> Option<T>) -> Vec<T> {
        let online = self
            .hosted
            .iter()
            .filter_map(|hosted| match hosted.value() {
                Hosted::Online {
                    partition,
                    directory,
                } => of(partition, *directory),
                Hosted::Offline => None,
            });
        online.collect()
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// As they are now.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.now()
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl MetadataListener for Replicas {
    fn apply(&self, image: &Arc<Image>, delta: &Delta) {
        self.announce_moves_as(image);
        if !self.loaded.load(Ordering::Acquire) {
            self.load(image);
            for topic in image.topics().iter() {
                self.settle_all(image, topic, topic.indexed().map(|(index, _)| index));
            }
            self.cordon_as(image);
            self.limit_moves_as(image);
            self.follow_settings();
            self.loaded.store(true, Ordering::Release);
            return;
        }
        for topic in delta.deleted.values() {
            topic
                .indexed()
                .for_each(|(index, _)| self.remove(topic, index));
        }
        for (id, changed) in &delta.topics {
            if let Some(topic) = image.topics().by_id(*id) {
                self.settle_all(image, topic, changed.partitions.iter().copied());
            }
        }
        self.directories.sync_names();
        self.apply_configs(image, delta);
    }
}

#[cfg(test)]
mod tests;
