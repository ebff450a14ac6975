//! Files of segments that are out of use: they were renamed to `.deleted`, and go once `file.delete.delay.ms` has passed.
//! A log directory keeps them for all its logs, so that who looks for what is due need not ask each of thousands.
//! (LocalLog.deleteSegmentFiles)

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use super::error::Error;
use super::log::Log;
use super::open_segments::Home;
use super::segment::{lock, remove_file};
use crate::ids::SteadyTime;

/// See the module.
#[derive(Debug, Default)]
pub struct DeletedFiles(Mutex<BTreeMap<SteadyTime, Vec<Files>>>);

/// Names of files in a log's directory, which may get another name meanwhile. With the log its directory goes.
#[derive(Debug)]
struct Files {
    home: Weak<Home>,
    names: Vec<OsString>,
}

impl DeletedFiles {
    fn add(&self, home: &Arc<Home>, at: SteadyTime, paths: &[PathBuf]) {
        let names = paths
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_owned()));
        let files = Files {
            home: Arc::downgrade(home),
            names: names.collect(),
        };
        lock(&self.0).entry(at).or_default().push(files);
    }

    /// Removes what is due; returns when the next is. After an error it goes on with the rest and returns the first.
    pub fn remove_due(&self, now: SteadyTime) -> Result<Option<SteadyTime>, Error> {
        let (due, next) = {
            let mut all = lock(&self.0);
            let due: Vec<_> = all.extract_if(..=now, |_, _| true).collect();
            (due, all.first_key_value().map(|(at, _)| *at))
        };
        let mut outcome = Ok(next);
        for files in due.into_iter().flat_map(|(_, files)| files) {
            let Some(home) = files.home.upgrade() else {
                continue;
            };
            for name in files.names {
                let path = home.path.load().join(name);
                if let Err(error) = remove_file(&*home.fs, &path) {
                    home.health.judge_write(&error);
                    outcome = outcome.and(Err(error));
                }
            }
        }
        outcome
    }
}

impl Log {
    /// Has files removed that were renamed to `.deleted`, after `file.delete.delay.ms`.
    pub(super) fn remove_later(&self, paths: &[PathBuf], now: SteadyTime) {
        let at = now.plus_ms(self.config.load().file_delete_delay_ms);
        self.home.deleted.add(&self.home, at, paths);
    }

    /// [`DeletedFiles::remove_due`] for the log's directory.
    pub fn remove_deleted(&self, now: SteadyTime) -> Result<Option<SteadyTime>, Error> {
        self.home.deleted.remove_due(now)
    }
}
