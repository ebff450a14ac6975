//! The protocol's elementary types: `Reader` over a body, and `Wire`, which says how each Rust type stands on the
//! wire. Bounded throughout: no length or count is believed before it was held against what is left, and an array
//! grows with the elements that are really there. `define.rs` builds messages from these.

use bytes::{Buf, BufMut, Bytes};
use uuid::Uuid;

use super::error::{EncodeError, Fault};
use super::writer::{Records, Writer};
use super::{StrBytes, lossy};

/// The longest text: what an int16 can say.
pub(super) const TEXT_MAX: usize = i16::MAX as usize;

/// The version of the message that is being read or written, and whether it is a flexible one (KIP-482).
#[derive(Clone, Copy, Debug)]
pub struct Version {
    pub number: i16,
    pub flexible: bool,
}

/// A position in a body. Byte fields come out as slices of it.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    length: usize,
}

impl Reader {
    pub fn new(bytes: Bytes) -> Reader {
        let length = bytes.len();
        Reader { bytes, length }
    }

    pub fn position(&self) -> usize {
        self.length - self.bytes.len()
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub fn into_rest(self) -> Bytes {
        self.bytes
    }

    pub fn take(&mut self, len: usize) -> Result<Bytes, Fault> {
        if len > self.bytes.len() {
            return Err(Fault::Truncated {
                needs: len,
                left: self.bytes.len(),
            });
        }
        Ok(self.bytes.split_to(len))
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.bytes.first_chunk::<N>() {
            Some(chunk) => {
                let chunk = *chunk;
                self.bytes.advance(N);
                Ok(chunk)
            }
            None => Err(Fault::Truncated {
                needs: N,
                left: self.bytes.len(),
            }),
        }
    }

    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, Fault> {
        let mut value = 0u32;
        for (i, &byte) in self.bytes.iter().take(5).enumerate() {
            value |= u32::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.bytes.advance(i + 1);
                return Ok(value);
            }
        }
        match self.bytes.len() {
            left @ 0..5 => Err(Fault::Truncated {
                needs: left + 1,
                left,
            }),
            _ => Err(Fault::BadVarint),
        }
    }

    /// The length of a byte field or the count of an array; `None` is null.
    #[inline]
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, Fault> {
        if flexible {
            return Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize));
        }
        Ok(nullable_length(i32::from_be_bytes(self.array()?)))
    }

    /// The length of a text; `None` is null. A compact one is not longer than another, as in Kafka.
    #[inline]
    fn text_length(&mut self, flexible: bool) -> Result<Option<usize>, Fault> {
        if !flexible {
            return Ok(nullable_length(i16::from_be_bytes(self.array()?)));
        }
        match self.length(true)? {
            Some(length) if length > TEXT_MAX => Err(Fault::BadLength(length as i64)),
            length => Ok(length),
        }
    }

    fn count(&mut self, flexible: bool, element_min: usize) -> Result<Option<usize>, Fault> {
        let Some(count) = self.length(flexible)? else {
            return Ok(None);
        };
        let needs = count.saturating_mul(element_min);
        if needs > self.remaining() {
            return Err(Fault::Truncated {
                needs,
                left: self.remaining(),
            });
        }
        Ok(Some(count))
    }

    /// Reads a tagged-fields section. `known` reads the field of a tag from the reader that it is given and says
    /// whether it knew the tag; other fields are kept.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader) -> Result<bool, Fault>,
    ) -> Result<TaggedFields, Fault> {
        let count = self.uvarint()?;
        if count == 0 {
            return Ok(TaggedFields::default());
        }
        let mut unknown = Vec::new();
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let content = self.take(size)?;
            let mut field = Reader::new(content.clone());
            if !known(tag, &mut field)? {
                unknown.push((tag, content));
            } else if field.remaining() > 0 {
                return Err(Fault::Trailing(field.remaining()));
            }
        }
        Ok(TaggedFields(unknown.into_boxed_slice()))
    }
}

/// What is no UTF-8 as Kafka reads it, unless it grows over the length that a text may have.
pub(super) fn lossy_text(bytes: &[u8]) -> Result<String, Fault> {
    let text = lossy(bytes).into_owned();
    match text.len() {
        ..=TEXT_MAX => Ok(text),
        _ => Err(Fault::NotUtf8),
    }
}

/// Any negative length is that of null, as in Kafka.
fn nullable_length(length: impl TryInto<usize>) -> Option<usize> {
    length.try_into().ok()
}

/// Tagged fields that the schema does not know, in the order in which they came. They are written back, so that
/// what a newer version wrote survives us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaggedFields(pub Box<[(u32, Bytes)]>);

/// Gathers the tagged fields of one struct while it is written.
#[derive(Debug, Default)]
pub struct TagWriter {
    fields: Vec<(u32, Bytes)>,
}

