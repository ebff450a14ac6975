//! Keys and values of records as text: as strings and numbers, or as the JSON of the internal topics' records.
//! (DumpLogSegments.{OffsetsMessageParser, TransactionLogMessageParser, ClusterMetadataLogMessageParser,
//! ShareGroupStateMessageParser}; org.apache.kafka.tools.api.Decoder)

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::json;
use crate::messages::lossy;
use crate::messages::records::frame::{MetadataRecord, open_frame};
use crate::messages::records::group::GroupRecord;
use crate::messages::records::share_state::ShareStateRecord;
use crate::messages::records::transaction::TransactionRecord;
use crate::messages::schema::describe;
use crate::record::RecordView;

/// The decoder of keys and values when none is given.
pub(super) const STRING: &str = "org.apache.kafka.tools.api.StringDecoder";

const CONSUMER_PROTOCOL_NEWEST: i16 = 3;

/// How bytes are printed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Decoder {
    #[default]
    String,
    Integer,
    Long,
}

impl FromStr for Decoder {
    type Err = String;

    fn from_str(class: &str) -> Result<Decoder, String> {
        match class.rsplit('.').next() {
            Some("StringDecoder") => Ok(Decoder::String),
            Some("IntegerDecoder") => Ok(Decoder::Integer),
            Some("LongDecoder") => Ok(Decoder::Long),
            _ => Err("only StringDecoder, IntegerDecoder and LongDecoder are there, since Java classes cannot be run".to_owned()),
        }
    }
}

impl Decoder {
    fn text(self, bytes: &[u8]) -> String {
        let number = match self {
            Decoder::String => None,
            Decoder::Integer => bytes
                .first_chunk()
                .map(|bytes| i32::from_be_bytes(*bytes).to_string()),
            Decoder::Long => bytes
                .first_chunk()
                .map(|bytes| i64::from_be_bytes(*bytes).to_string()),
        };
        number.unwrap_or_else(|| lossy(bytes).into_owned())
    }
}

/// What the records of a segment are.
#[derive(Clone, Copy, Debug)]
pub(super) enum RecordDecoder {
    Plain { key: Decoder, value: Decoder },
    Offsets,
    TransactionLog,
    ShareGroupState,
    ClusterMetadata,
}

/// Key and value as they are printed; what is `None` is not.
pub(super) type Texts = (Option<String>, Option<String>);

/// The classes of a record type's key and value.
type Classes = fn(i16) -> Option<(&'static str, &'static str)>;

impl RecordDecoder {
    /// `Err` where the record cannot be one of that topic.
    pub(super) fn texts(self, record: &RecordView<'_>) -> Result<Texts, String> {
        match self {
            RecordDecoder::Plain { key, value } => Ok((
                record.key.map(|bytes| key.text(bytes)),
                record.value.map(|bytes| value.text(bytes)),
            )),
            RecordDecoder::Offsets => coordinator(record, GroupRecord::classes),
            RecordDecoder::TransactionLog => coordinator(record, TransactionRecord::classes),
            RecordDecoder::ShareGroupState => coordinator(record, ShareStateRecord::classes),
            RecordDecoder::ClusterMetadata => Ok((None, Some(metadata(record)))),
        }
    }
}

fn coordinator(record: &RecordView<'_>, classes: Classes) -> Result<Texts, String> {
    let offset = record.offset;
    let key = record.key.ok_or_else(|| {
        format!("Failed to decode message at offset {offset} using the specified decoder (message had a missing key)")
    })?;
    let skipped = |why: String| {
        Ok((
            Some(format!("Error at offset {offset}, skipping. {why}")),
            None,
        ))
    };
    let Some((record_type, key)) = key.split_first_chunk() else {
        return skipped("the key has no type".to_owned());
    };
    let record_type = i16::from_be_bytes(*record_type);
    let Some((key_class, value_class)) = classes(record_type) else {
        let unknown = format!("Unknown record type {record_type} at offset {offset}, skipping.");
        return Ok((Some(unknown), None));
    };
    let key = match describe(key_class, 0, key) {
        Ok(data) => json::text(&json!({"type": record_type.to_string(), "data": data})),
        Err(error) => return skipped(error.to_string()),
    };
    let Some(value) = record.value else {
        return Ok((Some(key), Some("<DELETE>".to_owned())));
    };
    let Some((version, value)) = value.split_first_chunk() else {
        return skipped("the value has no version".to_owned());
    };
    let version = i16::from_be_bytes(*version);
    match describe(value_class, version, value) {
        Ok(mut data) => {
            if value_class == "GroupMetadataValue" {
                open_members(&mut data);
            }
            let value = json::text(&json!({"version": version.to_string(), "data": data}));
            Ok((Some(key), Some(value)))
        }
        Err(error) => skipped(error.to_string()),
    }
}

