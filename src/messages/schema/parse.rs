//! From the text of `schemas.tsv` to a `Program`. The table is part of the program: a malformed line is a bug and
//! panics, and a test parses every line.

use super::{Op, Program, TABLE};

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) class: &'static str,
    pub(super) first: i16,
    pub(super) last: i16,
    pub(super) layout: &'static str,
}

pub(super) fn lines() -> impl Iterator<Item = Line> {
    lines_from(0)
        .skip_while(|line| line.starts_with('#'))
        .map(line)
}

fn lines_from(position: usize) -> impl Iterator<Item = &'static str> {
    TABLE[position..].lines()
}

fn line(text: &'static str) -> Line {
    let (class, rest) = text.split_once('\t').expect("a class");
    let (versions, layout) = rest.split_once('\t').expect("versions and a layout");
    let (first, last) = versions.split_once('-').expect("versions as first-last");
    let version = |number: &str| number.parse().expect("a version");
    Line {
        class,
        first: version(first),
        last: version(last),
        layout,
    }
}

/// The layout text of a class at a version.
pub fn layout(class: &str, version: i16) -> Option<&'static str> {
    lines_from(first_line(class))
        .map(line)
        .take_while(|line| line.class == class)
        .find(|line| (line.first..=line.last).contains(&version))
        .map(|line| line.layout)
}

/// The position of the first line whose class is not less than `class`. The lines are sorted, comments first.
fn first_line(class: &str) -> usize {
    let (mut low, mut high) = (0, TABLE.len());
    while low < high {
        let start = TABLE[..(low + high) / 2]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line = lines_from(start).next().expect("a line starts here");
        if line.split('\t').next() < Some(class) {
            low = (start + line.len() + 1).max(low);
        } else {
            high = start;
        }
    }
    low
}

pub(super) fn program(class: &str, version: i16) -> Option<Program> {
    let mut parser = Parser {
        text: layout(class, version)?,
        ops: Vec::new(),
        barrier: 0,
    };
    parser.type_();
    Some(Program {
        ops: parser.ops.into_boxed_slice(),
    })
}

/// A tag, and the number of untagged fields that Kafka declares before its field.
pub(super) fn tag(word: &str) -> (u32, usize) {
    let (tag, rank) = word.split_once('@').unwrap_or((word, ""));
    (
        tag.parse().expect("a tag"),
        rank.parse().unwrap_or(usize::MAX),
    )
}

struct Parser {
    text: &'static str,
    ops: Vec<Op>,
    /// Steps before this one belong to a closed compound step.
    barrier: usize,
}

impl Parser {
    fn accept(&mut self, token: &str) -> bool {
        match self.text.strip_prefix(token) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) {
        assert!(
            self.accept(token),
            "schemas.tsv: {token} expected before {}",
            self.text
        );
    }

    fn word(&mut self) -> &'static str {
        let end = self
            .text
            .find([',', '}', ']', ')', ':', '='])
            .expect("a delimiter");
        let (word, rest) = self.text.split_at(end);
        self.text = rest;
        word
    }

    /// Parses a type and gives the fewest bytes that it takes.
    fn type_(&mut self) -> u32 {
        if self.accept("?{") {
            let tagged = matches!(self.ops.last(), Some(Op::Tag { .. }));
            let present = i8::from(tagged);
            let at = self.open(Op::Optional { present, end: 0 });
            self.fields();
            self.close(at, |end| Op::Optional { present, end });
            return 1;
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
                let at = self.open(Op::Tags { end: 0 });
                let min = self.type_().max(1);
                self.expect("]");
                self.close(at, |end| Op::Array {
                    compact,
                    nullable,
                    min,
                    end,
                });
                return if compact { 1 } else { 4 };
            }
        }
        let word = self.word();
        self.elementary(word)
    }

    fn elementary(&mut self, word: &str) -> u32 {
        let (name, nullable) = match word.strip_suffix('?') {
            Some(name) => (name, true),
            None => (word, false),
        };
        let (op, min) = match name {
            "bool" | "i8" => return self.fixed(1),
            "i16" | "u16" => return self.fixed(2),
            "i32" | "u32" => return self.fixed(4),
            "i64" | "f64" => return self.fixed(8),
            "uuid" => return self.fixed(16),
            "str" => (
                Op::Text {
                    compact: false,
                    nullable,
                },
                2,
            ),
            "cstr" => (
                Op::Text {
                    compact: true,
                    nullable,
                },
                1,
            ),
            "bytes" | "rec" => (
                Op::Bytes {
                    compact: false,
                    nullable,
                },
                4,
            ),
            "cbytes" | "crec" => (
                Op::Bytes {
                    compact: true,
                    nullable,
                },
                1,
            ),
            _ => panic!("schemas.tsv: unknown type {word}"),
        };
        self.ops.push(op);
        min
    }

    fn fixed(&mut self, len: u32) -> u32 {
        self.ops.push(Op::Fixed { len });
        len
    }

    /// The fields of a struct up to its closing brace.
    fn fields(&mut self) -> u32 {
        let mut min = 0;
        while !self.accept("}") {
            if self.accept("T(") {
                let at = self.open(Op::Tags { end: 0 });
                while !self.accept(")") {
                    let (tag, _) = tag(self.word());
                    self.expect("=");
                    self.word();
                    self.expect(":");
                    let field = self.open(Op::Tag { tag, end: 0 });
                    self.type_();
                    self.close(field, |end| Op::Tag { tag, end });
                    self.accept(",");
                }
                self.close(at, |end| Op::Tags { end });
                min += 1;
            } else {
                self.word();
                self.expect(":");
                min += self.type_();
                self.merge();
            }
            self.accept(",");
        }
        min
    }

    /// Joins the last two steps when both are fixed runs on the same level.
    fn merge(&mut self) {
        let ops = &mut self.ops;
        if let [.., Op::Fixed { len: first }, Op::Fixed { len: second }] = ops[self.barrier..] {
            ops.truncate(ops.len() - 2);
            ops.push(Op::Fixed {
                len: first + second,
            });
        }
    }

    fn open(&mut self, op: Op) -> usize {
        self.ops.push(op);
        self.ops.len() - 1
    }

    fn close(&mut self, at: usize, op: impl FnOnce(u16) -> Op) {
        self.barrier = self.ops.len();
        self.ops[at] = op(u16::try_from(self.barrier).expect("programs are short"));
    }
}
