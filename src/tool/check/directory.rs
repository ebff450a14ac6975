//! One log directory: what belongs to no single partition, the logs in it, and the checkpoints held against the logs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::controller::raft::quorum_state;
use crate::ids::{Offset, TopicPartition};
use crate::log::check::{self, Checked, Expected, Finding, Severity};
use crate::log::checkpoints::{self, Offsets};
use crate::log::directory::{CLEAN_SHUTDOWN, Kind, parse_name};
use crate::metadata::checkpoint::{self, BOOTSTRAP};
use crate::metadata::storage::{self, MetaProperties};
use crate::metadata::{CLUSTER_METADATA, control, records};
use crate::record::Batch;
use crate::tool::Failure;

/// A directory whose lock is held.
pub(super) struct Directory {
    path: PathBuf,
    clean: bool,
    recovery_points: Offsets,
    high_watermarks: Offsets,
    log_starts: Offsets,
    partitions: Vec<(TopicPartition, PathBuf)>,
    pub(super) findings: Vec<Finding>,
    _lock: Option<File>,
}

/// One log to be checked.
pub(super) struct Job<'a> {
    pub(super) directory: &'a Directory,
    partition: &'a TopicPartition,
    path: &'a Path,
}

impl Directory {
    /// Opens a log directory, or the one that a partition's directory lies in, for that partition alone.
    pub(super) fn open(path: &Path) -> Result<Directory, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
        let path = fs::canonicalize(path).map_err(|error| failed(&error))?;
        if !path.is_dir() {
            return Err(failed(&"not a directory"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let single = parse_name(&name).filter(|_| !MetaProperties::path(&path).exists());
        let root = match single {
            Some(_) => path.parent().unwrap_or(&path).to_owned(),
            None => path.clone(),
        };
        let lock =
            storage::lock_if_there(&root).map_err(|error| Failure::new(error.to_string()))?;
        let mut directory = Directory {
            clean: root.join(CLEAN_SHUTDOWN).exists(),
            recovery_points: Offsets::new(),
            high_watermarks: Offsets::new(),
            log_starts: Offsets::new(),
            partitions: Vec::new(),
            findings: Vec::new(),
            path: root,
            _lock: lock,
        };
        directory.read_checkpoints();
        if let Some((partition, _)) = single {
            directory.partitions.push((partition, path));
        } else {
            directory.read_own_files();
            directory
                .find_partitions()
                .map_err(|error| failed(&error))?;
        }
        Ok(directory)
    }

    fn damage(&mut self, path: &Path, what: impl ToString) {
        self.findings.push(finding(Severity::Damage, path, what));
    }

    fn read_checkpoints(&mut self) {
        let mut read = |name: &str| {
            let path = self.path.join(name);
            checkpoints::read(&path).unwrap_or_else(|error| {
                self.findings.push(finding(Severity::Damage, &path, error));
                Offsets::new()
            })
        };
        let (recovery_points, high_watermarks) = (
            read(checkpoints::RECOVERY_POINT),
            read(checkpoints::HIGH_WATERMARK),
        );
        let log_starts = read(checkpoints::LOG_START);
        read(checkpoints::CLEANER);
        (self.recovery_points, self.high_watermarks) = (recovery_points, high_watermarks);
        self.log_starts = log_starts;
    }

    fn read_own_files(&mut self) {
        let path = MetaProperties::path(&self.path);
        match MetaProperties::read(&self.path) {
            Ok(Some(_)) => {}
            Ok(None) => self.damage(&path, "missing: no broker takes this for a log directory"),
            Err(error) => self.damage(&path, error),
        }
        let path = self.path.join(BOOTSTRAP);
        if path.exists()
            && let Err(error) = checkpoint::read(&path)
        {
            self.damage(&path, error);
        }
        if !self.clean {
            let note = finding(
                Severity::Note,
                &self.path,
                "not stopped cleanly: the next start recovers the logs",
            );
            self.findings.push(note);
        }
    }

    fn find_partitions(&mut self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let Some((partition, kind)) = parse_name(&name).filter(|_| path.is_dir()) else {
                continue;
            };
            match kind {
                Kind::Current | Kind::Future => self.partitions.push((partition, path)),
                Kind::Delete => {}
                Kind::Stray => {
                    let note = finding(
                        Severity::Note,
                        &path,
                        "a log that the metadata did not know; it is not checked",
                    );
                    self.findings.push(note);
                }
            }
        }
        self.partitions.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(())
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = Job<'_>> {
        self.partitions.iter().map(|(partition, path)| Job {
            directory: self,
            partition,
            path,
        })
    }

    /// What the checkpoints say of a log that is not so.
    pub(super) fn hold_against(&self, job: &Job<'_>, checked: &Checked) -> Vec<Finding> {
        let Some((_, end)) = checked.extent else {
            return Vec::new();
        };
        let is_metadata = &*job.partition.topic == CLUSTER_METADATA;
        let mut findings = Vec::new();
        for (name, offsets) in [
            (checkpoints::RECOVERY_POINT, &self.recovery_points),
            (checkpoints::HIGH_WATERMARK, &self.high_watermarks),
            (checkpoints::LOG_START, &self.log_starts),
        ] {
            let Some(offset) = offsets
                .get(job.partition)
                .filter(|offset| **offset > end && !is_metadata)
            else {
                continue;
            };
            let what = format!(
                "{} is at offset {offset}, but its log ends at {end}",
                job.partition
            );
            findings.push(finding(Severity::Damage, &self.path.join(name), what));
        }
        findings
    }
}

fn finding(severity: Severity, path: &Path, what: impl ToString) -> Finding {
    // Errors name the file themselves.
    let what = what.to_string();
    let prefix = format!("{}: ", path.display());
    Finding {
        path: path.to_owned(),
        position: None,
        offset: None,
        what: what
            .strip_prefix(&prefix)
            .map_or_else(|| what.clone(), str::to_owned),
        severity,
    }
}

impl Job<'_> {
    pub(super) fn run(&self, deep: bool, on_bytes: &dyn Fn(u64)) -> Checked {
        let is_metadata = &*self.partition.topic == CLUSTER_METADATA;
        let known = |offsets: &Offsets| offsets.get(self.partition).copied().unwrap_or_default();
        let expected = Expected {
            // The metadata log is brought to the device with every append, and its end is checked at every start.
            clean: self.directory.clean && !is_metadata,
            recovery_point: known(&self.directory.recovery_points),
        };
        let inspect: Option<check::Inspect<'_>> = match (is_metadata, deep) {
            (true, _) => Some(&metadata_batch),
            (false, true) => Some(&records_of),
            (false, false) => None,
        };
        let mut checked = check::log(self.path, expected, inspect, on_bytes);
        if is_metadata {
            self.metadata_files(&mut checked);
        }
        checked
    }

    /// Snapshots, and the vote.
    fn metadata_files(&self, checked: &mut Checked) {
        let mut damage = |path: &Path, what: &dyn std::fmt::Display| {
            checked
                .findings
                .push(finding(Severity::Damage, path, what.to_string()));
        };
        let mut reached = None;
        match checkpoint::list(self.path) {
            Ok(ids) => {
                for id in ids {
                    let path = id.path(self.path);
                    match checkpoint::read(&path) {
                        Ok(_) => reached = Some(id.end_offset),
                        Err(error) => damage(&path, &error),
                    }
                }
            }
            Err(error) => damage(self.path, &error),
        }
        if let Err(error) = quorum_state::read(self.path) {
            damage(&self.path.join("quorum-state"), &error);
        }
        if let Some((start, _)) = checked.extent
            && start > Offset::ZERO
            && reached.is_none_or(|reached| reached < start)
        {
            let what = format!("the log begins at offset {start}, and no snapshot reaches so far");
            checked
                .findings
                .push(finding(Severity::Damage, self.path, what));
        }
    }
}

fn metadata_batch(batch: &Batch) -> Result<(), String> {
    if batch.header.is_control() {
        return control::parse(batch)
            .map(|_| ())
            .map_err(|error| error.to_string());
    }
    records::decode(batch)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Reads every record of a batch.
fn records_of(batch: &Batch) -> Result<(), String> {
    let mut reader = batch.reader().map_err(|error| error.to_string())?;
    let mut last = -1;
    while let Some(record) = reader.next().map_err(|error| error.to_string())? {
        if record.offset_delta <= last || record.offset_delta > batch.header.last_offset_delta {
            return Err(format!(
                "record at offset {} is out of order",
                record.offset
            ));
        }
        last = record.offset_delta;
    }
    Ok(())
}