impl TagWriter {
    pub fn put(
        &mut self,
        tag: u32,
        value: &impl Wire,
        version: Version,
    ) -> Result<(), EncodeError> {
        let mut content = Writer::new();
        value.write_tagged(&mut content, version)?;
        self.fields.push((tag, content.into_bytes()));
        Ok(())
    }

    /// Writes the section, tags ascending as Kafka does.
    pub fn finish(&mut self, unknown: &TaggedFields, out: &mut Writer) -> Result<(), EncodeError> {
        if self.fields.is_empty() && unknown.0.is_empty() {
            out.put_uvarint(0);
            return Ok(());
        }
        self.fields.extend(unknown.0.iter().cloned());
        self.fields.sort_by_key(|(tag, _)| *tag);
        out.put_uvarint(self.fields.len() as u32);
        for (tag, content) in &self.fields {
            out.put_uvarint(*tag);
            out.put_uvarint(
                u32::try_from(content.len()).map_err(|_| EncodeError::TooLong(content.len()))?,
            );
            out.put_bytes(content);
        }
        Ok(())
    }
}

/// A type as it stands on the wire. `Option` is the nullable form.
pub trait Wire: Sized {
    /// The fewest bytes that a value takes in any version; at least 1.
    const MIN: usize;
    /// A struct of `messages!`; its nullable form differs in a tagged field.
    const STRUCT: bool = false;

    fn read(reader: &mut Reader, version: Version) -> Result<Self, Fault>;
    fn write(&self, out: &mut Writer, version: Version) -> Result<(), EncodeError>;

    /// The value as the content of a tagged field.
    fn read_tagged(reader: &mut Reader, version: Version) -> Result<Self, Fault> {
        Self::read(reader, version)
    }

    fn write_tagged(&self, out: &mut Writer, version: Version) -> Result<(), EncodeError> {
        self.write(out, version)
    }

    /// Structs carry null as a byte in front; the other types as a length of -1.
    fn read_nullable(reader: &mut Reader, version: Version) -> Result<Option<Self>, Fault> {
        match i8::from_be_bytes(reader.array()?) {
            ..0 => Ok(None),
            _ => Self::read(reader, version).map(Some),
        }
    }

    fn write_nullable(
        value: Option<&Self>,
        out: &mut Writer,
        version: Version,
    ) -> Result<(), EncodeError> {
        let Some(value) = value else {
            out.buffer().put_i8(-1);
            return Ok(());
        };
        out.buffer().put_i8(1);
        value.write(out, version)
    }
}

impl<T: Wire> Wire for Option<T> {
    const MIN: usize = 1;

    fn read(reader: &mut Reader, version: Version) -> Result<Self, Fault> {
        T::read_nullable(reader, version)
    }

    fn write(&self, out: &mut Writer, version: Version) -> Result<(), EncodeError> {
        T::write_nullable(self.as_ref(), out, version)
    }

    /// A nullable struct has an unsigned varint in front there, 0 for null.
    /// (ConsumerGroupMemberMetadataValue.write)
    fn read_tagged(reader: &mut Reader, version: Version) -> Result<Self, Fault> {
        if T::STRUCT {
            return match reader.uvarint()? {
                0 => Ok(None),
                _ => T::read(reader, version).map(Some),
            };
        }
        Self::read(reader, version)
    }

    fn write_tagged(&self, out: &mut Writer, version: Version) -> Result<(), EncodeError> {
        if T::STRUCT {
            out.put_uvarint(u32::from(self.is_some()));
            return self
                .as_ref()
                .map_or(Ok(()), |value| value.write(out, version));
        }
        self.write(out, version)
    }
}

macro_rules! fixed {
    ($($type:ty)*) => {$(
        impl Wire for $type {
            const MIN: usize = size_of::<$type>();

            #[inline]
            fn read(reader: &mut Reader, _: Version) -> Result<Self, Fault> {
                Ok(<$type>::from_be_bytes(reader.array()?))
            }

            #[inline]
            fn write(&self, out: &mut Writer, _: Version) -> Result<(), EncodeError> {
                out.put_slice(&self.to_be_bytes());
                Ok(())
            }
        }
    )*};
}

fixed!(i8 i16 i32 i64 u16 u32 f64);

impl Wire for bool {
    const MIN: usize = 1;

    fn read(reader: &mut Reader, _: Version) -> Result<Self, Fault> {
        Ok(reader.array::<1>()? != [0])
    }

    fn write(&self, out: &mut Writer, _: Version) -> Result<(), EncodeError> {
        out.put_slice(&[u8::from(*self)]);
        Ok(())
    }
}

impl Wire for Uuid {
    const MIN: usize = 16;

    fn read(reader: &mut Reader, _: Version) -> Result<Self, Fault> {
        Ok(Uuid::from_bytes(reader.array()?))
    }

