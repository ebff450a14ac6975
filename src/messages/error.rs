//! What can be wrong with a message: the bytes (`DecodeError`) or the value (`EncodeError`). `Fault` is the reason
//! without the place; the `Message` implementations add message, version and position.

use thiserror::Error;

/// Bytes that are not the message they claim to be. The peer's fault: log at debug, close the connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message} version {version}, byte {at}: {fault}")]
pub struct DecodeError {
    pub message: &'static str,
    pub version: i16,
    /// Position in the body at which decoding stopped.
    pub at: usize,
    pub fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("the version is not supported")]
    UnsupportedVersion,
    #[error("{needs} bytes are needed and {left} are left")]
    Truncated { needs: usize, left: usize },
    #[error("a length or count of {0}")]
    BadLength(i64),
    #[error("null where it is not allowed")]
    Null,
    #[error("text that is not UTF-8")]
    NotUtf8,
    #[error("an integer of more than 5 bytes")]
    BadVarint,
    #[error("{0} bytes after the end")]
    Trailing(usize),
    #[error("nothing of that number is known")]
    Unknown,
    #[error("refused by the decoder")]
    Refused,
}

impl Fault {
    pub(crate) fn of(self, message: &'static str, version: i16, at: usize) -> DecodeError {
        DecodeError {
            message,
            version,
            at,
            fault: self,
        }
    }
}

/// A value that the version cannot express. Our fault: the sender chose the wrong version or forgot to check one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("{message} has no version {version}")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("{message}: {field} cannot be expressed in version {version}")]
    FieldNotInVersion {
        message: &'static str,
        field: &'static str,
        version: i16,
    },
    #[error("a text, array or byte field of {0} does not fit its length")]
    TooLong(usize),
    #[error("{message} version {version}: {reason}")]
    Refused {
        message: &'static str,
        version: i16,
        reason: String,
    },
}
