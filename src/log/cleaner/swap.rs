//! Puts compacted segments in the place of those that they were made from. A crash at any step leaves the one or the
//! other: opening the log completes or takes back what was begun (`listing`).
//!
//! 1. `.cleaned` becomes `.swap`, the last segment first: while any `.cleaned` is left, all from it on is discarded
//! 2. the old files become `.deleted`; from here on a start finishes the swap
//! 3. `.swap` loses its suffix, and readers see the new segments
//!
//! (org.apache.kafka.storage.internals.log.LocalLog.replaceSegments, LogLoader.load)

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use super::output::{Cleaned, FILES, discard};
use super::{CleanError, Source, is_current};
use crate::ids::{Now, Offset};
use crate::log::error::Error;
use crate::log::listing::{CLEANED, SWAP};
use crate::log::log::{Appender, Log};
use crate::log::open_segments::Home;
use crate::log::segment::Segment;

impl Log {
    /// Puts `new` in the place of `old`, if the log still has these as they were read. Nothing has changed after an
    /// error, unless the log is offline then.
    pub(super) fn swap(
        &self,
        old: &[Source],
        new: &[Cleaned],
        now: Now,
    ) -> Result<Vec<Source>, CleanError> {
        let mut appender = self.lock_for_append()?;
        if !is_current(&self.segments.load(), old) {
            return Err(CleanError::Changed);
        }
        if let Err(error) = to_swap(&self.home, new) {
            // What cannot be taken back would be taken for finished by the next start.
            take_back(&self.home, new).inspect_err(|error| self.swap_failed(error))?;
            return Err(error.into());
        }
        let (files, replaced) = self
            .replace(&mut appender, old, new)
            .inspect_err(|error| self.swap_failed(error))?;
        drop(appender);
        // The old files go once the new names are on the device.
        let path = self.home.path.load_full();
        self.home
            .sync_directory(&path)
            .inspect_err(|_| self.go_offline())?;
        self.remove_later(&files, now.steady);
        Ok(replaced)
    }

    /// What the log holds is found out when it is opened again.
    fn swap_failed(&self, error: &Error) {
        self.go_offline();
        self.home.health.judge_write(error);
    }

    fn replace(
        &self,
        appender: &mut Appender,
        old: &[Source],
        new: &[Cleaned],
    ) -> Result<(Vec<PathBuf>, Vec<Source>), Error> {
        let mut files = Vec::new();
        for source in old {
            files.extend(source.segment.mark_deleted()?);
        }
        for cleaned in new {
            rename_all(&self.home, cleaned.base_offset, &format!(".{SWAP}"), "")?;
        }
        let is_new = |base: Offset| new.iter().any(|cleaned| cleaned.base_offset == base);
        for base in old.iter().map(|source| source.segment.base_offset()) {
            if !is_new(base) && appender.snapshots.remove(&base) {
                files.extend(self.mark_snapshot_deleted(base)?);
            }
        }
        let replaced: Vec<Source> = new
            .iter()
            .map(|cleaned| {
                let segment = Segment::new(self.home.clone(), cleaned.base_offset, cleaned.size);
                if cleaned.largest.is_some() {
                    segment.set_largest(cleaned.largest);
                }
                Source::of(&segment)
            })
            .collect();
        let mut segments = Vec::clone(&self.segments.load());
        let from = segments
            .iter()
            .position(|segment| Arc::ptr_eq(segment, &old[0].segment))
            .expect("it was just found there");
        segments.splice(
            from..from + old.len(),
            replaced.iter().map(|source| source.segment.clone()),
        );
        self.segments.store(Arc::new(segments));
        Ok((files, replaced))
    }
}

fn to_swap(home: &Home, new: &[Cleaned]) -> Result<(), Error> {
    for cleaned in new.iter().rev() {
        let (from, to) = (format!(".{CLEANED}"), format!(".{SWAP}"));
        rename_all(home, cleaned.base_offset, &from, &to)?;
    }
    Ok(())
}

fn take_back(home: &Home, new: &[Cleaned]) -> Result<(), Error> {
    // From the end, as above: a start takes no .swap for finished while a .cleaned before it is left.
    new.iter()
        .rev()
        .try_for_each(|cleaned| discard(home, cleaned.base_offset, &[SWAP, CLEANED]))
}

/// Renames the files of a segment; one without aborted transactions has no index of them.
fn rename_all(home: &Home, base: Offset, from: &str, to: &str) -> Result<(), Error> {
    for kind in FILES {
        let (from, to) = (
            home.file(base, &format!("{kind}{from}")),
            home.file(base, &format!("{kind}{to}")),
        );
        match home.fs.rename(&from, &to) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(&from)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
