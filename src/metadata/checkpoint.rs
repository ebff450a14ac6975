//! Snapshots of the metadata log: `<end offset>-<epoch>.checkpoint` in its directory, and `bootstrap.checkpoint`, which
//! `storage format` leaves in every log directory. Both are record batches at offsets from 0:
//!
//! | batch | records |
//! |---|---|
//! | control | SnapshotHeader; KRaftVersion and Voters when kraft.version is 1 |
//! | any number | what makes the image from an empty one |
//! | control | SnapshotFooter |
//!
//! A snapshot is written under a name ending in `.part` and renamed once it is on the device; a file under its final
//! name is whole. (org.apache.kafka.snapshot.Snapshots, RecordsSnapshotWriter; org.apache.kafka.metadata.util
//! .BatchFileWriter)

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::control::{self, ControlBatch, Quorum};
use super::{MetadataVersion, records};
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::messages::EncodeError;
use crate::messages::records::control::{SnapshotFooterRecord, SnapshotHeaderRecord};
use crate::messages::records::frame::MetadataRecord;
use crate::record::control::ControlType;
use crate::record::{Batch, BatchBuilder, Corrupt, batches};

/// Name of the file from which an empty metadata log gets its first records.
pub const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// A batch of a snapshot is closed when it has this many bytes. (`internal.metadata.max.batch.size.in.bytes` is the
/// most that Kafka takes; it closes its own by time and size, well below.)
const BATCH_BYTES: usize = 512 << 10;

/// The first batch of a checkpoint, which holds the voters, is smaller than this.
const HEADER_BYTES_MAX: u64 = 64 << 10;

/// What can be wrong with a checkpoint file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Corrupt { path: PathBuf, source: Corrupt },
    #[error("{}: {source}", path.display())]
    Control {
        path: PathBuf,
        source: control::Error,
    },
    #[error("{}: {source}", path.display())]
    Records {
        path: PathBuf,
        source: records::Unreadable,
    },
    #[error("{}: {source}", path.display())]
    Encode { path: PathBuf, source: EncodeError },
    /// The footer is missing: the file was cut.
    #[error("{}: the snapshot ends before its footer", path.display())]
    Cut { path: PathBuf },
}

/// Which snapshot: one past its last offset, and the epoch of the record there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    pub end_offset: Offset,
    pub epoch: LeaderEpoch,
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:010}", self.end_offset.0, self.epoch.0)
    }
}

impl SnapshotId {
    /// The snapshot of an empty log: what `storage format --standalone` writes the voters into.
    pub const EMPTY: SnapshotId = SnapshotId {
        end_offset: Offset::ZERO,
        epoch: LeaderEpoch(0),
    };

    pub fn path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{self}.checkpoint"))
    }

    /// By the name of a whole snapshot's file.
    pub fn of_file_name(name: &str) -> Option<SnapshotId> {
        let (end_offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
        let digits = |text: &str, count| {
            text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(end_offset, 20) || !digits(epoch, 10) {
            return None;
        }
        Some(SnapshotId {
            end_offset: Offset(end_offset.parse().ok()?),
            epoch: LeaderEpoch(epoch.parse().ok()?),
        })
    }
}

/// What a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Of the last record before the snapshot's end; 0 in `bootstrap.checkpoint`.
    pub last_contained_log_timestamp: Timestamp,
    /// The voters when kraft.version is 1, else nothing.
    pub quorum: Option<Quorum>,
    pub records: Vec<MetadataRecord>,
}

/// The whole snapshots in a directory, the oldest first.
pub fn list(directory: &Path) -> Result<Vec<SnapshotId>, Error> {
    let mut found = Vec::new();
    each_file(directory, |name, _| {
        found.extend(SnapshotId::of_file_name(name));
        Ok(())
    })?;
    found.sort_unstable();
    Ok(found)
}

/// Removes unfinished snapshots and those marked for deletion. Only while nothing writes snapshots there.
pub fn remove_leftovers(directory: &Path) -> Result<(), Error> {
    each_file(directory, |name, path| {
        if name.ends_with(".checkpoint.part") || name.ends_with(".checkpoint.deleted") {
            fs::remove_file(path)?;
        }
        Ok(())
    })
}

