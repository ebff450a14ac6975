//! What makes a directory a log directory of one node of one cluster: `meta.properties`, the lock on it, and how both
//! come to be (`storage format`, or the first start of a node that is its own cluster).
//!
//! `meta.properties` are Java properties: `version=1`, `cluster.id`, `node.id`, `directory.id`. They are written last, so
//! that a directory that has them is whole. (org.apache.kafka.metadata.properties, .metadata.storage.Formatter)

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock, flock};

use super::checkpoint::{self, BOOTSTRAP, Contents, SnapshotId};
use super::control::{Quorum, Voter, VoterEndpoint, Voters};
use super::{CLUSTER_METADATA, METADATA_VERSION, MetadataVersion};
use crate::config::features::{FEATURES, KRAFT_VERSION};
use crate::config::{Role, Settings};
use crate::ids::{DirectoryId, KafkaUuid, NodeId, Timestamp};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::FeatureLevelRecord;

const META_PROPERTIES: &str = "meta.properties";
const LOCK: &str = ".lock";

/// Why log directories cannot be used. Each is one line that names the cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("log directory {} is in use: another broker holds its {LOCK}", .0.display())]
    Locked(PathBuf),
    #[error(
        "log directory {} is not formatted: run `dohle storage format -c FILE -t CLUSTER_ID` first (with --standalone, \
         --initial-controllers or --no-initial-controllers where controller.quorum.voters is not set)",
        .0.display()
    )]
    NotFormatted(PathBuf),
    #[error("log directory {} is not formatted, but not empty either; it is left as it is", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} belongs to cluster {found}, the others to {expected}", path.display())]
    OtherCluster {
        path: PathBuf,
        found: String,
        expected: String,
    },
    #[error("{} belongs to node {found}, but node.id is {expected}", path.display())]
    OtherNode {
        path: PathBuf,
        found: NodeId,
        expected: NodeId,
    },
    #[error("{} and {} have the same directory.id: one is a copy of the other", .0.display(), .1.display())]
    SameDirectory(PathBuf, PathBuf),
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
}

fn failed_at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// The content of `meta.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// `None` in a directory that was formatted before Kafka 3.7.
    pub directory_id: Option<DirectoryId>,
}

impl fmt::Display for MetaProperties {
    /// As `kafka-storage info` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{cluster.id={}, ", self.cluster_id)?;
        if let Some(id) = self.directory_id {
            write!(f, "directory.id={id}, ")?;
        }
        write!(f, "node.id={}, version=1}}", self.node_id)
    }
}

impl MetaProperties {
    pub fn path(directory: &Path) -> PathBuf {
        directory.join(META_PROPERTIES)
    }

