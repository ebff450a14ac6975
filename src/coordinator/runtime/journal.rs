//! What the runtime needs of a partition that it leads.

use std::future::Future;

use bytes::Bytes;

use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::record::ValidBatch;

/// A partition of an internal topic, as its leader sees it. Errors are what a producer would be answered.
pub trait Journal: Send + Sync + 'static {
    fn log_start_offset(&self) -> Offset;

    fn log_end_offset(&self) -> Offset;

    fn high_watermark(&self) -> Offset;

    /// The largest batch that the topic takes.
    fn max_batch_bytes(&self) -> usize;

    /// Appends to the page cache, as the leader of `epoch`; returns the base offset.
    fn append(
        &self,
        batch: &ValidBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Offset, ErrorCode>;

    /// Resolves once the high watermark is at `offset` or above.
    fn wait_for_high_watermark(
        &self,
        offset: Offset,
        epoch: LeaderEpoch,
    ) -> impl Future<Output = Result<(), ErrorCode>> + Send;

    /// Whole batches from the one that holds `from` on, to the end of the log, at least one; may wait for the disk.
    fn read(&self, from: Offset) -> std::io::Result<Bytes>;
}
