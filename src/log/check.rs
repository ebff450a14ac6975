//! Checks the files of one partition without changing any: each batch's CRC and framing, offsets and leader epochs, and
//! whatever is derived from the batches: indexes, aborted transactions, producer snapshots, leader epochs. For
//! `dohle check`; no broker may have the directory open.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::epochs::{self, EpochEntry};
use super::listing::{self, Name};
use super::producers::Producers;
use super::segment::LOG_SUFFIX;
use super::{checkpoints, directory};
use super::{snapshots, transactions};
use crate::ids::{LeaderEpoch, Offset};
use crate::record::Batch;

mod indexes;
mod segment;
#[cfg(test)]
mod tests;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    /// Byte in the file.
    pub position: Option<u64>,
    pub offset: Option<Offset>,
    pub what: String,
    pub severity: Severity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// What was written is not there any more, or is contradicted.
    Damage,
    /// The next start deals with it and loses nothing that was acknowledged as flushed.
    Note,
}

/// What is known of a log besides its own files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// The broker that wrote it stopped cleanly. After another stop what lies behind the recovery point may be torn.
    pub clean: bool,
    pub recovery_point: Offset,
}

/// What is looked at besides: each batch, read whole, and what is wrong with its content.
pub type Inspect<'a> = &'a (dyn Fn(&Batch) -> Result<(), String> + Sync);

/// What was found.
#[derive(Debug, Default)]
pub struct Checked {
    pub findings: Vec<Finding>,
    pub segments: usize,
    pub batches: u64,
    pub bytes: u64,
    /// Where the log begins and ends; `None` when it has no segment.
    pub extent: Option<(Offset, Offset)>,
}

impl Checked {
    fn add(
        &mut self,
        severity: Severity,
        path: &Path,
        place: (Option<u64>, Option<Offset>),
        what: impl Into<String>,
    ) {
        self.findings.push(Finding {
            path: path.to_owned(),
            position: place.0,
            offset: place.1,
            what: what.into(),
            severity,
        });
    }

    fn damage(&mut self, path: &Path, what: impl Into<String>) {
        self.add(Severity::Damage, path, (None, None), what);
    }

    fn note(&mut self, path: &Path, what: impl Into<String>) {
        self.add(Severity::Note, path, (None, None), what);
    }
}

/// The names in a partition's directory.
#[derive(Default)]
struct Files {
    /// Sizes of the segments.
    logs: BTreeMap<Offset, u64>,
    /// Index files without their segment, and the other way round, are found by looking.
    derived: Vec<(Offset, String)>,
    snapshots: Vec<Offset>,
    leftovers: Vec<String>,
    others: Vec<String>,
}

/// Checks the log in a directory. `on_bytes` is told how many bytes were read.
pub fn log(
    dir: &Path,
    expected: Expected,
    inspect: Option<Inspect<'_>>,
    on_bytes: &dyn Fn(u64),
) -> Checked {
    let mut checked = Checked::default();
    let files = match files(dir) {
        Ok(files) => files,
        Err(error) => {
            checked.damage(dir, error.to_string());
            return checked;
        }
    };
    if let Err(error) = directory::read_topic_id(dir) {
        checked.damage(dir, error.to_string());
    }
    let epochs = leader_epochs(dir, &mut checked);
    odd_names(dir, &files, &mut checked);
    let bases: Vec<Offset> = files.logs.keys().copied().collect();
    let mut walk = segment::Walk {
        dir,
        expected,
        inspect,
        on_bytes,
        epochs,
        producers: Producers::default(),
        producers_known: false,
        next_offset: bases.first().copied().unwrap_or_default(),
        latest_epoch: None,
    };
    for (at, (base, size)) in files.logs.iter().enumerate() {
        walk.segment(*base, *size, bases.get(at + 1).copied(), &mut checked);
    }
    checked.extent = bases.first().map(|first| (*first, walk.next_offset));
    for offset in &files.snapshots {
        producer_snapshot(dir, *offset, walk.next_offset, expected, &mut checked);
    }
    checked
}

fn files(dir: &Path) -> std::io::Result<Files> {
    let mut files = Files::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match listing::parse(&name) {
            Some(Name {
                suffix: Some(_), ..
            }) => files.leftovers.push(name),
            Some(Name { offset, kind, .. }) => match kind {
                LOG_SUFFIX => {
                    files.logs.insert(offset, entry.metadata()?.len());
                }
                snapshots::SUFFIX => files.snapshots.push(offset),
                _ => files.derived.push((offset, name)),
            },
            None => files.others.push(name),
        }
    }
    files.snapshots.sort_unstable();
    Ok(files)
}

/// Files that belong to no segment, or to nothing that is known.
fn odd_names(dir: &Path, files: &Files, checked: &mut Checked) {
    for (offset, name) in &files.derived {
        if !files.logs.contains_key(offset) {
            checked.note(&dir.join(name), "no segment belongs to it");
        }
    }
    for name in &files.leftovers {
        checked.note(
            &dir.join(name),
            "left by a deletion or compaction; the next start deals with it",
        );
    }
    for name in &files.others {
        let is_known = [epochs::FILE, directory::PARTITION_METADATA, "quorum-state"]
            .contains(&name.as_str())
            || name.ends_with(".checkpoint");
        if !is_known {
            checked.note(&dir.join(name), "not a file of a log");
        }
    }
}

fn leader_epochs(dir: &Path, checked: &mut Checked) -> Option<Vec<EpochEntry>> {
    let path = dir.join(epochs::FILE);
    if !path.exists() {
        return None;
    }
    let entry = |line: &str| {
        let (epoch, start) = line.split_once(' ')?;
        Some(EpochEntry {
            epoch: LeaderEpoch(epoch.parse().ok()?),
            start_offset: Offset(start.trim().parse().ok()?),
        })
    };
    match checkpoints::read_lines(&path, entry) {
        Ok(entries) => {
            let ascends = |pair: &[EpochEntry]| {
                pair[0].epoch < pair[1].epoch && pair[0].start_offset <= pair[1].start_offset
            };
            if !entries.windows(2).all(ascends) {
                checked.damage(&path, "its epochs do not ascend");
                return None;
            }
            Some(entries)
        }
        Err(error) => {
            checked.damage(&path, error.to_string());
            None
        }
    }
}

fn producer_snapshot(
    dir: &Path,
    offset: Offset,
    end: Offset,
    expected: Expected,
    checked: &mut Checked,
) {
    let path = snapshots::path(dir, offset);
    match snapshots::read(&path) {
        Ok(Some(states)) => {
            let later = |state: &&super::ProducerState| {
                state.last_offset().is_some_and(|last| last >= offset)
            };
            if let Some(state) = states.iter().find(later) {
                let what = format!(
                    "producer {} has a batch behind the snapshot's offset",
                    state.producer_id
                );
                checked.damage(&path, what);
            } else if offset > end && expected.clean {
                checked.damage(&path, format!("the log ends before it, at offset {end}"));
            }
        }
        Ok(None) => checked.damage(&path, "its CRC or length is wrong"),
        Err(error) => checked.damage(&path, error.to_string()),
    }
}

/// The transaction index of a segment; `None` when it cannot be read as one.
fn aborted_file(path: &Path) -> std::io::Result<Option<Vec<transactions::AbortedTransaction>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(transactions::decode(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(Vec::new())),
        Err(error) => Err(error),
    }
}
