//! `describe` renders a body as JSON by its layout: names and order of the fields as in Kafka's JsonConverters, so that
//! the request log and `dump-log` read like Kafka's. Slow and allocating; not for the hot path.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::parse;
use super::{Count, Cursor};
use crate::ids::KafkaUuid;
use crate::messages::error::{DecodeError, Fault};
use crate::messages::lossy;

/// The message of that class (`ProduceRequest`) and version at the front of `body` as a JSON object. Record batches
/// are told by their size, other bytes as base64, ids in Kafka's text form.
pub fn describe(class: &'static str, version: i16, body: &[u8]) -> Result<Value, DecodeError> {
    let Some(layout) = parse::layout(class, version) else {
        return Err(Fault::UnsupportedVersion.of(class, version, 0));
    };
    let mut describer = Describer {
        layout,
        cursor: Cursor::new(body),
    };
    describer
        .value()
        .map_err(|fault| fault.of(class, version, describer.cursor.at))
}

/// Where Kafka declares a field: untagged fields by their number, tagged ones before the untagged one of that number,
/// in the order of the layout.
type Rank = (usize, usize);

/// Reads layout and body side by side. The layout is well-formed: a test parses every line.
struct Describer<'a> {
    layout: &'static str,
    cursor: Cursor<'a>,
}

