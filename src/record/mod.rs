//! Record batches: the unit that clients send, logs keep and consumers get, in Kafka's format of magic 2.
//!
//! A batch stays the bytes that it came as; [`batch`] reads its header, [`records`] walks its records without
//! copying them, [`compress`] opens and closes the codecs with bounded memory, [`validate`] is what a leader
//! checks before it takes a batch, [`builder`] and [`control`] make batches of our own. Nothing here knows of
//! files, partitions or connections.

pub mod batch;
pub mod builder;
pub mod compress;
pub mod control;
pub mod records;
#[cfg(test)]
mod tests;
pub mod validate;
mod varint;

pub use batch::{Attributes, Batch, BatchHeader, Compression, Corrupt, TimestampType, batches};
pub use builder::{BatchBuilder, Producer};
pub use records::{Header, Record, RecordReader, RecordView};
pub use validate::{Invalid, Rules, ValidBatch, validate};
