//! What a run came to: figures of the whole window and of each sample of it; as text, and as JSON under the names of
//! OpenMessaging Benchmark's results (io.openmessaging.benchmark.TestResult), with our own beside them.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::meter::Counts;
use super::process::Usage;
use super::workload::Workload;

/// The quantiles that are told, with the names that they have in OpenMessaging's results.
pub(super) const QUANTILES: [(&str, f64); 6] = [
    ("50pct", 0.5),
    ("75pct", 0.75),
    ("95pct", 0.95),
    ("99pct", 0.99),
    ("999pct", 0.999),
    ("9999pct", 0.9999),
];

/// A part of the window: a second, or what was asked for.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Since the window began, at the end of the sample.
    pub at: Duration,
    pub length: Duration,
    pub counts: Counts,
    /// Records that were produced and not yet consumed by every subscription.
    pub backlog: u64,
    pub produce: Histogram<u64>,
    pub end_to_end: Histogram<u64>,
    /// Of the broker, when its process is known: CPUs in use, and resident bytes.
    pub broker: Option<(f64, u64)>,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub workload: Workload,
    /// How long the window was in fact.
    pub window: Duration,
    /// Within the window.
    pub counts: Counts,
    /// From the start to the last answer, without the backlog.
    pub totals: Counts,
    pub errors: BTreeMap<String, u64>,
    /// Records that were due and not sent.
    pub unsent: u64,
    /// Records that the logs hold of the run at its end, backlog and all; no markers of transactions.
    pub logged: u64,
    /// Records of the backlog that was written first.
    pub backlog: u64,
    pub produce: Histogram<u64>,
    pub end_to_end: Histogram<u64>,
    /// Of the ends of transactions.
    pub transaction_ends: Histogram<u64>,
    pub samples: Vec<Sample>,
    pub broker: Option<Cost>,
    /// This program's own.
    pub client: Option<Cost>,
}

/// What the window cost a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub cpu: Duration,
    pub resident_bytes: u64,
    pub resident_bytes_max: u64,
}

impl Cost {
    pub fn between(before: Usage, after: Usage) -> Cost {
        Cost {
            cpu: after.cpu_since(&before),
            resident_bytes: after.resident_bytes,
            resident_bytes_max: after.resident_bytes_max,
        }
    }
}

