//! Files that lose what was not brought to the device, for tests. It works on a directory of the real file system and
//! notes beside it what a device would hold.
//!
//! What a power loss does, by a seed: of each file the writes since its last sync are kept, dropped or kept in part,
//! each by itself, so that zeros may stand before what is kept; of each directory the changes of names since its last
//! sync are kept up to some point, as a journal keeps them. A name may so be kept whose file holds nothing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::{Disk, DiskSpace, Fs, Mode};

/// See the module.
#[derive(Debug)]
pub(crate) struct PowerLoss {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By inode, while a name leads to it.
    ids: HashMap<u64, usize>,
    files: Vec<FileState>,
    /// The files and directories under their names, as they are on the device.
    names: HashMap<PathBuf, Node>,
    /// Changes of names that are not, with the directory that they are in.
    changes: Vec<(PathBuf, Change)>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    File(usize),
    Directory,
}

#[derive(Clone, Debug)]
enum Change {
    Add(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    writes: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

impl PowerLoss {
    /// Everything below `root`, which is empty.
    pub(crate) fn new(root: &Path) -> PowerLoss {
        PowerLoss {
            root: root.to_owned(),
            state: Mutex::default(),
        }
    }

    /// The power fails and comes back: the files are what the device held.
    pub(crate) fn lose(&self, seed: u64) {
        let mut state = self.lock();
        let mut random = Random(seed);
        state.decide_names(&mut random);
        for entry in fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => fs::remove_dir_all(&path).unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
        }
        state.ids.clear();
        let mut names: Vec<_> = state.names.clone().into_iter().collect();
        names.sort_by_cached_key(|(path, _)| (path.components().count(), path.clone()));
        let mut kept = HashMap::new();
        for (path, node) in names {
            let parent_is_there = path.parent().is_some_and(Path::is_dir);
            match node {
                // What lies in a directory that is gone is gone.
                _ if !parent_is_there => continue,
                Node::Directory => fs::create_dir(&path).unwrap(),
                Node::File(id) => {
                    fs::write(&path, state.files[id].decide(&mut random)).unwrap();
                    let inode = fs::metadata(&path).unwrap().ino();
                    state.ids.insert(inode, id);
                }
            }
            kept.insert(path, node);
        }
        state.names = kept;
    }

    /// A process died in the midst of its last writes: what lies behind `len` was never written.
    pub(crate) fn tear(&self, file: &File, len: u64) {
        let mut state = self.lock();
        file.set_len(len).unwrap();
        let Some(state) = state.of(file) else { return };
        state.durable.truncate(len as usize);
        for write in &mut state.writes {
            match write {
                Write::Length(to) => *to = len.min(*to),
                Write::Bytes(position, bytes) => {
                    bytes.truncate(len.saturating_sub(*position) as usize);
                }
            }
        }
        state
            .writes
            .retain(|write| !matches!(write, Write::Bytes(_, bytes) if bytes.is_empty()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// `None` for a file that has lost its name: nobody finds it again.
    fn of(&mut self, file: &File) -> Option<&mut FileState> {
        let id = *self.ids.get(&file.metadata().ok()?.ino())?;
        Some(&mut self.files[id])
    }

    fn note(&mut self, file: &File, write: Write) {
        if let Some(state) = self.of(file) {
            state.writes.push(write);
        }
    }

    fn change(&mut self, path: &Path, change: Change) {
        let directory = path.parent().expect("below the root").to_owned();
        self.changes.push((directory, change));
    }

    /// Whatever lies under the name loses it.
    fn forget(&mut self, path: &Path) {
        if let Ok(found) = fs::symlink_metadata(path) {
            self.ids.remove(&found.ino());
        }
    }

    fn settle_names(&mut self, is_kept: impl Fn(usize, &Path) -> bool) {
        let changes = std::mem::take(&mut self.changes);
        for (at, (directory, change)) in changes.into_iter().enumerate() {
            if !is_kept(at, &directory) {
                self.changes.push((directory, change));
                continue;
            }
            match change {
                Change::Add(path, node) => drop(self.names.insert(path, node)),
                Change::Remove(path) => self.names.retain(|name, _| !name.starts_with(&path)),
                Change::Rename(from, to) => self.rename(&from, &to),
            }
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let moved: Vec<_> = self
            .names
            .keys()
            .filter(|name| name.starts_with(from))
            .cloned()
            .collect();
        for name in moved {
            let node = self.names.remove(&name).expect("it was just found");
            let rest = name.strip_prefix(from).expect("it was found by that");
            let name = match rest.as_os_str().is_empty() {
                true => to.to_owned(),
                false => to.join(rest),
            };
            self.names.insert(name, node);
        }
    }

    /// Of each directory a part of its changes, from the first on.
    fn decide_names(&mut self, random: &mut Random) {
        let mut left: HashMap<PathBuf, u64> = HashMap::new();
        for (directory, _) in &self.changes {
            *left.entry(directory.clone()).or_default() += 1;
        }
        let mut directories: Vec<_> = left.iter_mut().collect();
        directories.sort();
        for (_, count) in directories {
            *count = random.below(*count + 1);
        }
        let kept: Vec<bool> = self
            .changes
            .iter()
            .map(|(directory, _)| {
                let left = left.get_mut(directory).expect("each was counted");
                let is_kept = *left > 0;
                *left -= u64::from(is_kept);
                is_kept
            })
            .collect();
        self.settle_names(|at, _| kept[at]);
        self.changes.clear();
    }
}

impl FileState {
    fn decide(&mut self, random: &mut Random) -> &[u8] {
        for mut write in std::mem::take(&mut self.writes) {
            let fate = random.below(3);
            if let Write::Bytes(_, bytes) = &mut write
                && fate == 1
            {
                bytes.truncate(random.below(bytes.len() as u64) as usize);
            }
            if fate > 0 {
                self.arrive(write);
            }
        }
        &self.durable
    }

    fn settle(&mut self) {
        for write in std::mem::take(&mut self.writes) {
            self.arrive(write);
        }
    }

    fn arrive(&mut self, write: Write) {
        match write {
            Write::Length(len) => self.durable.resize(len as usize, 0),
            Write::Bytes(position, bytes) => {
                let end = position as usize + bytes.len();
                if self.durable.len() < end {
                    self.durable.resize(end, 0);
                }
                self.durable[position as usize..end].copy_from_slice(&bytes);
            }
        }
    }
}

/// A directory in memory where there is one: what is simulated need not wait for a device.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// SplitMix64.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

impl Fs for PowerLoss {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File> {
        let mut state = self.lock();
        let is_new = !path.exists();
        let file = Disk.open(path, mode)?;
        if is_new {
            let id = state.files.len();
            state.files.push(FileState::default());
            state.ids.insert(file.metadata()?.ino(), id);
            state.change(path, Change::Add(path.to_owned(), Node::File(id)));
        } else if mode == Mode::Replace {
            state.note(&file, Write::Length(0));
        }
        Ok(file)
    }

    fn write_at(&self, file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut state = self.lock();
        Disk.write_at(file, parts, position)?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        state.note(file, Write::Bytes(position, bytes));
        Ok(())
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        Disk.set_len(file, len)?;
        state.note(file, Write::Length(len));
        Ok(())
    }

    fn set_aside(&self, file: &File, position: u64, end: u64) -> io::Result<()> {
        Disk.set_aside(file, position, end)
    }

    fn give_back(&self, file: &File, len: u64) -> io::Result<()> {
        Disk.give_back(file, len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.lock();
        let mut durable = vec![0; file.metadata()?.len() as usize];
        file.read_exact_at(&mut durable, 0)?;
        if let Some(state) = state.of(file) {
            *state = FileState {
                durable,
                writes: Vec::new(),
            };
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.lock().settle_names(|_, directory| directory == path);
        Ok(())
    }

    fn sync_file_system(&self, _path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.settle_names(|_, _| true);
        state.files.iter_mut().for_each(FileState::settle);
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let mut missing: Vec<_> = path
            .ancestors()
            .take_while(|above| *above != self.root && !above.exists())
            .collect();
        Disk.create_directory(path)?;
        while let Some(made) = missing.pop() {
            state.change(made, Change::Add(made.to_owned(), Node::Directory));
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if !from.exists() {
            return Disk.rename(from, to);
        }
        state.forget(to);
        Disk.rename(from, to)?;
        state.change(from, Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if path.exists() {
            state.forget(path);
            state.change(path, Change::Remove(path.to_owned()));
        }
        Disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        Disk.remove_directory(path)?;
        state.change(path, Change::Remove(path.to_owned()));
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        Disk.space(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(power: &PowerLoss, path: &Path, bytes: &[u8], position: u64) {
        let file = power.open(path, Mode::Create).unwrap();
        power
            .write_at(&file, &[IoSlice::new(bytes)], position)
            .unwrap();
    }

    fn sync(power: &PowerLoss, path: &Path) {
        power.sync(&power.open(path, Mode::Write).unwrap()).unwrap();
        power.sync_directory(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_was_synced_is_kept_and_the_rest_as_it_may_be() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..800 {
            let dir = directory();
            let power = PowerLoss::new(dir.path());
            let (file, other) = (dir.path().join("file"), dir.path().join("other"));
            write(&power, &file, b"abc", 0);
            sync(&power, &file);
            write(&power, &file, b"def", 3);
            write(&power, &file, b"g", 6);
            write(&power, &other, b"o", 0);
            power.lose(seed);
            let kept = fs::read(&file).unwrap();
            assert!(kept.starts_with(b"abc"), "{kept:?}");
            seen.insert((kept, other.exists()));
        }
        for bytes in [&b"abc"[..], b"abcd", b"abcdefg", b"abc\0\0\0g"] {
            for other in [false, true] {
                assert!(seen.contains(&(bytes.to_vec(), other)), "{seen:?}");
            }
        }
    }

    #[test]
    fn a_rename_may_come_before_the_bytes_and_be_lost() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let dir = directory();
            let power = PowerLoss::new(dir.path());
            let (file, temporary) = (dir.path().join("file"), dir.path().join("file.tmp"));
            write(&power, &file, b"old", 0);
            sync(&power, &file);
            write(&power, &temporary, b"new", 0);
            power.rename(&temporary, &file).unwrap();
            power.lose(seed);
            seen.insert(fs::read(&file).unwrap());
            assert_eq!(power.lock().changes.len(), 0);
        }
        for bytes in [&b"old"[..], b"new", b""] {
            assert!(seen.contains(bytes), "{seen:?}");
        }
    }
}