    fn write(&self, out: &mut Writer, _: Version) -> Result<(), EncodeError> {
        out.put_slice(self.as_bytes());
        Ok(())
    }
}

impl Wire for StrBytes {
    const MIN: usize = 1;

    fn read(reader: &mut Reader, version: Version) -> Result<Self, Fault> {
        Self::read_nullable(reader, version)?.ok_or(Fault::Null)
    }

    fn write(&self, out: &mut Writer, version: Version) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, version)
    }

    fn read_nullable(reader: &mut Reader, version: Version) -> Result<Option<Self>, Fault> {
        let Some(length) = reader.text_length(version.flexible)? else {
            return Ok(None);
        };
        let text = reader.take(length)?;
        match StrBytes::from_utf8(text.clone()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => lossy_text(&text).map(StrBytes::from_string).map(Some),
        }
    }

    fn write_nullable(
        value: Option<&Self>,
        out: &mut Writer,
        version: Version,
    ) -> Result<(), EncodeError> {
        let length = value.map(|text| text.len());
        match (length, version.flexible) {
            (Some(length @ ..=TEXT_MAX), false) => out.put_i16(length as i16),
            (Some(length @ ..=TEXT_MAX), true) => out.put_uvarint(length as u32 + 1),
            (Some(length), _) => return Err(EncodeError::TooLong(length)),
            (None, false) => out.put_i16(-1),
            (None, true) => out.put_uvarint(0),
        }
        out.put_slice(value.map_or(&[], |text| text.as_bytes()));
        Ok(())
    }
}

/// Writes the length of a byte field or the count of an array.
fn put_length(length: Option<usize>, out: &mut Writer, flexible: bool) -> Result<(), EncodeError> {
    match (length, flexible) {
        (Some(length @ ..=0x7fff_fffe), false) => out.put_i32(length as i32),
        (Some(length @ ..=0x7fff_fffe), true) => out.put_uvarint(length as u32 + 1),
        (Some(length), _) => return Err(EncodeError::TooLong(length)),
        (None, false) => out.put_i32(-1),
        (None, true) => out.put_uvarint(0),
    }
    Ok(())
}

impl Wire for Bytes {
    const MIN: usize = 1;

    fn read(reader: &mut Reader, version: Version) -> Result<Self, Fault> {
        Self::read_nullable(reader, version)?.ok_or(Fault::Null)
    }

    fn write(&self, out: &mut Writer, version: Version) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, version)
    }

    fn read_nullable(reader: &mut Reader, version: Version) -> Result<Option<Self>, Fault> {
        let Some(length) = reader.length(version.flexible)? else {
            return Ok(None);
        };
        reader.take(length).map(Some)
    }

    fn write_nullable(
        value: Option<&Self>,
        out: &mut Writer,
        version: Version,
    ) -> Result<(), EncodeError> {
        put_length(value.map(Bytes::len), out, version.flexible)?;
        if let Some(bytes) = value {
            out.put_bytes(bytes);
        }
        Ok(())
    }
}

impl Wire for Records {
    const MIN: usize = 1;

    fn read(reader: &mut Reader, version: Version) -> Result<Self, Fault> {
        Bytes::read(reader, version).map(Records::Bytes)
    }

    fn write(&self, out: &mut Writer, version: Version) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, version)
    }

    fn read_nullable(reader: &mut Reader, version: Version) -> Result<Option<Self>, Fault> {
        Ok(Bytes::read_nullable(reader, version)?.map(Records::Bytes))
    }

    fn write_nullable(
        value: Option<&Self>,
        out: &mut Writer,
        version: Version,
    ) -> Result<(), EncodeError> {
        put_length(value.map(Records::len), out, version.flexible)?;
        if let Some(records) = value {
            out.put_records(records);
        }
        Ok(())
    }
}

impl<T: Wire> Wire for Vec<T> {
    const MIN: usize = 1;

    fn read(reader: &mut Reader, version: Version) -> Result<Self, Fault> {
        Self::read_nullable(reader, version)?.ok_or(Fault::Null)
    }

    fn write(&self, out: &mut Writer, version: Version) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, version)
    }

    fn read_nullable(reader: &mut Reader, version: Version) -> Result<Option<Self>, Fault> {
        let Some(count) = reader.count(version.flexible, T::MIN)? else {
            return Ok(None);
        };
        // An element can be many times larger in memory than on the wire: a count alone must not buy that memory.
        let affordable = 16.max(reader.remaining() / size_of::<T>());
        let mut elements = Vec::with_capacity(count.min(affordable));
        for _ in 0..count {
            elements.push(T::read(reader, version)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(
        value: Option<&Self>,
        out: &mut Writer,
        version: Version,
    ) -> Result<(), EncodeError> {
        put_length(value.map(Vec::len), out, version.flexible)?;
        for element in value.into_iter().flatten() {
            element.write(out, version)?;
        }
        Ok(())
    }
}
