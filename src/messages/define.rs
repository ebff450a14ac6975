//! `messages!` defines messages and their structs as Kafka's message schemas do: each field with its Rust type, the
//! versions that have it, and where it applies a tag, `ignorable`, and a default.
//!
//! ```text
//! messages! {
//!     PartitionRecord: 0-2, flexible 0 {            // name as in schemas.tsv, versions, first flexible version
//!         partition_id: i32 [0+] = -1,              // in every version, default -1
//!         directories: Vec<Uuid> [1+],              // from version 1 on; encoding 0 with a value is an error
//!         old: Option<StrBytes> [0-1, ignorable],   // nullable; dropped without a word where there is no place
//!         last_known_elr: Option<Vec<i32>> [2+, tag 2],
//!         parts: Vec<Part> [0+],
//!     }
//!     Part { name: StrBytes [0+] }                  // a struct within the message
//! }
//! ```
//!
//! Every struct keeps the tagged fields that it does not know in `unknown_tagged_fields` and writes them back.
//! Decoding is bounded by `wire.rs`; these types need no walk before it.

/// Where a field stands: what the brackets of `messages!` say.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    pub from: i16,
    pub to: i16,
    pub tag: Option<u32>,
    pub ignorable: bool,
}

impl FieldSpec {
    #[inline(always)]
    pub const fn holds(&self, version: i16) -> bool {
        self.from <= version && version <= self.to
    }
}

macro_rules! field_spec {
    ($from:literal + $($rest:tt)*) => { $crate::messages::define::field_spec!(@rest ($from, i16::MAX) $($rest)*) };
    ($from:literal - $to:literal $($rest:tt)*) => { $crate::messages::define::field_spec!(@rest ($from, $to) $($rest)*) };
    ($only:literal $($rest:tt)*) => { $crate::messages::define::field_spec!(@rest ($only, $only) $($rest)*) };
    (@rest ($from:expr, $to:expr)) => { $crate::messages::define::field_spec!(@make $from, $to, None, false) };
    (@rest ($from:expr, $to:expr), ignorable) => { $crate::messages::define::field_spec!(@make $from, $to, None, true) };
    (@rest ($from:expr, $to:expr), tag $tag:literal) => { $crate::messages::define::field_spec!(@make $from, $to, Some($tag), false) };
    (@rest ($from:expr, $to:expr), tag $tag:literal, ignorable) => { $crate::messages::define::field_spec!(@make $from, $to, Some($tag), true) };
    (@make $from:expr, $to:expr, $tag:expr, $ignorable:expr) => {
        $crate::messages::define::FieldSpec { from: $from, to: $to, tag: $tag, ignorable: $ignorable }
    };
}

macro_rules! field_default {
    ($type:ty) => {
        <$type>::default()
    };
    ($type:ty, $default:expr) => {{
        let value: $type = $default;
        value
    }};
}

macro_rules! first_flexible {
    (never) => {
        i16::MAX
    };
    ($version:literal) => {
        $version
    };
}

