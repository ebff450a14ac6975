//! The codecs of record batches: opening one as a stream, so that memory follows what is read and not what a
//! sender claims, and closing a batch with one.
//!
//! gzip is RFC 1952; snappy is the framing of snappy-java (xerial), or one bare block as some clients write it;
//! lz4 is an LZ4 frame of independent blocks; zstd is a zstd frame. (org.apache.kafka.common.compress)

use std::io::{self, Read, Write};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::batch::{Compression, Corrupt};

/// Kafka has the fast encoder for its default level, and the slow one for all others, also the lower ones.
/// (Lz4Compression.Builder, Lz4BlockOutputStream)
pub const LZ4_LEVEL_DEFAULT: i32 = 9;
/// The largest zstd window that is opened, as a power of two: 128 MiB, what zstd's highest level writes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and lowest compatible version.
const XERIAL_HEADER_LEN: usize = 16;
/// What SnappyCompression asks of snappy-java.
const XERIAL_BLOCK_LEN: usize = 32 * 1024;
/// No snappy block holds more than this many times its own size: a copy of 64 bytes takes three.
const SNAPPY_RATIO_MAX: usize = 22;

/// A codec with its level, as a topic's `compression.type` and `compression.<codec>.level` say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    #[default]
    None,
    /// 1 to 9; `None` is zlib's default, Kafka's -1.
    Gzip(Option<u32>),
    Snappy,
    /// 1 to 17; [`LZ4_LEVEL_DEFAULT`] is the fast encoder, as in Kafka.
    Lz4(i32),
    /// -131072 to 22.
    Zstd(i32),
}

impl Codec {
    pub fn compression(self) -> Compression {
        match self {
            Codec::None => Compression::None,
            Codec::Gzip(_) => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4(_) => Compression::Lz4,
            Codec::Zstd(_) => Compression::Zstd,
        }
    }

    /// The codec at its default level.
    pub fn of(compression: Compression) -> Codec {
        match compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip(None),
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4(LZ4_LEVEL_DEFAULT),
            Compression::Zstd => Codec::Zstd(3),
        }
    }
}

/// Appends `plain`, compressed, to `to`.
pub fn compress(codec: Codec, plain: &[u8], to: &mut Vec<u8>) {
    const TO_MEMORY: &str = "writing to memory does not fail";
    match codec {
        Codec::None => to.extend_from_slice(plain),
        Codec::Gzip(level) => {
            let level = level.map_or(flate2::Compression::default(), flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(to, level);
            encoder.write_all(plain).expect(TO_MEMORY);
            encoder.finish().expect(TO_MEMORY);
        }
        Codec::Snappy => compress_xerial(plain, to),
        Codec::Lz4(level) if level != LZ4_LEVEL_DEFAULT => {
            compress_lz4_high(plain, level, to).expect(TO_MEMORY);
        }
        Codec::Lz4(_) => {
            // Kafka's reader takes independent blocks only. (Lz4BlockInputStream.readHeader)
            let frame = FrameInfo::new()
                .block_mode(BlockMode::Independent)
                .block_size(BlockSize::Max64KB);
            let mut encoder = FrameEncoder::with_frame_info(frame, to);
            encoder.write_all(plain).expect(TO_MEMORY);
            encoder.finish().expect(TO_MEMORY);
        }
        Codec::Zstd(level) => {
            zstd::stream::copy_encode(plain, to, level).expect(TO_MEMORY);
        }
    }
}

/// A frame as of the fast encoder, of blocks that were searched for more and longer matches: pure Rust has no encoder for
/// that. Its level 1 is the fast encoder, and those above 12 are 12. (Lz4BlockOutputStream with LZ4Factory.highCompressor)
fn compress_lz4_high(plain: &[u8], level: i32, to: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = lz4::EncoderBuilder::new()
        .block_mode(lz4::BlockMode::Independent)
        .block_size(lz4::BlockSize::Max64KB)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .block_checksum(lz4::liblz4::BlockChecksum::NoBlockChecksum)
        .level(u32::try_from(level).unwrap_or(1))
        .build(to)?;
    encoder.write_all(plain)?;
    encoder.finish().1
}

fn compress_xerial(plain: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&XERIAL_MAGIC);
    to.extend_from_slice(&1i32.to_be_bytes());
    to.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(XERIAL_BLOCK_LEN)];
    for chunk in plain.chunks(XERIAL_BLOCK_LEN) {
        let length = encoder
            .compress(chunk, &mut block)
            .expect("the block has room for the worst case");
        to.extend_from_slice(&(length as u32).to_be_bytes());
        to.extend_from_slice(&block[..length]);
    }
}