    /// `None` when the directory has none, or is not there itself.
    pub fn read(directory: &Path) -> Result<Option<MetaProperties>, Error> {
        let path = MetaProperties::path(directory);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, source }),
        };
        let malformed = |reason: String| Error::Malformed {
            path: path.clone(),
            reason,
        };
        let properties =
            java_properties::read(file).map_err(|error| malformed(error.to_string()))?;
        let required = |name: &str| {
            properties
                .get(name)
                .ok_or_else(|| malformed(format!("Failed to find {name}")))
        };
        let version = required("version")?;
        if version != "1" {
            return Err(malformed(format!(
                "version {version} is not one that Kafka 4 writes"
            )));
        }
        let node_id = required("node.id")?;
        let node_id = node_id
            .parse()
            .map_err(|_| malformed(format!("node.id={node_id} is no number")))?;
        let directory_id = match properties.get("directory.id") {
            Some(text) => Some(
                KafkaUuid::parse(text)
                    .ok_or_else(|| malformed(format!("directory.id={text} is no id")))?,
            ),
            None => None,
        };
        let cluster_id = required("cluster.id")?.clone();
        Ok(Some(MetaProperties {
            cluster_id,
            node_id: NodeId(node_id),
            directory_id,
        }))
    }

    /// Replaces the directory's `meta.properties` as a whole.
    pub fn write(&self, directory: &Path, now: Timestamp) -> Result<(), Error> {
        let path = MetaProperties::path(directory);
        let part = directory.join("meta.properties.tmp");
        let mut text = format!("#\n#{}\nnode.id={}\n", java_date(now), self.node_id);
        if let Some(id) = self.directory_id {
            text.push_str(&format!("directory.id={id}\n"));
        }
        text.push_str(&format!("version=1\ncluster.id={}\n", self.cluster_id));
        let write = || {
            let mut file = File::create(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(failed_at(&path))
    }
}

/// `java.util.Date.toString` in UTC, as Java heads its properties files: `Sat Nov 21 11:12:38 UTC 2026`.
fn java_date(now: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = now.0.max(0).unsigned_abs() / 1000;
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let weekday = DAYS[usize::try_from(days % 7).unwrap_or(0)];
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!(
        "{weekday} {} {:02} {hour:02}:{minute:02}:{second:02} UTC {year}",
        MONTHS[month],
        day + 1
    )
}

/// All directories that a node keeps files in, in order, each once: `log.dirs` and `metadata.log.dir`.
pub fn directories(settings: &Settings) -> BTreeSet<PathBuf> {
    let metadata = settings.metadata_log_dir().to_owned();
    settings
        .log_dirs()
        .iter()
        .cloned()
        .chain([metadata])
        .collect()
}

/// What directories are formatted with.
pub struct Format {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// The first records of the metadata log.
    pub records: Vec<MetadataRecord>,
    pub metadata_version: MetadataVersion,
    /// Where the metadata log lies, and the id of that directory.
    pub metadata_dir: (PathBuf, DirectoryId),
    /// The first voters, where they are not fixed by `controller.quorum.voters`.
    pub voters: Option<Voters>,
}

impl Format {
    /// Makes `directory` a log directory, creating it if need be.
    pub fn apply(&self, directory: &Path, now: Timestamp) -> Result<(), Error> {
        fs::create_dir_all(directory).map_err(failed_at(directory))?;
        let is_metadata_dir = directory == self.metadata_dir.0;
        if let Some(voters) = self.voters.as_ref().filter(|_| is_metadata_dir) {
            let log = directory.join(format!("{CLUSTER_METADATA}-0"));
            fs::create_dir_all(&log).map_err(failed_at(&log))?;
            let quorum = Quorum {
                kraft_version: 1,
                voters: voters.clone(),
                recorded: false,
            };
            let contents = Contents {
                last_contained_log_timestamp: now,
                quorum: Some(&quorum),
                records: [].into_iter(),
                metadata_version: self.metadata_version,
                now,
            };
            checkpoint::write(&SnapshotId::EMPTY.path(&log), contents)?;
        }
        let contents = Contents {
            last_contained_log_timestamp: Timestamp(0),
            quorum: None,
            records: self.records.iter().cloned(),
            metadata_version: self.metadata_version,
            now,
        };
        checkpoint::write(&directory.join(BOOTSTRAP), contents)?;
        let id = if is_metadata_dir {
            self.metadata_dir.1
        } else {
            KafkaUuid::random()
        };
        let meta = MetaProperties {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id,
            directory_id: Some(id),
        };
        meta.write(directory, now)
    }

    /// For a node that is its own cluster: a random cluster id and the features of this version.
    fn own_cluster(settings: &Settings) -> Format {
        let id = KafkaUuid::random();
        Format {
            cluster_id: KafkaUuid::random().to_string(),
            node_id: settings.node_id(),
            records: feature_records(
                FEATURES
                    .iter()
                    .map(|feature| (feature.name, feature.default)),
            ),
            metadata_version: MetadataVersion::LATEST,
            metadata_dir: (settings.metadata_log_dir().to_owned(), id),
            voters: settings
                .voters()
                .is_empty()
                .then(|| standalone_voters(settings, id)),
        }
    }
}

/// The records of finalized features: `metadata.version` first, the others by name, none for level 0. `kraft.version` is
/// told by control records. (Formatter.calculateBootstrapMetadata)
pub fn feature_records<'a>(
    levels: impl IntoIterator<Item = (&'a str, i16)>,
) -> Vec<MetadataRecord> {
    let mut levels: BTreeMap<&str, i16> =
        levels.into_iter().filter(|(_, level)| *level > 0).collect();
    levels.remove(KRAFT_VERSION);
    let first = levels.remove_entry(METADATA_VERSION);
    let record = |(name, feature_level): (&str, i16)| {
        let name = crate::messages::text(name);
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name,
            feature_level,
            ..Default::default()
        })
    };
    first.into_iter().chain(levels).map(record).collect()
}

