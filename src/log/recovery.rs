//! Brings a log back from its directory.
//!
//! First the end is settled: after a clean stop by walking the batches behind the last index entry; else every batch
//! behind the recovery point is read and its CRC checked, the log is cut at the first bad byte, and what was derived
//! from those batches (indexes, epochs, producer snapshots, aborted transactions) is made again. A bad byte below
//! the recovery point is an error: those bytes were on the device. Then the producers' states are loaded from the
//! latest snapshot and brought up to the end. (org.apache.kafka.storage.internals.log.LogLoader)

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::{info, warn};

use super::config::LogConfig;
use super::epochs::{EpochEntry, Epochs};
use super::error::Error;
use super::listing;
use super::log::LogOptions;
use super::open_segments::Home;
use super::producers::{self, Origin, Producers, Verdict};
use super::progress::Progress;
use super::scan::{Fault, Scan, UNVERIFIED};
use super::segment::{Segment, remove_file};
use super::snapshots;
use crate::ids::{Offset, Timestamp};

/// Bytes read at a time where every byte is checked.
const VERIFY_BYTES: usize = 256 * 1024;
/// Bytes read at a time where only headers are.
const HEADER_BYTES: usize = 4096;

/// A log as it was found.
pub(super) struct Recovered {
    pub(super) home: Arc<Home>,
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) start_offset: Offset,
    pub(super) end_offset: Offset,
    pub(super) recovery_point: Offset,
    pub(super) epochs: Epochs,
    pub(super) producers: Producers,
    pub(super) snapshots: BTreeSet<Offset>,
    pub(super) bytes_since_entry: u64,
    pub(super) rolling_timestamp: Option<Timestamp>,
}

impl Recovered {
    pub(super) fn active(&self) -> &Arc<Segment> {
        self.segments.last().expect("recovery leaves a segment")
    }
}

pub(super) fn recover(
    home: Arc<Home>,
    config: &LogConfig,
    options: &LogOptions,
) -> Result<Recovered, Error> {
    let listing = listing::read(&home)?;
    let mut epochs = load_epochs(&home)?;
    let mut snapshots = listing.snapshots;
    let mut segments: Vec<Arc<Segment>> = listing
        .logs
        .iter()
        .map(|(base, size)| Segment::new(home.clone(), *base, *size))
        .collect();
    let end = if options.clean {
        let end = settle_clean(&segments, config, options)?;
        if epochs.latest().is_none() {
            epochs_below(&segments, end.unwrap_or_default(), &mut epochs)?;
            epochs.write(&*home.fs)?;
        }
        end
    } else {
        drop_snapshots(&home, &mut snapshots, options.recovery_point)?;
        settle_unclean(&mut segments, config, options, &mut epochs)?
    };
    let first = segments
        .first()
        .map_or(Offset::ZERO, |segment| segment.base_offset());
    let start_offset = options.log_start_offset.max(first);
    let mut end_offset = end.unwrap_or(start_offset);
    if segments.is_empty() || end_offset < start_offset {
        begin_anew(&home, &mut segments, start_offset)?;
        end_offset = start_offset;
    }
    epochs.drop_from(end_offset);
    epochs.truncate_from_start(&*home.fs, start_offset)?;
    drop_snapshots(&home, &mut snapshots, end_offset)?;
    drop_strays(&home, &mut snapshots, &segments)?;
    let aborted_from = if options.clean {
        UNVERIFIED
    } else {
        options.recovery_point
    };
    let replay = Replay {
        home: &home,
        segments: &segments,
        aborted_from,
        start_offset,
        end_offset,
        options,
    };
    let producers = replay.run(&mut snapshots)?;
    let (bytes_since_entry, rolling_timestamp) = append_state(&segments)?;
    Ok(Recovered {
        home,
        segments,
        start_offset,
        end_offset,
        recovery_point: options.recovery_point.min(end_offset),
        epochs,
        producers,
        snapshots,
        bytes_since_entry,
        rolling_timestamp,
    })
}

fn load_epochs(home: &Arc<Home>) -> Result<Epochs, Error> {
    match Epochs::load(home.clone()) {
        // A power loss may leave a part of it; the batches have all of it.
        Err(Error::Malformed { path, reason }) => {
            warn!(file = %path.display(), "made anew: {reason}");
            Ok(Epochs::none(home.clone()))
        }
        loaded => loaded,
    }
}

