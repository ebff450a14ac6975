//! JSON as Kafka's tools print it (Jackson): compact, floating point numbers in the form of `Double.toString`, control
//! characters without a short escape as `\u` with upper-case digits.

use std::io;

use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{CharEscape, Formatter, Serializer};

pub(super) fn text(value: &Value) -> String {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, Java);
    value
        .serialize(&mut serializer)
        .expect("a value goes into memory");
    String::from_utf8_lossy(&out).into_owned()
}

struct Java;

impl Formatter for Java {
    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04X}"),
            short => serde_json::ser::CompactFormatter.write_char_escape(writer, short),
        }
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(double(value).as_bytes())
    }
}

/// Plain digits from 0.001 up to ten millions, else with an exponent; always with a point. The digits are the fewest from
/// which the value can be read back, as in Java since 19: before it there were some more for some whole numbers from
/// 10^16 on.
fn double(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        let plain = value.to_string();
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    // Java has two digits at least, and takes the nearest of them: 4.9E-324, not 5.0E-324.
    let shortest = format!("{value:e}");
    let digits = match shortest.contains('.') {
        true => shortest,
        false => format!("{value:.1e}"),
    };
    digits.replace('e', "E")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_javas() {
        for (value, java) in [
            (0.0, "0.0"),
            (200.0, "200.0"),
            (0.25, "0.25"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12_345_678.5, "1.23456785E7"),
            (0.0001, "1.0E-4"),
            (-2e30, "-2.0E30"),
            (-0.0, "-0.0"),
            (0.000_999_9, "9.999E-4"),
            (1e23, "1.0E23"),
            (1.5e300, "1.5E300"),
            (f64::from_bits(1), "4.9E-324"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::MAX, "1.7976931348623157E308"),
        ] {
            assert_eq!(double(value), java);
        }
    }

    /// As `jackson-core` wrote the same characters.
    #[test]
    fn escapes_are_jacksons() {
        let value = Value::from("\0\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}\u{2028}");
        assert_eq!(
            text(&value),
            "\"\\u0000\\b\\t\\n\\u000B\\f\\r\\u001F\\\"\\\\/\u{7f}\u{2028}\""
        );
    }

    #[test]
    fn text_is_compact_and_in_order() {
        let value = serde_json::json!({"b": 1, "a": [1e7, null, "ä\"\n"]});
        assert_eq!(text(&value), r#"{"b":1,"a":[1.0E7,null,"ä\"\n"]}"#);
    }
}
