//! Which segments become one: neighbours whose batches fit into one segment, so that a log that shrinks does not end as
//! thousands of small files. (org.apache.kafka.storage.internals.log.Cleaner.groupSegmentsBySize)

use super::Source;
use crate::ids::Offset;
use crate::log::config::LogConfig;
use crate::log::error::Error;
use crate::log::index::{Entry, OffsetEntry, TimeEntry};

/// What segments take together.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    log: u64,
    offsets: u64,
    times: u64,
}

impl Sizes {
    fn of(source: &Source) -> Result<Sizes, Error> {
        let (offsets, times) = source.segment.index_entries()?;
        Ok(Sizes {
            log: source.size,
            offsets: (offsets * OffsetEntry::SIZE) as u64,
            times: (times * TimeEntry::SIZE) as u64,
        })
    }

    fn plus(self, other: Sizes) -> Sizes {
        Sizes {
            log: self.log + other.log,
            offsets: self.offsets + other.offsets,
            times: self.times + other.times,
        }
    }

    fn fit(&self, config: &LogConfig) -> bool {
        let index_bytes = u64::from(config.segment_index_bytes);
        self.log <= u64::from(config.segment_bytes)
            && self.offsets <= index_bytes
            && self.times <= index_bytes
    }
}

/// The segments in groups; all of them end before `first_uncleanable`.
pub(super) fn group(
    sources: &[Source],
    config: &LogConfig,
    first_uncleanable: Offset,
) -> Result<Vec<Vec<Source>>, Error> {
    let mut groups: Vec<Vec<Source>> = Vec::new();
    let mut sizes = Sizes::default();
    for (at, source) in sources.iter().enumerate() {
        let own = Sizes::of(source)?;
        let next = sources
            .get(at + 1)
            .map_or(first_uncleanable, |next| next.segment.base_offset());
        if let Some(group) = groups.last_mut() {
            // Offsets are held as distances of 31 bits; an empty segment has none to hold.
            let span = next - group[0].segment.base_offset() - 1;
            let in_reach = source.size == 0 || span <= i64::from(i32::MAX);
            let together = sizes.plus(own);
            if in_reach && together.fit(config) {
                sizes = together;
                group.push(source.clone());
                continue;
            }
        }
        sizes = own;
        groups.push(vec![source.clone()]);
    }
    Ok(groups)
}