/// Leaves one empty segment that begins at `start_offset`.
fn begin_anew(
    home: &Arc<Home>,
    segments: &mut Vec<Arc<Segment>>,
    start_offset: Offset,
) -> Result<(), Error> {
    for segment in segments.drain(..) {
        segment.remove()?;
    }
    let active = Segment::new(home.clone(), start_offset, 0);
    if start_offset > Offset::ZERO {
        active.create_file()?;
    }
    segments.push(active);
    Ok(())
}

/// What has to be known anew once a log was cut at its end.
pub(super) struct Reloaded {
    pub(super) producers: Producers,
    pub(super) bytes_since_entry: u64,
    pub(super) rolling_timestamp: Option<Timestamp>,
}

/// Loads the producers' states as of `end`, from the snapshots that are left.
pub(super) fn reload(
    home: &Arc<Home>,
    segments: &[Arc<Segment>],
    snapshots: &mut BTreeSet<Offset>,
    end_offset: Offset,
) -> Result<Reloaded, Error> {
    let options = LogOptions {
        producer_id_expiration_ms: i64::MAX,
        ..LogOptions::default()
    };
    let start_offset = segments[0].base_offset();
    let replay = Replay {
        home,
        segments,
        aborted_from: UNVERIFIED,
        start_offset,
        end_offset,
        options: &options,
    };
    let producers = replay.run(snapshots)?;
    let (bytes_since_entry, rolling_timestamp) = append_state(segments)?;
    Ok(Reloaded {
        producers,
        bytes_since_entry,
        rolling_timestamp,
    })
}

/// The bytes behind the last index entry of the active segment, and the timestamp of its first batch.
fn append_state(segments: &[Arc<Segment>]) -> Result<(u64, Option<Timestamp>), Error> {
    let active = segments.last().expect("a log has a segment");
    if active.size() == 0 {
        return Ok((0, None));
    }
    let (entry, _) = active.last_entry()?;
    let since = active.size() - entry.map_or(0, |entry| u64::from(entry.position));
    Ok((
        since,
        active.find(0, active.size(), |_, header| Some(header.max_timestamp))?,
    ))
}

/// The log end offset of a log that was closed; `None` when there is no segment.
fn settle_clean(
    segments: &[Arc<Segment>],
    config: &LogConfig,
    options: &LogOptions,
) -> Result<Option<Offset>, Error> {
    let Some(active) = segments.last() else {
        return Ok(None);
    };
    let settled = settle(active, config, UNVERIFIED, None)?;
    if let Some(bad) = settled.bad {
        refuse_below(active, &settled, bad, options.recovery_point)?;
        cut(active, &settled, bad)?;
    }
    Ok(Some(settled.next_offset))
}

/// Checks all that lies behind the recovery point; cuts the log where it goes wrong.
fn settle_unclean(
    segments: &mut Vec<Arc<Segment>>,
    config: &LogConfig,
    options: &LogOptions,
    epochs: &mut Epochs,
) -> Result<Option<Offset>, Error> {
    let from = options.recovery_point;
    let first = segments
        .partition_point(|segment| segment.base_offset() <= from)
        .saturating_sub(1);
    epochs.drop_from(from);
    if epochs.latest().is_none() {
        epochs_below(segments, from, epochs)?;
    }
    let mut end = None;
    for at in first..segments.len() {
        let segment = segments[at].clone();
        segment.cut_torn_aborted()?;
        segment.distrust_indexes();
        let settled = settle(&segment, config, from, Some((epochs, &options.progress)))?;
        end = Some(settled.next_offset);
        if let Some(bad) = settled.bad {
            refuse_below(&segment, &settled, bad, from)?;
            // From the end, so that a crash leaves no gap.
            for unreachable in segments.split_off(at + 1).iter().rev() {
                warn!(segment = %unreachable.path().display(), "removed: the log ends before it");
                unreachable.remove()?;
            }
            cut(&segment, &settled, bad)?;
            // Before anything is appended: else a power loss could bring back what was cut off, behind what came in its
            // place.
            segment.sync_cut()?;
            segment.home().sync_directory(&segment.home().path.load())?;
            break;
        }
        segment.give_back_left();
        if at + 1 < segments.len() {
            segment.seal()?;
        }
    }
    if let Some(segment) = segments.first() {
        epochs.write(&*segment.home().fs)?;
    }
    Ok(end)
}

