//! Checking what is read before it is given away (`log.verify.on.read`): a bit that flipped on the device after a batch was
//! taken and checked is found here, and not by the consumer.

use std::fs::File;

use tracing::error;

use super::error::Error;
use super::log::Log;
use super::scan::{Fault, Scan};
use super::segment::Segment;
use crate::ids::Offset;

/// Bytes read at a time.
const VERIFY_BYTES: usize = 64 * 1024;
/// All batches are checked.
const ALL: Offset = Offset(i64::MIN);

impl Log {
    /// Checks the CRC of every batch in a part of a segment. At the first bad one the log takes no more records; what is
    /// sound in it can still be read.
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
                Err(Fault::Io(error)) => return Err(segment.error(Fault::Io(error))),
                Err(bad) => {
                    let damage = segment.error(bad);
                    if !self.is_offline() {
                        error!(%damage, "found when it was read: the log takes no more records");
                    }
                    self.go_offline();
                    return Err(damage);
                }
            }
        }
    }
}