/// Shows what consumers have said and were given in place of the bytes, where they can be read.
fn open_members(group: &mut Value) {
    if group["protocolType"] != "consumer" {
        return;
    }
    let members = group.get_mut("members").and_then(Value::as_array_mut);
    for member in members.into_iter().flatten() {
        for (field, class) in [
            ("subscription", "ConsumerProtocolSubscription"),
            ("assignment", "ConsumerProtocolAssignment"),
        ] {
            let opened = member[field]
                .as_str()
                .and_then(|text| consumers(class, &STANDARD.decode(text).ok()?));
            if let Some(opened) = opened {
                member[field] = opened;
            }
        }
    }
}

/// What a consumer has said or was given. A version that is not known is read as the nearest; Kafka's readers do that too,
/// but for the partitions of a version to come.
fn consumers(class: &'static str, bytes: &[u8]) -> Option<Value> {
    let (version, body) = bytes.split_first_chunk()?;
    let version = i16::from_be_bytes(*version);
    let opened = describe(class, version.clamp(0, CONSUMER_PROTOCOL_NEWEST), body).ok()?;
    let has_partitions = ["ownedPartitions", "assignedPartitions"]
        .iter()
        .any(|field| opened[field].get(0).is_some());
    (version <= CONSUMER_PROTOCOL_NEWEST || !has_partitions).then_some(opened)
}

fn metadata(record: &RecordView<'_>) -> String {
    let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
    let described = open_frame(value)
        .map_err(|error| error.to_string())
        .and_then(|(record_type, version, body)| {
            let class = MetadataRecord::class(record_type)
                .ok_or_else(|| format!("Unknown metadata id {record_type}"))?;
            let version = i16::try_from(version).map_err(|_| format!("version {version}"))?;
            let data = describe(class, version, &body).map_err(|error| error.to_string())?;
            Ok(json!({"type": screaming(class), "version": version, "data": data}))
        });
    match described {
        Ok(value) => json::text(&value),
        Err(why) => format!("Error at {}, skipping. {why}", record.offset),
    }
}

