//! A against B: two commands, run in turns, each time in a process of its own.
//!
//! The order is ABBA ABBA …: whatever drifts while the trial lasts (temperature, other work, a filling disk) meets both
//! sides alike, and cancels in the ratio of each pair. Everything that [`driver::command`](crate::driver::command)
//! measures is compared: `wall_s`, `cpu_s`, `rss_max_mib`, `pss_max_mib`, and figures of the command's JSON output.

mod commit;
mod runner;
mod watch;
mod words;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;

pub use self::commit::{CheckOutError, check_out};
use self::{runner::Runner, watch::MachineWatch, words::split_words};
use crate::{
    compare::REPEATS_MIN,
    driver::BuildError,
    measurements::{Kind, Measurements},
};

/// Metrics of a trial are known by `ab/<metric>`.
const SCENARIO: &str = "ab";
/// Most pairs of a trial.
pub const PAIRS_MAX: usize = 1_000;
/// Where the text of a variant stands in a command that both sides share.
pub const PLACEHOLDER: &str = "{}";

/// One side of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// What it is called.
    pub label: String,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// A trial to carry out.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What was before.
    pub a: Side,
    /// What is now.
    pub b: Side,
    /// How many times each side runs; at least [`REPEATS_MIN`].
    pub pairs: usize,
    /// Runs of each side before those that count: caches fill, files are read for the first time.
    pub warm_ups: usize,
    /// How long one run may take.
    pub timeout: Duration,
    /// Working directory of the commands.
    pub dir: PathBuf,
    /// Figures in the commands' JSON output: name, unit last, and JSON pointer.
    pub figures: BTreeMap<String, String>,
}

/// What a trial measured.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialResult {
    /// Values of the first side, in the order of the pairs.
    pub a: Measurements,
    /// Values of the second side, likewise.
    pub b: Measurements,
    /// Why the trial ended before its last pair; the pairs until then are whole.
    pub partial: Option<String>,
    /// What disturbed the trial, if something did: a sentence fragment. Turns meet it alike, but what is measured is then
    /// not the commands alone.
    pub disturbance: Option<String>,
}

/// A trial that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// Too few pairs to say anything, or more than anyone waits for.
    #[error("{pairs} pairs; a trial needs between {REPEATS_MIN} and {PAIRS_MAX}")]
    Pairs {
        /// What was asked for.
        pairs: usize,
    },
    /// A side has no command.
    #[error("`{label}` is an empty command")]
    Empty {
        /// Which side.
        label: String,
    },
    /// A quotation mark without its pair.
    #[error("`{text}` ends within a quotation")]
    Quotation {
        /// The command as it was written.
        text: String,
    },
    /// A command cannot be prepared.
    #[error("cannot prepare `{label}`")]
    Build {
        /// Which side.
        label: String,
        /// Why not.
        source: BuildError,
    },
    /// A command failed before the first pair was complete. Later, the trial ends and keeps its complete pairs.
    #[error("`{label}` failed in {place}: {detail}")]
    Run {
        /// Which side.
        label: String,
        /// Which of its runs.
        place: String,
        /// What it said.
        detail: String,
    },
}

/// Watches a trial: pairs done, of how many.
pub type Progress<'a> = &'a mut (dyn FnMut(usize, usize) + Send);

impl Side {
    /// A side whose text is a command line. With a template, the text replaces every [`PLACEHOLDER`] in it instead: a
    /// binary, a configuration value, a directory with a commit.
    pub fn new(text: &str, template: &[String]) -> Result<Self, TrialError> {
        let command: Vec<String> = if template.is_empty() {
            split_words(text).ok_or_else(|| TrialError::Quotation { text: text.to_owned() })?
        } else {
            template.iter().map(|word| word.replace(PLACEHOLDER, text)).collect()
        };
        if command.first().is_none_or(String::is_empty) {
            return Err(TrialError::Empty { label: text.to_owned() });
        }
        Ok(Self { label: text.to_owned(), command })
    }
}

