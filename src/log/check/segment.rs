//! The walk over a partition's segments.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::indexes::Indexes;
use super::{Checked, Expected, Inspect, Severity, aborted_file};
use crate::ids::{LeaderEpoch, Offset};
use crate::log::epochs::EpochEntry;
use crate::log::producers::{Origin, Producers, Verdict};
use crate::log::scan::{Fault, Scan, UNVERIFIED};
use crate::log::segment::LOG_SUFFIX;
use crate::log::transactions::{self, AbortedTransaction};
use crate::log::{index::MAX_OFFSET_DELTA, snapshots};
use crate::record::{Batch, BatchHeader};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// From segment to segment.
pub(super) struct Walk<'a> {
    pub(super) dir: &'a Path,
    pub(super) expected: Expected,
    pub(super) inspect: Option<Inspect<'a>>,
    pub(super) on_bytes: &'a dyn Fn(u64),
    /// What `leader-epoch-checkpoint` says.
    pub(super) epochs: Option<Vec<EpochEntry>>,
    pub(super) producers: Producers,
    /// All transactions that may end in the next segment are known.
    pub(super) producers_known: bool,
    pub(super) next_offset: Offset,
    pub(super) latest_epoch: Option<LeaderEpoch>,
}

/// One segment on its way.
struct Current {
    path: PathBuf,
    base: Offset,
    next_base: Option<Offset>,
    indexes: Indexes,
    aborted: Vec<AbortedTransaction>,
    /// Offsets that no batch has: compaction took them.
    has_gaps: bool,
}

