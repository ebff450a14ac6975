//! Moving a partition's start up, so that older records are gone. (Partition.deleteRecordsOnLeader; KIP-107)
//!
//! The log start offset moves at once; the segments below it go with the next retention run. Who asked may wait until
//! no replica has the records any more: until the low watermark is there.

use std::sync::Arc;

use super::{Error, Partition, leadership};
use crate::ids::{LeaderEpoch, Offset};
use crate::replica::Waiter;

/// Records that were let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The offset that was asked for, or the high watermark.
    pub before: Offset,
    /// The least log start offset of all replicas, as it was then.
    pub low_watermark: Offset,
    /// The epoch under which this broker leads.
    pub leader_epoch: LeaderEpoch,
}

impl Partition {
    /// Lets go of the records below an offset that is at most the high watermark; `None` means that one.
    pub fn delete_records(&self, before: Option<Offset>) -> Result<Deletion, Error> {
        let role = self.lock_role();
        let leader_epoch = leadership(&role)?.epoch;
        let config = self.config.load();
        if config.log.compact && !config.log.delete {
            return Err(Error::CompactOnly);
        }
        let high_watermark = self.high_watermark();
        let before = before.unwrap_or(high_watermark);
        if before < Offset::ZERO || before > high_watermark {
            return Err(Error::OffsetOutOfRange {
                got: before,
                start: self.log_start_offset(),
                end: high_watermark,
            });
        }
        let start = self.log_start_offset();
        let advanced = self.log.load().advance_log_start_offset(before);
        // It has moved also where its epochs could not be written.
        if self.log_start_offset() != start {
            self.waiting.changed();
        }
        advanced?;
        Ok(Deletion {
            before,
            low_watermark: self.low_watermark(),
            leader_epoch,
        })
    }

    /// The least log start offset of all replicas that are alive, a future one among them. (Partition.lowWatermarkIfLeader)
    pub fn low_watermark(&self) -> Offset {
        let start = self.log_start_offset();
        match self.future() {
            Some(future) => start.min(future.log.log_start_offset()),
            None => start,
        }
    }

    /// Resolves once the low watermark is at `offset` or above, with what it is then. Fails when the partition is no
    /// longer led here in `epoch`.
    pub async fn wait_for_low_watermark(
        self: &Arc<Self>,
        offset: Offset,
        epoch: LeaderEpoch,
    ) -> Result<Offset, Error> {
        let waiter = Arc::new(Waiter::default());
        let _subscription = self.subscribe(&waiter);
        loop {
            let leadership = self.leading(None)?;
            if leadership.epoch != epoch {
                return Err(Error::NotLeader);
            }
            let low_watermark = self.low_watermark();
            if low_watermark >= offset {
                return Ok(low_watermark);
            }
            waiter.woken().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append, leader, partition_in};
    use super::*;
    use crate::ids::PartitionEpoch;
    use crate::replica::PartitionConfig;

    #[test]
    fn records_go_up_to_the_high_watermark() {
        let dir = tempfile::tempdir().unwrap();
        let partition = leader(dir.path());
        append(&partition, 5);
        let before = |offset| partition.delete_records(Some(Offset(offset)));
        assert_eq!(before(3).unwrap().low_watermark, Offset(3));
        assert_eq!(before(2).unwrap().low_watermark, Offset(3), "no way back");
        assert!(matches!(before(6), Err(Error::OffsetOutOfRange { .. })));
        assert!(matches!(before(-2), Err(Error::OffsetOutOfRange { .. })));
        let all = partition.delete_records(None).unwrap();
        assert_eq!((all.before, all.low_watermark), (Offset(5), Offset(5)));
    }

    #[test]
    fn only_a_leader_that_may_delete_lets_go_of_records() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = PartitionConfig::default();
        let log = Arc::make_mut(&mut config.log);
        (log.compact, log.delete) = (true, false);
        let partition = partition_in(dir.path(), config.clone());
        assert!(matches!(
            partition.delete_records(None),
            Err(Error::NotLeader)
        ));
        partition
            .lead(LeaderEpoch(3), PartitionEpoch(0), 1, 1)
            .unwrap();
        assert!(matches!(
            partition.delete_records(None),
            Err(Error::CompactOnly)
        ));
        Arc::make_mut(&mut config.log).delete = true;
        partition.update_config(config);
        assert!(partition.delete_records(None).is_ok());
    }
}