/// This node as the only voter, at what its controller listeners advertise.
pub fn standalone_voters(settings: &Settings, directory_id: DirectoryId) -> Voters {
    let endpoint = |listener: &crate::config::Listener| VoterEndpoint {
        name: listener.name.clone(),
        host: if listener.host.is_empty() {
            host_name()
        } else {
            listener.host.clone()
        },
        port: listener.port,
    };
    let endpoints = settings
        .advertised_controller_listeners()
        .take(1)
        .map(endpoint)
        .collect();
    let voter = Voter {
        directory_id,
        endpoints,
        kraft_versions: (0, 1),
    };
    Voters::from([(settings.node_id(), voter)])
}

/// The name of this machine, for listeners on all its interfaces.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The log directories of a running node; holds their locks.
#[derive(Debug)]
pub struct Storage {
    pub cluster_id: String,
    /// By path.
    pub directories: BTreeMap<PathBuf, DirectoryId>,
    /// Log directories that cannot be read, and why. The metadata log's is never one.
    pub failed: BTreeMap<PathBuf, Error>,
    _locks: Vec<File>,
}

impl Storage {
    /// Locks the directories and checks that they belong together and to this node. Formats them when all are empty
    /// and the node is the only voter.
    pub fn open(settings: &Settings, now: Timestamp) -> Result<Storage, Error> {
        let mut paths = directories(settings);
        let mut locks = Vec::with_capacity(paths.len());
        let mut failed = BTreeMap::new();
        // A disk that is broken takes its own directory away, not the node.
        let mut set_aside = |path: &Path, error: Error| match error {
            error @ Error::Io { .. } if path != settings.metadata_log_dir() => {
                tracing::error!(%error, "the log directory is offline from the start");
                failed.insert(path.to_owned(), error);
                Ok(())
            }
            error => Err(error),
        };
        for path in &paths {
            let locked = fs::create_dir_all(path).map_err(failed_at(path));
            match locked.and_then(|()| lock(path)) {
                Ok(lock) => locks.push(lock),
                Err(error) => set_aside(path, error)?,
            }
        }
        for path in &paths {
            if let Err(error) = MetaProperties::read(path) {
                set_aside(path, error)?;
            }
        }
        paths.retain(|path| !failed.contains_key(path));
        let is_formatted = MetaProperties::path(settings.metadata_log_dir()).exists();
        if !is_formatted && failed.is_empty() && is_only_voter(settings) {
            format_own_cluster(settings, &paths, now)?;
        }
        let mut directories = BTreeMap::new();
        let mut cluster_id: Option<String> = None;
        for path in paths {
            let meta =
                MetaProperties::read(&path)?.ok_or_else(|| Error::NotFormatted(path.clone()))?;
            let id = check(&path, meta, settings.node_id(), &mut cluster_id, now)?;
            if let Some((other, _)) = directories.iter().find(|(_, other)| **other == id) {
                return Err(Error::SameDirectory(PathBuf::clone(other), path));
            }
            directories.insert(path, id);
        }
        Ok(Storage {
            cluster_id: cluster_id.unwrap_or_default(),
            directories,
            failed,
            _locks: locks,
        })
    }
}

/// Checks that a directory is this node's and of the same cluster as the others; gives it an id if it has none yet.
fn check(
    directory: &Path,
    meta: MetaProperties,
    node_id: NodeId,
    cluster_id: &mut Option<String>,
    now: Timestamp,
) -> Result<DirectoryId, Error> {
    let path = || MetaProperties::path(directory);
    if meta.node_id != node_id {
        return Err(Error::OtherNode {
            path: path(),
            found: meta.node_id,
            expected: node_id,
        });
    }
    let expected = cluster_id.get_or_insert_with(|| meta.cluster_id.clone());
    if *expected != meta.cluster_id {
        return Err(Error::OtherCluster {
            path: path(),
            found: meta.cluster_id,
            expected: expected.clone(),
        });
    }
    if let Some(id) = meta.directory_id {
        return Ok(id);
    }
    let id = KafkaUuid::random();
    MetaProperties {
        directory_id: Some(id),
        ..meta
    }
    .write(directory, now)?;
    Ok(id)
}

