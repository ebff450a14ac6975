//! What lies in a partition's directory when it is opened: segments, producer snapshots, and what an interrupted
//! deletion or compaction has left, which is removed or completed here.
//! (LogLoader.removeTempFilesAndCollectSwapFiles)

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use tracing::info;

use super::error::Error;
use super::open_segments::Home;
use super::scan::{Fault, Scan, UNVERIFIED};
use super::segment::{DELETED, LOG_SUFFIX, remove_file};
use super::{snapshots, transactions};
use crate::ids::Offset;

/// Written by a compaction that has not finished.
pub(super) const CLEANED: &str = "cleaned";
/// Written by a compaction that has; to be renamed.
pub(super) const SWAP: &str = "swap";
/// Files of a segment besides the `.log`.
const DERIVED: [&str; 3] = ["index", "timeindex", transactions::SUFFIX];

/// The files of a log.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Base offsets of the segments with the sizes of their `.log` files.
    pub(super) logs: BTreeMap<Offset, u64>,
    /// Offsets of the producer snapshots.
    pub(super) snapshots: BTreeSet<Offset>,
}

/// A name of the form `<20 digits>.<kind>[.<suffix>]`.
pub(super) struct Name<'a> {
    pub(super) offset: Offset,
    pub(super) kind: &'a str,
    pub(super) suffix: Option<&'a str>,
}

pub(super) fn parse(name: &str) -> Option<Name<'_>> {
    let (digits, rest) = name.split_once('.')?;
    if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (kind, suffix) = rest
        .split_once('.')
        .map_or((rest, None), |(kind, suffix)| (kind, Some(suffix)));
    let known = [LOG_SUFFIX, snapshots::SUFFIX].contains(&kind) || DERIVED.contains(&kind);
    known.then_some(Name {
        offset: Offset(digits.parse().ok()?),
        kind,
        suffix,
    })
}

/// Lists the directory, once leftovers are dealt with.
pub(super) fn read(home: &Home) -> Result<Listing, Error> {
    let dir = home.path.load_full();
    let mut names = names(&dir)?;
    if settle_leftovers(home, &dir, &names)? {
        names = self::names(&dir)?;
    }
    let mut listing = Listing::default();
    let mut derived = Vec::new();
    for name in names.iter().filter_map(|name| name.to_str()) {
        let Some(Name {
            offset,
            kind,
            suffix: None,
        }) = parse(name)
        else {
            continue;
        };
        let path = dir.join(name);
        match kind {
            LOG_SUFFIX => {
                let size = fs::metadata(&path).map_err(Error::io(&path))?.len();
                listing.logs.insert(offset, size);
            }
            snapshots::SUFFIX => {
                listing.snapshots.insert(offset);
            }
            _ => derived.push((offset, path)),
        }
    }
    for (offset, path) in derived {
        if !listing.logs.contains_key(&offset) {
            info!(file = %path.display(), "an index without a segment: removed");
            remove_file(&*home.fs, &path)?;
        }
    }
    Ok(listing)
}

fn names(dir: &Path) -> Result<Vec<OsString>, Error> {
    let entries = fs::read_dir(dir).map_err(Error::io(dir))?;
    entries
        .map(|entry| entry.map(|entry| entry.file_name()).map_err(Error::io(dir)))
        .collect()
}

/// Removes what was to be removed and completes a finished compaction; whether anything changed.
fn settle_leftovers(home: &Home, dir: &Path, names: &[OsString]) -> Result<bool, Error> {
    let parsed = || {
        names
            .iter()
            .filter_map(|name| name.to_str())
            .filter_map(|name| Some((name, parse(name)?)))
    };
    let with = |wanted: &'static str| parsed().filter(move |(_, name)| name.suffix == Some(wanted));
    let first_cleaned = with(CLEANED).map(|(_, name)| name.offset).min();
    let mut swaps = Vec::new();
    let mut changed = false;
    for (
        name,
        Name {
            offset,
            kind,
            suffix,
        },
    ) in parsed()
    {
        let Some(suffix) = suffix else { continue };
        if suffix == SWAP && first_cleaned.is_none_or(|first| offset < first) {
            swaps.push((name, offset, kind));
        } else if [DELETED, CLEANED, SWAP].contains(&suffix) {
            remove_file(&*home.fs, &dir.join(name))?;
            changed = true;
        }
    }
    if swaps.is_empty() {
        return Ok(changed);
    }
    let logs = || swaps.iter().filter(|(_, _, kind)| *kind == LOG_SUFFIX);
    let mut replaced_to = None;
    for (name, offset, _) in logs() {
        replaced_to = replaced_to.max(Some(next_offset(&dir.join(name), *offset)?));
    }
    if let (Some(from), Some(to)) = (logs().map(|(_, offset, _)| *offset).min(), replaced_to) {
        for (name, old) in
            parsed().filter(|(_, name)| name.suffix.is_none() && name.kind != snapshots::SUFFIX)
        {
            if (from..to).contains(&old.offset) {
                info!(file = %dir.join(name).display(), "was compacted: removed");
                remove_file(&*home.fs, &dir.join(name))?;
            }
        }
    }
    for (name, _, _) in &swaps {
        let (from, to) = (dir.join(name), dir.join(name.trim_end_matches(".swap")));
        home.fs.rename(&from, &to).map_err(Error::io(&from))?;
    }
    Ok(true)
}

/// The offset behind the last batch of a segment file.
fn next_offset(path: &Path, base: Offset) -> Result<Offset, Error> {
    let file = fs::File::open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    let mut buffer = [0; 4096];
    let mut scan = Scan::new(&file, 0, size, &mut buffer);
    let mut next = base;
    loop {
        match scan.next(UNVERIFIED) {
            Ok(Some((_, header))) => next = header.next_offset(),
            Ok(None) => return Ok(next),
            Err(Fault::Io(error)) => return Err(Error::io(path)(error)),
            Err(Fault::Bad { position, reason }) => {
                return Err(Error::corrupt(path, position, reason));
            }
        }
    }
}