impl Describer<'_> {
    fn accept(&mut self, token: &str) -> bool {
        match self.layout.strip_prefix(token) {
            Some(rest) => {
                self.layout = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'static str {
        let end = self
            .layout
            .find([',', '}', ']', ')', ':', '='])
            .expect("a delimiter");
        let (word, rest) = self.layout.split_at(end);
        self.layout = rest;
        word
    }

    fn value(&mut self) -> Result<Value, Fault> {
        if self.accept("?{") {
            return match self.cursor.take(1)?[0] as i8 {
                ..0 => {
                    self.skip_to_end();
                    Ok(Value::Null)
                }
                _ => self.fields(),
            };
        }
        if self.accept("{") {
            return self.fields();
        }
        for (token, compact, nullable) in [
            ("A[", false, false),
            ("A?[", false, true),
            ("C[", true, false),
            ("C?[", true, true),
        ] {
            if self.accept(token) {
                return self.array(Count {
                    compact,
                    nullable,
                    min: 1,
                });
            }
        }
        let word = self.word();
        self.elementary(word)
    }

    fn array(&mut self, count: Count) -> Result<Value, Fault> {
        let count = self.cursor.count(count)?;
        let element = self.layout;
        let mut values = Vec::new();
        for _ in 0..count.unwrap_or(0) {
            self.layout = element;
            values.push(self.value()?);
        }
        self.layout = element;
        self.skip_to_end();
        Ok(count.map_or(Value::Null, |_| Value::Array(values)))
    }

    /// Leaves the struct or array that was entered, without its content.
    fn skip_to_end(&mut self) {
        let mut depth = 1;
        let end = self.layout.find(|c| {
            depth += match c {
                '{' | '[' => 1,
                '}' | ']' => -1,
                _ => 0,
            };
            depth == 0
        });
        self.layout = &self.layout[end.expect("balanced brackets") + 1..];
    }

    fn fields(&mut self) -> Result<Value, Fault> {
        let mut fields = Vec::new();
        while !self.accept("}") {
            if self.accept("T(") {
                let tags = self.layout;
                self.tagged_fields(tags, &mut fields)?;
                self.layout = tags;
                self.skip_tags();
            } else {
                let rank = (fields.len(), usize::MAX);
                let name = self.word();
                self.accept(":");
                let records = self.layout.starts_with("rec") || self.layout.starts_with("crec");
                let value = self.value()?;
                let name = match records && value.is_number() {
                    true => format!("{}SizeInBytes", camel(name)),
                    false => camel(name),
                };
                fields.push((rank, name, value));
            }
            self.accept(",");
        }
        fields.sort_by_key(|(rank, ..)| *rank);
        Ok(Value::Object(
            fields
                .into_iter()
                .map(|(_, name, value)| (name, value))
                .collect(),
        ))
    }

    fn tagged_fields(
        &mut self,
        tags: &'static str,
        fields: &mut Vec<(Rank, String, Value)>,
    ) -> Result<(), Fault> {
        for _ in 0..self.cursor.uvarint()? {
            let wanted = self.cursor.uvarint()?;
            let size = self.cursor.uvarint()? as usize;
            let content = Cursor::new(self.cursor.take(size)?);
            self.layout = tags;
            match self.find_tag(wanted) {
                Some((rank, name)) => {
                    let outer = std::mem::replace(&mut self.cursor, content);
                    let value = self.tagged_value();
                    self.cursor = outer;
                    fields.push((rank, camel(name), value?));
                }
                None => {
                    let rank = (usize::MAX, fields.len());
                    fields.push((
                        rank,
                        format!("tag{wanted}"),
                        json!(STANDARD.encode(content.body)),
                    ));
                }
            }
        }
        Ok(())
    }

    fn tagged_value(&mut self) -> Result<Value, Fault> {
        if !self.accept("?{") {
            return self.value();
        }
        match self.cursor.uvarint()? {
            0 => Ok(Value::Null),
            _ => self.fields(),
        }
    }

    /// Moves the layout to the type of a tagged field and gives the field's rank and name.
    fn find_tag(&mut self, wanted: u32) -> Option<(Rank, &'static str)> {
        let mut order = 0;
        while !self.accept(")") {
            let (tag, before) = parse::tag(self.word());
            self.accept("=");
            let name = self.word();
            self.accept(":");
            if tag == wanted {
                return Some(((before, order), name));
            }
            self.skip_type();
            self.accept(",");
            order += 1;
        }
        None
    }

    fn skip_tags(&mut self) {
        while !self.accept(")") {
            self.word();
            self.accept("=");
            self.word();
            self.accept(":");
            self.skip_type();
            self.accept(",");
        }
    }

    fn skip_type(&mut self) {
        if ["?{", "{", "A[", "A?[", "C[", "C?["]
            .into_iter()
            .any(|token| self.accept(token))
        {
            self.skip_to_end();
        } else {
            self.word();
        }
    }

    fn elementary(&mut self, word: &str) -> Result<Value, Fault> {
        let cursor = &mut self.cursor;
        let nullable = word.ends_with('?');
        Ok(match word.trim_end_matches('?') {
            "bool" => json!(cursor.array::<1>()? != [0]),
            "i8" => json!(i8::from_be_bytes(cursor.array()?)),
            "i16" => json!(i16::from_be_bytes(cursor.array()?)),
            "u16" => json!(u16::from_be_bytes(cursor.array()?)),
            "i32" => json!(i32::from_be_bytes(cursor.array()?)),
            "u32" => json!(u32::from_be_bytes(cursor.array()?)),
            "i64" => json!(i64::from_be_bytes(cursor.array()?)),
            "f64" => double(f64::from_be_bytes(cursor.array()?)),
            "uuid" => json!(KafkaUuid(Uuid::from_bytes(cursor.array()?)).to_string()),
            name @ ("str" | "cstr") => match cursor.text_length(name == "cstr", nullable)? {
                Some(length) => json!(lossy(cursor.take(length)?)),
                None => Value::Null,
            },
            name @ ("bytes" | "cbytes") => match cursor.length(name == "cbytes", nullable)? {
                Some(length) => json!(STANDARD.encode(cursor.take(length)?)),
                None => Value::Null,
            },
            name => match cursor.length(name == "crec", nullable)? {
                Some(length) => json!(cursor.take(length)?.len()),
                None => Value::Null,
            },
        })
    }
}

/// JSON has no number that is not finite: Jackson writes Java's names of them as strings.
fn double(value: f64) -> Value {
    match value {
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        _ if value.is_nan() => json!("NaN"),
        _ => json!(value),
    }
}

/// `topic_id` as `topicId`.
fn camel(snake: &str) -> String {
    let mut name = String::with_capacity(snake.len());
    let mut upper = false;
    for c in snake.chars() {
        match c {
            '_' => upper = true,
            _ if upper => {
                name.push(c.to_ascii_uppercase());
                upper = false;
            }
            _ => name.push(c),
        }
    }
    name
}