/// Notes the epochs of the batches below `end`.
fn epochs_below(segments: &[Arc<Segment>], end: Offset, epochs: &mut Epochs) -> Result<(), Error> {
    for segment in segments.iter().take_while(|one| one.base_offset() < end) {
        segment.find(0, segment.size(), |_, header| {
            epochs.insert(EpochEntry {
                epoch: header.leader_epoch,
                start_offset: header.base_offset,
            });
            // What lies behind is not known to be whole.
            (header.next_offset() >= end).then_some(())
        })?;
    }
    Ok(())
}

/// Where a segment's sound batches end.
struct Settled {
    next_offset: Offset,
    position: u64,
    bad: Option<&'static str>,
}

/// Walks a segment from its last index entry below `verify_from` on, checks the batches from that offset on, and
/// fills the indexes with what they lack.
fn settle(
    segment: &Arc<Segment>,
    config: &LogConfig,
    verify_from: Offset,
    mut noted: Option<(&mut Epochs, &Progress)>,
) -> Result<Settled, Error> {
    let size = segment.size();
    let mut settled = Settled {
        next_offset: segment.base_offset(),
        position: 0,
        bad: None,
    };
    if size == 0 {
        return Ok(settled);
    }
    segment.load_indexes_or_empty()?;
    segment.truncate_indexes(size, verify_from)?;
    if !segment.ends_agree()? {
        warn!(segment = %segment.path().display(), "its indexes do not agree with it: made anew");
        segment.empty_indexes()?;
    }
    let (entry, largest) = segment.last_entry()?;
    segment.set_largest(largest);
    segment.set_largest_proven();
    let file = segment.file()?;
    let mut buffer = vec![
        0;
        if verify_from == UNVERIFIED {
            HEADER_BYTES
        } else {
            VERIFY_BYTES
        }
    ];
    settled.position = entry.map_or(0, |entry| u64::from(entry.position));
    let mut scan = Scan::new(&file, settled.position, size, &mut buffer);
    let mut since_entry = 0;
    loop {
        let (position, header) = match scan.next(verify_from) {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(settled),
            Err(Fault::Bad { reason, .. }) => {
                settled.bad = Some(reason);
                return Ok(settled);
            }
            Err(fault) => return Err(segment.error(fault)),
        };
        if header.base_offset < segment.base_offset() {
            settled.bad = Some("offsets below the segment's");
            return Ok(settled);
        }
        // The CRC does not cover the base offset.
        if !segment.can_hold(header.last_offset()) {
            settled.bad = Some("offsets too far above the segment's");
            return Ok(settled);
        }
        if let Some((epochs, progress)) = &mut noted
            && header.last_offset() >= verify_from
        {
            progress.checked(header.size() as u64);
            epochs.insert(EpochEntry {
                epoch: header.leader_epoch,
                start_offset: header.base_offset,
            });
        }
        let due = since_entry > u64::from(config.index_interval_bytes);
        segment.note(position, &header, due)?;
        since_entry = if due { 0 } else { since_entry } + header.size() as u64;
        (settled.next_offset, settled.position) = (header.next_offset(), scan.position());
    }
}

/// What is bad below the recovery point had reached the device and is not to be cut off.
fn refuse_below(
    segment: &Segment,
    settled: &Settled,
    bad: &'static str,
    recovery_point: Offset,
) -> Result<(), Error> {
    if settled.next_offset >= recovery_point {
        return Ok(());
    }
    Err(Error::corrupt(&segment.path(), settled.position, bad))
}

/// Cuts a segment behind its last sound batch.
fn cut(segment: &Arc<Segment>, settled: &Settled, bad: &'static str) -> Result<(), Error> {
    let lost = segment.size() - settled.position;
    warn!(segment = %segment.path().display(), "{bad}: cut at byte {}, {lost} bytes dropped", settled.position);
    let largest = segment.largest_timestamp()?;
    segment.truncate(settled.position, settled.next_offset)?;
    segment.set_largest(largest);
    Ok(())
}

