//! A run as one HTML page: its figures and its plots, as SVG within the page; nothing is loaded from elsewhere and nothing
//! runs in it.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::outcome::{Outcome, QUANTILES, Sample, curve, milliseconds};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
/// Room for the numbers at the axes.
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 30.0;
const TOP: f64 = 16.0;
const COLOURS: [&str; 4] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd"];
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1360px;margin:2em auto;padding:0 1em;color:#222}\
h1{font-size:1.5em}h2{font-size:1.1em;margin:1.5em 0 .3em}table{border-collapse:collapse}\
td,th{padding:.2em .9em;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}\
.plots{display:flex;flex-wrap:wrap;gap:1em}svg text{font:11px system-ui,sans-serif;fill:#555}";

/// A line of a plot.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

struct Plot<'a> {
    title: &'a str,
    /// What the ticks of the x axis are, by their place on it.
    ticks: Vec<(f64, String)>,
    lines: Vec<Line>,
}

/// The page.
pub(super) fn html(outcome: &Outcome) -> String {
    let name = escape(&outcome.workload.name);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title><style>{STYLE}</style>\n\
         <h1>{name}</h1>\n<pre>{}</pre>\n",
        escape(&outcome.text())
    );
    page.push_str(&latency_table(outcome));
    page.push_str("<h2>Workload</h2>\n<table>\n");
    for (name, value) in settings(outcome) {
        let _ = writeln!(page, "<tr><td>{name}</td><td>{}</td></tr>", escape(&value));
    }
    page.push_str("</table>\n<h2>Over time</h2>\n<div class=\"plots\">\n");
    for plot in over_time(outcome) {
        page.push_str(&svg(&plot));
    }
    page.push_str("</div>\n<h2>Latency by quantile</h2>\n<div class=\"plots\">\n");
    page.push_str(&svg(&by_quantile(outcome)));
    page.push_str("</div>\n</html>\n");
    page
}

fn latency_table(outcome: &Outcome) -> String {
    let mut table = String::from("<h2>Latency in ms</h2>\n<table>\n<tr><th></th><th>mean</th>");
    for (_, quantile) in QUANTILES {
        let _ = write!(table, "<th>p{}</th>", (quantile * 1e6).round() / 1e4);
    }
    table.push_str("<th>max</th><th>records</th></tr>\n");
    for (name, histogram) in kinds(outcome) {
        let _ = write!(
            table,
            "<tr><td>{name}</td><td>{:.3}</td>",
            histogram.mean() / 1e6
        );
        for (_, quantile) in QUANTILES {
            let _ = write!(table, "<td>{:.3}</td>", milliseconds(histogram, quantile));
        }
        let (max, count) = (histogram.max() as f64 / 1e6, histogram.len());
        let _ = writeln!(table, "<td>{max:.3}</td><td>{count}</td></tr>");
    }
    table.push_str("</table>\n");
    table
}

/// The kinds of latency that were measured.
fn kinds(outcome: &Outcome) -> impl Iterator<Item = (&'static str, &Histogram<u64>)> {
    let all = [
        ("produce", &outcome.produce),
        ("end to end", &outcome.end_to_end),
        ("commit", &outcome.transaction_ends),
    ];
    all.into_iter()
        .filter(|(_, histogram)| !histogram.is_empty())
}

fn settings(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let workload = &outcome.workload;
    let rate = match workload.producer_rate {
        0.0 => "as fast as answered".to_owned(),
        rate => format!("{rate} records/s"),
    };
    vec![
        (
            "topics × partitions",
            format!("{} × {}", workload.topics, workload.partitions_per_topic),
        ),
        ("message size", format!("{} bytes", workload.message_size)),
        ("keys", format!("{:?}", workload.key_distributor)),
        (
            "producers per topic",
            workload.producers_per_topic.to_string(),
        ),
        ("rate", rate),
        (
            "records in a full batch",
            workload.records_per_batch().to_string(),
        ),
        ("linger", format!("{:?}", workload.linger)),
        ("acks", workload.acks.to_string()),
        ("compression", format!("{:?}", workload.codec)),
        ("idempotence", workload.idempotent.to_string()),
        ("requests in flight", workload.max_in_flight.to_string()),
        (
            "subscriptions × consumers",
            format!(
                "{} × {}",
                workload.subscriptions_per_topic, workload.consumers_per_subscription
            ),
        ),
        ("consumer backlog", format!("{} records", outcome.backlog)),
        ("warm-up", format!("{:?}", workload.warm_up)),
    ]
}

