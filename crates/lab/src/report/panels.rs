//! The charts of one run and of one comparison: which exist, and what they say.

use super::{
    JudgedRun,
    chart::{Chart, Layer, Row, RowChart, Scale, latency_label},
    html::Escaped,
};
use crate::{
    compare::{Change, Comparison, Outcome},
    quantity::{Unit, number, percent_change},
    record::{Interval, Latency, ResourceSample, RunRecord},
    statistics::median,
    text::push,
};

/// Trees that are told apart by colour; further ones share the last.
const TREE_CLASSES: [&str; 5] = ["s1", "s2", "s3", "s4", "s5"];

/// One chart with its words.
struct Panel {
    title: &'static str,
    caption: String,
    legend: Vec<(&'static str, String)>,
    svg: String,
}

impl Panel {
    fn push_to(&self, html: &mut String) {
        push!(
            *html,
            "<figure><figcaption><h4>{}</h4><p>{}</p></figcaption>",
            self.title,
            Escaped(&self.caption)
        );
        if self.legend.len() > 1 {
            html.push_str("<ul class=\"legend\">");
            for (class, name) in &self.legend {
                push!(*html, "<li><i class=\"{class}\"></i>{}</li>", Escaped(name));
            }
            html.push_str("</ul>");
        }
        push!(*html, "<div class=\"plot\">{}</div></figure>", self.svg);
    }
}

/// Every chart that the run has data for.
pub(super) fn push_run(html: &mut String, run: &JudgedRun) {
    let record = &run.record;
    let panels = [
        latency_over_time(run),
        latency_by_percentile(record),
        throughput(record),
        errors(record),
        memory(&record.resources),
        cpu(&record.resources),
        descriptors(&record.resources),
        repeats(record),
    ];
    html.push_str("<div class=\"charts\">");
    for panel in panels.into_iter().flatten() {
        panel.push_to(html);
    }
    html.push_str("</div>");
}

/// The ratios with their intervals, and the pairs of an interleaved trial.
pub(super) fn push_comparison(html: &mut String, comparison: &Comparison) {
    html.push_str("<div class=\"charts\">");
    for panel in [ratios(comparison), pairs(comparison)].into_iter().flatten() {
        panel.push_to(html);
    }
    html.push_str("</div>");
}

// === over time ===

fn time_scale(record: &RunRecord) -> Scale {
    let end = whole_seconds(&record.intervals).last().map(|interval| interval.at_s + interval.length_s);
    Scale::exact(0.0, end.unwrap_or_default())
}

fn series(intervals: &[Interval], value: impl Fn(&Interval) -> f64) -> Vec<(f64, f64)> {
    intervals.iter().map(|interval| (interval.at_s + interval.length_s / 2.0, value(interval))).collect()
}

/// A count of an interval, per second.
fn per_second(interval: &Interval, count: u64) -> f64 {
    count as f64 / interval.length_s.max(1.0)
}

/// Seconds that something else disturbed.
fn contamination(intervals: &[Interval]) -> Vec<Layer> {
    let disturbed = intervals.iter().filter(|interval| interval.contamination.is_some());
    disturbed.map(|i| Layer::Stripe { class: "disturbed", from: i.at_s, to: i.at_s + i.length_s }).collect()
}

fn disturbed_note(intervals: &[Interval]) -> String {
    let disturbed = intervals.iter().filter(|interval| interval.contamination.is_some());
    let count = disturbed.map(|interval| interval.length_s).sum::<f64>();
    let mut reasons: Vec<&str> = intervals.iter().filter_map(|i| i.contamination.as_deref()).collect();
    reasons.dedup();
    match reasons.first() {
        Some(first) => format!(" Shaded: {count} s disturbed ({first})."),
        None => String::new(),
    }
}

fn latency_over_time(run: &JudgedRun) -> Option<Panel> {
    let intervals = whole_seconds(&run.record.intervals);
    let answered: Vec<Interval> = intervals.iter().filter(|i| i.max_us > 0.0).cloned().collect();
    let smallest = answered.iter().map(|interval| interval.p50_us).reduce(f64::min)?;
    let largest = answered.iter().map(|interval| interval.max_us).fold(0.0, f64::max);
    let mut layers = contamination(intervals);
    layers.extend([
        Layer::Line { class: "s4 thin", points: series(&answered, |i| i.max_us) },
        Layer::Line { class: "s3", points: series(&answered, |i| i.p99_us) },
        Layer::Line { class: "s2", points: series(&answered, |i| i.p90_us) },
        Layer::Line { class: "s1", points: series(&answered, |i| i.p50_us) },
    ]);
    let mut legend = named(&[("s1", "p50"), ("s2", "p90"), ("s3", "p99"), ("s4", "largest")]);
    let promise = run.verdict.judgements.iter().find(|j| j.threshold.metric == "latency_p99_ms");
    if let Some(promise) = promise {
        let target = promise.threshold.target * 1_000.0;
        layers.push(Layer::Rule { class: "target", y: target });
        legend.push(("target", format!("p99 target {}", latency_label(target))));
    }
    let lowest = promise.map_or(smallest, |promise| smallest.min(promise.threshold.target * 1_000.0));
    let chart = Chart {
        label: format!(
            "Latency over time, median between {} and more, largest {}",
            latency_label(smallest),
            latency_label(largest)
        ),
        x_title: "time since start (s)",
        y_title: "latency (logarithmic)".to_owned(),
        x: time_scale(&run.record),
        y: Scale::latency(lowest, largest),
        layers,
    };
    let mut caption = "Each second by itself; counted from the moment a request was due.".to_owned();
    caption.push_str(&disturbed_note(intervals));
    Some(Panel { title: "Latency over time", caption, legend, svg: chart.to_svg() })
}

/// The seconds in which something was due, and those after it in which what waited was still carried out. A last second
/// with a handful of stragglers would look like a collapse.
fn whole_seconds(intervals: &[Interval]) -> &[Interval] {
    const STRAGGLERS_SHARE: f64 = 0.02;
    let busiest = intervals.iter().map(|interval| interval.completed).max().unwrap_or_default() as f64;
    let is_worth_showing = |i: &Interval| i.offered > 0 || i.completed as f64 > busiest * STRAGGLERS_SHARE;
    let end = intervals.iter().rposition(is_worth_showing).map_or(0, |last| last + 1);
    intervals.get(..end).unwrap_or(intervals)
}

fn throughput(record: &RunRecord) -> Option<Panel> {
    let intervals = whole_seconds(&record.intervals);
    let largest = intervals.iter().map(|i| per_second(i, i.offered.max(i.completed))).reduce(f64::max);
    let largest = largest.filter(|largest| *largest > 0.0)?;
    let (offered, completed, _) = record.totals();
    let mut layers = contamination(intervals);
    layers.extend([
        Layer::Area { class: "s1", points: series(intervals, |i| per_second(i, i.completed)) },
        Layer::Line { class: "s1", points: series(intervals, |i| per_second(i, i.completed)) },
        Layer::Line { class: "s2 dashed", points: series(intervals, |i| per_second(i, i.offered)) },
    ]);
    let chart = Chart {
        label: format!("Throughput over time: {offered} operations offered, {completed} completed"),
        x_title: "time since start (s)",
        y_title: "operations per second".to_owned(),
        x: time_scale(record),
        y: Scale::linear(0.0, largest),
        layers,
    };
    let share = completed as f64 / offered.max(1) as f64 * 100.0;
    let (offered, completed) = (number(offered as f64), number(completed as f64));
    let caption = format!("{completed} of {offered} offered operations were completed ({share:.1} %).");
    let legend = [("s1", "completed"), ("s2 dashed", "offered by the schedule")];
    Some(Panel { title: "Throughput", caption, legend: named(&legend), svg: chart.to_svg() })
}

fn errors(record: &RunRecord) -> Option<Panel> {
    let largest = record.intervals.iter().map(|i| per_second(i, i.errors)).reduce(f64::max);
    let largest = largest.filter(|largest| *largest > 0.0)?;
    let (_, completed, errors) = record.totals();
    let mut kinds: Vec<String> = record
        .steps
        .iter()
        .flat_map(|step| &step.errors)
        .map(|(kind, count)| format!("{} × {kind}", number(*count as f64)))
        .collect();
    kinds.truncate(4);
    let points = record.intervals.iter().map(|i| (i.at_s, per_second(i, i.errors))).collect();
    let width = record.intervals.first().map_or(1.0, |interval| interval.length_s);
    let chart = Chart {
        label: format!("Errors over time: {errors} in all"),
        x_title: "time since start (s)",
        y_title: "errors per second".to_owned(),
        x: time_scale(record),
        y: Scale::linear(0.0, largest),
        layers: vec![Layer::Columns { class: "bad", width, points }],
    };
    let percent = errors as f64 / completed.max(1) as f64 * 100.0;
    let caption = format!(
        "{} errors, {} % of operations: {}.",
        number(errors as f64),
        number(percent),
        kinds.join(", ")
    );
    Some(Panel { title: "Errors", caption, legend: Vec::new(), svg: chart.to_svg() })
}

// === distribution ===

fn latency_by_percentile(record: &RunRecord) -> Option<Panel> {
    let latency = merged(record, |step| &step.latency)?;
    let service = merged(record, |step| &step.service);
    let lag = merged(record, |step| &step.lag);
    let micros = |nanos: u64| (nanos as f64 / 1_000.0).max(0.01);
    let scale = Scale::quantile(latency.len());
    let Scale::Quantile { nines } = scale else { return None };
    let curve = |histogram: &hdrhistogram::Histogram<u64>| -> Vec<(f64, f64)> {
        let quantiles = (1..=160).map(|i| 1.0 - 10_f64.powf(-nines * f64::from(i) / 160.0));
        let smallest = (0.0, micros(histogram.min()));
        let rest = quantiles.map(|quantile| (quantile, micros(histogram.value_at_quantile(quantile))));
        std::iter::once(smallest).chain(rest).collect()
    };
    let mut layers = Vec::new();
    let mut legend = vec![("s1", "latency, from when it was due".to_owned())];
    let mut smallest = micros(latency.min());
    if let Some(lag) = &lag {
        layers.push(Layer::Line { class: "s5 dashed", points: curve(lag) });
        smallest = smallest.min(micros(lag.value_at_quantile(0.5)));
    }
    if let Some(service) = &service {
        layers.push(Layer::Line { class: "s2 dashed", points: curve(service) });
        legend.push(("s2 dashed", "from when it was sent".to_owned()));
    }
    if lag.is_some() {
        legend.push(("s5 dashed", "the generator's own lag".to_owned()));
    }
    layers.push(Layer::Line { class: "s1 thick", points: curve(&latency) });
    let at = |quantile| latency_label(micros(latency.value_at_quantile(quantile)));
    let chart = Chart {
        label: format!("Latency by percentile: p50 {}, p99 {}", at(0.5), at(0.99)),
        x_title: "percentile of operations (%)",
        y_title: "latency (logarithmic)".to_owned(),
        x: scale,
        y: Scale::latency(smallest, micros(latency.max())),
        layers,
    };
    let caption = format!(
        "p50 {}, p90 {}, p99 {}, p99.9 {}, largest {}.",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        latency_label(micros(latency.max()))
    );
    Some(Panel { title: "Latency by percentile", caption, legend, svg: chart.to_svg() })
}

/// The histograms of all steps in one; `None` if nothing was counted.
fn merged(
    record: &RunRecord,
    which: impl Fn(&crate::record::StepRecord) -> &Latency,
) -> Option<hdrhistogram::Histogram<u64>> {
    let parts: Vec<&Latency> = record.steps.iter().map(which).collect();
    Latency::merged(&parts).filter(|histogram| !histogram.is_empty())
}

// === resources ===

/// One line per process tree; `None` if there is nothing to show.
fn resource_panel(
    samples: &[ResourceSample],
    title: &'static str,
    y_title: &str,
    unit: Unit,
    value: impl Fn(&ResourceSample) -> f64,
) -> Option<Panel> {
    let end = samples.iter().map(|sample| sample.at_s).reduce(f64::max)?;
    let largest = samples.iter().map(&value).fold(0.0, f64::max);
    let mut trees: Vec<&str> = Vec::new();
    for sample in samples {
        if !trees.contains(&sample.target.as_str()) {
            trees.push(&sample.target);
        }
    }
    let class_of = |index: usize| TREE_CLASSES[index.min(TREE_CLASSES.len() - 1)];
    let mut layers = Vec::new();
    let mut figures = Vec::new();
    for (index, tree) in trees.iter().enumerate() {
        let of_tree = samples.iter().filter(|sample| sample.target == *tree);
        let points: Vec<(f64, f64)> = of_tree.map(|sample| (sample.at_s, value(sample))).collect();
        let peak = points.iter().map(|point| point.1).fold(0.0, f64::max);
        figures.push(format!("{tree} at most {}", unit.format(peak)));
        layers.push(Layer::Line { class: class_of(index), points });
    }
    let caption = format!("{}.", figures.join(", "));
    let chart = Chart {
        label: format!("{title}: {caption}"),
        x_title: "time since start (s)",
        y_title: y_title.to_owned(),
        x: Scale::exact(0.0, end),
        y: Scale::linear(0.0, largest),
        layers,
    };
    let legend =
        trees.iter().enumerate().map(|(index, tree)| (class_of(index), (*tree).to_owned())).collect();
    Some(Panel { title, caption, legend, svg: chart.to_svg() })
}

fn memory(samples: &[ResourceSample]) -> Option<Panel> {
    resource_panel(samples, "Memory", "proportional set size (MiB)", Unit::Mebibytes, |sample| sample.pss_mib)
}

fn cpu(samples: &[ResourceSample]) -> Option<Panel> {
    resource_panel(samples, "CPU", "cores in use", Unit::Cores, |sample| sample.cpu_cores)
}

fn descriptors(samples: &[ResourceSample]) -> Option<Panel> {
    resource_panel(samples, "Open descriptors", "open descriptors", Unit::Count, |sample| {
        sample.descriptors as f64
    })
}

// === repeats and comparisons ===

/// Values of a command that ran many times, each relative to its own median.
fn repeats(record: &RunRecord) -> Option<Panel> {
    let rows: Vec<Row> = record
        .repeats
        .iter()
        .filter(|(_, values)| values.len() > 1)
        .filter_map(|(metric, values)| {
            let middle = median(values).filter(|middle| *middle != 0.0)?;
            Some(Row {
                name: metric.clone(),
                figure: format!("median {}", Unit::of_metric(metric).format(middle)),
                class: "s1",
                estimate: 0.0,
                interval: None,
                values: values.iter().map(|value| (value / middle - 1.0) * 100.0).collect(),
                forbidden: None,
            })
        })
        .collect();
    let count = record.repeats.values().map(Vec::len).max().unwrap_or_default();
    let spread = || rows.iter().flat_map(|row| &row.values).copied();
    let (low, high) = (spread().reduce(f64::min)?, spread().reduce(f64::max)?);
    let chart = RowChart {
        label: format!("{count} repeats of each metric around their median"),
        x_title: "distance from the median (%)",
        x: Scale::change(low, high),
        origin: Some(0.0),
        rows,
    };
    let caption = format!("{count} processes, one dot each: the narrower, the more a difference means.");
    Some(Panel { title: "Repeats", caption, legend: Vec::new(), svg: chart.to_svg() })
}

fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

fn class_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Regression => "bad",
        Outcome::Improvement => "good",
        Outcome::Uncertain | Outcome::TooFew => "unsure",
        Outcome::Unchanged => "same",
    }
}

