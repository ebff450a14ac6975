//! The parts of the hot path, each alone: what a batch costs to check, a request to decode, an answer to encode, a batch to
//! append with a producer's state and without, an offset to find. Through the library's public functions only.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use dohle::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use dohle::log::{Log, LogConfig, Origin, Storage};
use dohle::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use dohle::messages::produce_request::{PartitionProduceData, TopicProduceData};
use dohle::messages::{FetchResponse, FileRange, Message, ProduceRequest, Records, Writer, text};
use dohle::record::compress::Codec;
use dohle::record::{Batch, BatchBuilder, Producer, Rules, ValidBatch, validate};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// The newest versions.
const PRODUCE: i16 = 13;
const FETCH: i16 = 18;
/// Records and bytes of each: one small record, a default producer's batch, a large one.
const SHAPES: [(usize, usize); 3] = [(1, 100), (16, 1000), (512, 1000)];
/// Producers that a partition knows.
const PRODUCERS: [i64; 2] = [1, 10_000];

fn main() {
    divan::main();
}

fn builder((records, size): (usize, usize)) -> BatchBuilder {
    let value: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.append(NOW, None, Some(&value));
    }
    builder
}

#[divan::bench(args = SHAPES)]
fn validate_batch(bencher: Bencher, shape: (usize, usize)) {
    let batch = builder(shape).build();
    let rules = Rules::default();
    bencher
        .counter(BytesCount::new(batch.bytes.len()))
        .bench_local(|| validate(black_box(batch.clone()), &rules, NOW));
}

/// Compressed batches are taken as they are, but for their CRC.
#[divan::bench]
fn validate_batch_lz4(bencher: Bencher) {
    validate_lz4(bencher, &Rules::default());
}

/// With `log.validate.records=always` they are opened.
#[divan::bench]
fn validate_batch_lz4_opened(bencher: Bencher) {
    let rules = Rules {
        open_compressed: true,
        ..Rules::default()
    };
    validate_lz4(bencher, &rules);
}

fn validate_lz4(bencher: Bencher, rules: &Rules) {
    let batch = lz4();
    bencher.bench_local(|| validate(black_box(batch.clone()), rules, NOW));
}

fn lz4() -> Batch {
    builder((16, 1000)).codec(Codec::Lz4(9)).build()
}

fn produce_request(partitions: i32) -> Bytes {
    let records = builder((4, 250)).build().bytes;
    let partition = |index| PartitionProduceData {
        index,
        records: Some(records.clone()),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        topic_id: uuid::Uuid::from_u128(1),
        partition_data: (0..partitions).map(partition).collect(),
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    request.to_bytes(PRODUCE).expect("what the version can say")
}

#[divan::bench(args = [1, 50])]
fn decode_produce(bencher: Bencher, partitions: i32) {
    let bytes = produce_request(partitions);
    bencher.bench_local(|| ProduceRequest::decode(black_box(bytes.clone()), PRODUCE));
}

#[divan::bench(args = [1, 50])]
fn encode_fetch(bencher: Bencher, partitions: i32) {
    let file = Arc::new(tempfile::tempfile().expect("a file"));
    let partition = |partition_index| PartitionData {
        partition_index,
        records: Some(Records::File(FileRange {
            file: Arc::clone(&file),
            position: 0,
            len: 1 << 20,
        })),
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        topic: text("topic"),
        topic_id: uuid::Uuid::from_u128(1),
        partitions: (0..partitions).map(partition).collect(),
        ..FetchableTopicResponse::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..FetchResponse::default()
    };
    bencher.bench_local(|| {
        let mut out = Writer::new();
        let encoded = black_box(&response).encode(&mut out, FETCH);
        encoded.expect("what the version can say");
        out.finish()
    });
}

fn log() -> (tempfile::TempDir, Log) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = LogConfig::default();
    let directory = folder.path().join("topic-0");
    let log = Log::create(directory, config, Offset::ZERO, Storage::default(), NOW);
    (folder, log.expect("a log"))
}

fn append(log: &Log, batch: &ValidBatch) {
    let appended = log.append_as_leader(batch, LeaderEpoch(0), Origin::Client, NOW);
    black_box(appended.expect("the batch is appended"));
}

fn from_producer(id: i64, base_sequence: i32, shape: (usize, usize)) -> ValidBatch {
    let producer = Producer {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
        base_sequence,
    };
    builder(shape).producer(producer).build_valid()
}

#[divan::bench(args = SHAPES, sample_count = 500, sample_size = 2)]
fn append_plain(bencher: Bencher, shape: (usize, usize)) {
    let (_folder, log) = log();
    let batch = builder(shape).build_valid();
    bencher
        .counter(BytesCount::new(batch.size()))
        .bench_local(|| append(&log, &batch));
}

/// The same with sequences: the difference is what preparing and committing a producer's state cost.
#[divan::bench(args = SHAPES, sample_count = 500, sample_size = 2)]
fn append_idempotent(bencher: Bencher, shape: (usize, usize)) {
    let (_folder, log) = log();
    let mut next_sequence = 0;
    let next = || {
        let batch = from_producer(7, next_sequence, shape);
        next_sequence += batch.record_count();
        batch
    };
    bencher
        .with_inputs(next)
        .bench_local_refs(|batch| append(&log, batch));
}

/// A batch that the log holds already: the producer's state alone, nothing is written.
#[divan::bench(args = PRODUCERS)]
fn append_duplicate(bencher: Bencher, producers: i64) {
    let (_folder, log) = log();
    for id in 0..producers {
        append(&log, &from_producer(id, 0, SHAPES[0]));
    }
    let repeated = from_producer(producers / 2, 0, SHAPES[0]);
    bencher.bench_local(|| append(&log, &repeated));
}

/// Offsets all over a log of 200 MB, through the offset index.
#[divan::bench]
fn find_offset(bencher: Bencher) {
    const BATCHES: i64 = 12_500;
    let (_folder, log) = log();
    let batch = builder((16, 1000)).build_valid();
    for _ in 0..BATCHES {
        append(&log, &batch);
    }
    let end = log.log_end_offset();
    let mut from = 0;
    bencher.bench_local(|| {
        from = (from + 7919 * 16) % (BATCHES * 16);
        let found = log.read(Offset(from), 16_384, end, true);
        black_box(found.expect("the offset is there"))
    });
}
