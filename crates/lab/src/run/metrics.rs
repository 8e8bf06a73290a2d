//! The flat figures that thresholds and objectives refer to.

use std::collections::BTreeMap;

use crate::{
    record::{GENERATOR, Latency, ResourceSample, RunRecord},
    scenario::DifferenceFile,
    statistics::median,
};

const MICROS_PER_MILLI: f64 = 1_000.0;

/// Fills `metrics` and `repeats` from the rest of the record, from the figures that operations reported, and from the
/// time that each server took to get ready.
///
/// - all steps together: `offered`, `completed`, `throughput_per_s`, `error_ratio`, `latency_p99_ms` (also `p50`, `p90`,
///   `p95`, `p999`, `max`, `mean`), `service_p99_ms`, `lag_p99_ms`, `wait_p99_ms`, and each further time of a driver,
///   for example `ttft_p50_ms`
/// - with several steps, each of these again with the step's name in front: `search_latency_p99_ms`
/// - processes: `rss_max_mib`, `rss_mean_mib`, `pss_max_mib`, `cpu_s`, `cpu_us_per_op`, `cpu_per_op_s`, `threads_max`,
///   `descriptors_max`, over all targets and with a target's name in front; the generator's own as `lab_…`
/// - figures: under the figure's name their median, of a count (`…_count`, `…_total`) their sum: what happened once must
///   not vanish; all values under `repeats`
pub(super) fn fill(
    record: &mut RunRecord,
    figures: &BTreeMap<String, Vec<f64>>,
    ready_ms: &BTreeMap<String, f64>,
) {
    let mut metrics = BTreeMap::new();
    resources(&mut metrics, &record.resources, record.totals().1);
    steps(&mut metrics, record);
    for (name, value) in ready_ms {
        metrics.insert(format!("{name}_ready_ms"), *value);
        metrics.entry("ready_ms".to_owned()).or_insert(*value);
    }
    for (name, values) in figures {
        // What an operation says of itself is more exact than what was sampled around it.
        metrics.insert(name.clone(), reduced(name, values));
        record.repeats.insert(name.clone(), values.clone());
    }
    record.metrics = metrics;
}

/// Adds what one metric is beyond another; nothing where either was not measured.
pub(super) fn add_differences(
    metrics: &mut BTreeMap<String, f64>,
    differences: &BTreeMap<String, DifferenceFile>,
) {
    for (name, DifferenceFile { of, less }) in differences {
        if let (Some(of), Some(less)) = (metrics.get(of).copied(), metrics.get(less).copied()) {
            metrics.insert(name.clone(), of - less);
        }
    }
}

/// What stands for the values of all operations.
fn reduced(name: &str, values: &[f64]) -> f64 {
    if name.ends_with("_count") || name.ends_with("_total") {
        return values.iter().sum();
    }
    median(values).unwrap_or_default()
}

fn steps(metrics: &mut BTreeMap<String, f64>, record: &RunRecord) {
    let all: Vec<usize> = (0..record.steps.len()).collect();
    group(metrics, record, "", &all);
    if record.steps.len() > 1 {
        for (index, step) in record.steps.iter().enumerate() {
            group(metrics, record, &format!("{}_", step.name.replace('-', "_")), &[index]);
        }
    }
}

/// Metrics of some steps together.
fn group(metrics: &mut BTreeMap<String, f64>, record: &RunRecord, prefix: &str, chosen: &[usize]) {
    let steps = || chosen.iter().filter_map(|index| record.steps.get(*index));
    let offered: u64 = steps().map(|step| step.offered).sum();
    let completed: u64 = steps().map(|step| step.completed).sum();
    let failed: u64 = steps().flat_map(|step| step.errors.values()).sum();
    let mut put = |name: &str, value: f64| metrics.insert(format!("{prefix}{name}"), value);
    put("offered", offered as f64);
    put("completed", completed as f64);
    if record.duration_s > 0.0 {
        put("throughput_per_s", (completed - failed.min(completed)) as f64 / record.duration_s);
    }
    // What was due and never carried out did not succeed either.
    let unserved = offered.saturating_sub(completed);
    put("error_ratio", (failed + unserved) as f64 / (offered.max(1)) as f64);
    let mut distributions: BTreeMap<&str, Vec<&Latency>> = BTreeMap::new();
    for step in steps() {
        distributions.entry("latency").or_default().push(&step.latency);
        distributions.entry("service").or_default().push(&step.service);
        distributions.entry("lag").or_default().push(&step.lag);
        for (name, latency) in &step.extra {
            distributions.entry(name).or_default().push(latency);
        }
    }
    for (name, parts) in distributions {
        for (figure, value) in percentiles(&parts) {
            put(&format!("{name}_{figure}_ms"), value);
        }
    }
}

/// Percentiles of several distributions together, in milliseconds; nothing if nothing was counted.
fn percentiles(parts: &[&Latency]) -> Vec<(&'static str, f64)> {
    let latency = match parts {
        [one] => (*one).clone(),
        many => Latency::merged(many).map(|sum| Latency::from_histogram(&sum)).unwrap_or_default(),
    };
    if latency.count == 0 {
        return Vec::new();
    }
    [
        ("mean", latency.mean_us),
        ("p50", latency.p50_us),
        ("p90", latency.p90_us),
        ("p95", latency.p95_us),
        ("p99", latency.p99_us),
        ("p999", latency.p999_us),
        ("max", latency.max_us),
    ]
    .map(|(name, micros)| (name, micros / MICROS_PER_MILLI))
    .to_vec()
}