impl Walk<'_> {
    pub(super) fn segment(
        &mut self,
        base: Offset,
        size: u64,
        next_base: Option<Offset>,
        checked: &mut Checked,
    ) {
        let path = self.dir.join(format!("{base:020}.{LOG_SUFFIX}"));
        checked.segments += 1;
        if base < self.next_offset {
            let what = format!(
                "it begins below offset {}, where the one before it ends",
                self.next_offset
            );
            checked.damage(&path, what);
        }
        self.next_offset = base.max(self.next_offset);
        self.take_snapshot(base);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return checked.damage(&path, error.to_string()),
        };
        let mut current = Current {
            indexes: Indexes::read(self.dir, base, size, next_base.is_none(), checked),
            path,
            base,
            next_base,
            aborted: Vec::new(),
            has_gaps: false,
        };
        let whole = self.batches(&file, size, &mut current, checked);
        if whole {
            self.aborted(&current, checked);
        }
        self.producers_known &= whole;
        current
            .indexes
            .end(size, next_base.is_none(), whole, checked);
    }

    /// The producers' states at a segment's start, where they are not known from the segments before.
    fn take_snapshot(&mut self, base: Offset) {
        if self.producers_known {
            return;
        }
        self.producers = Producers::default();
        self.producers_known = base == Offset::ZERO;
        if let Ok(Some(states)) = snapshots::read(&snapshots::path(self.dir, base)) {
            states
                .into_iter()
                .for_each(|state| self.producers.load(state));
            self.producers_known = true;
        }
    }

    /// Whether all batches could be read.
    fn batches(
        &mut self,
        file: &File,
        size: u64,
        current: &mut Current,
        checked: &mut Checked,
    ) -> bool {
        let mut buffer = vec![0; READ_BYTES];
        let mut scan = Scan::new(file, 0, size, &mut buffer);
        loop {
            let (position, header) = match scan.next(UNVERIFIED) {
                Ok(Some(batch)) => batch,
                Ok(None) => return true,
                Err(Fault::Io(error)) => {
                    checked.damage(&current.path, error.to_string());
                    return false;
                }
                Err(Fault::Bad { position, reason }) => {
                    self.cut_short(current, (position, size), reason, checked);
                    return false;
                }
            };
            checked.batches += 1;
            checked.bytes += header.size() as u64;
            (self.on_bytes)(header.size() as u64);
            let is_sound = match scan.has_crc(position, &header) {
                Ok(is_sound) => is_sound,
                Err(error) => {
                    checked.damage(&current.path, error.to_string());
                    return false;
                }
            };
            let place = (Some(position), Some(header.base_offset));
            if is_sound {
                self.content(file, position, &header, current, checked);
            } else {
                let severity = self.severity(current, header.base_offset);
                checked.add(severity, &current.path, place, "wrong CRC");
            }
            if let Some(what) = self.order(&header, current) {
                checked.add(Severity::Damage, &current.path, place, what);
            }
            current.indexes.batch(position, &header, checked);
            if is_sound && header.has_producer_id() {
                let marker = scan.marker(position, &header).ok().flatten();
                let verdict = self.producers.prepare(
                    &header,
                    header.base_offset,
                    marker,
                    Origin::Replication,
                );
                if let Ok(Verdict::New(Some(prepared))) = verdict {
                    current.aborted.extend(self.producers.commit(prepared));
                }
            }
        }
    }

    /// What a walk that cannot go on means: behind the recovery point of a log that was not closed it is cut off.
    fn cut_short(
        &self,
        current: &Current,
        (position, size): (u64, u64),
        reason: &str,
        checked: &mut Checked,
    ) {
        let severity = self.severity(current, self.next_offset);
        let what = match severity {
            Severity::Note => format!(
                "{reason}: torn by an unclean stop; the next start cuts {} bytes off",
                size - position
            ),
            Severity::Damage => format!(
                "{reason}; the {} bytes from here on cannot be read",
                size - position
            ),
        };
        checked.add(
            severity,
            &current.path,
            (Some(position), Some(self.next_offset)),
            what,
        );
    }

    fn severity(&self, current: &Current, offset: Offset) -> Severity {
        let is_tail = current.next_base.is_none() && !self.expected.clean;
        if is_tail && offset >= self.expected.recovery_point {
            Severity::Note
        } else {
            Severity::Damage
        }
    }

    /// What is wrong with a batch's offsets and epoch; takes them in.
    fn order(&mut self, header: &BatchHeader, current: &mut Current) -> Option<String> {
        let (first, last) = (header.base_offset, header.last_offset());
        let expected = std::mem::replace(&mut self.next_offset, header.next_offset());
        current.has_gaps |= first > expected;
        let epoch = header.leader_epoch;
        let latest = self.latest_epoch.replace(epoch);
        if first < current.base || last - current.base > MAX_OFFSET_DELTA {
            return Some("offsets outside the segment's".to_owned());
        }
        if current.next_base.is_some_and(|next| last >= next) {
            return Some("offsets that belong to the next segment".to_owned());
        }
        if first < expected {
            return Some(format!("offset {expected} was reached before"));
        }
        if latest.is_some_and(|latest| epoch < latest) {
            return Some(format!("leader epoch {epoch} comes after a later one"));
        }
        let entry = self.epochs.as_ref().map(|entries| {
            let after = entries.partition_point(|entry| entry.start_offset <= first);
            after.checked_sub(1).map(|at| entries[at].epoch)
        });
        match entry {
            Some(Some(known)) if known != epoch => Some(format!(
                "leader epoch {epoch}, where leader-epoch-checkpoint has {known}"
            )),
            _ => None,
        }
    }

    /// Looks at what the caller wants to look at.
    fn content(
        &self,
        file: &File,
        position: u64,
        header: &BatchHeader,
        current: &Current,
        checked: &mut Checked,
    ) {
        let Some(inspect) = self.inspect else {
            return;
        };
        let mut bytes = vec![0; header.size()];
        let read = file
            .read_exact_at(&mut bytes, position)
            .map_err(|error| error.to_string());
        let parsed = read
            .and_then(|()| Batch::parse(&Bytes::from(bytes)).map_err(|error| error.to_string()));
        if let Err(what) = parsed.and_then(|batch| inspect(&batch)) {
            let place = (Some(position), Some(header.base_offset));
            checked.add(Severity::Damage, &current.path, place, what);
        }
    }

    /// Holds the transaction index against the markers.
    fn aborted(&self, current: &Current, checked: &mut Checked) {
        let path = self
            .dir
            .join(format!("{:020}.{}", current.base, transactions::SUFFIX));
        let found = match aborted_file(&path) {
            Ok(Some(found)) => found,
            Ok(None) => return checked.damage(&path, "not a list of aborted transactions"),
            Err(error) => return checked.damage(&path, error.to_string()),
        };
        if !self.producers_known || found == current.aborted {
            return;
        }
        let key =
            |entry: &AbortedTransaction| (entry.last_offset, entry.producer_id, entry.first_offset);
        let missing = current
            .aborted
            .iter()
            .find(|wanted| !found.iter().any(|entry| key(entry) == key(wanted)));
        let added = found.iter().find(|entry| {
            !current
                .aborted
                .iter()
                .any(|wanted| key(wanted) == key(entry))
        });
        if let Some(missing) = missing {
            let what = format!(
                "the aborted transaction that ends at offset {} is not in it",
                missing.last_offset
            );
            let severity = self.severity(current, missing.last_offset);
            checked.add(severity, &path, (None, Some(missing.last_offset)), what);
        } else if let Some(added) = added {
            let what = format!("no transaction is aborted at offset {}", added.last_offset);
            let severity = if current.has_gaps {
                Severity::Note
            } else {
                Severity::Damage
            };
            checked.add(severity, &path, (None, Some(added.last_offset)), what);
        }
    }
}
