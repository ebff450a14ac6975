//! How the log changes the disk: one small trait, so that a test can fail, tear or lose the third write. Reads go
//! to the files directly. It knows nothing of segments; everything in `log/` that writes takes an `Arc<dyn Fs>`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::FallocateFlags;

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod power_loss;

/// The most parts that one `pwritev` takes (IOV_MAX).
const PARTS_MAX: usize = 1024;

/// Parts of so few bytes are written as one piece: to copy them costs less than to have the kernel gather them.
const JOINED_BYTES_MAX: usize = 1024;

/// The file system's number. (EXT4_SUPER_MAGIC)
pub(super) const EXT4: u64 = 0xef53;
/// The unit of `st_blocks`.
const STAT_BLOCK: u64 = 512;
/// What a file may have beyond its bytes before that is given back: its last block, and where its blocks are.
const LEFT_MAX: u64 = 64 << 10;

/// Whether a file that is opened has to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only to read it; it exists.
    Read,
    /// To read and write it; it exists.
    Write,
    /// To read and write it; it is created when missing.
    Create,
    /// To read and write it; it is created, or emptied when it exists.
    Replace,
}

/// What a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    pub total: u64,
    /// What this process may still use of it.
    pub free: u64,
}

/// Every change that the log makes on disk.
pub trait Fs: fmt::Debug + Send + Sync {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File>;
    /// Writes all the parts, one after another, from `position` on. After an error any prefix may be there.
    fn write_at(&self, file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<()>;
    fn set_len(&self, file: &File, len: u64) -> io::Result<()>;
    /// Has blocks set aside for the bytes from `position` to `end`, for a file that grows in small steps; its length stays.
    /// After an error a part of them may be.
    fn set_aside(&self, file: &File, position: u64, end: u64) -> io::Result<()>;
    /// Gives back blocks that were set aside, this way and no other, behind the file's length.
    fn give_back(&self, file: &File, len: u64) -> io::Result<()>;
    /// Brings the file's bytes and length to the device.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Brings the names in a directory to the device.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Brings all that is in the file system of a directory to the device.
    fn sync_file_system(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and what is missing above it.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Of the file system that holds a directory.
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Fs for Disk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File> {
        match mode {
            Mode::Read => File::open(path),
            Mode::Write => OpenOptions::new().read(true).write(true).open(path),
            Mode::Create => OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path),
            Mode::Replace => OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path),
        }
    }

    fn write_at(&self, file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total <= JOINED_BYTES_MAX {
            let mut joined = [0; JOINED_BYTES_MAX];
            let mut rest = &mut joined[..];
            for part in parts {
                let (head, tail) = rest.split_at_mut(part.len());
                head.copy_from_slice(part);
                rest = tail;
            }
            return file.write_all_at(&joined[..total], position);
        }
        let mut position = position;
        for parts in parts.chunks(PARTS_MAX) {
            position = write_parts(file, parts, position)?;
        }
        Ok(())
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    /// On ext4 alone, which else looks up and reserves each block of 4 kB when it is written. XFS reserves space behind the
    /// end by itself, and tmpfs would take memory for it.
    fn set_aside(&self, file: &File, position: u64, end: u64) -> io::Result<()> {
        if !is_ext4(file)? {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (flags, len) = (FallocateFlags::KEEP_SIZE, end.saturating_sub(position));
        Ok(rustix::fs::fallocate(file, flags, position, len)?)
    }

    fn give_back(&self, file: &File, len: u64) -> io::Result<()> {
        let is_left = file.metadata()?.blocks() * STAT_BLOCK > len + LEFT_MAX;
        match is_left && is_ext4(file)? {
            true => file.set_len(len),
            false => Ok(()),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let found = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(DiskSpace {
            total: bytes(found.f_blocks),
            free: bytes(found.f_bavail),
        })
    }
}

fn is_ext4(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(file)?.f_type as u64 & 0xffff_ffff == EXT4)
}

/// Writes all of `parts`, in one call unless the kernel takes only some of it. Returns the position behind them.
fn write_parts(file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<u64> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut written = pwritev(file, parts, position)?;
    while written < total {
        let mut skip = written;
        let mut rest = Vec::with_capacity(parts.len());
        for part in parts {
            let skipped = skip.min(part.len());
            skip -= skipped;
            if skipped < part.len() {
                rest.push(IoSlice::new(&part[skipped..]));
            }
        }
        written += pwritev(file, &rest, position + written as u64)?;
    }
    Ok(position + total as u64)
}

fn pwritev(file: &File, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
    loop {
        match rustix::io::pwritev(file, parts, position) {
            Ok(0) if parts.iter().any(|part| !part.is_empty()) => {
                return Err(io::ErrorKind::WriteZero.into());
            }
            Ok(written) => return Ok(written),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Replaces a file as a whole: readers see the old bytes or the new ones. `durable` brings them to the device before
/// the old ones are gone.
pub(crate) fn replace(fs: &dyn Fs, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = Path::new(&name);
    let written = fs.open(temporary, Mode::Replace).and_then(|file| {
        fs.write_at(&file, &[IoSlice::new(bytes)], 0)?;
        if durable { fs.sync(&file) } else { Ok(()) }
    });
    if let Err(error) = written {
        // A full disk wants its space back.
        let _ = fs.remove_file(temporary);
        return Err(error);
    }
    fs.rename(temporary, path)?;
    if durable && let Some(parent) = path.parent() {
        fs.sync_directory(parent)?;
    }
    Ok(())
}
