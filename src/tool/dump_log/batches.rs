//! The batches of a segment or of a checkpoint of the metadata log, and the records in them.
//! (DumpLogSegments.dumpLog)

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::decoders::RecordDecoder;
use super::{Findings, base_offset, json, note};
use crate::messages::lossy;
use crate::messages::schema::describe;
use crate::metadata::checkpoint::{BOOTSTRAP, SnapshotId};
use crate::record::batch::{HEADER_UP_TO_MAGIC, batch_size, increment_sequence};
use crate::record::control::{ControlType, EndMarker};
use crate::record::{Batch, Compression, RecordView, TimestampType};
use crate::tool::Failure;
use crate::tool::print::{end_when_unheard, say};

/// What is printed of a segment.
pub(super) struct How {
    /// The records of each batch.
    pub(super) deep: bool,
    /// Their keys and values.
    pub(super) contents: Option<RecordDecoder>,
    /// What they have besides.
    pub(super) metadata: bool,
    pub(super) bytes_max: u64,
}

pub(super) fn dump(path: &Path, how: &How, findings: &mut Findings) -> Result<(), Failure> {
    heading(path)?;
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    let mut batches = Batches::open(path, how.bytes_max).map_err(|error| failed(&error))?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut last_offset = -1;
    loop {
        let position = batches.position;
        let Some(batch) = batches.next().map_err(|error| {
            end_when_unheard(out.flush());
            failed(&error)
        })?
        else {
            break;
        };
        end_when_unheard(print_batch(&mut out, &batch, position));
        if how.deep {
            let mut on_gap = |before, after| note(&mut findings.gaps, path, (before, after));
            records(&mut out, &batch, how, &mut last_offset, &mut on_gap).map_err(|error| {
                end_when_unheard(out.flush());
                failed(&error)
            })?;
        }
    }
    end_when_unheard(out.flush());
    drop(out);
    let left = batches.end - batches.position;
    if left > 0 && how.bytes_max == i32::MAX as u64 {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        say!("Found {left} invalid bytes at the end of {name}");
    }
    Ok(())
}

fn heading(path: &Path) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name == BOOTSTRAP {
        say!("KRaft bootstrap snapshot");
    } else if name.ends_with(".checkpoint") {
        let id = SnapshotId::of_file_name(&name)
            .ok_or_else(|| Failure::new(format!("{}: no snapshot's name", path.display())))?;
        say!(
            "Snapshot end offset: {}, epoch: {}",
            id.end_offset,
            id.epoch.0
        );
    } else {
        say!("Log starting offset: {}", base_offset(path)?);
    }
    Ok(())
}

/// The batches of a file, each read whole. Ends before one that the file does not hold whole.
pub(super) struct Batches {
    file: File,
    pub(super) position: u64,
    pub(super) end: u64,
    buffer: BytesMut,
}

impl Batches {
    pub(super) fn open(path: &Path, bytes_max: u64) -> io::Result<Batches> {
        let file = File::open(path)?;
        let end = file.metadata()?.len().min(bytes_max);
        Ok(Batches {
            file,
            position: 0,
            end,
            buffer: BytesMut::new(),
        })
    }

    /// Goes on from `position`, not beyond `end`.
    pub(super) fn seek(&mut self, position: u64, end: u64) {
        (self.position, self.end) = (position, end);
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Batch>> {
        let left = self.end.saturating_sub(self.position);
        if left <= HEADER_UP_TO_MAGIC as u64 {
            return Ok(None);
        }
        let invalid = |error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("at byte {}: {error}", self.position),
            )
        };
        let mut start = [0; HEADER_UP_TO_MAGIC];
        self.file.read_exact_at(&mut start, self.position)?;
        let size = batch_size(&start).map_err(invalid)?;
        if size as u64 > left {
            return Ok(None);
        }
        self.buffer.resize(size, 0);
        self.file.read_exact_at(&mut self.buffer, self.position)?;
        let bytes: Bytes = self.buffer.split().freeze();
        let batch = Batch::parse(&bytes).map_err(invalid)?;
        self.position += size as u64;
        Ok(Some(batch))
    }
}

