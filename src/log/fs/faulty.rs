//! Files that go wrong at a chosen step, for tests.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Mutex;

use super::{Disk, Fs, Mode};

/// What happens at the chosen step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails and changes nothing; later calls work.
    Fail,
    /// Half of a write arrives, then it fails (a full disk); other calls fail. Later calls work.
    Tear,
    /// The call and all later ones fail: the process is gone.
    Crash,
    /// Half of a write arrives, and nothing after it.
    TornCrash,
}

/// Counts every change and lets one go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faulty(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    steps: u64,
    fault: Option<(u64, Fault)>,
    crashed: bool,
    fail_syncs: bool,
}

impl Faulty {
    /// The step with this number, counted from 0 over all calls so far and to come, goes wrong.
    pub(crate) fn at(&self, step: u64, fault: Fault) {
        self.0.lock().unwrap().fault = Some((step, fault));
    }

    pub(crate) fn fail_syncs(&self) {
        self.0.lock().unwrap().fail_syncs = true;
    }

    pub(crate) fn steps(&self) -> u64 {
        self.0.lock().unwrap().steps
    }

    /// `Some` when this step is to go wrong.
    fn step(&self) -> Option<Fault> {
        let mut state = self.0.lock().unwrap();
        let step = state.steps;
        state.steps += 1;
        if state.crashed {
            return Some(Fault::Crash);
        }
        let (at, fault) = state.fault?;
        if at != step {
            return None;
        }
        state.crashed = matches!(fault, Fault::Crash | Fault::TornCrash);
        Some(fault)
    }

    fn check(&self) -> io::Result<()> {
        self.step().map_or(Ok(()), |_| Err(injected()))
    }
}

fn injected() -> io::Error {
    io::Error::other("injected fault")
}

impl Fs for Faulty {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File> {
        if matches!(mode, Mode::Create | Mode::Replace) {
            self.check()?;
        }
        Disk.open(path, mode)
    }

    fn write_at(&self, file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        match self.step() {
            None => Disk.write_at(file, parts, position),
            Some(Fault::Fail | Fault::Crash) => Err(injected()),
            Some(Fault::Tear | Fault::TornCrash) => {
                let all: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
                Disk.write_at(file, &[IoSlice::new(&all[..all.len() / 2])], position)?;
                Err(injected())
            }
        }
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.check()?;
        Disk.set_len(file, len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.check()?;
        if self.0.lock().unwrap().fail_syncs {
            return Err(injected());
        }
        Disk.sync(file)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        Disk.sync_directory(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        Disk.create_directory(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        Disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        Disk.remove_directory(path)
    }
}
