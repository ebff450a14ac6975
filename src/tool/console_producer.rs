//! `dohle console-producer`: sends the lines of standard input, with the flags of `kafka-console-producer.sh`
//! (org.apache.kafka.tools.ConsoleProducer, LineMessageReader).

use std::collections::BTreeMap;
use std::io::BufRead;

use clap::Args;
use tokio::sync::mpsc;

use super::client::{Client, Options, Outgoing, OutgoingHeader, Producer};
use super::properties::{self, Properties};
use super::{Connect, Failure};
use crate::clock::Clock;
use crate::record::Compression;
use crate::record::compress::Codec;

/// Lines read ahead of what has been sent.
const LINES_AHEAD: usize = 4096;

#[derive(Args, Debug)]
pub struct ConsoleProducer {
    #[command(flatten)]
    connect: Connect,
    /// The topic to produce to
    #[arg(long)]
    topic: String,
    /// A producer setting; acks and compression.type are acted on
    #[arg(
        long = "command-property",
        alias = "producer-property",
        value_name = "NAME=VALUE"
    )]
    command_property: Vec<String>,
    /// A setting of the reader: parse.key, key.separator, parse.headers, headers.delimiter, headers.separator,
    /// headers.key.separator, null.marker, ignore.error
    #[arg(
        long = "reader-property",
        alias = "property",
        value_name = "NAME=VALUE"
    )]
    reader_property: Vec<String>,
    /// A file of reader settings
    #[arg(long, value_name = "FILE")]
    reader_config: Option<std::path::PathBuf>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", num_args = 0..=1, default_missing_value = "gzip")]
    compression_codec: Option<String>,
    /// -1 or all, 0, 1
    #[arg(long, value_name = "ACKS")]
    request_required_acks: Option<String>,
    /// Milliseconds that the broker may wait for its replicas
    #[arg(long, value_name = "MS", default_value_t = 1500)]
    request_timeout_ms: i32,
    /// Bytes of a batch
    #[arg(
        long = "batch-size",
        alias = "max-partition-memory-bytes",
        value_name = "BYTES",
        default_value_t = 16384
    )]
    batch_size: usize,
    /// Send each line by itself and wait for it
    #[arg(long)]
    sync: bool,
    /// Accepted for compatibility: lines are sent as soon as they are read
    #[arg(long, value_name = "MS", hide = true)]
    timeout: Option<i64>,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    max_block_ms: Option<i64>,
    /// Accepted for compatibility: memory is bounded by the lines read ahead
    #[arg(long, hide = true)]
    max_memory_bytes: Option<i64>,
    /// Accepted for compatibility: what may pass is tried again for half a minute
    #[arg(long, hide = true)]
    message_send_max_retries: Option<i32>,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    metadata_expiry_ms: Option<i64>,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    retry_backoff_ms: Option<i64>,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    socket_buffer_size: Option<i32>,
}

impl ConsoleProducer {
    pub async fn run(&self) -> Result<(), Failure> {
        let client = self.connect.client("console-producer")?;
        let format = LineFormat::of(&properties::merged(
            self.reader_config.as_deref(),
            &self.reader_property,
        )?)?;
        let options = self.options()?;
        let (lines, read) = mpsc::channel(LINES_AHEAD);
        let reader = std::thread::spawn(move || read_lines(&format, &lines));
        self.send(client, options, read).await?;
        reader.join().expect("the reader does not panic")
    }