fn timestamp_type(batch: &Batch) -> &'static str {
    match batch.header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn print_batch(out: &mut impl Write, batch: &Batch, position: u64) -> io::Result<()> {
    let header = &batch.header;
    let horizon = match header.delete_horizon() {
        Some(horizon) => format!("OptionalLong[{}]", horizon.0),
        None => "OptionalLong.empty".to_owned(),
    };
    write!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.last_sequence(),
        header.producer_id.0,
        header.producer_epoch.0,
        header.leader_epoch.0,
        header.is_transactional(),
        header.is_control(),
    )?;
    let codec = match header.compression() {
        Ok(Compression::None) => "none",
        Ok(Compression::Gzip) => "gzip",
        Ok(Compression::Snappy) => "snappy",
        Ok(Compression::Lz4) => "lz4",
        Ok(Compression::Zstd) => "zstd",
        Err(_) => "unknown",
    };
    writeln!(
        out,
        " position: {position} {}: {} size: {} magic: {} compresscodec: {codec} crc: {} isvalid: {}",
        timestamp_type(batch),
        header.max_timestamp.0,
        header.size(),
        header.magic,
        header.crc,
        batch.check_crc().is_ok(),
    )
}

/// Prints the records of a batch; calls `on_gap` with offsets that do not follow each other.
fn records(
    out: &mut impl Write,
    batch: &Batch,
    how: &How,
    last_offset: &mut i64,
    on_gap: &mut impl FnMut(i64, i64),
) -> Result<(), String> {
    let mut reader = batch.reader().map_err(|error| error.to_string())?;
    while let Some(record) = reader.next().map_err(|error| error.to_string())? {
        if record.offset.0 != *last_offset + 1 {
            on_gap(*last_offset, record.offset.0);
        }
        *last_offset = record.offset.0;
        if how.metadata {
            end_when_unheard(record_metadata(out, batch, &record));
            if batch.header.is_control() {
                let control = control(&record)?;
                end_when_unheard(write!(out, " {control}"));
            }
        }
        if let Some(decoder) = how.contents.filter(|_| !batch.header.is_control()) {
            let (key, value) = decoder.texts(&record)?;
            let mut prefix = if how.metadata { " " } else { "| " };
            for (name, text) in [("key", key), ("payload", value)] {
                if let Some(text) = text {
                    end_when_unheard(write!(out, "{prefix}{name}: {text}"));
                    prefix = " ";
                }
            }
        }
        end_when_unheard(writeln!(out));
    }
    Ok(())
}

fn record_metadata(out: &mut impl Write, batch: &Batch, record: &RecordView<'_>) -> io::Result<()> {
    let size = |bytes: Option<&[u8]>| {
        bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
    };
    let sequence = match batch.header.base_sequence {
        base if base >= 0 => increment_sequence(base, record.offset_delta),
        none => none,
    };
    let keys: Vec<_> = record.headers.map(|(key, _)| lossy(key)).collect();
    write!(
        out,
        "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
        record.offset,
        timestamp_type(batch),
        record.timestamp.0,
        size(record.key),
        size(record.value),
        keys.join(","),
    )
}

/// What a control record says.
fn control(record: &RecordView<'_>) -> Result<String, String> {
    let kind = record.key.and_then(ControlType::of_key);
    let value = record.value.unwrap_or_default();
    let json = |heading: &str, class| {
        let version = value
            .first_chunk()
            .map_or(0, |version| i16::from_be_bytes(*version));
        let value = describe(class, version, value).map_err(|error| error.to_string())?;
        Ok(format!("{heading} {}", json::text(&value)))
    };
    match kind {
        Some(ControlType::Abort | ControlType::Commit) => {
            let marker = EndMarker::parse(record).ok_or("no end marker")?;
            let name = if marker.commit { "COMMIT" } else { "ABORT" };
            Ok(format!(
                "endTxnMarker: {name} coordinatorEpoch: {}",
                marker.coordinator_epoch
            ))
        }
        Some(ControlType::LeaderChange) => json("LeaderChange:", "LeaderChangeMessage"),
        Some(ControlType::SnapshotHeader) => json("SnapshotHeader", "SnapshotHeaderRecord"),
        Some(ControlType::SnapshotFooter) => json("SnapshotFooter", "SnapshotFooterRecord"),
        Some(ControlType::KRaftVersion) => json("KRaftVersion", "KRaftVersionRecord"),
        Some(ControlType::KRaftVoters) => json("KRaftVoters", "VotersRecord"),
        None => {
            let id = record
                .key
                .and_then(|key| key.get(2..4)?.try_into().ok())
                .map_or(-1, i16::from_be_bytes);
            Ok(format!("controlType: UNKNOWN({id})"))
        }
    }
}
