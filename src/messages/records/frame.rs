//! The frame around a record of the metadata log, and `MetadataRecord`, one of all its kinds.
//!
//! | field | type |
//! |---|---|
//! | frame version | unsigned varint, 1 |
//! | record type | unsigned varint |
//! | record version | unsigned varint |
//! | body | the record; nothing may follow |

use bytes::Bytes;

use super::metadata::*;
use crate::messages::error::{DecodeError, EncodeError, Fault};
use crate::messages::wire::Reader;
use crate::messages::{Message, Writer};

const FRAME_VERSION: u32 = 1;

/// A record of a type or version that this program does not know, kept as it is. The image carries it through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRecord {
    pub record_type: u32,
    pub version: u32,
    pub body: Bytes,
}

macro_rules! metadata_records {
    ($($id:literal $kind:ident($record:ident)),* $(,)?) => {
        /// One record of `__cluster_metadata`.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataRecord {
            $($kind($record),)*
            Unknown(UnknownRecord),
        }

        impl MetadataRecord {
            /// The number of the record's type.
            pub fn record_type(&self) -> u32 {
                match self {
                    $(MetadataRecord::$kind(_) => $id,)*
                    MetadataRecord::Unknown(unknown) => unknown.record_type,
                }
            }

            /// The newest version that is known of the record's type.
            pub fn latest_version(&self) -> i16 {
                match self {
                    $(MetadataRecord::$kind(_) => *$record::VERSIONS.end(),)*
                    MetadataRecord::Unknown(unknown) => unknown.version as i16,
                }
            }

            /// The class of a record type, as the schema table names it.
            pub fn class(record_type: u32) -> Option<&'static str> {
                match record_type {
                    $($id => Some($record::NAME),)*
                    _ => None,
                }
            }

            fn decode_body(record_type: u32, version: u32, body: Bytes) -> Result<MetadataRecord, DecodeError> {
                match (record_type, i16::try_from(version)) {
                    $(($id, Ok(version)) if $record::VERSIONS.contains(&version) => {
                        Ok(MetadataRecord::$kind($record::decode_exact(body, version)?))
                    })*
                    _ => Ok(MetadataRecord::Unknown(UnknownRecord { record_type, version, body })),
                }
            }

            fn encode_body(&self, out: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self {
                    $(MetadataRecord::$kind(record) => record.encode(out, version),)*
                    MetadataRecord::Unknown(unknown) => {
                        out.put_bytes(&unknown.body);
                        Ok(())
                    }
                }
            }
        }

        $(
            impl From<$record> for MetadataRecord {
                fn from(record: $record) -> MetadataRecord {
                    MetadataRecord::$kind(record)
                }
            }
        )*
    };
}

metadata_records! {
    0 RegisterBroker(RegisterBrokerRecord),
    1 UnregisterBroker(UnregisterBrokerRecord),
    2 Topic(TopicRecord),
    3 Partition(PartitionRecord),
    4 Config(ConfigRecord),
    5 PartitionChange(PartitionChangeRecord),
    7 FenceBroker(FenceBrokerRecord),
    8 UnfenceBroker(UnfenceBrokerRecord),
    9 RemoveTopic(RemoveTopicRecord),
    10 DelegationToken(DelegationTokenRecord),
    11 UserScramCredential(UserScramCredentialRecord),
    12 FeatureLevel(FeatureLevelRecord),
    14 ClientQuota(ClientQuotaRecord),
    15 ProducerIds(ProducerIdsRecord),
    17 BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    18 AccessControlEntry(AccessControlEntryRecord),
    19 RemoveAccessControlEntry(RemoveAccessControlEntryRecord),
    20 NoOp(NoOpRecord),
    21 ZkMigrationState(ZkMigrationStateRecord),
    22 RemoveUserScramCredential(RemoveUserScramCredentialRecord),
    23 BeginTransaction(BeginTransactionRecord),
    24 EndTransaction(EndTransactionRecord),
    25 AbortTransaction(AbortTransactionRecord),
    26 RemoveDelegationToken(RemoveDelegationTokenRecord),
    27 RegisterController(RegisterControllerRecord),
    28 ClearElr(ClearElrRecord),
}

impl MetadataRecord {
    /// Decodes the value of a record of the metadata log, and the version that it was written in.
    pub fn decode(value: Bytes) -> Result<(MetadataRecord, i16), DecodeError> {
        let (record_type, version, body) = open_frame(value)?;
        let record = MetadataRecord::decode_body(record_type, version, body)?;
        Ok((record, version as i16))
    }

    /// Encodes the record with its frame. An unknown record keeps its own version.
    pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut out = Writer::new();
        out.put_uvarint(FRAME_VERSION);
        out.put_uvarint(self.record_type());
        match self {
            MetadataRecord::Unknown(unknown) => out.put_uvarint(unknown.version),
            _ => out.put_uvarint(u32::from(version.unsigned_abs())),
        }
        self.encode_body(&mut out, version)?;
        Ok(out.into_bytes())
    }
}

/// The type and version of a record of the metadata log, and its body, which is not looked at.
pub fn open_frame(value: Bytes) -> Result<(u32, u32, Bytes), DecodeError> {
    let mut reader = Reader::new(value);
    let (record_type, version) = read_frame(&mut reader)
        .map_err(|fault| fault.of("MetadataRecord", -1, reader.position()))?;
    Ok((record_type, version, reader.into_rest()))
}

/// Reads the frame: record type and version.
fn read_frame(reader: &mut Reader) -> Result<(u32, u32), Fault> {
    if reader.uvarint()? != FRAME_VERSION {
        return Err(Fault::UnsupportedVersion);
    }
    Ok((reader.uvarint()?, reader.uvarint()?))
}
