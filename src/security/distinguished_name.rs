//! The subject of a certificate as text: RFC 2253 as Java writes it, since that is what ACLs and mapping rules are written
//! for. (javax.security.auth.x500.X500Principal.getName; sun.security.x509.AVA.toRFC2253String)

use std::fmt::Write as _;

use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The attributes that RFC 2253 has a word for; others go by their numbers.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// Tags of the kinds of text that are written as text: UTF8, Printable, T61, IA5, General, Universal, BMP.
const TEXTS: [u32; 7] = [12, 19, 20, 22, 27, 28, 30];

/// `None` for what is no certificate.
pub(super) fn of_subject(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(of_name(certificate.subject()))
}

/// The last comes first.
fn of_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let value = attribute.attr_value();
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid);
    match keyword {
        Some((_, keyword)) if TEXTS.contains(&value.tag().0) => {
            format!(
                "{keyword}={}",
                escaped(&String::from_utf8_lossy(value.data))
            )
        }
        Some((_, keyword)) => format!("{keyword}=#{}", hex(value)),
        None => format!("{oid}=#{}", hex(value)),
    }
}

fn escaped(text: &str) -> String {
    let is_blank = |char: char| matches!(char, ' ' | '\r');
    let chars: Vec<char> = text.chars().collect();
    let lead = chars.iter().take_while(|char| is_blank(**char)).count();
    let trail = chars.len()
        - chars
            .iter()
            .rev()
            .take_while(|char| is_blank(**char))
            .count();
    let mut escaped = String::with_capacity(text.len());
    for (at, char) in chars.into_iter().enumerate() {
        match char {
            '\0' => escaped.push_str("\\00"),
            _ if ",=+<>#;\"\\".contains(char) || at < lead || at >= trail => {
                escaped.push('\\');
                escaped.push(char);
            }
            _ => escaped.push(char),
        }
    }
    escaped
}

/// The value with its tag and length.
fn hex(value: &Any<'_>) -> String {
    let len = value.data.len();
    let len_bytes: Vec<u8> = match len {
        0..128 => vec![len as u8],
        128..256 => vec![0x81, len as u8],
        _ => vec![0x82, (len >> 8) as u8, len as u8],
    };
    let mut hex = String::new();
    let header = &value.header;
    let (class, has_parts) = (header.class() as u8, u8::from(header.constructed()));
    let tag = [(class << 6) | (has_parts << 5) | header.tag().0 as u8];
    for byte in tag.iter().chain(&len_bytes).chain(value.data) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer as _;

    use super::*;

    /// What Java 17 makes of names: protocol-tests/record/DistinguishedNames.java.
    const NAMES: &str = include_str!("testdata/distinguished_names.tsv");

    #[test]
    fn names_are_written_as_java_writes_them() {
        assert!(NAMES.lines().count() > 8);
        for line in NAMES.lines() {
            let (der, expected) = line.split_once('\t').unwrap();
            let bytes: Vec<u8> = (0..der.len() / 2)
                .map(|at| u8::from_str_radix(&der[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            let (_, name) = X509Name::from_der(&bytes).unwrap();
            assert_eq!(of_name(&name), expected);
        }
    }

    /// AVA.toRFC2253String: what is no text is written as it was encoded.
    #[test]
    fn a_value_with_parts_is_written_as_it_is() {
        let name = b"\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x30\x03\x02\x01\x01";
        let (_, name) = X509Name::from_der(name).unwrap();
        assert_eq!(of_name(&name), "CN=#3003020101");
    }
}
