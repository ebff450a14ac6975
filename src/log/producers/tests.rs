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