fn over_time(outcome: &Outcome) -> Vec<Plot<'static>> {
    let samples = &outcome.samples;
    let end = samples.last().map_or(1.0, |sample| sample.at.as_secs_f64());
    let ticks: Vec<_> = nice_ticks(end)
        .into_iter()
        .map(|at| (at, format!("{at} s")))
        .collect();
    let line = |name, of: &dyn Fn(&Sample) -> f64| Line {
        name,
        points: samples
            .iter()
            .map(|sample| (sample.at.as_secs_f64(), of(sample)))
            .collect(),
    };
    let rate = |count: u64, sample: &Sample| count as f64 / sample.length.as_secs_f64().max(1e-9);
    let mut plots = vec![(
        "records a second",
        vec![
            line("produced", &|sample| rate(sample.counts.records, sample)),
            line("consumed", &|sample| rate(sample.counts.consumed, sample)),
        ],
    )];
    let latency = |of: fn(&Sample) -> &Histogram<u64>| {
        let quantile = |name, quantile| line(name, &|sample| milliseconds(of(sample), quantile));
        vec![
            quantile("p50", 0.5),
            quantile("p99", 0.99),
            quantile("p99.9", 0.999),
        ]
    };
    if !outcome.produce.is_empty() {
        plots.push(("produce latency, ms", latency(|sample| &sample.produce)));
    }
    if !outcome.end_to_end.is_empty() {
        plots.push((
            "end-to-end latency, ms",
            latency(|sample| &sample.end_to_end),
        ));
    }
    if outcome.workload.has_consumers() {
        let backlog = line("backlog", &|sample| sample.backlog as f64);
        plots.push(("records not yet consumed", vec![backlog]));
    }
    if outcome.broker.is_some() {
        let broker = |sample: &Sample| sample.broker.unwrap_or_default();
        let cpu = line("broker", &|sample| broker(sample).0);
        plots.push(("CPUs in use", vec![cpu]));
        let memory = line("broker", &|sample| broker(sample).1 as f64 / 1e6);
        plots.push(("resident memory, MB", vec![memory]));
    }
    let plot = |(title, lines)| Plot {
        title,
        ticks: ticks.clone(),
        lines,
    };
    plots.into_iter().map(plot).collect()
}

/// The tail at a scale on which each nine has the same width.
fn by_quantile(outcome: &Outcome) -> Plot<'static> {
    let place = |quantile: f64| -(1.0 - quantile).max(1e-6).log10();
    let lines = kinds(outcome).map(|(name, histogram)| Line {
        name,
        points: curve(histogram)
            .into_iter()
            .filter(|(quantile, _)| *quantile < 1.0)
            .map(|(quantile, value)| (place(quantile), value))
            .collect(),
    });
    let ticks = ["0", "90", "99", "99.9", "99.99", "99.999"];
    Plot {
        title: "ms by percentile",
        lines: lines.collect(),
        ticks: ticks
            .into_iter()
            .enumerate()
            .map(|(nines, name)| (nines as f64, format!("{name} %")))
            .collect(),
    }
}

fn svg(plot: &Plot<'_>) -> String {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let x_max = points()
        .map(|point| point.0)
        .chain(plot.ticks.iter().map(|tick| tick.0))
        .fold(1e-9, f64::max);
    let y_max = points().map(|point| point.1).fold(1e-9, f64::max) * 1.05;
    let x = |value: f64| LEFT + value / x_max * (WIDTH - LEFT - 12.0);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_max * (HEIGHT - BOTTOM - TOP);
    let mut svg = format!(
        "<figure style=\"margin:0\"><figcaption>{}</figcaption><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n",
        escape(plot.title)
    );
    for value in nice_ticks(y_max) {
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {0:.1}H{WIDTH}\" stroke=\"#eee\"/><text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{value}</text>",
            y(value),
            LEFT - 6.0,
            y(value) + 4.0,
        );
    }
    for (at, name) in &plot.ticks {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(*at),
            HEIGHT - 8.0,
            escape(name)
        );
    }
    for (line, colour) in plot.lines.iter().zip(COLOURS.iter().cycle()) {
        let path: Vec<String> = line
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let path = path.join(" ");
        let _ = writeln!(
            svg,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>"
        );
    }
    for (number, (line, colour)) in plot.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let at = LEFT + 10.0 + 90.0 * number as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{at}\" y=\"12\" style=\"fill:{colour}\">{}</text>",
            line.name
        );
    }
    svg.push_str("</svg></figure>\n");
    svg
}

/// Round numbers from 0 to `max`, about five.
fn nice_ticks(max: f64) -> Vec<f64> {
    let rough = max / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power);
    let count = (max / step) as u32;
    // Rounded, so that they are printed as they are meant.
    (0..=count)
        .map(|number| (f64::from(number) * step * 1e6).round() / 1e6)
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::example;
    use super::*;

    #[test]
    fn the_page_has_all_figures_and_stands_alone() {
        let page = html(&example());
        for expected in [
            "<h1>a &lt;name&gt;</h1>",
            "records a second",
            "produce latency, ms",
            "end-to-end latency, ms",
            "records not yet consumed",
            "CPUs in use",
            "resident memory, MB",
            "<th>p99.99</th>",
            "failed       2 records: NOT_LEADER_OR_FOLLOWER",
        ] {
            assert!(page.contains(expected), "{expected} is not in\n{page}");
        }
        assert_eq!(page.matches("<svg").count(), 7);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        for absent in ["<script", "http", "src=", "href=", "NaN", "inf"] {
            assert!(!page.contains(absent), "{absent} is in\n{page}");
        }
    }

    #[test]
    fn what_was_not_measured_has_no_plot() {
        let mut outcome = example();
        outcome.end_to_end.reset();
        outcome.broker = None;
        outcome.samples.clear();
        let page = html(&outcome);
        assert!(!page.contains("end-to-end latency"));
        assert!(!page.contains("CPUs in use"));
        assert!(!page.contains("NaN"));
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(nice_ticks(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(nice_ticks(0.7), [0.0, 0.2, 0.4, 0.6]);
        assert_eq!(nice_ticks(1234.0), [0.0, 500.0, 1000.0]);
    }
}