impl Outcome {
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.window.as_secs_f64().max(1e-9)
    }

    /// Records a second, acknowledged.
    pub fn publish_rate(&self) -> f64 {
        self.per_second(self.counts.records)
    }

    pub fn consume_rate(&self) -> f64 {
        self.per_second(self.counts.consumed)
    }

    /// Bytes of values that went in and out within the window.
    pub fn payload_bytes(&self) -> u64 {
        (self.counts.records + self.counts.consumed) * self.workload.message_size as u64
    }

    /// CPU seconds for a GB of values.
    pub fn cpu_per_gb(&self, cost: &Cost) -> f64 {
        cost.cpu.as_secs_f64() / (self.payload_bytes().max(1) as f64 / 1e9)
    }

    /// CPU microseconds for a request.
    pub fn cpu_per_request(&self, cost: &Cost) -> f64 {
        cost.cpu.as_secs_f64() * 1e6 / self.counts.requests().max(1) as f64
    }

    fn megabytes(&self, rate: f64) -> f64 {
        rate * self.workload.message_size as f64 / 1e6
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut lines = vec![format!(
            "{}: {:.1} s",
            self.workload.name,
            self.window.as_secs_f64()
        )];
        let mut tell = |name: &str, value: String| lines.push(format!("  {name:<12} {value}"));
        if self.counts.records > 0 || self.counts.failed > 0 {
            let rate = self.publish_rate();
            let requests = self.per_second(self.counts.produce_requests);
            let megabytes = self.megabytes(rate);
            tell(
                "produced",
                format!("{rate:.0} records/s, {megabytes:.1} MB/s, {requests:.0} requests/s"),
            );
            tell("latency", quantiles_text(&self.produce));
        }
        if self.counts.transactions > 0 {
            let rate = self.per_second(self.counts.transactions);
            tell("transactions", format!("{rate:.0}/s"));
            tell("commit", quantiles_text(&self.transaction_ends));
        }
        if self.workload.has_consumers() {
            let rate = self.consume_rate();
            let requests = self.per_second(self.counts.fetch_requests);
            let megabytes = self.megabytes(rate);
            tell(
                "consumed",
                format!("{rate:.0} records/s, {megabytes:.1} MB/s, {requests:.0} requests/s"),
            );
        }
        if !self.end_to_end.is_empty() {
            tell("end to end", quantiles_text(&self.end_to_end));
        }
        for (name, cost) in [("broker", self.broker), ("this client", self.client)] {
            if let Some(cost) = cost {
                tell(name, self.cost_text(&cost));
            }
        }
        if self.unsent > 0 {
            tell(
                "not sent",
                format!(
                    "{} records that were due: the rate is too high",
                    self.unsent
                ),
            );
        }
        for (error, count) in &self.errors {
            tell("failed", format!("{count} records: {error}"));
        }
        lines.join("\n")
    }

    fn cost_text(&self, cost: &Cost) -> String {
        format!(
            "{:.2} CPUs, {:.2} s/GB, {:.1} µs/request, {:.0} MB resident (at most {:.0})",
            cost.cpu.as_secs_f64() / self.window.as_secs_f64().max(1e-9),
            self.cpu_per_gb(cost),
            self.cpu_per_request(cost),
            cost.resident_bytes as f64 / 1e6,
            cost.resident_bytes_max as f64 / 1e6,
        )
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let mut json = Map::new();
        let workload = &self.workload;
        let consumers = workload.subscriptions_per_topic * workload.consumers_per_subscription;
        let mut set = |name: &str, value: Value| drop(json.insert(name.to_owned(), value));
        set("workload", json!(workload.name));
        set("driver", json!("dohle bench"));
        set("messageSize", json!(workload.message_size));
        set("topics", json!(workload.topics));
        set("partitions", json!(workload.partitions_per_topic));
        set("producersPerTopic", json!(workload.producers_per_topic));
        set("consumersPerTopic", json!(consumers));
        let rates = |count: fn(&Counts) -> u64| {
            let rate = |sample: &Sample| {
                count(&sample.counts) as f64 / sample.length.as_secs_f64().max(1e-9)
            };
            json!(self.samples.iter().map(rate).collect::<Vec<_>>())
        };
        set("publishRate", rates(|counts| counts.records));
        set("publishErrorRate", rates(|counts| counts.failed));
        set("consumeRate", rates(|counts| counts.consumed));
        let backlog: Vec<u64> = self.samples.iter().map(|sample| sample.backlog).collect();
        set("backlog", json!(backlog));
        let produce = |sample: &Sample| sample.produce.clone();
        let end_to_end = |sample: &Sample| sample.end_to_end.clone();
        let produce: Vec<_> = self.samples.iter().map(produce).collect();
        let end_to_end: Vec<_> = self.samples.iter().map(end_to_end).collect();
        latencies_json(&mut json, "publishLatency", &produce, &self.produce);
        latencies_json(&mut json, "endToEndLatency", &end_to_end, &self.end_to_end);
        json.insert("dohle".to_owned(), self.own_json());
        Value::Object(json)
    }

    /// What OpenMessaging's results have no name for.
    fn own_json(&self) -> Value {
        let cost = |cost: Option<Cost>| {
            cost.map(|cost| {
                json!({
                    "cpuSeconds": cost.cpu.as_secs_f64(),
                    "cpuSecondsPerGB": self.cpu_per_gb(&cost),
                    "cpuMicrosPerRequest": self.cpu_per_request(&cost),
                    "residentBytes": cost.resident_bytes,
                    "residentBytesMax": cost.resident_bytes_max,
                })
            })
        };
        json!({
            "seconds": self.window.as_secs_f64(),
            "publishRate": self.publish_rate(),
            "consumeRate": self.consume_rate(),
            "transactionRate": self.per_second(self.counts.transactions),
            "commitLatency50pct": milliseconds(&self.transaction_ends, 0.5),
            "commitLatency99pct": milliseconds(&self.transaction_ends, 0.99),
            "requestRate": self.per_second(self.counts.requests()),
            "records": self.totals.records,
            "consumed": self.totals.consumed,
            "failed": self.totals.failed,
            "backlogRecords": self.backlog,
            "loggedRecords": self.logged,
            "unsentRecords": self.unsent,
            "errors": self.errors,
            "broker": cost(self.broker),
            "client": cost(self.client),
        })
    }
}

/// The series of a kind of latency, and its aggregate, in milliseconds.
fn latencies_json(
    json: &mut Map<String, Value>,
    name: &str,
    samples: &[Histogram<u64>],
    whole: &Histogram<u64>,
) {
    let mut aggregate = name.to_owned();
    aggregate[..1].make_ascii_uppercase();
    let aggregate = format!("aggregated{aggregate}");
    let mut set = |what: &str, of: &dyn Fn(&Histogram<u64>) -> f64| {
        let series: Vec<f64> = samples.iter().map(of).collect();
        json.insert(format!("{name}{what}"), json!(series));
        json.insert(format!("{aggregate}{what}"), json!(of(whole)));
    };
    set("Avg", &|histogram| histogram.mean() / 1e6);
    for (what, quantile) in QUANTILES {
        set(what, &|histogram| milliseconds(histogram, quantile));
    }
    set("Max", &|histogram| histogram.max() as f64 / 1e6);
    let quantiles: Map<String, Value> = curve(whole)
        .into_iter()
        .map(|(quantile, value)| (format!("{:.5}", quantile * 100.0), json!(value)))
        .collect();
    json.insert(format!("{aggregate}Quantiles"), Value::Object(quantiles));
}

/// A quantile in milliseconds; 0 when nothing was recorded.
pub(super) fn milliseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile).min(histogram.max()) as f64 / 1e6
}

