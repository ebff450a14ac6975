//! What of a file is in the page cache, and bringing in what is not. Whoever must not wait for a device, the threads that
//! serve connections above all, reads with [`Source::PageCache`] and learns by [`ErrorKind::WouldBlock`] that it would have
//! had to; then the work goes to a thread that may wait. Knows nothing of segments.
//!
//! By `preadv2` with `RWF_NOWAIT`, which ext4, XFS and Btrfs know, among others. Where the file system does not (overlayfs and
//! tmpfs among them), everything counts as being in the page cache, and who reads waits.

use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

/// Where a read may take bytes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Only what is there without waiting for the device: in memory, or in the page cache of a file that is open.
    PageCache,
    /// The device, too.
    Disk,
}

impl Source {
    /// Refuses where only the device can help.
    pub(super) fn expect_disk(self) -> io::Result<()> {
        match self {
            Source::PageCache => Err(ErrorKind::WouldBlock.into()),
            Source::Disk => Ok(()),
        }
    }
}

/// Bytes for which the kernel is asked at a time to read ahead: no device's limit for one request is lower.
const AHEAD_STEP: u64 = 128 * 1024;
/// Bytes that are read at a time where they cannot be sent to nowhere.
const SCRATCH: usize = 16 * 1024;
/// How many times what is brought in is read ahead behind it, for who goes on there.
const AHEAD: u64 = 4;

/// Fills the buffer from `position` on. [`ErrorKind::WouldBlock`] where that takes more than the source gives.
pub(super) fn read_exact_at(
    file: &File,
    buffer: &mut [u8],
    position: u64,
    source: Source,
) -> io::Result<()> {
    if source == Source::Disk {
        return file.read_exact_at(buffer, position);
    }
    let mut filled = 0;
    while filled < buffer.len() {
        match read_cached(file, &mut buffer[filled..], position + filled as u64)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(())
}

/// Reads what there is at `position`, as much as the buffer takes at most. [`ErrorKind::WouldBlock`] where that takes more than
/// the source gives.
pub fn read_at(file: &File, buffer: &mut [u8], position: u64, source: Source) -> io::Result<usize> {
    match source {
        Source::PageCache => read_cached(file, buffer, position),
        Source::Disk => file.read_at(buffer, position),
    }
}

/// Whether the byte at `position` can be had without waiting; `true` also where none is, or it cannot be read at all: who
/// goes on finds out.
pub fn is_cached(file: &File, position: u64) -> bool {
    let cached = read_cached(file, &mut [0], position);
    !cached.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn read_cached(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    loop {
        let buffers = &mut [IoSliceMut::new(buffer)];
        match rustix::io::preadv2(file, buffers, position, ReadWriteFlags::NOWAIT) {
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(ErrorKind::WouldBlock.into()),
            Err(Errno::OPNOTSUPP) => return file.read_at(&mut buffers[0], position),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Brings a part of a file into the page cache, up to the file's end, and has the kernel begin with what follows. Waits for
/// the device.
pub fn bring_in(file: &File, position: u64, len: u64) -> io::Result<()> {
    let ahead = position + len.saturating_mul(1 + AHEAD);
    for from in (position..ahead).step_by(AHEAD_STEP as usize) {
        let step = (ahead - from).min(AHEAD_STEP).try_into().ok();
        // Advice: what follows does it all, if more slowly.
        let _ = rustix::fs::fadvise(file, from, step, Advice::WillNeed);
    }
    let (mut at, end) = (position, position + len);
    let mut scratch = [0; SCRATCH];
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let part = left.min(scratch.len());
        // Sent to nowhere the bytes are waited for and not copied.
        let sent =
            nowhere().map(|nowhere| rustix::fs::sendfile(nowhere, file, Some(&mut at), left));
        match sent {
            Some(Ok(0)) => break,
            Some(Ok(_) | Err(Errno::INTR)) => {}
            Some(Err(Errno::IO)) => return Err(Errno::IO.into()),
            Some(Err(_)) | None => match file.read_at(&mut scratch[..part], at)? {
                0 => break,
                count => at += count as u64,
            },
        }
    }
    Ok(())
}

/// `/dev/null`, where there is one that can be opened.
fn nowhere() -> Option<&'static File> {
    static NOWHERE: OnceLock<Option<File>> = OnceLock::new();
    let open = || File::options().write(true).open("/dev/null").ok();
    NOWHERE.get_or_init(open).as_ref()
}

/// Whether the file's system is one that is known to know `RWF_NOWAIT`.
#[cfg(test)]
pub(crate) fn is_of_one_that_tells(file: &File) -> bool {
    const EXT4_XFS_BTRFS: [u64; 3] = [super::fs::EXT4, 0x5846_5342, 0x9123_683e];
    let found = rustix::fs::fstatfs(file).unwrap().f_type as u64;
    EXT4_XFS_BTRFS.contains(&(found & 0xffff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_out_of_the_page_cache_is_brought_in() {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let tells = is_of_one_that_tells(&file);
        let mut read = vec![0; 10_000];
        for position in [0, 500_000, 990_000] {
            let is_cached = read_exact_at(&file, &mut read, position, Source::PageCache);
            match tells {
                true => assert_eq!(is_cached.unwrap_err().kind(), ErrorKind::WouldBlock),
                false => is_cached.unwrap(),
            }
        }
        bring_in(&file, 0, 2_000_000).unwrap();
        for position in [0, 500_000, 990_000] {
            read_exact_at(&file, &mut read, position, Source::PageCache).unwrap();
            assert_eq!(read, bytes[position as usize..][..10_000]);
            assert!(is_cached(&file, position));
        }
        let behind = read_exact_at(&file, &mut read, 995_000, Source::PageCache);
        assert_eq!(behind.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(is_cached(&file, 5_000_000), "there is nothing to wait for");
    }

    #[test]
    fn the_disk_gives_what_the_page_cache_has_not() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"records", 0).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let mut read = [0; 7];
        read_exact_at(&file, &mut read, 0, Source::Disk).unwrap();
        assert_eq!(&read, b"records");
        assert!(Source::Disk.expect_disk().is_ok() && Source::PageCache.expect_disk().is_err());
    }
}