impl Trial {
    /// Carries the trial out; on `stop`, and when a command fails, the pairs that are complete are kept.
    pub async fn run(
        &self,
        stop: &CancellationToken,
        progress: Progress<'_>,
    ) -> Result<TrialResult, TrialError> {
        if !(REPEATS_MIN..=PAIRS_MAX).contains(&self.pairs) {
            return Err(TrialError::Pairs { pairs: self.pairs });
        }
        let mut a = Runner::new(&self.a, self)?;
        let mut b = Runner::new(&self.b, self)?;
        for warm_up in 0..self.warm_ups {
            let place = format!("warm-up {}", warm_up + 1);
            a.run(&place, self.timeout, stop).await?;
            b.run(&place, self.timeout, stop).await?;
        }
        let (mut of_a, mut of_b) = (Measurements::new(&self.a.label), Measurements::new(&self.b.label));
        let mut partial = None;
        let mut watch = MachineWatch::start();
        for pair in 0..self.pairs {
            progress(pair, self.pairs);
            let place = format!("pair {}", pair + 1);
            let (first, second) = if pair % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
            let both = async {
                let first = first.run(&place, self.timeout, stop).await?;
                let second = second.run(&place, self.timeout, stop).await?;
                Ok::<_, TrialError>(first.zip(second))
            };
            let (first, second) = match both.await {
                Ok(Some(both)) => both,
                Ok(None) => {
                    partial = Some(format!("interrupted after {pair} of {} pairs", self.pairs));
                    break;
                }
                Err(error) if pair == 0 => return Err(error),
                Err(error) => {
                    partial = Some(format!("{error}; {pair} of {} pairs were complete", self.pairs));
                    break;
                }
            };
            watch.spent(&first);
            watch.spent(&second);
            let (now_a, now_b) = if pair % 2 == 0 { (first, second) } else { (second, first) };
            push_pair(&mut of_a, &mut of_b, &now_a, &now_b);
        }
        progress(self.pairs, self.pairs);
        Ok(TrialResult { a: of_a, b: of_b, partial, disturbance: watch.disturbance() })
    }
}