    fn options(&self) -> Result<Options, Failure> {
        let given = properties::merged(
            self.connect.command_config.as_deref(),
            &self.command_property,
        )?;
        let acks = self
            .request_required_acks
            .as_deref()
            .or_else(|| given.get("acks").map(String::as_str));
        let acks = match acks.unwrap_or("-1") {
            "all" | "-1" => -1,
            "1" => 1,
            "0" => 0,
            other => {
                return Err(Failure::new(format!(
                    "acks is one of all, -1, 0, 1 and not '{other}'"
                )));
            }
        };
        let codec = self
            .compression_codec
            .as_deref()
            .or_else(|| given.get("compression.type").map(String::as_str));
        let codec = match codec.unwrap_or("none") {
            "none" => Codec::None,
            "gzip" => Codec::of(Compression::Gzip),
            "snappy" => Codec::of(Compression::Snappy),
            "lz4" => Codec::of(Compression::Lz4),
            "zstd" => Codec::of(Compression::Zstd),
            other => {
                return Err(Failure::new(format!(
                    "'{other}' is none of none, gzip, snappy, lz4, zstd"
                )));
            }
        };
        Ok(Options {
            acks,
            codec,
            timeout_ms: self.request_timeout_ms,
        })
    }

    /// Sends what has been read, as many lines at once as there are and a batch holds.
    async fn send(
        &self,
        client: Client,
        options: Options,
        mut read: mpsc::Receiver<Outgoing>,
    ) -> Result<(), Failure> {
        let mut producer = Producer::new(client, self.topic.clone(), options, Clock::system());
        while let Some(first) = read.recv().await {
            let mut bytes = first.size();
            let mut batch = vec![first];
            while !self.sync && bytes < self.batch_size {
                let Ok(next) = read.try_recv() else { break };
                bytes += next.size();
                batch.push(next);
            }
            producer.send(batch).await?;
        }
        Ok(())
    }
}

/// Reads standard input to its end; stops early when nobody takes the records any more.
fn read_lines(format: &LineFormat, records: &mpsc::Sender<Outgoing>) -> Result<(), Failure> {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let bytes = input
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::new(error.to_string()))?;
        if bytes == 0 {
            break;
        }
        let end = line.strip_suffix(b"\n").unwrap_or(&line);
        let end = end.strip_suffix(b"\r").unwrap_or(end);
        if records.blocking_send(format.parse(end, number)?).is_err() {
            break;
        }
    }
    Ok(())
}

/// What the parts of a line are. (LineMessageReader)
#[derive(Debug)]
struct LineFormat {
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    null_marker: Option<String>,
    ignore_error: bool,
}