fn ratios(comparison: &Comparison) -> Option<Panel> {
    const ROWS_MAX: usize = 12;
    let shown: Vec<&Change> =
        comparison.changes.iter().filter(|change| change.ratio.is_some()).take(ROWS_MAX).collect();
    let reach = |change: &Change| {
        let ends = [change.ratio_low, change.ratio_high, change.ratio].into_iter().flatten().map(percent);
        ends.chain([-change.threshold_pct, change.threshold_pct]).collect::<Vec<_>>()
    };
    let all: Vec<f64> = shown.iter().flat_map(|change| reach(change)).collect();
    let (low, high) = (all.iter().copied().reduce(f64::min)?, all.iter().copied().reduce(f64::max)?);
    let rows = shown.iter().map(|change| ratio_row(change)).collect();
    let chart = RowChart {
        label: format!("Change of {} metrics with 95 % intervals", shown.len()),
        x_title: "change (%), with 95 % interval",
        x: Scale::change(low, high),
        origin: Some(0.0),
        rows,
    };
    let what = if shown.iter().any(|change| change.paired) {
        "Median of the pairs"
    } else {
        "Median against median"
    };
    let caption = format!("{what}. A regression lies in the shaded part with its whole interval beyond 0.");
    Some(Panel { title: "Change by metric", caption, legend: Vec::new(), svg: chart.to_svg() })
}