/// Calls `f` with the name and path of each file in a directory, which may be missing.
fn each_file(
    directory: &Path,
    mut f: impl FnMut(&str, &Path) -> io::Result<()>,
) -> Result<(), Error> {
    let failed = |source| Error::Io {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if let Some(name) = entry.file_name().to_str() {
            f(name, &entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Reads a checkpoint, checking every batch.
pub fn read(path: &Path) -> Result<Checkpoint, Error> {
    let at = || path.to_owned();
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    opened.map_err(|source| Error::Io { path: at(), source })?;
    let mut checkpoint = Checkpoint {
        last_contained_log_timestamp: Timestamp::NONE,
        quorum: None,
        records: Vec::new(),
    };
    let mut is_whole = false;
    for batch in batches(Bytes::from(bytes)) {
        let batch = batch.map_err(|source| Error::Corrupt { path: at(), source })?;
        batch
            .check_crc()
            .map_err(|source| Error::Corrupt { path: at(), source })?;
        if !batch.header.is_control() {
            let records =
                records::decode(&batch).map_err(|source| Error::Records { path: at(), source })?;
            checkpoint.records.extend(records);
            continue;
        }
        let control =
            control::parse(&batch).map_err(|source| Error::Control { path: at(), source })?;
        is_whole |= control.is_footer;
        take(&mut checkpoint, control);
    }
    if !is_whole {
        return Err(Error::Cut { path: at() });
    }
    Ok(checkpoint)
}

/// Of the last record before the snapshot's end: what its header says, without reading the rest.
pub fn last_contained_log_timestamp(path: &Path) -> Result<Timestamp, Error> {
    let at = || path.to_owned();
    let mut bytes = Vec::new();
    let opened =
        File::open(path).and_then(|file| file.take(HEADER_BYTES_MAX).read_to_end(&mut bytes));
    opened.map_err(|source| Error::Io { path: at(), source })?;
    let header = Batch::parse(&Bytes::from(bytes))
        .map_err(|source| Error::Corrupt { path: at(), source })?;
    let header = control::parse(&header).map_err(|source| Error::Control { path: at(), source })?;
    header
        .last_contained_log_timestamp
        .ok_or(Error::Cut { path: at() })
}

fn take(checkpoint: &mut Checkpoint, control: ControlBatch) {
    if let Some(timestamp) = control.last_contained_log_timestamp {
        checkpoint.last_contained_log_timestamp = timestamp;
    }
    if let Some(kraft_version) = control.kraft_version {
        let voters = control.voters.unwrap_or_default();
        checkpoint.quorum = Some(Quorum {
            kraft_version,
            voters,
            recorded: true,
        });
    }
}

/// What a checkpoint is written from.
pub struct Contents<'a, R> {
    pub last_contained_log_timestamp: Timestamp,
    /// Written when its kraft.version is above 0.
    pub quorum: Option<&'a Quorum>,
    pub records: R,
    /// Says in which versions the records are written.
    pub metadata_version: MetadataVersion,
    pub now: Timestamp,
}

/// Writes `path` as a whole and brings it to the device. Snapshots are read-only then, as Kafka's are.
pub fn write(
    path: &Path,
    contents: Contents<'_, impl Iterator<Item = MetadataRecord>>,
) -> Result<(), Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(part)
        .map_err(failed)?;
    each_batch(contents, |batch| {
        file.write_all(&batch.bytes).map_err(Fault::Io)
    })
    .map_err(|fault| match fault {
        Fault::Io(source) => failed(source),
        Fault::Encode(source) => Error::Encode {
            path: path.to_owned(),
            source,
        },
    })?;
    let name = path.file_name().and_then(|name| name.to_str());
    let is_snapshot = name.and_then(SnapshotId::of_file_name).is_some();
    let finish = || {
        if is_snapshot {
            file.set_permissions(Permissions::from_mode(0o400))?;
        }
        file.sync_all()?;
        fs::rename(part, path)?;
        path.parent()
            .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    finish().map_err(failed)
}

enum Fault {
    Io(io::Error),
    Encode(EncodeError),
}

fn each_batch(
    contents: Contents<'_, impl Iterator<Item = MetadataRecord>>,
    mut write: impl FnMut(Batch) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let now = contents.now;
    let mut offset = Offset::ZERO;
    let mut close = |builder: BatchBuilder| {
        let batch = builder
            .base_offset(offset)
            .leader_epoch(LeaderEpoch(0))
            .build();
        offset = batch.header.next_offset();
        write(batch)
    };
    let mut header = BatchBuilder::new().control(true);
    let value = SnapshotHeaderRecord {
        last_contained_log_timestamp: contents.last_contained_log_timestamp.0,
        ..Default::default()
    };
    control::append(&mut header, now, ControlType::SnapshotHeader, &value);
    if let Some(quorum) = contents.quorum.filter(|quorum| quorum.kraft_version > 0) {
        control::append_quorum(&mut header, now, quorum);
    }
    close(header)?;
    let mut builder = BatchBuilder::new();
    for record in contents.records {
        records::append(&mut builder, [record], contents.metadata_version, now)
            .map_err(Fault::Encode)?;
        if builder.size() >= BATCH_BYTES {
            close(std::mem::take(&mut builder))?;
        }
    }
    if !builder.is_empty() {
        close(builder)?;
    }
    let mut footer = BatchBuilder::new().control(true);
    control::append(
        &mut footer,
        now,
        ControlType::SnapshotFooter,
        &SnapshotFooterRecord::default(),
    );
    close(footer)
}

#[cfg(test)]
mod tests;