/// The plain bytes of a compressed payload, as a stream.
pub struct Decompressor<'a>(Stream<'a>);

enum Stream<'a> {
    Gzip(MultiGzDecoder<&'a [u8]>),
    Snappy(SnappyStream<'a>),
    Lz4(FrameDecoder<&'a [u8]>),
    Zstd(io::BufReader<zstd::stream::read::Decoder<'static, &'a [u8]>>),
}

impl<'a> Decompressor<'a> {
    /// # Panics
    /// With [`Compression::None`]: there is nothing to open.
    pub fn open(compression: Compression, payload: &'a [u8]) -> Result<Decompressor<'a>, Corrupt> {
        Ok(Decompressor(match compression {
            Compression::None => unreachable!("callers read uncompressed payloads in place"),
            Compression::Gzip => Stream::Gzip(MultiGzDecoder::new(payload)),
            Compression::Snappy => Stream::Snappy(SnappyStream::new(payload)),
            Compression::Lz4 => Stream::Lz4(FrameDecoder::new(payload)),
            Compression::Zstd => {
                let decoder = zstd_decoder(payload)
                    .map_err(|error| Corrupt::Decompression(error.to_string()))?;
                Stream::Zstd(io::BufReader::new(decoder))
            }
        }))
    }
}

fn zstd_decoder(payload: &[u8]) -> io::Result<zstd::stream::read::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

impl Read for Decompressor<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Stream::Gzip(stream) => stream.read(into),
            Stream::Snappy(stream) => stream.read(into),
            Stream::Lz4(stream) => stream.read(into),
            Stream::Zstd(stream) => stream.read(into),
        }
    }
}

/// Blocks of xerial framing, opened one at a time, or one bare block when the framing's magic is missing.
struct SnappyStream<'a> {
    rest: &'a [u8],
    bare: bool,
    block: Vec<u8>,
    /// Bytes of `block` that have been read.
    read: usize,
}

impl<'a> SnappyStream<'a> {
    fn new(payload: &'a [u8]) -> SnappyStream<'a> {
        let framed = payload.len() >= XERIAL_HEADER_LEN && payload.starts_with(&XERIAL_MAGIC);
        let rest = if framed {
            &payload[XERIAL_HEADER_LEN..]
        } else {
            payload
        };
        SnappyStream {
            rest,
            bare: !framed,
            block: Vec::new(),
            read: 0,
        }
    }

    /// Opens the next block; `false` when there is none.
    fn advance(&mut self) -> io::Result<bool> {
        let fault = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if self.rest.is_empty() {
            return Ok(false);
        }
        let compressed = if self.bare {
            std::mem::take(&mut self.rest)
        } else {
            let (length, after) = self
                .rest
                .split_first_chunk()
                .ok_or_else(|| fault("a snappy block is cut"))?;
            let length = u32::from_be_bytes(*length) as usize;
            let (block, after) = after
                .split_at_checked(length)
                .ok_or_else(|| fault("a snappy block is cut"))?;
            self.rest = after;
            block
        };
        let length = snap::raw::decompress_len(compressed).map_err(io::Error::other)?;
        if length > compressed.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(fault("a snappy block claims more than it can hold"));
        }
        self.block.resize(length, 0);
        self.read = 0;
        snap::raw::Decoder::new()
            .decompress(compressed, &mut self.block)
            .map_err(io::Error::other)?;
        Ok(true)
    }
}

impl Read for SnappyStream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let length = into.len().min(self.block.len() - self.read);
        into[..length].copy_from_slice(&self.block[self.read..self.read + length]);
        self.read += length;
        Ok(length)
    }
}
