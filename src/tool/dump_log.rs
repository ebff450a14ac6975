//! `dohle dump-log`: what is in the files of a log, with the flags and output of `kafka-dump-log.sh`. It reads files and
//! changes none. (org.apache.kafka.tools.DumpLogSegments)

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::print::{complain, say};
use crate::log::{snapshots, transactions};
use decoders::{Decoder, RecordDecoder};

mod batches;
mod decoders;
mod indexes;
mod json;

#[derive(Args, Debug)]
pub struct DumpLog {
    /// The files, separated by commas: segments, their indexes, producer snapshots, checkpoints of the metadata log
    #[arg(long, value_name = "FILE,...", required = true, value_delimiter = ',')]
    files: Vec<PathBuf>,
    /// Print the records of each batch, not only the batch
    #[arg(long)]
    deep_iteration: bool,
    /// Print keys and values of the records; implied by each decoder
    #[arg(long)]
    print_data_log: bool,
    /// Leave out what a record has besides key and value, and control records
    #[arg(long)]
    skip_record_metadata: bool,
    /// Check the entries of an index without printing them
    #[arg(long)]
    verify_index_only: bool,
    /// Check an index as a broker does when it opens it
    #[arg(long)]
    index_sanity_check: bool,
    /// Bytes that are read at an index entry's position to find its batch
    #[arg(long, value_name = "SIZE", default_value_t = 5 << 20)]
    max_message_size: u32,
    /// Read so many bytes of a segment at most
    #[arg(long, value_name = "SIZE", default_value_t = i32::MAX as u32)]
    max_bytes: u32,
    /// Records are those of __consumer_offsets
    #[arg(long)]
    offsets_decoder: bool,
    /// Records are those of __transaction_state
    #[arg(long)]
    transaction_log_decoder: bool,
    /// Records are those of __cluster_metadata
    #[arg(long)]
    cluster_metadata_decoder: bool,
    /// Records are those of __share_group_state
    #[arg(long)]
    share_group_state_decoder: bool,
    /// How to print keys: StringDecoder, IntegerDecoder or LongDecoder of org.apache.kafka.tools.api
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = decoders::STRING)]
    key_decoder_class: Option<Decoder>,
    /// How to print values
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = decoders::STRING)]
    value_decoder_class: Option<Decoder>,
}

/// What is found wrong; it is told after all files are printed.
#[derive(Default)]
struct Findings {
    /// Index entries at whose position another batch stands: entry and batch by their offsets, for each file.
    offset_mismatches: Vec<(PathBuf, Vec<(i64, i64)>)>,
    /// Timestamps of the entry and of the batch.
    time_mismatches: Vec<(PathBuf, Vec<(i64, i64)>)>,
    /// An entry's timestamp and the one before it.
    out_of_order: Vec<(PathBuf, Vec<(i64, i64)>)>,
    /// An entry's offset and the last one of the batch that is there; -1 for none.
    not_found: Vec<(PathBuf, Vec<(i64, i64)>)>,
    /// Offsets of records that do not follow each other.
    gaps: Vec<(PathBuf, Vec<(i64, i64)>)>,
}

/// Files with what was found in them, in their order; a file that was given twice is there once.
type PerFile = Vec<(PathBuf, Vec<(i64, i64)>)>;

fn note(to: &mut PerFile, file: &Path, pair: (i64, i64)) {
    match to.iter_mut().rfind(|(of, _)| of == file) {
        Some((_, pairs)) => pairs.push(pair),
        None => to.push((file.to_owned(), vec![pair])),
    }
}

impl DumpLog {
    pub fn run(&self) -> Result<(), Failure> {
        let mut findings = Findings::default();
        let result = self
            .files
            .iter()
            .try_for_each(|file| self.dump(file, &mut findings));
        findings.tell();
        result?;
        if findings.has_wrong_index() {
            return Err(Failure::new("an index does not agree with its segment"));
        }
        Ok(())
    }

    fn dump(&self, file: &Path, findings: &mut Findings) -> Result<(), Failure> {
        say!("Dumping {}", file.display());
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", file.display()));
        match file.extension().and_then(|suffix| suffix.to_str()) {
            Some("log" | "checkpoint") => self.segment(file, findings),
            Some("index") => {
                indexes::offset_index(file, self.only(), self.max_message_size, findings)
            }
            Some("timeindex") => indexes::time_index(file, self.only(), findings),
            Some(snapshots::SUFFIX) => {
                producers(file).map_err(|error| failed(&error))?;
                Ok(())
            }
            Some(transactions::SUFFIX) => aborted(file).map_err(|error| failed(&error)),
            _ => {
                complain!("Ignoring unknown file {}", file.display());
                Ok(())
            }
        }
    }

    fn only(&self) -> indexes::Only {
        indexes::Only {
            sanity: self.index_sanity_check,
            verify: self.verify_index_only,
        }
    }

    fn decoder(&self) -> RecordDecoder {
        if self.offsets_decoder {
            RecordDecoder::Offsets
        } else if self.transaction_log_decoder {
            RecordDecoder::TransactionLog
        } else if self.cluster_metadata_decoder {
            RecordDecoder::ClusterMetadata
        } else if self.share_group_state_decoder {
            RecordDecoder::ShareGroupState
        } else {
            RecordDecoder::Plain {
                key: self.key_decoder_class.unwrap_or_default(),
                value: self.value_decoder_class.unwrap_or_default(),
            }
        }
    }