/// `RegisterBrokerRecord` as `REGISTER_BROKER_RECORD`.
fn screaming(class: &str) -> String {
    let mut name = String::with_capacity(class.len() + 4);
    for c in class.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Offset, Timestamp};
    use crate::messages::records::group::classic::{
        GroupMetadataKey, GroupMetadataValue, MemberMetadata,
    };
    use crate::messages::text;
    use crate::record::BatchBuilder;

    fn texts(
        decoder: RecordDecoder,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Texts, String> {
        let mut builder = BatchBuilder::new().base_offset(Offset(7));
        builder.append(Timestamp(1), key, value);
        let batch = builder.build();
        let mut reader = batch.reader().unwrap();
        decoder.texts(&reader.next().unwrap().unwrap())
    }

    #[test]
    fn a_group_is_shown_with_its_members_subscriptions() {
        let key = GroupMetadataKey {
            group: text("g"),
            ..Default::default()
        };
        let member = MemberMetadata {
            member_id: text("m"),
            // Version 0: the topic `t`, no user data.
            subscription: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"),
            assignment: Bytes::from_static(b"x"),
            ..Default::default()
        };
        let value = GroupMetadataValue {
            protocol_type: text("consumer"),
            members: vec![member],
            ..Default::default()
        };
        let (key, value) = GroupRecord::GroupMetadata(key, Some(value))
            .encode(3)
            .unwrap();
        let (key, value) = texts(RecordDecoder::Offsets, Some(&key), value.as_deref()).unwrap();
        assert_eq!(key.unwrap(), r#"{"type":"2","data":{"group":"g"}}"#);
        let value = value.unwrap();
        assert!(
            value
                .starts_with(r#"{"version":"3","data":{"protocolType":"consumer","generation":0,"#),
            "{value}"
        );
        assert!(
            value
                .contains(r#""subscription":{"topics":["t"],"userData":null},"assignment":"eA==""#),
            "{value}"
        );
    }

    /// As Kafka's tool printed the same bytes.
    #[test]
    fn what_a_consumer_says_of_itself_is_read_as_far_as_it_goes() {
        let opened = |class, bytes: &[u8]| consumers(class, bytes).map(|value| json::text(&value));
        let said = |bytes: &[u8]| opened("ConsumerProtocolSubscription", bytes);
        let given = |bytes: &[u8]| opened("ConsumerProtocolAssignment", bytes);
        assert_eq!(
            said(b"\x80\0\0\0\0\0\xff\xff\xff\xfe").unwrap(),
            r#"{"topics":[],"userData":null}"#
        );
        assert_eq!(
            said(b"\0\x07\0\0\0\x01\0\x02\xffx\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff").unwrap(),
            r#"{"topics":["�x"],"userData":"","ownedPartitions":[],"generationId":1,"rackId":null}"#
        );
        let partition = b"\0\0\0\x01\0\x01t\0\0\0\0\xff\xff\xff\xff";
        let one = r#"{"assignedPartitions":[{"topic":"t","partitions":[]}],"userData":null}"#;
        assert_eq!(given(&[b"\xff\xff", &partition[..]].concat()).unwrap(), one);
        assert_eq!(given(&[b"\0\x03", &partition[..]].concat()).unwrap(), one);
        assert_eq!(given(&[b"\0\x04", &partition[..]].concat()), None);
        assert_eq!(said(b"\0\0\0\0\0\x01\xff\xff"), None);
        assert_eq!(said(b"\0"), None);
    }

    #[test]
    fn tombstones_unknown_types_and_broken_values_are_told() {
        let offsets =
            |key: Option<&[u8]>, value: Option<&[u8]>| texts(RecordDecoder::Offsets, key, value);
        let key = b"\0\x03\0\x01g";
        assert_eq!(offsets(Some(key), None).unwrap().1.unwrap(), "<DELETE>");
        assert_eq!(
            offsets(Some(b"\0\x63"), None).unwrap(),
            (
                Some("Unknown record type 99 at offset 7, skipping.".to_owned()),
                None
            )
        );
        assert!(
            offsets(Some(key), Some(b"\0\0\0"))
                .unwrap()
                .0
                .unwrap()
                .starts_with("Error at offset 7, skipping. ")
        );
        assert!(offsets(None, None).unwrap_err().contains("missing key"));
    }

    #[test]
    fn records_of_the_metadata_log() {
        let record = crate::messages::records::metadata::NoOpRecord::default();
        let value = MetadataRecord::from(record).encode(0).unwrap();
        let shown = |value: &[u8]| {
            texts(RecordDecoder::ClusterMetadata, None, Some(value))
                .unwrap()
                .1
                .unwrap()
        };
        assert_eq!(
            shown(&value),
            r#"{"type":"NO_OP_RECORD","version":0,"data":{}}"#
        );
        assert_eq!(
            shown(&[1, 99, 0]),
            "Error at 7, skipping. Unknown metadata id 99"
        );
    }

    #[test]
    fn plain_values_are_texts_or_numbers() {
        let plain = RecordDecoder::Plain {
            key: Decoder::Long,
            value: "org.apache.kafka.tools.api.IntegerDecoder".parse().unwrap(),
        };
        let shown = texts(plain, Some(&8i64.to_be_bytes()), Some(&[0, 0, 1, 0])).unwrap();
        assert_eq!(shown, (Some("8".to_owned()), Some("256".to_owned())));
        assert!("org.example.Mine".parse::<Decoder>().is_err());
    }
}
