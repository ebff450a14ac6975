//! The layout of every message and version of Kafka 4.3.0 (`schemas.tsv`), and two walks along a layout: `check`
//! holds each length and count of a body against the bytes that are left, before a decoder that trusts them sees it;
//! `describe` renders a body as JSON for the request log and the dump tools.
//!
//! A layout is parsed on first use, once per class and version, into a flat program. Knows nothing of Rust types.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

use super::error::{DecodeError, Fault};
use super::wire::{TEXT_MAX, lossy_text};
use super::writer::Writer;

mod describe;
mod parse;

pub use describe::describe;
pub use parse::layout;

static TABLE: &str = include_str!("schemas.tsv");

/// The layouts of one class, filled as versions are used. Each message type has one as a `static`.
#[derive(Debug)]
pub struct Layouts {
    class: &'static str,
    versions: [OnceLock<Option<Program>>; VERSIONS_MAX],
}

/// No message has as many versions yet; a higher one is answered with "not supported".
const VERSIONS_MAX: usize = 20;

impl Layouts {
    pub const fn new(class: &'static str) -> Layouts {
        Layouts {
            class,
            versions: [const { OnceLock::new() }; VERSIONS_MAX],
        }
    }

    fn program(&self, version: i16) -> Option<&Program> {
        let slot = self.versions.get(usize::try_from(version).ok()?)?;
        slot.get_or_init(|| parse::program(self.class, version))
            .as_ref()
    }

    /// Checks that `body` starts with a message of that version: lengths and counts fit, texts are UTF-8, null stands
    /// only where it may. Gives the length of the message; what follows is not looked at.
    pub fn check(&self, body: &[u8], version: i16) -> Result<usize, DecodeError> {
        let Some(program) = self.program(version) else {
            return Err(Fault::UnsupportedVersion.of(self.class, version, 0));
        };
        let mut cursor = Cursor::new(body);
        match program.walk(&mut cursor, 0..program.ops.len()) {
            Ok(()) => Ok(cursor.at),
            Err(fault) => Err(fault.of(self.class, version, cursor.at)),
        }
    }

    /// The same with U+FFFD in its texts for what is no UTF-8, as Kafka reads them. In a tagged field that stays an error.
    pub fn mended(&self, body: &[u8], version: i16) -> Result<Bytes, DecodeError> {
        let Some(program) = self.program(version) else {
            return Err(Fault::UnsupportedVersion.of(self.class, version, 0));
        };
        let mut cursor = Cursor::new(body);
        cursor.odd = Some(Vec::new());
        let walked = program.walk(&mut cursor, 0..program.ops.len());
        let replaced = walked.and_then(|()| replace(body, cursor.odd.as_deref().unwrap_or(&[])));
        replaced.map_err(|fault| fault.of(self.class, version, cursor.at))
    }
}

/// Texts of one message that may be no UTF-8: to keep where they are takes more than their own bytes.
const ODD_MAX: usize = 1024;

/// A text that is no UTF-8: where its length begins, where it begins and ends itself.
#[derive(Debug)]
struct Odd {
    length_at: usize,
    text: Range<usize>,
    compact: bool,
}

fn replace(body: &[u8], odd: &[Odd]) -> Result<Bytes, Fault> {
    let mut out = Writer::with_capacity(body.len() + body.len() / 8);
    let mut at = 0;
    for Odd {
        length_at,
        text,
        compact,
    } in odd
    {
        out.put_slice(&body[at..*length_at]);
        let mended = lossy_text(&body[text.clone()])?;
        match *compact {
            false => out.put_i16(mended.len() as i16),
            true => out.put_uvarint(mended.len() as u32 + 1),
        }
        out.put_slice(mended.as_bytes());
        at = text.end;
    }
    out.put_slice(&body[at..]);
    Ok(out.into_bytes())
}

/// One step of a program. `end` of a compound step is the index after its last inner step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// So many bytes of any content: a run of fixed-size fields.
    Fixed {
        len: u32,
    },
    Text {
        compact: bool,
        nullable: bool,
    },
    Bytes {
        compact: bool,
        nullable: bool,
    },
    /// The inner steps, once for each element; none of them takes fewer than `min` bytes.
    Array {
        compact: bool,
        nullable: bool,
        min: u32,
        end: u16,
    },
    /// A struct behind a byte that says whether it is there: it is if the byte is not less than `present`, which is 0,
    /// or 1 in a tagged field.
    Optional {
        present: i8,
        end: u16,
    },
    /// A tagged-fields section; its inner steps are `Tag`s.
    Tags {
        end: u16,
    },
    /// The inner steps are the content of this tag.
    Tag {
        tag: u32,
        end: u16,
    },
}

#[derive(Debug)]
struct Program {
    ops: Box<[Op]>,
}

