//! Where a leader epoch ended: what a follower or a consumer asks to find where its log left the leader's.
//! (Partition.lastOffsetForLeaderEpoch; KIP-101, KIP-320)

use super::{Error, Partition};
use crate::ids::{LeaderEpoch, Offset};

impl Partition {
    /// Where `epoch` ended in the leader's log, with the epoch that this end belongs to: `epoch`, or the last one before
    /// it. `None` when the log has no answer. `current_leader_epoch` is the one that the asker knows.
    pub fn epoch_end(
        &self,
        epoch: LeaderEpoch,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<(LeaderEpoch, Offset)>, Error> {
        let leadership = self.leading(current_leader_epoch)?;
        Ok(self.end_offset_for_epoch(leadership.epoch, epoch))
    }

    /// Where `epoch` ended, by the log and, for the epoch under which it is led, by its end.
    pub(super) fn end_offset_for_epoch(
        &self,
        current: LeaderEpoch,
        epoch: LeaderEpoch,
    ) -> Option<(LeaderEpoch, Offset)> {
        if epoch == current {
            return Some((current, self.log.load().log_end_offset()));
        }
        self.log.load().end_offset_for_epoch(epoch)
    }
}
