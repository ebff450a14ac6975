//! Files that go wrong at a chosen step, for tests.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use super::power_loss::PowerLoss;
use super::{Disk, DiskSpace, Fs, Mode};

/// What happens at the chosen step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails and changes nothing; later calls work.
    Fail,
    /// Half of a write arrives, then it fails (a full disk); other calls fail. Later calls work.
    Tear,
    /// The call fails as a broken device does; later calls work.
    Broken,
    /// A file cannot be opened, for as many are open as the process may have; later ones can. Nothing else fails.
    Crowded,
    /// The call and all later ones fail: the process is gone.
    Crash,
    /// Half of a write arrives, and nothing after it.
    TornCrash,
}

/// Counts every change and lets one go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faulty {
    state: Mutex<State>,
    changed: Condvar,
    /// What is below; none is the real file system, where nothing need outlive the power.
    below: Option<Arc<PowerLoss>>,
}

#[derive(Debug, Default)]
struct State {
    steps: u64,
    fault: Option<(u64, Fault)>,
    crashed: bool,
    fail_syncs: bool,
    fail_set_aside: bool,
    hold_syncs: bool,
    held: usize,
    syncs: u64,
    space: Option<DiskSpace>,
    asked: u64,
}

impl Faulty {
    /// Over files that lose what is not synced.
    pub(crate) fn over(below: Arc<PowerLoss>) -> Faulty {
        Faulty {
            below: Some(below),
            ..Faulty::default()
        }
    }

    fn below(&self) -> &dyn Fs {
        self.below.as_deref().map_or(&Disk, |below| below)
    }

    /// The step with this number, counted from 0 over all calls so far and to come, goes wrong.
    pub(crate) fn at(&self, step: u64, fault: Fault) {
        self.state.lock().unwrap().fault = Some((step, fault));
    }

    /// No step goes wrong that has not yet.
    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().fault = None;
    }

    /// From here on each fsync fails, or none does.
    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.state.lock().unwrap().fail_syncs = fail;
    }

    /// From here on blocks are set aside, and then it is said that they are not.
    pub(crate) fn fail_set_aside(&self) {
        self.state.lock().unwrap().fail_set_aside = true;
    }

    /// From here on each fsync of a file takes until this is called with `false`.
    pub(crate) fn hold_syncs(&self, hold: bool) {
        self.state.lock().unwrap().hold_syncs = hold;
        self.changed.notify_all();
    }

    /// Returns when an fsync has begun that is held.
    pub(crate) fn wait_for_held_sync(&self) {
        let state = self.state.lock().unwrap();
        drop(
            self.changed
                .wait_while(state, |state| state.held == 0)
                .unwrap(),
        );
    }

    /// What the disk says it has.
    pub(crate) fn set_space(&self, space: DiskSpace) {
        self.state.lock().unwrap().space = Some(space);
    }

    /// How often it was asked that.
    pub(crate) fn asked(&self) -> u64 {
        self.state.lock().unwrap().asked
    }

    /// How many files were brought to the device.
    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().unwrap().syncs
    }

    pub(crate) fn steps(&self) -> u64 {
        self.state.lock().unwrap().steps
    }

    /// `Some` when this step is to go wrong.
    fn step(&self) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
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
        self.step().map_or(Ok(()), |fault| Err(fault.error()))
    }
}

fn injected() -> io::Error {
    io::Error::other("injected fault")
}

impl Fault {
    /// What the call says that goes wrong: a full disk, when later ones work.
    fn error(self) -> io::Error {
        match self {
            Fault::Fail | Fault::Tear => io::ErrorKind::StorageFull.into(),
            Fault::Broken => rustix::io::Errno::IO.into(),
            Fault::Crowded => rustix::io::Errno::MFILE.into(),
            Fault::Crash | Fault::TornCrash => injected(),
        }
    }
}

impl Fs for Faulty {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File> {
        if matches!(mode, Mode::Create | Mode::Replace) {
            self.check()?;
        }
        self.below().open(path, mode)
    }

    fn write_at(&self, file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        match self.step() {
            None | Some(Fault::Crowded) => self.below().write_at(file, parts, position),
            Some(fault @ (Fault::Fail | Fault::Broken | Fault::Crash)) => Err(fault.error()),
            Some(fault @ (Fault::Tear | Fault::TornCrash)) => {
                let all: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
                self.below()
                    .write_at(file, &[IoSlice::new(&all[..all.len() / 2])], position)?;
                Err(fault.error())
            }
        }
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.check()?;
        self.below().set_len(file, len)
    }

    fn set_aside(&self, file: &File, position: u64, end: u64) -> io::Result<()> {
        self.below().set_aside(file, position, end)?;
        match self.state.lock().unwrap().fail_set_aside {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn give_back(&self, file: &File, len: u64) -> io::Result<()> {
        self.below().give_back(file, len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.check()?;
        let mut state = self.state.lock().unwrap();
        state.held += 1;
        self.changed.notify_all();
        state = self
            .changed
            .wait_while(state, |state| state.hold_syncs)
            .unwrap();
        state.held -= 1;
        state.syncs += 1;
        if state.fail_syncs {
            return Err(injected());
        }
        drop(state);
        self.below.as_ref().map_or(Ok(()), |below| below.sync(file))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        self.below
            .as_ref()
            .map_or(Ok(()), |below| below.sync_directory(path))
    }

    fn sync_file_system(&self, _path: &Path) -> io::Result<()> {
        self.check()
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        self.below().create_directory(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        self.below().rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        self.below().remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        self.below().remove_directory(path)
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let mut state = self.state.lock().unwrap();
        state.asked += 1;
        state.space.map_or_else(|| self.below().space(path), Ok)
    }
}