impl Program {
    /// Recursion is bounded by the schema's own nesting.
    fn walk(&self, cursor: &mut Cursor<'_>, steps: Range<usize>) -> Result<(), Fault> {
        let mut at = steps.start;
        while at < steps.end {
            let next = at + 1;
            at = match self.ops[at] {
                Op::Fixed { len } => {
                    cursor.take(len as usize)?;
                    next
                }
                Op::Text { compact, nullable } => {
                    let length_at = cursor.at;
                    if let Some(length) = cursor.text_length(compact, nullable)? {
                        let text = cursor.take(length)?;
                        if std::str::from_utf8(text).is_err() {
                            cursor.note(length_at, length, compact)?;
                        }
                    }
                    next
                }
                Op::Bytes { compact, nullable } => {
                    if let Some(length) = cursor.length(compact, nullable)? {
                        cursor.take(length)?;
                    }
                    next
                }
                Op::Array {
                    compact,
                    nullable,
                    min,
                    end,
                } => {
                    self.walk_array(
                        cursor,
                        Count {
                            compact,
                            nullable,
                            min,
                        },
                        next..usize::from(end),
                    )?;
                    usize::from(end)
                }
                Op::Optional { present, end } => {
                    if cursor.take(1)?[0] as i8 >= present {
                        self.walk(cursor, next..usize::from(end))?;
                    }
                    usize::from(end)
                }
                Op::Tags { end } => {
                    self.walk_tags(cursor, next..usize::from(end))?;
                    usize::from(end)
                }
                Op::Tag { end, .. } => usize::from(end),
            };
        }
        Ok(())
    }

    fn walk_array(
        &self,
        cursor: &mut Cursor<'_>,
        count: Count,
        element: Range<usize>,
    ) -> Result<(), Fault> {
        let Some(count) = cursor.count(count)? else {
            return Ok(());
        };
        if let [Op::Fixed { len }] = self.ops[element.clone()] {
            cursor.take(count * len as usize)?;
            return Ok(());
        }
        for _ in 0..count {
            self.walk(cursor, element.clone())?;
        }
        Ok(())
    }

    fn walk_tags(&self, cursor: &mut Cursor<'_>, tags: Range<usize>) -> Result<(), Fault> {
        for _ in 0..cursor.uvarint()? {
            let tag = cursor.uvarint()?;
            let size = cursor.uvarint()? as usize;
            let content = cursor.take(size)?;
            if let Some(steps) = self.steps_of(tag, tags.clone()) {
                let mut field = Cursor::new(content);
                self.walk(&mut field, steps)?;
                if field.at < content.len() {
                    return Err(Fault::Trailing(content.len() - field.at));
                }
            }
        }
        Ok(())
    }

    /// The steps within a `Tag` of that number.
    fn steps_of(&self, wanted: u32, tags: Range<usize>) -> Option<Range<usize>> {
        let mut at = tags.start;
        while at < tags.end {
            let Op::Tag { tag, end } = self.ops[at] else {
                return None;
            };
            if tag == wanted {
                return Some(at + 1..usize::from(end));
            }
            at = usize::from(end);
        }
        None
    }
}

/// How the count of an array is written.
#[derive(Clone, Copy)]
struct Count {
    compact: bool,
    nullable: bool,
    min: u32,
}

struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
    /// Where texts that are no UTF-8 are kept, if they are not an error.
    odd: Option<Vec<Odd>>,
}

impl<'a> Cursor<'a> {
    fn new(body: &'a [u8]) -> Cursor<'a> {
        Cursor {
            body,
            at: 0,
            odd: None,
        }
    }

    /// The text that was just taken is no UTF-8.
    fn note(&mut self, length_at: usize, length: usize, compact: bool) -> Result<(), Fault> {
        let odd = self.odd.as_mut().filter(|odd| odd.len() < ODD_MAX);
        let odd = odd.ok_or(Fault::NotUtf8)?;
        odd.push(Odd {
            length_at,
            text: self.at - length..self.at,
            compact,
        });
        Ok(())
    }

    fn left(&self) -> usize {
        self.body.len() - self.at
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        if len > self.left() {
            return Err(Fault::Truncated {
                needs: len,
                left: self.left(),
            });
        }
        let taken = &self.body[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn uvarint(&mut self) -> Result<u32, Fault> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::BadVarint)
    }

    fn text_length(&mut self, compact: bool, nullable: bool) -> Result<Option<usize>, Fault> {
        if !compact {
            return signed_length(i32::from(i16::from_be_bytes(self.array()?)), nullable);
        }
        match self.length(true, nullable)? {
            Some(length) if length > TEXT_MAX => Err(Fault::BadLength(length as i64)),
            length => Ok(length),
        }
    }

    fn length(&mut self, compact: bool, nullable: bool) -> Result<Option<usize>, Fault> {
        if !compact {
            return signed_length(i32::from_be_bytes(self.array()?), nullable);
        }
        match self.uvarint()? {
            0 if nullable => Ok(None),
            0 => Err(Fault::Null),
            length => Ok(Some(length as usize - 1)),
        }
    }

    fn count(
        &mut self,
        Count {
            compact,
            nullable,
            min,
        }: Count,
    ) -> Result<Option<usize>, Fault> {
        let Some(count) = self.length(compact, nullable)? else {
            return Ok(None);
        };
        let needs = count.saturating_mul(min as usize);
        if needs > self.left() {
            return Err(Fault::Truncated {
                needs,
                left: self.left(),
            });
        }
        Ok(Some(count))
    }
}

/// Any negative length is that of null, as in Kafka. (kafka-protocol's types, decoded after the walk, know -1 alone.)
fn signed_length(length: i32, nullable: bool) -> Result<Option<usize>, Fault> {
    match length {
        0.. => Ok(Some(length as usize)),
        _ if nullable => Ok(None),
        _ => Err(Fault::Null),
    }
}

/// Each class with its first and last version, in the order of the table.
pub fn classes() -> impl Iterator<Item = (&'static str, i16, i16)> {
    let mut lines = parse::lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let mut last = line.last;
        while let Some(next) = lines.next_if(|next| next.class == line.class) {
            last = next.last;
        }
        Some((line.class, line.first, last))
    })
}

#[cfg(test)]
mod tests;