/// Removes the snapshots of offsets behind `end`.
fn drop_snapshots(home: &Home, snapshots: &mut BTreeSet<Offset>, end: Offset) -> Result<(), Error> {
    for gone in snapshots.split_off(&(end + 1)) {
        remove_file(&*home.fs, &snapshots::path(&home.path.load(), gone))?;
    }
    Ok(())
}

/// Removes the snapshots that belong to no segment, but for the last. (ProducerStateManager.removeStraySnapshots)
fn drop_strays(
    home: &Home,
    snapshots: &mut BTreeSet<Offset>,
    segments: &[Arc<Segment>],
) -> Result<(), Error> {
    let last = snapshots.last().copied();
    let bases: BTreeSet<Offset> = segments
        .iter()
        .map(|segment| segment.base_offset())
        .collect();
    let strays: Vec<Offset> = snapshots
        .iter()
        .copied()
        .filter(|offset| Some(*offset) != last && !bases.contains(offset))
        .collect();
    for stray in strays {
        snapshots.remove(&stray);
        remove_file(&*home.fs, &snapshots::path(&home.path.load(), stray))?;
    }
    Ok(())
}

/// Brings the producers' states from the latest snapshot to the end of the log.
struct Replay<'a> {
    home: &'a Arc<Home>,
    segments: &'a [Arc<Segment>],
    /// Aborted transactions are noted again from here on.
    aborted_from: Offset,
    start_offset: Offset,
    end_offset: Offset,
    options: &'a LogOptions,
}

impl Replay<'_> {
    fn run(&self, known: &mut BTreeSet<Offset>) -> Result<Producers, Error> {
        let (mut producers, from) = self.load(known)?;
        if from >= self.end_offset {
            return Ok(producers);
        }
        let first = self
            .segments
            .partition_point(|segment| segment.base_offset() <= from)
            .saturating_sub(1);
        for segment in &self.segments[first..] {
            let base = segment.base_offset();
            if base > from && !known.contains(&base) {
                snapshots::write(&*self.home.fs, &self.home.path.load(), base, &producers)?;
                known.insert(base);
            }
            self.segment(segment, from, &mut producers)?;
        }
        info!(log = %self.home.path.load().display(), "producers loaded from offset {from} to {}", self.end_offset);
        Ok(producers)
    }

    /// The states of the latest sound snapshot, and its offset.
    fn load(&self, known: &mut BTreeSet<Offset>) -> Result<(Producers, Offset), Error> {
        let mut producers = Producers::default();
        while let Some(latest) = known.last().copied() {
            let path = snapshots::path(&self.home.path.load(), latest);
            if let Some(states) = snapshots::read(&path)? {
                let expiration_ms = self.options.producer_id_expiration_ms;
                let current =
                    |state: &_| !producers::is_expired(state, self.options.now, expiration_ms);
                states
                    .into_iter()
                    .filter(current)
                    .for_each(|state| producers.load(state));
                return Ok((producers, latest));
            }
            warn!(snapshot = %path.display(), "not a producer snapshot: removed");
            remove_file(&*self.home.fs, &path)?;
            known.remove(&latest);
        }
        Ok((producers, self.start_offset))
    }

    fn segment(
        &self,
        segment: &Arc<Segment>,
        from: Offset,
        producers: &mut Producers,
    ) -> Result<(), Error> {
        let size = segment.size();
        if size == 0 {
            return Ok(());
        }
        let position = if segment.base_offset() < from {
            segment.position_of(from, size)?
        } else {
            0
        };
        let file = segment.file()?;
        let mut buffer = [0; HEADER_BYTES];
        let mut scan = Scan::new(&file, position, size, &mut buffer);
        while let Some((position, header)) = scan
            .next(UNVERIFIED)
            .map_err(|fault| segment.error(fault))?
        {
            // The log may start within a batch, which counts as a whole.
            if !header.has_producer_id() || header.last_offset() < from {
                continue;
            }
            let marker = scan
                .marker(position, &header)
                .map_err(|error| segment.error(Fault::Io(error)))?;
            let verdict =
                producers.prepare(&header, header.base_offset, marker, Origin::Replication);
            let Ok(Verdict::New(Some(prepared))) = verdict else {
                continue;
            };
            if let Some(aborted) = producers.commit(prepared)
                && aborted.last_offset >= self.aborted_from
            {
                segment.add_aborted(aborted)?;
            }
        }
        Ok(())
    }
}
