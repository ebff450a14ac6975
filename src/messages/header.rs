//! Request and response headers, and which version of them goes with which request. Both are read with bounds; called
//! by `server` for each frame, and by the client in `tool`.

use bytes::Bytes;

use super::error::{DecodeError, EncodeError, Fault};
use super::wire::{Reader, TagWriter, TaggedFields, Version, Wire};
use super::{StrBytes, Writer};

/// `API_VERSIONS`: its response header is always version 0, so that a client can read the answer to a version that
/// the broker does not know.
const API_VERSIONS: i16 = 18;

/// The first flexible version by API key, -1 where there is none. (reference: api-versions.tsv)
#[rustfmt::skip]
const FIRST_FLEXIBLE: [i8; 93] = [
     9, 12,  6,  9, -1, -1, -1, -1,  8,  6, // 0
     3,  6,  4,  4,  4,  5,  3, -1,  3,  5, // 10
     4,  2,  2,  4,  3,  3,  3,  1,  3,  2, // 20
     2,  2,  4,  2,  2,  2,  2,  2,  2,  2, // 30
     2,  2,  2,  2,  1,  0,  0, -1,  1,  1, // 40
     0,  0,  0,  1,  1,  0,  2,  0,  0,  0, // 50
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0, // 60
     0,  0,  0,  0,  0,  0,  1,  1,  1,  1, // 70
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0, // 80
     0,  0,  0, // 90
];

/// Whether that version of a request and its response is a flexible one (KIP-482). False for unknown keys.
pub fn is_flexible(key: i16, version: i16) -> bool {
    let first = usize::try_from(key)
        .ok()
        .and_then(|key| FIRST_FLEXIBLE.get(key))
        .copied()
        .unwrap_or(-1);
    first >= 0 && version >= i16::from(first)
}

pub fn request_header_version(key: i16, version: i16) -> i16 {
    if is_flexible(key, version) { 2 } else { 1 }
}

pub fn response_header_version(key: i16, version: i16) -> i16 {
    i16::from(key != API_VERSIONS && is_flexible(key, version))
}

/// What stands in front of a request.
///
/// | field | type |
/// |---|---|
/// | request_api_key, request_api_version | int16 each |
/// | correlation_id | int32 |
/// | client_id | nullable string, never compact |
/// | tagged fields | version 2 only |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    pub request_api_key: i16,
    pub request_api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
    pub unknown_tagged_fields: TaggedFields,
}

const NOT_FLEXIBLE: Version = Version {
    number: 1,
    flexible: false,
};

impl RequestHeader {
    /// Reads the header at the front of a frame (without the length) and leaves the body in `frame`.
    pub fn read(frame: &mut Bytes) -> Result<RequestHeader, DecodeError> {
        let mut reader = Reader::new(std::mem::take(frame));
        let header = RequestHeader::read_fields(&mut reader)
            .map_err(|fault| fault.of("RequestHeader", -1, reader.position()))?;
        *frame = reader.into_rest();
        Ok(header)
    }

    fn read_fields(reader: &mut Reader) -> Result<RequestHeader, Fault> {
        let mut header = RequestHeader {
            request_api_key: Wire::read(reader, NOT_FLEXIBLE)?,
            request_api_version: Wire::read(reader, NOT_FLEXIBLE)?,
            correlation_id: Wire::read(reader, NOT_FLEXIBLE)?,
            client_id: Wire::read(reader, NOT_FLEXIBLE)?,
            unknown_tagged_fields: TaggedFields::default(),
        };
        if is_flexible(header.request_api_key, header.request_api_version) {
            header.unknown_tagged_fields = reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(header)
    }

    pub fn write(&self, out: &mut Writer) -> Result<(), EncodeError> {
        out.put_i16(self.request_api_key);
        out.put_i16(self.request_api_version);
        out.put_i32(self.correlation_id);
        self.client_id.write(out, NOT_FLEXIBLE)?;
        if is_flexible(self.request_api_key, self.request_api_version) {
            TagWriter::default().finish(&self.unknown_tagged_fields, out)?;
        }
        Ok(())
    }
}

/// What stands in front of a response: the request's correlation id, and tagged fields in version 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    pub correlation_id: i32,
    pub unknown_tagged_fields: TaggedFields,
}

impl ResponseHeader {
    /// Reads the header at the front of the answer to a request of that key and version; leaves the body in `frame`.
    pub fn read(frame: &mut Bytes, key: i16, version: i16) -> Result<ResponseHeader, DecodeError> {
        let header_version = response_header_version(key, version);
        let mut reader = Reader::new(std::mem::take(frame));
        let header = ResponseHeader::read_fields(&mut reader, header_version)
            .map_err(|fault| fault.of("ResponseHeader", header_version, reader.position()))?;
        *frame = reader.into_rest();
        Ok(header)
    }

    fn read_fields(reader: &mut Reader, header_version: i16) -> Result<ResponseHeader, Fault> {
        let correlation_id = Wire::read(reader, NOT_FLEXIBLE)?;
        let unknown_tagged_fields = match header_version {
            0 => TaggedFields::default(),
            _ => reader.tagged_fields(|_, _| Ok(false))?,
        };
        Ok(ResponseHeader {
            correlation_id,
            unknown_tagged_fields,
        })
    }

    pub fn write(&self, out: &mut Writer, key: i16, version: i16) -> Result<(), EncodeError> {
        out.put_i32(self.correlation_id);
        if response_header_version(key, version) == 1 {
            TagWriter::default().finish(&self.unknown_tagged_fields, out)?;
        }
        Ok(())
    }
}