fn resources(metrics: &mut BTreeMap<String, f64>, samples: &[ResourceSample], completed: u64) {
    let mut targets: Vec<&str> = samples.iter().map(|sample| sample.target.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    for target in &targets {
        let own: Vec<ResourceSample> =
            samples.iter().filter(|sample| sample.target == *target).cloned().collect();
        tree(metrics, &format!("{}_", target.replace('-', "_")), &own, completed);
    }
    // Looks go over all trees in turn: the nth sample of each tree belongs to the nth look.
    let mut together: Vec<ResourceSample> = Vec::new();
    for target in targets.iter().filter(|target| **target != GENERATOR) {
        for (look, sample) in samples.iter().filter(|sample| sample.target == *target).enumerate() {
            match together.get_mut(look) {
                None => together.push(sample.clone()),
                Some(sum) => {
                    sum.pss_mib += sample.pss_mib;
                    sum.uss_mib += sample.uss_mib;
                    sum.rss_mib += sample.rss_mib;
                    sum.cpu_s += sample.cpu_s;
                    sum.threads += sample.threads;
                    sum.descriptors += sample.descriptors;
                }
            }
        }
    }
    tree(metrics, "", &together, completed);
}

fn tree(metrics: &mut BTreeMap<String, f64>, prefix: &str, samples: &[ResourceSample], completed: u64) {
    let Some(last) = samples.last() else { return };
    let max = |of: fn(&ResourceSample) -> f64| samples.iter().map(of).fold(0.0, f64::max);
    let mean = |of: fn(&ResourceSample) -> f64| samples.iter().map(of).sum::<f64>() / samples.len() as f64;
    let mut put = |name: &str, value: f64| metrics.insert(format!("{prefix}{name}"), value);
    put("pss_max_mib", max(|sample| sample.pss_mib));
    put("uss_max_mib", max(|sample| sample.uss_mib));
    put("rss_max_mib", max(|sample| sample.rss_mib));
    put("rss_mean_mib", mean(|sample| sample.rss_mib));
    put("threads_max", max(|sample| sample.threads as f64));
    put("descriptors_max", max(|sample| sample.descriptors as f64));
    put("cpu_s", last.cpu_s);
    if last.at_s > 0.0 {
        put("cpu_cores", last.cpu_s / last.at_s);
    }
    if completed > 0 {
        put("cpu_us_per_op", last.cpu_s * 1e6 / completed as f64);
        put("cpu_per_op_s", last.cpu_s / completed as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_its_values_and_a_count_their_sum() {
        assert!((reduced("cpu_s", &[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((reduced("cpu_s", &[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(reduced("cpu_s", &[]).abs() < 1e-9);
        // One failed request in ten commands is a failed request.
        let failed = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0];
        assert!((reduced("failed_requests_count", &failed) - 3.0).abs() < 1e-9);
        assert!((reduced("retries_total", &failed) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_difference_is_there_when_both_of_its_figures_are() {
        let mut metrics = BTreeMap::from([("through_ms".to_owned(), 3.0), ("direct_ms".to_owned(), 1.0)]);
        let difference = |less: &str| DifferenceFile { of: "through_ms".to_owned(), less: less.to_owned() };
        let differences = BTreeMap::from([
            ("added_ms".to_owned(), difference("direct_ms")),
            ("unknown_ms".to_owned(), difference("absent_ms")),
        ]);
        add_differences(&mut metrics, &differences);
        assert!((metrics["added_ms"] - 2.0).abs() < 1e-9);
        assert!(!metrics.contains_key("unknown_ms"));
    }

    #[test]
    fn trees_are_added_up_by_look_without_the_lab() {
        let sample = |target: &str, at_s: f64, rss_mib: f64| ResourceSample {
            at_s,
            target: target.to_owned(),
            rss_mib,
            cpu_s: at_s,
            ..ResourceSample::default()
        };
        let samples = [
            sample("web", 0.0, 10.0),
            sample("store", 0.0, 5.0),
            sample(GENERATOR, 0.0, 100.0),
            sample("web", 1.0, 20.0),
            sample("store", 1.0, 6.0),
            sample(GENERATOR, 1.0, 100.0),
        ];
        let mut metrics = BTreeMap::new();
        resources(&mut metrics, &samples, 100);
        assert!((metrics["rss_max_mib"] - 26.0).abs() < 1e-9);
        assert!((metrics["web_rss_max_mib"] - 20.0).abs() < 1e-9);
        assert!((metrics["lab_rss_max_mib"] - 100.0).abs() < 1e-9);
        assert!((metrics["cpu_s"] - 2.0).abs() < 1e-9);
        assert!((metrics["cpu_us_per_op"] - 20_000.0).abs() < 1e-9);
        assert!((metrics["cpu_per_op_s"] - 0.02).abs() < 1e-9);
    }
}
