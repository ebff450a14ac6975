//! Reading a partition that this broker leads: batches from an offset on, and offsets by time. Reads no record; says
//! where they lie. (Partition.readRecords, Partition.fetchOffsetForTimestamp)

use super::{Error, Partition};
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::log::{AbortedTransaction, Source};
use crate::messages::Records;

/// How far a read may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// To the end: followers.
    LogEnd,
    /// To the high watermark.
    ReadUncommitted,
    /// To the last stable offset, with the aborted transactions told.
    ReadCommitted,
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    pub from: Offset,
    pub max_bytes: usize,
    /// Whether the first batch is read even when it is larger than `max_bytes`.
    pub min_one_batch: bool,
    pub isolation: Isolation,
    /// That the reader knows; `None` does not ask.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// That of the reader's last record, by which it learns that its log has left the leader's.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    pub source: Source,
}

/// What a read found.
#[derive(Debug)]
pub struct ReadInfo {
    pub records: Records,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    /// For [`Isolation::ReadCommitted`].
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// Where the reader's last epoch ended here; `records` is empty then.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// There is nothing at or above the offset that was asked for, however much were read.
    pub is_at_end: bool,
}

/// What ListOffsets asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    Latest,
    Earliest,
    /// The record with the greatest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record at or after a time.
    At(Timestamp),
}

/// An offset that ListOffsets found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    pub offset: Offset,
    /// [`Timestamp::NONE`] for the ends of the log.
    pub timestamp: Timestamp,
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Partition {
    /// Reads from the leader's log; reads no record, but says where they lie. [`Error::would_wait`] where the page cache is
    /// the source and does not have what the look-up reads.
    pub fn read(&self, read: &Read) -> Result<ReadInfo, Error> {
        let leadership = self.leading(read.current_leader_epoch)?;
        let high_watermark = self.high_watermark();
        let last_stable_offset = self.log.load().last_stable_offset(high_watermark);
        let log_start_offset = self.log.load().log_start_offset();
        let mut info = ReadInfo {
            records: Records::default(),
            high_watermark,
            last_stable_offset,
            log_start_offset,
            aborted: None,
            diverging: None,
            is_at_end: false,
        };
        if let Some(epoch) = read.last_fetched_epoch {
            info.diverging = self.diverging(leadership.epoch, epoch, read.from)?;
            if info.diverging.is_some() {
                return Ok(info);
            }
        }
        let below = match read.isolation {
            Isolation::LogEnd => self.log.load().log_end_offset(),
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable_offset,
        };
        let found = self.log.load().read_from(
            read.from,
            read.max_bytes,
            below,
            read.min_one_batch,
            read.source,
        )?;
        if read.isolation == Isolation::ReadCommitted {
            info.aborted = Some(match found.records.is_empty() {
                true => Vec::new(),
                false => self
                    .log
                    .load()
                    .aborted_from(read.from, found.upper_bound, read.source)?,
            });
        }
        info.is_at_end = read.from >= below;
        info.records = found.records;
        Ok(info)
    }

    /// Where a reader's log leaves this one: the end here of the epoch of its last record, when that is less than
    /// what it has. (Partition.readRecords; KIP-595)
    fn diverging(
        &self,
        current: LeaderEpoch,
        epoch: LeaderEpoch,
        from: Offset,
    ) -> Result<Option<(LeaderEpoch, Offset)>, Error> {
        let (found, end) = match self.end_offset_for_epoch(current, epoch) {
            Some(end) => end,
            None => return Err(Error::NoSuchEpoch(epoch)),
        };
        let (start, log_end) = (
            self.log.load().log_start_offset(),
            self.log.load().log_end_offset(),
        );
        if from < start {
            return Err(Error::OffsetOutOfRange {
                got: from,
                start,
                end: log_end,
            });
        }
        Ok((found < epoch || end < from).then_some((found, end)))
    }

    /// Answers one query of ListOffsets. `None` when no record is meant. Reads from the disk for what is neither
    /// end of the log. (Partition.fetchOffsetForTimestamp)
    pub fn find_offset(
        &self,
        query: OffsetQuery,
        isolation: Isolation,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<FoundOffset>, Error> {
        let leadership = self.leading(current_leader_epoch)?;
        let below = match isolation {
            Isolation::LogEnd => self.log_end_offset(),
            Isolation::ReadUncommitted => self.high_watermark(),
            Isolation::ReadCommitted => self.last_stable_offset(),
        };
        let found = match query {
            OffsetQuery::Latest => {
                let leader_epoch = Some(leadership.epoch);
                return Ok(Some(FoundOffset {
                    offset: below,
                    timestamp: Timestamp::NONE,
                    leader_epoch,
                }));
            }
            OffsetQuery::Earliest => {
                let start = self.log.load().log_start_offset();
                let first = self
                    .log
                    .load()
                    .epoch_entries()
                    .first()
                    .copied()
                    .filter(|first| first.start_offset <= start);
                let leader_epoch = first.map(|first| first.epoch);
                return Ok(Some(FoundOffset {
                    offset: start,
                    timestamp: Timestamp::NONE,
                    leader_epoch,
                }));
            }
            OffsetQuery::MaxTimestamp => self.log.load().max_timestamp()?,
            OffsetQuery::At(timestamp) => self.log.load().offset_for_timestamp(timestamp)?,
        };
        Ok(found
            .filter(|found| found.offset < below)
            .map(|found| FoundOffset {
                offset: found.offset,
                timestamp: found.timestamp,
                leader_epoch: (found.leader_epoch > LeaderEpoch::UNKNOWN)
                    .then_some(found.leader_epoch),
            }))
    }
}
