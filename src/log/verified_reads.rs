//! Checking what is read before it is given away (`log.verify.on.read`): a bit that flipped on the device after a batch was
//! taken and checked is found here, and not by the consumer. And what follows from damage, however it was found.

use std::fs::File;

use tracing::error;

use super::error::Error;
use super::log::Log;
use super::scan::Scan;
use super::segment::Segment;
use crate::ids::Offset;

/// Bytes read at a time.
const VERIFY_BYTES: usize = 64 * 1024;
/// All batches are checked.
const ALL: Offset = Offset(i64::MIN);

impl Log {
    /// What an error means that reading has met: that the device cannot read takes the log directory offline. A log whose
    /// batches are damaged takes no more records; what is sound in it can still be read, and no other log is concerned.
    pub(super) fn judge_read(&self, error: &Error) {
        self.home.health.judge_read(error);
        if matches!(error, Error::Corrupt { .. }) {
            if !self.is_offline() {
                error!(damage = %error, "found when it was read: the log takes no more records");
            }
            self.go_offline();
        }
    }

    /// Checks the CRC of every batch in a part of a segment.
    pub(super) fn verify(
        &self,
        segment: &Segment,
        file: &File,
        begin: u64,
        end: u64,
    ) -> Result<(), Error> {
        let mut buffer = vec![0; VERIFY_BYTES];
        let mut scan = Scan::new(file, begin, end, &mut buffer);
        loop {
            match scan.next(ALL) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(fault) => return Err(segment.error(fault)),
            }
        }
    }
}