/// Milliseconds by quantile, finer towards the tail.
pub(super) fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let values = histogram.iter_quantiles(5);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for value in values {
        let quantile = value.quantile_iterated_to();
        points.push((
            quantile,
            value.value_iterated_to().min(histogram.max()) as f64 / 1e6,
        ));
    }
    points
}

fn quantiles_text(histogram: &Histogram<u64>) -> String {
    let mut text = String::new();
    for (name, quantile) in [
        ("p50", 0.5),
        ("p99", 0.99),
        ("p99.9", 0.999),
        ("p99.99", 0.9999),
    ] {
        let value = milliseconds(histogram, quantile);
        text.push_str(&format!("{name} {value:.3}, "));
    }
    format!("{text}max {:.3} ms", histogram.max() as f64 / 1e6)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::meter::histogram;
    use super::*;

    /// Two seconds of a run that never was.
    pub(crate) fn example() -> Outcome {
        let counts = |times: u64| Counts {
            produce_requests: 10 * times,
            records: 100 * times,
            failed: times,
            transactions: 5 * times,
            markers: 0,
            fetch_requests: 10 * times,
            consumed: 90 * times,
            fetched_bytes: 110_000 * times,
        };
        let mut produce = histogram();
        let mut end_to_end = histogram();
        for number in 1..=1000 {
            produce.record(number * 1_000_000).unwrap();
            end_to_end.record(number * 2_000_000).unwrap();
        }
        let sample = |second| Sample {
            at: Duration::from_secs(second),
            length: Duration::from_secs(1),
            counts: counts(1),
            backlog: 10 * second,
            produce: produce.clone(),
            end_to_end: end_to_end.clone(),
            broker: Some((0.5, 20_000_000)),
        };
        Outcome {
            workload: Workload {
                name: "a <name>".to_owned(),
                message_size: 1000,
                ..Workload::default()
            },
            window: Duration::from_secs(2),
            counts: counts(2),
            totals: counts(3),
            errors: BTreeMap::from([("NOT_LEADER_OR_FOLLOWER".to_owned(), 2)]),
            unsent: 7,
            logged: 300,
            backlog: 0,
            samples: vec![sample(1), sample(2)],
            produce: produce.clone(),
            end_to_end: end_to_end.clone(),
            transaction_ends: produce.clone(),
            broker: Some(Cost {
                cpu: Duration::from_millis(38),
                resident_bytes: 20_000_000,
                resident_bytes_max: 21_000_000,
            }),
            client: None,
        }
    }

    #[test]
    fn the_text_has_rates_latencies_and_costs() {
        let text = example().text();
        let expected = "a <name>: 2.0 s
  produced     100 records/s, 0.1 MB/s, 10 requests/s
  latency      p50 500.171, p99 990.380, p99.9 999.293, p99.99 1000.000, max 1000.341 ms
  transactions 5/s
  commit       p50 500.171, p99 990.380, p99.9 999.293, p99.99 1000.000, max 1000.341 ms
  consumed     90 records/s, 0.1 MB/s, 10 requests/s
  end to end   p50 1000.341, p99 1980.760, p99.9 1998.586, p99.99 2000.683, max 2000.683 ms
  broker       0.02 CPUs, 100.00 s/GB, 950.0 µs/request, 20 MB resident (at most 21)
  not sent     7 records that were due: the rate is too high
  failed       2 records: NOT_LEADER_OR_FOLLOWER";
        let without_latencies = |text: &str| {
            let lines = text
                .lines()
                .map(|line| line.split(" p50").next().unwrap().to_owned());
            lines.collect::<Vec<_>>()
        };
        assert_eq!(without_latencies(&text), without_latencies(expected));
        assert!(text.contains("p50 500."), "{text}");
        assert!(text.contains("p50 1000."), "{text}");
    }

    #[test]
    fn the_json_has_the_names_of_openmessaging() {
        let json = example().json();
        assert_eq!(json["workload"], "a <name>");
        assert_eq!(json["publishRate"], json!([100.0, 100.0]));
        assert_eq!(json["backlog"], json!([10, 20]));
        assert_eq!(json["consumersPerTopic"], 1);
        let near = |value: &Value, expected: f64| {
            let value = value.as_f64().unwrap();
            assert!((value / expected - 1.0).abs() < 0.002, "{value} {expected}");
        };
        near(&json["aggregatedPublishLatency99pct"], 990.0);
        near(&json["aggregatedEndToEndLatencyMax"], 2000.0);
        near(&json["publishLatency50pct"][1], 500.0);
        near(
            &json["aggregatedPublishLatencyQuantiles"]["50.00000"],
            500.0,
        );
        assert_eq!(json["dohle"]["loggedRecords"], 300);
        assert_eq!(json["dohle"]["transactionRate"], 5.0);
        near(&json["dohle"]["commitLatency99pct"], 990.0);
        near(&json["dohle"]["broker"]["cpuMicrosPerRequest"], 950.0);
        assert_eq!(json["dohle"]["client"], Value::Null);
    }

    #[test]
    fn nothing_measured_is_told_as_zero() {
        let empty = histogram();
        assert_eq!(milliseconds(&empty, 0.99), 0.0);
        assert!(curve(&empty).is_empty());
    }
}