/// Adds the figures that both runs of a pair have: the n-th value of one side belongs to the n-th of the other. Memory is
/// sampled while a command runs; of one that ended before the first sample it is not known.
fn push_pair(a: &mut Measurements, b: &mut Measurements, now_a: &[(String, f64)], now_b: &[(String, f64)]) {
    for (name, value_a) in now_a {
        let Some((_, value_b)) = now_b.iter().find(|(other, _)| other == name) else { continue };
        if value_a.is_finite() && value_b.is_finite() {
            let metric = format!("{SCENARIO}/{name}");
            a.push(&metric, Kind::Sampled, *value_a);
            b.push(&metric, Kind::Sampled, *value_b);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::compare::{Outcome, Policy, compare};

    fn trial(a: &str, b: &str, dir: &Path) -> Trial {
        Trial {
            a: Side::new(a, &[]).unwrap(),
            b: Side::new(b, &[]).unwrap(),
            pairs: 6,
            warm_ups: 1,
            timeout: Duration::from_secs(20),
            dir: dir.to_owned(),
            figures: BTreeMap::from([("answer_ms".to_owned(), "/answer".to_owned())]),
        }
    }

    #[test]
    fn a_side_without_a_command_is_refused() {
        assert!(matches!(Side::new("  ", &[]), Err(TrialError::Empty { .. })));
        assert!(matches!(Side::new("echo 'a", &[]), Err(TrialError::Quotation { .. })));
    }

    #[test]
    fn a_template_takes_the_variant_in_every_place() {
        let template = ["{}/paddock", "analyze", "--set", "x={}"].map(str::to_owned);
        let side = Side::new("old", &template).unwrap();
        assert_eq!(side.command, ["old/paddock", "analyze", "--set", "x=old"]);
    }

    #[tokio::test]
    async fn the_sides_take_turns_in_the_order_abba() {
        let dir = tempfile::tempdir().unwrap();
        let log = |name: &str, answer: u32| {
            format!("sh -c 'printf {name} >> log; printf \"{{\\\"answer\\\": {answer}}}\"'")
        };
        let trial = trial(&log("a", 10), &log("b", 20), dir.path());
        let mut seen = 0;
        let result = trial.run(&CancellationToken::new(), &mut |done, _| seen = done).await.unwrap();
        let order = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(order, "ababbaabbaabba", "one warm-up pair, then ABBA");
        assert_eq!(seen, 6);
        let comparison =
            compare(&result.a, &result.b, &Policy::default().only(vec!["answer_ms".to_owned()]), true);
        let change = &comparison.changes[0];
        assert_eq!((change.paired, change.outcome), (true, Outcome::Regression));
        assert!((change.ratio.unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(result.a.values["ab/wall_s"].values.len(), 6);
    }

    #[tokio::test]
    async fn a_command_that_fails_ends_the_trial_with_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let trial = trial("sh -c 'echo no such page >&2; exit 3'", "true", dir.path());
        let error = trial.run(&CancellationToken::new(), &mut |_, _| {}).await.unwrap_err().to_string();
        assert!(error.contains("warm-up 1") && error.contains("no such page"), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_fails_later_leaves_the_complete_pairs() {
        let dir = tempfile::tempdir().unwrap();
        // Fails when it runs for the fourth time.
        let failing = "sh -c 'echo >> runs; [ $(wc -l < runs) -lt 4 ] && printf \"{\\\"answer\\\": 1}\"'";
        let mut trial = trial(failing, "sh -c 'printf \"{\\\"answer\\\": 1}\"'", dir.path());
        trial.warm_ups = 0;
        let result = trial.run(&CancellationToken::new(), &mut |_, _| {}).await.unwrap();
        let partial = result.partial.unwrap();
        assert!(partial.contains("failed in pair 4") && partial.contains("3 of 6 pairs"), "{partial}");
        for side in [&result.a, &result.b] {
            assert_eq!(side.values["ab/answer_ms"].values.len(), 3);
            assert_eq!(side.values["ab/wall_s"].values.len(), 3);
        }
    }

    #[test]
    fn a_pair_counts_only_where_both_sides_know_the_figure() {
        let figures = |values: &[(&str, f64)]| -> Vec<(String, f64)> {
            values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        let (mut a, mut b) = (Measurements::new("a"), Measurements::new("b"));
        push_pair(
            &mut a,
            &mut b,
            &figures(&[("cpu_s", 1.0), ("rss_max_mib", 5.0)]),
            &figures(&[("cpu_s", 2.0)]),
        );
        push_pair(
            &mut a,
            &mut b,
            &figures(&[("cpu_s", 3.0), ("rss_max_mib", 6.0)]),
            &figures(&[("cpu_s", 4.0), ("rss_max_mib", 7.0)]),
        );
        assert_eq!(
            (&a.values["ab/cpu_s"].values, &b.values["ab/cpu_s"].values),
            (&vec![1.0, 3.0], &vec![2.0, 4.0])
        );
        assert_eq!(
            (&a.values["ab/rss_max_mib"].values, &b.values["ab/rss_max_mib"].values),
            (&vec![6.0], &vec![7.0])
        );
    }

    #[tokio::test]
    async fn an_interrupted_trial_keeps_its_complete_pairs() {
        let dir = tempfile::tempdir().unwrap();
        let command = "sh -c 'printf \"{\\\"answer\\\": 1}\"'";
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let mut progress = move |done: usize, _: usize| {
            if done == 2 {
                stopping.cancel();
            }
        };
        let result = trial(command, command, dir.path()).run(&stop, &mut progress).await.unwrap();
        assert_eq!(result.partial.as_deref(), Some("interrupted after 2 of 6 pairs"));
        assert_eq!(result.a.values["ab/answer_ms"].values.len(), 2);
    }
}
