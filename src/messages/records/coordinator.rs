//! `coordinator_records!` frames the records of a coordinator's topic.
//!
//! | part | layout |
//! |---|---|
//! | key | int16 record type, then the key's fields at version 0 |
//! | value | int16 version, then the value's fields; a null value is a tombstone |
//!
//! Types and versions that are not known are kept as `Unknown`.

use bytes::{Buf, Bytes};

use crate::messages::error::{DecodeError, EncodeError, Fault};
use crate::messages::{Message, Newer, Writer};

/// A record whose type, or whose value's version, this program does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRecord {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

macro_rules! coordinator_records {
    (
        $(#[$attribute:meta])*
        $name:ident { $($id:literal $kind:ident($key:ident, $value:ident)),* $(,)? }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $($kind($key, Option<$value>),)*
            Unknown($crate::messages::records::coordinator::UnknownRecord),
        }

        impl $name {
            /// Decodes a record. `value` is `None` for a tombstone.
            pub fn decode(
                key: bytes::Bytes,
                value: Option<bytes::Bytes>,
            ) -> Result<$name, $crate::messages::DecodeError> {
                use $crate::messages::records::coordinator as frame;
                match frame::number(&key, stringify!($name))? {
                    $($id if frame::known::<$value>(value.as_ref())? => {
                        Ok($name::$kind(frame::decode_key(key)?, frame::decode_value(value)?))
                    })*
                    _ => Ok($name::Unknown(frame::UnknownRecord { key, value })),
                }
            }

            /// The classes of the key and of the value of a record type, as the schema table names them.
            pub fn classes(record_type: i16) -> Option<(&'static str, &'static str)> {
                use $crate::messages::Message as _;
                match record_type {
                    $($id => Some(($key::NAME, $value::NAME)),)*
                    _ => None,
                }
            }

            /// Key and value as they stand in the record; the value in `value_version`.
            pub fn encode(
                &self,
                value_version: i16,
            ) -> Result<(bytes::Bytes, Option<bytes::Bytes>), $crate::messages::EncodeError> {
                use $crate::messages::Message as _;
                use $crate::messages::records::coordinator as frame;
                match self {
                    $($name::$kind(key, value) => Ok((
                        frame::encode_key($id, key)?,
                        value.as_ref().map(|value| value.to_versioned_bytes(value_version)).transpose()?,
                    )),)*
                    $name::Unknown(unknown) => Ok((unknown.key.clone(), unknown.value.clone())),
                }
            }

            /// The newest known version of the value.
            pub fn latest_version(&self) -> i16 {
                use $crate::messages::Message as _;
                match self {
                    $($name::$kind(..) => *$value::VERSIONS.end(),)*
                    $name::Unknown(_) => 0,
                }
            }

            /// The same key with a null value: deletes what the record says.
            pub fn tombstone(self) -> $name {
                match self {
                    $($name::$kind(key, _) => $name::$kind(key, None),)*
                    $name::Unknown(unknown) => $name::Unknown($crate::messages::records::coordinator::UnknownRecord {
                        value: None,
                        ..unknown
                    }),
                }
            }
        }
    };
}

pub(crate) use coordinator_records;

/// The int16 in front of a key or a value.
pub(crate) fn number(bytes: &Bytes, what: &'static str) -> Result<i16, DecodeError> {
    match bytes.first_chunk() {
        Some(number) => Ok(i16::from_be_bytes(*number)),
        None => Err(Fault::Truncated {
            needs: 2,
            left: bytes.len(),
        }
        .of(what, -1, 0)),
    }
}

/// Whether the value's version is known; a tombstone has none.
pub(crate) fn known<V: Message>(value: Option<&Bytes>) -> Result<bool, DecodeError> {
    value.map_or(Ok(true), |value| {
        Ok(V::VERSIONS.contains(&number(value, V::NAME)?))
    })
}

/// The key behind its number.
pub(crate) fn decode_key<K: Message>(mut key: Bytes) -> Result<K, DecodeError> {
    key.advance(2);
    K::decode(key, 0)
}

/// The value behind its version.
pub(crate) fn decode_value<V: Message>(value: Option<Bytes>) -> Result<Option<V>, DecodeError> {
    value
        .map(|value| V::decode_versioned(value, Newer::Refuse).map(|(value, _)| value))
        .transpose()
}

/// The record type and the key after it.
pub(crate) fn encode_key<K: Message>(number: i16, key: &K) -> Result<Bytes, EncodeError> {
    let mut out = Writer::new();
    out.put_i16(number);
    key.encode(&mut out, 0)?;
    Ok(out.into_bytes())
}
