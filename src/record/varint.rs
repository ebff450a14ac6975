//! Zig-zag variable-length integers, as inside a record. (org.apache.kafka.common.utils.ByteUtils)

use std::io::{self, Read};

/// Reads a varint of at most 5 bytes from the front of `bytes`; `None` when it ends early or is too long.
pub(super) fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    let raw = read_raw(bytes, 5)?;
    let raw = u32::try_from(raw).ok()?;
    Some(((raw >> 1) as i32) ^ -((raw & 1) as i32))
}

/// Reads a varlong of at most 10 bytes from the front of `bytes`.
pub(super) fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    let raw = read_raw(bytes, 10)?;
    Some(((raw >> 1) as i64) ^ -((raw & 1) as i64))
}

#[inline]
fn read_raw(bytes: &mut &[u8], length_max: usize) -> Option<u64> {
    let mut raw = 0u64;
    for at in 0..length_max {
        let byte = *bytes.get(at)?;
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if at == 9 && part > 1 {
            return None;
        }
        raw |= part << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Some(raw);
        }
    }
    None
}

/// Reads a varint from a stream; `Ok(None)` when the stream ends before its first byte.
pub(super) fn read_i32_from(source: &mut dyn Read) -> io::Result<Option<i32>> {
    let mut bytes = [0u8; 5];
    for at in 0..bytes.len() {
        let read = read_some(source, &mut bytes[at..=at])?;
        if read == 0 {
            return if at == 0 {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        if bytes[at] < 0x80 {
            let value = read_i32(&mut &bytes[..=at]);
            return value
                .map(Some)
                .ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn read_some(source: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

pub(super) fn write_i32(to: &mut Vec<u8>, value: i32) {
    write_raw(to, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

pub(super) fn write_i64(to: &mut Vec<u8>, value: i64) {
    write_raw(to, ((value << 1) ^ (value >> 63)) as u64);
}

fn write_raw(to: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        to.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    to.push(raw as u8);
}

/// Bytes that [`write_i32`] takes for `value`.
pub(super) fn size_i32(value: i32) -> usize {
    size_raw(u64::from(((value << 1) ^ (value >> 31)) as u32))
}

/// Bytes that [`write_i64`] takes for `value`.
pub(super) fn size_i64(value: i64) -> usize {
    size_raw(((value << 1) ^ (value >> 63)) as u64)
}

fn size_raw(raw: u64) -> usize {
    let bits = 64 - (raw | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_survive_and_have_the_stated_size() {
        for value in [0, 1, -1, 63, 64, -64, -65, 8191, 8192, i32::MAX, i32::MIN] {
            let mut bytes = Vec::new();
            write_i32(&mut bytes, value);
            assert_eq!(bytes.len(), size_i32(value));
            assert_eq!(read_i32(&mut bytes.as_slice()), Some(value));
            assert_eq!(read_i32_from(&mut bytes.as_slice()).unwrap(), Some(value));
        }
        for value in [0, -1, i64::from(i32::MIN), i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            write_i64(&mut bytes, value);
            assert_eq!(bytes.len(), size_i64(value));
            assert_eq!(read_i64(&mut bytes.as_slice()), Some(value));
        }
    }

    #[test]
    fn endless_and_cut_integers_are_refused() {
        assert_eq!(read_i32(&mut [0x80; 12].as_slice()), None);
        assert_eq!(read_i64(&mut [0x80; 12].as_slice()), None);
        assert_eq!(read_i32(&mut [0x80].as_slice()), None);
        assert_eq!(
            read_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x7f].as_slice()),
            None
        );
        assert!(read_i32_from(&mut [0x80].as_slice()).is_err());
        assert!(read_i32_from(&mut [0x80; 12].as_slice()).is_err());
        assert_eq!(read_i32_from(&mut [].as_slice()).unwrap(), None);
    }
}