impl LineFormat {
    fn of(properties: &Properties) -> Result<LineFormat, Failure> {
        let text = |name: &str, default: &str| {
            properties
                .get(name)
                .map_or(default, String::as_str)
                .to_owned()
        };
        let flag = |name: &str| {
            properties
                .get(name)
                .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
        };
        let format = LineFormat {
            parse_key: flag("parse.key"),
            key_separator: text("key.separator", "\t"),
            parse_headers: flag("parse.headers"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            null_marker: properties.get("null.marker").cloned(),
            ignore_error: flag("ignore.error"),
        };
        let mut names = BTreeMap::new();
        let separators = [
            ("headers.delimiter", &format.headers_delimiter),
            ("headers.separator", &format.headers_separator),
            ("headers.key.separator", &format.headers_key_separator),
        ];
        for (name, separator) in separators {
            if let Some(other) = names.insert(separator, name) {
                return Err(Failure::new(format!("{other} and {name} may not be equal")));
            }
        }
        Ok(format)
    }

    fn parse(&self, line: &[u8], number: usize) -> Result<Outgoing, Failure> {
        let mut rest = line;
        let mut record = Outgoing::default();
        if self.parse_headers {
            let headers = self.take(
                &mut rest,
                &self.headers_delimiter,
                "headers delimiter",
                line,
                number,
            )?;
            if let Some(headers) = headers.filter(|headers| !self.is_null(headers)) {
                record.headers = self.headers(headers, number)?;
            }
        }
        if self.parse_key {
            let key = self.take(
                &mut rest,
                &self.key_separator,
                "key separator",
                line,
                number,
            )?;
            record.key = key.filter(|key| !self.is_null(key)).map(<[u8]>::to_vec);
        }
        record.value = Some(rest)
            .filter(|value| !self.is_null(value))
            .map(<[u8]>::to_vec);
        Ok(record)
    }

    /// Cuts the part before a separator off; `None` where there is none and that is ignored.
    fn take<'a>(
        &self,
        rest: &mut &'a [u8],
        separator: &str,
        what: &str,
        line: &[u8],
        number: usize,
    ) -> Result<Option<&'a [u8]>, Failure> {
        match find(rest, separator.as_bytes()) {
            Some(at) => {
                let part = &rest[..at];
                *rest = &rest[at + separator.len()..];
                Ok(Some(part))
            }
            None if self.ignore_error => Ok(None),
            None => {
                let line = String::from_utf8_lossy(line);
                Err(Failure::new(format!(
                    "No {what} found on line number {number}: '{line}'"
                )))
            }
        }
    }

    fn headers(&self, headers: &[u8], number: usize) -> Result<Vec<OutgoingHeader>, Failure> {
        let mut parsed = Vec::new();
        let mut rest = Some(headers);
        while let Some(part) = rest {
            let (header, after) = match find(part, self.headers_separator.as_bytes()) {
                Some(at) => (
                    &part[..at],
                    Some(&part[at + self.headers_separator.len()..]),
                ),
                None => (part, None),
            };
            rest = after;
            match find(header, self.headers_key_separator.as_bytes()) {
                Some(at) => {
                    let value = &header[at + self.headers_key_separator.len()..];
                    let value = Some(value)
                        .filter(|value| !self.is_null(value))
                        .map(<[u8]>::to_vec);
                    parsed.push((header[..at].to_vec(), value));
                }
                None if self.ignore_error => parsed.push((header.to_vec(), None)),
                None => {
                    let header = String::from_utf8_lossy(header);
                    return Err(Failure::new(format!(
                        "No header key separator found in pair '{header}' on line number {number}"
                    )));
                }
            }
        }
        Ok(parsed)
    }

    fn is_null(&self, part: &[u8]) -> bool {
        self.null_marker
            .as_ref()
            .is_some_and(|marker| marker.as_bytes() == part)
    }
}

fn find(bytes: &[u8], separator: &[u8]) -> Option<usize> {
    bytes
        .windows(separator.len().max(1))
        .position(|window| window == separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(properties: &[(&str, &str)]) -> LineFormat {
        LineFormat::of(
            &properties
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
        )
        .unwrap()
    }

    #[test]
    fn a_line_is_the_value() {
        let record = format(&[]).parse(b"k\tv", 1).unwrap();
        assert_eq!((record.key, record.value), (None, Some(b"k\tv".to_vec())));
    }

    #[test]
    fn headers_key_and_value_are_cut() {
        let format = format(&[
            ("parse.key", "true"),
            ("parse.headers", "true"),
            ("null.marker", "NULL"),
        ]);
        let record = format.parse(b"h1:one,h2:NULL\tkey\tNULL", 1).unwrap();
        assert_eq!(
            record.headers,
            [
                (b"h1".to_vec(), Some(b"one".to_vec())),
                (b"h2".to_vec(), None)
            ]
        );
        assert_eq!((record.key, record.value), (Some(b"key".to_vec()), None));
    }

    #[test]
    fn a_missing_separator_is_an_error_unless_ignored() {
        let strict = format(&[("parse.key", "true")]);
        let failure = strict.parse(b"plain", 7).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "No key separator found on line number 7: 'plain'"
        );
        let record = format(&[("parse.key", "true"), ("ignore.error", "true")])
            .parse(b"plain", 7)
            .unwrap();
        assert_eq!((record.key, record.value), (None, Some(b"plain".to_vec())));
    }

    #[test]
    fn equal_separators_are_refused() {
        let properties = [("headers.separator".to_owned(), ":".to_owned())]
            .into_iter()
            .collect();
        assert!(LineFormat::of(&properties).is_err());
    }
}
