//! What Kafka answered to requests, as `record/GroupAsk.java` writes it down: a line each of API, version and the bytes of
//! both bodies, in hexadecimal digits.

/// One request and its answer.
pub struct Exchange<'a> {
    pub api: &'a str,
    pub key: i16,
    pub version: i16,
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    /// As it stands in the file.
    pub line: &'a str,
}

/// The exchanges of a file, in order.
pub fn exchanges(file: &str) -> impl Iterator<Item = Exchange<'_>> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let [api, version, request, response]: [&str; 4] = line
            .split('\t')
            .collect::<Vec<_>>()
            .try_into()
            .expect("four fields");
        Exchange {
            api,
            key: key(api),
            version: version.parse().expect("a version"),
            request: unhex(request),
            response: unhex(response),
            line,
        }
    })
}

/// Bytes of hexadecimal digits.
pub fn unhex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn key(api: &str) -> i16 {
    match api {
        "OffsetCommit" => 8,
        "OffsetFetch" => 9,
        "JoinGroup" => 11,
        "Heartbeat" => 12,
        "LeaveGroup" => 13,
        "SyncGroup" => 14,
        "DescribeGroups" => 15,
        "ListGroups" => 16,
        "InitProducerId" => 22,
        "AddPartitionsToTxn" => 24,
        "AddOffsetsToTxn" => 25,
        "EndTxn" => 26,
        "WriteTxnMarkers" => 27,
        "TxnOffsetCommit" => 28,
        "DeleteGroups" => 42,
        "OffsetDelete" => 47,
        "DescribeProducers" => 61,
        "DescribeTransactions" => 65,
        "ListTransactions" => 66,
        other => panic!("no key of {other}"),
    }
}