/// The metadata log's directory comes last: without it the node counts as not formatted, and is formatted again. What
/// was formatted before stays, and tells the cluster's id.
fn format_own_cluster(
    settings: &Settings,
    paths: &BTreeSet<PathBuf>,
    now: Timestamp,
) -> Result<(), Error> {
    let (mut unformatted, mut cluster_id) = (Vec::new(), None);
    for path in paths {
        let formatted = MetaProperties::read(path)?;
        match (is_empty(path)?, formatted) {
            (true, None) => unformatted.push(path),
            (true, Some(meta)) => {
                check(path, meta, settings.node_id(), &mut cluster_id, now)?;
            }
            (false, None) => return Err(Error::NotEmpty(path.clone())),
            // It has been in use: the metadata log was lost, or lies elsewhere.
            (false, Some(_)) => {
                return Err(Error::NotFormatted(settings.metadata_log_dir().to_owned()));
            }
        }
    }
    let mut format = Format::own_cluster(settings);
    if let Some(cluster_id) = cluster_id {
        format.cluster_id = cluster_id;
    }
    let is_metadata_dir = |path: &&&PathBuf| ***path == format.metadata_dir.0;
    for path in unformatted
        .iter()
        .filter(|path| !is_metadata_dir(path))
        .chain(unformatted.iter().filter(is_metadata_dir))
    {
        format.apply(path, now)?;
    }
    tracing::info!(
        cluster_id = format.cluster_id,
        node_id = format.node_id.0,
        "formatted the log directories"
    );
    Ok(())
}

/// Whether the node is a cluster of its own by its settings: the only fixed voter, or, where voters are not fixed, the
/// only controller to ask for them.
fn is_only_voter(settings: &Settings) -> bool {
    if !settings.has_role(Role::Controller) {
        return false;
    }
    if let [voter] = settings.voters() {
        return voter.id == settings.node_id();
    }
    let [(host, port)] = settings.bootstrap_servers() else {
        return false;
    };
    let local = ["localhost", "127.0.0.1", "::1"].contains(&host.as_str()) || *host == host_name();
    settings.voters().is_empty()
        && settings
            .controller_listeners()
            .chain(settings.advertised_controller_listeners())
            .any(|listener| listener.port == *port && (listener.host == *host || local))
}

/// Whether a directory holds nothing that anyone could miss: what a formatting that was cut off leaves is nothing.
fn is_empty(directory: &Path) -> Result<bool, Error> {
    let nothing = [
        LOCK,
        "lost+found",
        BOOTSTRAP,
        "bootstrap.checkpoint.part",
        META_PROPERTIES,
        "meta.properties.tmp",
    ];
    for entry in fs::read_dir(directory).map_err(failed_at(directory))? {
        let entry = entry.map_err(failed_at(directory))?;
        let name = entry.file_name();
        if nothing.iter().any(|one| name == *one) {
            continue;
        }
        let cut_off =
            name.to_str().and_then(|name| name.strip_suffix("-0")) == Some(CLUSTER_METADATA);
        let path = entry.path();
        if !cut_off
            || !fs::read_dir(&path)
                .map_err(failed_at(&path))?
                .all(|file| file.is_ok_and(is_of_format))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_of_format(file: fs::DirEntry) -> bool {
    file.file_name()
        .to_string_lossy()
        .starts_with(&format!("{}.checkpoint", SnapshotId::EMPTY))
}

/// Locks a directory for who only reads in it: `None` when it has no lock file, and when it may not be written to, so
/// that no broker of this user can run on it.
pub fn lock_if_there(directory: &Path) -> Result<Option<File>, Error> {
    let path = directory.join(LOCK);
    match File::options().write(true).read(true).open(&path) {
        Ok(file) => take(directory, file).map(Some),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(Error::Io { path, source }),
    }
}

fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(&path)
        .map_err(failed_at(&path))?;
    take(directory, file)
}

/// Takes the lock that Kafka takes too (POSIX), and one that also holds between brokers in one process (BSD).
fn take(directory: &Path, file: File) -> Result<File, Error> {
    let path = directory.join(LOCK);
    let taken = flock(&file, FlockOperation::NonBlockingLockExclusive)
        .and_then(|()| fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive));
    match taken.map_err(io::Error::from) {
        Ok(()) => Ok(file),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied
            ) =>
        {
            Err(Error::Locked(directory.to_owned()))
        }
        Err(source) => Err(Error::Io { path, source }),
    }
}

#[cfg(test)]
mod tests;