    fn segment(&self, file: &Path, findings: &mut Findings) -> Result<(), Failure> {
        let decoder = self.decoder();
        let prints = self.print_data_log
            || self.key_decoder_class.is_some()
            || self.value_decoder_class.is_some()
            || !matches!(decoder, RecordDecoder::Plain { .. });
        let how = batches::How {
            deep: self.deep_iteration || prints,
            contents: prints.then_some(decoder),
            metadata: !self.skip_record_metadata,
            bytes_max: u64::from(self.max_bytes),
        };
        batches::dump(file, &how, findings)
    }
}

impl Findings {
    fn has_wrong_index(&self) -> bool {
        let all = [
            &self.offset_mismatches,
            &self.time_mismatches,
            &self.out_of_order,
            &self.not_found,
        ];
        all.iter().any(|findings| !findings.is_empty())
    }

    fn tell(&self) {
        for line in self.lines() {
            complain!("{line}");
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (file, pairs) in &self.offset_mismatches {
            lines.push(format!("Mismatches in :{}", absolute(file)));
            for (entry, log) in once_each(pairs).iter().rev() {
                lines.push(format!("  Index offset: {entry}, log offset: {log}"));
            }
        }
        for (file, pairs) in &self.time_mismatches {
            lines.push(format!("Found timestamp mismatch in :{}", absolute(file)));
            for (entry, log) in pairs {
                lines.push(format!("  Index timestamp: {entry}, log timestamp: {log}"));
            }
        }
        for (file, pairs) in &self.out_of_order {
            lines.push(format!(
                "Found out of order timestamp in :{}",
                absolute(file)
            ));
            for (entry, before) in pairs {
                lines.push(format!(
                    "  Index timestamp: {entry}, Previously indexed timestamp: {before}"
                ));
            }
        }
        for (_, pairs) in &self.not_found {
            lines.push("The following indexed offsets are not found in the log.".to_owned());
            for (entry, log) in pairs {
                lines.push(format!("Indexed offset: {entry}, found log offset: {log}"));
            }
        }
        for (file, pairs) in &self.gaps {
            lines.push(format!("Non-consecutive offsets in {}", absolute(file)));
            for (before, after) in once_each(pairs) {
                lines.push(format!("  {before} is followed by {after}"));
            }
        }
        lines
    }
}

/// The pairs in order, of those that begin alike the last: Kafka's tool keeps these in a map.
fn once_each(pairs: &[(i64, i64)]) -> BTreeMap<i64, i64> {
    pairs.iter().copied().collect()
}

fn absolute(file: &Path) -> String {
    std::path::absolute(file)
        .unwrap_or_else(|_| file.to_owned())
        .display()
        .to_string()
}

/// The base offset in a file's name.
fn base_offset(file: &Path) -> Result<i64, Failure> {
    let name = file.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.split('.').next()?.parse().ok())
        .ok_or_else(|| {
            Failure::new(format!(
                "{}: its name does not begin with an offset",
                file.display()
            ))
        })
}

fn producers(file: &Path) -> Result<(), crate::log::Error> {
    let Some(states) = snapshots::read(file)? else {
        complain!("Snapshot is corrupt: {}", file.display());
        return Ok(());
    };
    for state in states {
        let transaction = match state.current_txn_first_offset {
            Some(offset) => format!("OptionalLong[{offset}]"),
            None => "OptionalLong.empty".to_owned(),
        };
        let batch = state.last_batch().map_or_else(String::new, |batch| {
            format!(
                " firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                batch.base_sequence(),
                batch.last_sequence,
                batch.last_offset,
                batch.offset_delta,
                batch.timestamp.0
            )
        });
        say!(
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {transaction} lastTimestamp: {}{batch}",
            state.producer_id.0,
            state.epoch.0,
            state.coordinator_epoch,
            state.last_timestamp.0,
        );
    }
    Ok(())
}

fn aborted(file: &Path) -> Result<(), Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::new(error.to_string()))?;
    let entries = transactions::decode(&bytes)
        .ok_or_else(|| Failure::new("not a list of aborted transactions"))?;
    for entry in entries {
        say!(
            "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            entry.producer_id.0,
            entry.first_offset,
            entry.last_offset,
            entry.last_stable_offset
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kafka's tool told of `--files a.log,b.log,a.log`.
    #[test]
    fn a_file_that_is_given_twice_is_told_of_once() {
        let mut findings = Findings::default();
        for (file, pair) in [
            ("/a.log", (-1, 7)),
            ("/a.log", (9, 12)),
            ("/b.log", (-1, 3)),
            ("/a.log", (-1, 7)),
            ("/a.log", (9, 12)),
        ] {
            note(&mut findings.gaps, Path::new(file), pair);
        }
        assert_eq!(
            findings.lines(),
            [
                "Non-consecutive offsets in /a.log",
                "  -1 is followed by 7",
                "  9 is followed by 12",
                "Non-consecutive offsets in /b.log",
                "  -1 is followed by 3",
            ]
        );
    }

    #[test]
    fn mismatches_are_told_from_the_last_on() {
        let mut findings = Findings::default();
        for pair in [(4, 5), (8, 9), (8, 10)] {
            note(&mut findings.offset_mismatches, Path::new("/a.index"), pair);
        }
        assert_eq!(
            findings.lines(),
            [
                "Mismatches in :/a.index",
                "  Index offset: 8, log offset: 10",
                "  Index offset: 4, log offset: 5",
            ]
        );
    }
}
