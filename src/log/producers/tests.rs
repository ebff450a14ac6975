use super::*;
use crate::ids::LeaderEpoch;
use crate::record::Attributes;

fn header(epoch: i16, sequence: i32, records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset::ZERO,
        batch_length: 100,
        leader_epoch: LeaderEpoch(0),
        magic: 2,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: records - 1,
        base_timestamp: Timestamp(5),
        max_timestamp: Timestamp(5),
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        record_count: records,
    }
}

/// Appends at `offset`; the base offset of the batch that it repeats.
fn append(
    producers: &mut Producers,
    header: &BatchHeader,
    offset: i64,
) -> Result<Option<i64>, AppendError> {
    match producers.prepare(header, Offset(offset), None, Origin::Client)? {
        Verdict::New(prepared) => {
            producers.commit(prepared.expect("the batch has a producer"));
            Ok(None)
        }
        Verdict::Duplicate(known) => Ok(Some(known.base_offset().0)),
    }
}

fn expected(result: Result<Option<i64>, AppendError>) -> (i32, i32) {
    match result {
        Err(AppendError::OutOfOrderSequence { expected, got, .. }) => (expected, got),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_five_batches_are_known() {
    let mut producers = Producers::default();
    for n in 0..7 {
        assert_eq!(
            append(&mut producers, &header(0, n * 2, 2), i64::from(n) * 10).unwrap(),
            None
        );
    }
    for n in 2..7 {
        assert_eq!(
            append(&mut producers, &header(0, n * 2, 2), 99).unwrap(),
            Some(i64::from(n) * 10)
        );
    }
    assert_eq!(
        expected(append(&mut producers, &header(0, 2, 2), 99)),
        (14, 2)
    );
    assert_eq!(
        expected(append(&mut producers, &header(0, 12, 1), 99)),
        (14, 12)
    );
}

#[test]
fn any_sequence_begins_an_unknown_producer_and_zero_a_new_epoch() {
    let mut producers = Producers::default();
    append(&mut producers, &header(3, 17, 1), 0).unwrap();
    assert_eq!(
        expected(append(&mut producers, &header(4, 1, 1), 1)),
        (0, 1)
    );
    append(&mut producers, &header(4, 0, 1), 1).unwrap();
    let old = append(&mut producers, &header(3, 18, 1), 2);
    assert!(matches!(old, Err(AppendError::InvalidProducerEpoch { .. })));
}

#[test]
fn sequences_go_round() {
    let mut producers = Producers::default();
    append(&mut producers, &header(0, i32::MAX - 1, 2), 0).unwrap();
    assert_eq!(
        expected(append(&mut producers, &header(0, 1, 1), 2)),
        (0, 1)
    );
    append(&mut producers, &header(0, 0, 1), 2).unwrap();
}

#[test]
fn silent_producers_are_forgotten_unless_a_transaction_is_open() {
    let mut producers = Producers::default();
    append(&mut producers, &header(0, 0, 1), 0).unwrap();
    let transactional = BatchHeader {
        producer_id: ProducerId(2),
        attributes: Attributes::default().with_transactional(true),
        ..header(0, 0, 1)
    };
    append(&mut producers, &transactional, 1).unwrap();
    producers.expire(Timestamp(104), 100);
    assert_eq!(producers.states().len(), 2);
    producers.expire(Timestamp(105), 100);
    assert_eq!(
        producers
            .states()
            .map(|state| state.producer_id)
            .collect::<Vec<_>>(),
        [ProducerId(2)]
    );
    let plain = BatchHeader {
        producer_id: ProducerId(2),
        ..header(0, 1, 1)
    };
    let mixed = append(&mut producers, &plain, 2);
    assert!(matches!(
        mixed,
        Err(AppendError::InvalidTransactionState { .. })
    ));
}

fn transactional(epoch: i16, sequence: i32) -> BatchHeader {
    BatchHeader {
        attributes: Attributes::default().with_transactional(true),
        ..header(epoch, sequence, 1)
    }
}

/// Writes the end marker of producer 1 at `offset`.
fn end(
    producers: &mut Producers,
    epoch: i16,
    offset: i64,
    origin: Origin,
) -> Result<(), AppendError> {
    let header = BatchHeader {
        attributes: Attributes::default()
            .with_transactional(true)
            .with_control(true),
        ..header(epoch, NO_SEQUENCE, 1)
    };
    let marker = EndMarker {
        commit: true,
        coordinator_epoch: 0,
    };
    match producers.prepare(&header, Offset(offset), Some(marker), origin)? {
        Verdict::New(prepared) => drop(producers.commit(prepared.expect("a marker ends"))),
        Verdict::Duplicate(_) => panic!("markers are no duplicates"),
    }
    Ok(())
}

fn verified(
    producers: &mut Producers,
    header: &BatchHeader,
    offset: i64,
    guard: VerificationGuard,
) -> Result<(), AppendError> {
    let origin = Origin::VerifiedClient(guard);
    match producers.prepare(header, Offset(offset), None, origin)? {
        Verdict::New(prepared) => drop(producers.commit(prepared.expect("it has a producer"))),
        Verdict::Duplicate(_) => panic!("it is no duplicate"),
    }
    Ok(())
}

fn start(
    producers: &mut Producers,
    header: &BatchHeader,
    has_epoch_per_transaction: bool,
) -> Result<Option<VerificationGuard>, AppendError> {
    let batch = Unverified {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        has_epoch_per_transaction,
    };
    producers.start_verification(&batch, Timestamp(0))
}

#[test]
fn a_transaction_begins_in_a_log_only_when_it_was_verified() {
    let mut producers = Producers::default();
    let first = transactional(0, 0);
    let ongoing = VerificationGuard::ONGOING;
    assert!(matches!(
        verified(&mut producers, &first, 0, ongoing),
        Err(AppendError::InvalidTransactionState { .. })
    ));
    let guard = start(&mut producers, &first, false).unwrap().unwrap();
    assert_eq!(start(&mut producers, &first, false).unwrap(), Some(guard));
    verified(&mut producers, &first, 0, guard).unwrap();
    assert_eq!(start(&mut producers, &first, false).unwrap(), None);
    verified(&mut producers, &transactional(0, 1), 1, ongoing).unwrap();
    end(&mut producers, 0, 2, Origin::Marker(0)).unwrap();
    // What was verified before the marker came counts no more.
    for guard in [guard, ongoing] {
        assert!(matches!(
            verified(&mut producers, &transactional(0, 2), 3, guard),
            Err(AppendError::InvalidTransactionState { .. })
        ));
    }
    assert!(matches!(
        start(&mut producers, &transactional(-1, 0), false),
        Err(AppendError::InvalidProducerEpoch { .. })
    ));
}

#[test]
fn a_marker_between_verification_and_append_undoes_it() {
    let mut producers = Producers::default();
    let batch = transactional(0, 0);
    let guard = start(&mut producers, &batch, false).unwrap().unwrap();
    end(&mut producers, 0, 0, Origin::Marker(0)).unwrap();
    assert!(matches!(
        verified(&mut producers, &batch, 1, guard),
        Err(AppendError::InvalidTransactionState { .. })
    ));
    // Of the next transaction, whose epoch the marker has, it does not.
    let next = transactional(1, 0);
    let guard = start(&mut producers, &next, true).unwrap().unwrap();
    end(&mut producers, 1, 1, Origin::Marker(2)).unwrap();
    verified(&mut producers, &next, 2, guard).unwrap();
}

#[test]
fn the_first_batch_of_a_transaction_is_appended_first() {
    let mut producers = Producers::default();
    let (first, second) = (transactional(0, 0), transactional(0, 1));
    let guard = start(&mut producers, &second, false).unwrap().unwrap();
    start(&mut producers, &first, false).unwrap();
    let early = verified(&mut producers, &second, 0, guard).map(|()| None);
    assert_eq!(expected(early), (0, 1));
    verified(&mut producers, &first, 0, guard).unwrap();
    // With an epoch for each transaction the first sequence is known.
    let mut producers = Producers::default();
    let guard = start(&mut producers, &second, true).unwrap().unwrap();
    let early = verified(&mut producers, &second, 0, guard).map(|()| None);
    assert_eq!(expected(early), (0, 1));
}

#[test]
fn markers_of_version_2_raise_the_epoch() {
    let mut producers = Producers::default();
    append(&mut producers, &transactional(3, 0), 0).unwrap();
    for (epoch, origin) in [(3, Origin::Marker(2)), (2, Origin::Marker(0))] {
        assert!(matches!(
            end(&mut producers, epoch, 1, origin),
            Err(AppendError::InvalidProducerEpoch { .. })
        ));
    }
    end(&mut producers, 4, 1, Origin::Marker(2)).unwrap();
    // Written again, since the answer was lost.
    end(&mut producers, 4, 2, Origin::Marker(2)).unwrap();
    append(&mut producers, &transactional(4, 0), 3).unwrap();
    assert!(end(&mut producers, 4, 4, Origin::Marker(2)).is_err());
    end(&mut producers, 4, 4, Origin::Marker(0)).unwrap();
}