fn ratio_row(change: &Change) -> Row {
    let forbidden =
        if change.higher_is_better { (-1e3, -change.threshold_pct) } else { (change.threshold_pct, 1e3) };
    let ratio = change.ratio.unwrap_or(1.0);
    Row {
        name: change.metric.clone(),
        figure: format!("{} {}", percent_change(ratio), change.outcome.words()),
        class: class_of(change.outcome),
        estimate: percent(ratio),
        interval: change.ratio_low.zip(change.ratio_high).map(|(low, high)| (percent(low), percent(high))),
        values: change.pair_ratios().into_iter().map(percent).filter(|value| value.is_finite()).collect(),
        forbidden: Some(forbidden),
    }
}

/// The most telling metric of an interleaved trial, pair by pair.
fn pairs(comparison: &Comparison) -> Option<Panel> {
    let change = comparison.changes.iter().find(|change| change.paired && change.ratio.is_some())?;
    let values: Vec<f64> = change.pair_ratios().into_iter().map(percent).collect();
    let (low, high) = (percent(change.ratio_low?), percent(change.ratio_high?));
    let (smallest, largest) =
        (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
    let points = values.iter().enumerate().map(|(index, value)| (index as f64 + 1.0, *value)).collect();
    let middle = percent(change.ratio?);
    let text = format!("median {}", percent_change(change.ratio?));
    let chart = Chart {
        label: format!("{} of {} pairs of {}", text, values.len(), change.metric),
        x_title: "pair, in the order of the trial",
        y_title: format!("{}: change (%)", change.metric),
        x: Scale::exact(0.0, values.len() as f64 + 1.0),
        y: Scale::change(smallest.min(low), largest.max(high)),
        layers: vec![
            Layer::Band { class: "band", from: low, to: high },
            Layer::Rule { class: "zero", y: 0.0 },
            Layer::Rule { class: class_of(change.outcome), y: middle },
            Layer::Dots { class: class_of(change.outcome), points },
        ],
    };
    let caption = format!("Second side against first, {} interleaved pairs.", values.len());
    let legend = vec![(class_of(change.outcome), text), ("band", "95 % interval of the median".to_owned())];
    Some(Panel { title: "Pair by pair", caption, legend, svg: chart.to_svg() })
}

fn named(legend: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    legend.iter().map(|(class, name)| (*class, (*name).to_owned())).collect()
}
