//! Certificates and keys in PEM, as Kafka reads them from settings and files: text around the blocks, and blanks in place of
//! line ends, do not matter. (DefaultSslEngineFactory.PemParser)

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

/// One block between `-----BEGIN label-----` and `-----END label-----`.
pub(super) struct Block {
    pub(super) label: String,
    pub(super) der: Vec<u8>,
}

/// The blocks of a text, in order; `None` where one is not base64.
pub(super) fn blocks(text: &str) -> Option<Vec<Block>> {
    static BLOCK: OnceLock<Regex> = OnceLock::new();
    let block = BLOCK.get_or_init(|| {
        // Attributes such as `Proc-Type: ...` may stand before the base64.
        let pattern = r"-+BEGIN\s+([^-\r\n]*?)\s*-+\s+(?:\s*[^\r\n]*:[^\r\n]*[\r\n]+)*([A-Za-z0-9+/=\s]*)-+END";
        Regex::new(pattern).expect("the pattern is valid")
    });
    let blocks = block.captures_iter(text).map(|found| {
        let base64: String = found[2].split_ascii_whitespace().collect();
        Some(Block {
            label: found[1].to_owned(),
            der: STANDARD.decode(base64).ok()?,
        })
    });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text_and_on_one_line() {
        let text = "Bag Attributes\n    friendlyName: a\n-----BEGIN CERTIFICATE-----\nAQID\nBA==\n-----END CERTIFICATE-----\n\
                    -----BEGIN RSA PRIVATE KEY----- AQI= -----END RSA PRIVATE KEY-----";
        let blocks = blocks(text).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].label, "CERTIFICATE");
        assert_eq!(blocks[0].der, [1, 2, 3, 4]);
        assert_eq!(blocks[1].label, "RSA PRIVATE KEY");
        assert_eq!(blocks[1].der, [1, 2]);
    }

    #[test]
    fn what_is_not_base64_is_told() {
        assert!(blocks("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----").is_none());
        assert!(blocks("").unwrap().is_empty());
    }
}