macro_rules! messages {
    ($(
        $(#[$attribute:meta])*
        $name:ident $(: $min:literal - $max:literal, flexible $flexible:tt)? {
            $(
                $(#[$field_attribute:meta])*
                $field:ident : $type:ty [$($spec:tt)*] $(= $default:expr)?
            ),* $(,)?
        }
    )*) => {$(
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$field_attribute])* pub $field: $type,)*
            /// Tagged fields of newer schemas, written back as they came.
            pub unknown_tagged_fields: $crate::messages::wire::TaggedFields,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $crate::messages::define::field_default!($type $(, $default)?),)*
                    unknown_tagged_fields: Default::default(),
                }
            }
        }

        impl $crate::messages::wire::Wire for $name {
            const MIN: usize = 1;
            const STRUCT: bool = true;

            fn read(
                reader: &mut $crate::messages::wire::Reader,
                version: $crate::messages::wire::Version,
            ) -> Result<Self, $crate::messages::error::Fault> {
                let mut value = Self::default();
                $({
                    const SPEC: $crate::messages::define::FieldSpec = $crate::messages::define::field_spec!($($spec)*);
                    if SPEC.tag.is_none() && SPEC.holds(version.number) {
                        value.$field = $crate::messages::wire::Wire::read(reader, version)?;
                    }
                })*
                if version.flexible {
                    value.unknown_tagged_fields = reader.tagged_fields(|_tag, _field| {
                        $({
                            const SPEC: $crate::messages::define::FieldSpec = $crate::messages::define::field_spec!($($spec)*);
                            if SPEC.tag == Some(_tag) && SPEC.holds(version.number) {
                                value.$field = $crate::messages::wire::Wire::read_tagged(_field, version)?;
                                return Ok(true);
                            }
                        })*
                        Ok(false)
                    })?;
                }
                Ok(value)
            }

            fn write(
                &self,
                out: &mut $crate::messages::writer::Writer,
                version: $crate::messages::wire::Version,
            ) -> Result<(), $crate::messages::error::EncodeError> {
                let mut tags = $crate::messages::wire::TagWriter::default();
                $({
                    const SPEC: $crate::messages::define::FieldSpec = $crate::messages::define::field_spec!($($spec)*);
                    match SPEC.tag {
                        None if SPEC.holds(version.number) => {
                            $crate::messages::wire::Wire::write(&self.$field, out, version)?;
                        }
                        None if SPEC.ignorable => {}
                        _ if self.$field == $crate::messages::define::field_default!($type $(, $default)?) => {}
                        Some(tag) if SPEC.holds(version.number) && version.flexible => {
                            tags.put(tag, &self.$field, version)?;
                        }
                        _ if SPEC.ignorable => {}
                        _ => {
                            return Err($crate::messages::error::EncodeError::FieldNotInVersion {
                                message: stringify!($name),
                                field: stringify!($field),
                                version: version.number,
                            });
                        }
                    }
                })*
                if version.flexible {
                    tags.finish(&self.unknown_tagged_fields, out)?;
                }
                Ok(())
            }
        }

        $(
            impl $crate::messages::Message for $name {
                const NAME: &'static str = stringify!($name);
                const VERSIONS: std::ops::RangeInclusive<i16> = $min..=$max;

                fn read(bytes: &mut bytes::Bytes, version: i16) -> Result<Self, $crate::messages::DecodeError> {
                    $crate::messages::define::read(bytes, version, $crate::messages::define::first_flexible!($flexible))
                }

                fn encode(
                    &self,
                    out: &mut $crate::messages::Writer,
                    version: i16,
                ) -> Result<(), $crate::messages::EncodeError> {
                    $crate::messages::define::encode(self, out, version, $crate::messages::define::first_flexible!($flexible))
                }
            }
        )?
    )*};
}

pub(crate) use {field_default, field_spec, first_flexible, messages};

use std::mem;

use bytes::Bytes;

use super::error::{DecodeError, EncodeError, Fault};
use super::wire::{Reader, Version, Wire};
use super::{Message, Writer};

/// The body of `Message::read` for a message of `messages!`.
pub(crate) fn read<M: Message + Wire>(
    bytes: &mut Bytes,
    version: i16,
    first_flexible: i16,
) -> Result<M, DecodeError> {
    if !M::VERSIONS.contains(&version) {
        return Err(Fault::UnsupportedVersion.of(M::NAME, version, 0));
    }
    let mut reader = Reader::new(mem::take(bytes));
    let version = Version {
        number: version,
        flexible: version >= first_flexible,
    };
    let message = <M as Wire>::read(&mut reader, version)
        .map_err(|fault| fault.of(M::NAME, version.number, reader.position()))?;
    *bytes = reader.into_rest();
    Ok(message)
}

/// The body of `Message::encode` for a message of `messages!`.
pub(crate) fn encode<M: Message + Wire>(
    message: &M,
    out: &mut Writer,
    version: i16,
    first_flexible: i16,
) -> Result<(), EncodeError> {
    if !M::VERSIONS.contains(&version) {
        return Err(EncodeError::UnsupportedVersion {
            message: M::NAME,
            version,
        });
    }
    message.write(
        out,
        Version {
            number: version,
            flexible: version >= first_flexible,
        },
    )
}
