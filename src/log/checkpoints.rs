//! Offset checkpoints: small text files that keep one offset for each partition of a log directory.
//!
//! | line | content |
//! |---|---|
//! | 1 | `0`, the version |
//! | 2 | how many entries follow |
//! | each | `topic partition offset` |
//!
//! Kafka creates them empty, which means no entries. `leader-epoch-checkpoint` has the same frame; see `epochs`.
//! (org.apache.kafka.server.common.CheckpointFile)

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use super::error::Error;
use super::fs::{self, Fs};
use crate::ids::{Offset, TopicPartition};

/// Up to where each log was brought to the device.
pub const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// Each partition's high watermark.
pub const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
/// Each log's start, where it is above its first segment's base offset.
pub const LOG_START: &str = "log-start-offset-checkpoint";
/// Up to where each compacted log was cleaned.
pub const CLEANER: &str = "cleaner-offset-checkpoint";

/// The entries of one checkpoint.
pub type Offsets = BTreeMap<TopicPartition, Offset>;

/// Reads a checkpoint; a missing file has no entries.
pub fn read(path: &Path) -> Result<Offsets, Error> {
    let entry = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (topic, partition, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let partition = TopicPartition::new(topic, partition.parse().ok()?);
        fields
            .next()
            .is_none()
            .then_some((partition, Offset(offset.parse().ok()?)))
    };
    Ok(read_lines(path, entry)?.into_iter().collect())
}

/// Replaces a checkpoint; `durable` brings it to the device before the old one is gone.
pub fn write(fs: &dyn Fs, path: &Path, offsets: &Offsets, durable: bool) -> Result<(), Error> {
    let mut text = format!("0\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    fs::replace(fs, path, text.as_bytes(), durable).map_err(Error::io(path))
}

/// The entries of a file in the frame above, each line parsed by `entry`.
pub(crate) fn read_lines<T>(
    path: &Path,
    entry: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let malformed = |reason: String| Error::Malformed {
        path: path.to_owned(),
        reason,
    };
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(malformed("cut off in its last line".to_owned()));
    }
    let mut lines = text.lines();
    match lines.next() {
        None => return Ok(Vec::new()),
        Some("0") => {}
        Some(version) => return Err(malformed(format!("version {version} is not 0"))),
    }
    let count = lines
        .next()
        .and_then(|count| count.trim().parse::<usize>().ok());
    let count = count.ok_or_else(|| malformed("line 2 is not a number of entries".to_owned()))?;
    let mut entries = Vec::new();
    for (number, line) in lines
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        entries
            .push(entry(line).ok_or_else(|| {
                malformed(format!("line {} is not an entry: {line}", number + 3))
            })?);
    }
    if entries.len() != count {
        return Err(malformed(format!(
            "{count} entries announced, {} found",
            entries.len()
        )));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::super::fs::Disk;
    use super::*;

    #[test]
    fn written_as_kafka_writes_it_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(HIGH_WATERMARK);
        assert!(read(&path).unwrap().is_empty());
        let offsets = Offsets::from([
            (TopicPartition::new("t1", 0), Offset(42)),
            (TopicPartition::new("__consumer_offsets", 49), Offset(7)),
        ]);
        write(&Disk, &path, &offsets, true).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "0\n2\n__consumer_offsets 49 7\nt1 0 42\n"
        );
        assert_eq!(read(&path).unwrap(), offsets);
    }

    #[test]
    fn an_empty_file_has_no_entries_and_a_wrong_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINT);
        std::fs::write(&path, "").unwrap();
        assert!(read(&path).unwrap().is_empty());
        for wrong in [
            "1\n0\n",
            "0\n",
            "0\n2\na 0 1\n",
            "0\n1\na zero 1\n",
            "0\n1\na 0 1 2\n",
            "0\n1\na 0 12",
        ] {
            std::fs::write(&path, wrong).unwrap();
            assert!(
                read(&path)
                    .unwrap_err()
                    .to_string()
                    .contains(RECOVERY_POINT),
                "{wrong:?}"
            );
        }
    }
}
