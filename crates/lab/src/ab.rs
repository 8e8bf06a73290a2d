//! A against B: two commands, run in turns, each time in a process of its own.
//!
//! The order is ABBA ABBA …: whatever drifts while the trial lasts (temperature, other work, a filling disk) meets both
//! sides alike, and cancels in the ratio of each pair. Everything that [`driver::command`](crate::driver::command)
//! measures is compared: `wall_s`, `cpu_s`, `rss_max_mib`, `pss_max_mib`, and figures of the command's JSON output.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    compare::REPEATS_MIN,
    driver::{BuildContext, BuildError, Call, Options as _, Seat, Session, command::CommandOptions},
    measurements::{Kind, Measurements},
    resources::{MachineTimes, process},
    variables::Variables,
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

/// Watches what the rest of the machine does during a trial.
struct MachineWatch {
    before: MachineTimes,
    started: Instant,
    own_before_s: f64,
    commands_s: f64,
}

/// CPU time of others, from which a trial counts as disturbed.
const FOREIGN_RATIO: f64 = 0.30;
/// Shorter trials are over before the kernel's clock ticks often enough to tell.
const WATCHED_MIN: Duration = Duration::from_secs(1);

impl MachineWatch {
    fn start() -> Self {
        Self {
            before: MachineTimes::read(),
            started: Instant::now(),
            own_before_s: own_cpu_s(),
            commands_s: 0.0,
        }
    }

    /// A run used what it reports.
    fn spent(&mut self, figures: &[(String, f64)]) {
        let cpu_s = figures.iter().find(|(name, _)| name == "cpu_s").map_or(0.0, |(_, cpu_s)| *cpu_s);
        self.commands_s += cpu_s;
    }

    fn disturbance(&self) -> Option<String> {
        let elapsed = self.started.elapsed();
        let own_s = self.commands_s + own_cpu_s() - self.own_before_s;
        let pressure = MachineTimes::read().pressure_since(&self.before, elapsed.as_secs_f64(), own_s);
        (elapsed >= WATCHED_MIN && pressure.foreign_cpu_ratio > FOREIGN_RATIO).then(|| {
            format!(
                "other processes used {:.0} % of the CPUs during the trial, at most {:.0} % is quiet",
                pressure.foreign_cpu_ratio * 100.0,
                FOREIGN_RATIO * 100.0
            )
        })
    }
}

fn own_cpu_s() -> f64 {
    let own = i32::try_from(std::process::id()).ok().and_then(process::stat);
    own.map_or(0.0, |stat| stat.cpu_s)
}

/// Runs one side, again and again.
struct Runner<'a> {
    side: &'a Side,
    session: Box<dyn Session>,
    variables: Arc<Variables>,
}

impl<'a> Runner<'a> {
    fn new(side: &'a Side, trial: &Trial) -> Result<Self, TrialError> {
        let build = |source| TrialError::Build { label: side.label.clone(), source };
        // Words go in as values of variables, so that nothing in them is taken for a template.
        let mut variables = Variables::new(1);
        let mut run = Vec::with_capacity(side.command.len());
        for (index, word) in side.command.iter().enumerate() {
            let name = format!("word{index}");
            variables.fix(&name, word);
            let template =
                format!("${{{name}}}").parse().map_err(|error| build(BuildError::field("run", error)))?;
            run.push(template);
        }
        let options = CommandOptions { run, env: BTreeMap::new(), dir: None, figures: trial.figures.clone() };
        let mut context = BuildContext::new(variables, 1);
        context.dir.clone_from(&trial.dir);
        let driver = options.build(&context).map_err(build)?;
        Ok(Self { side, session: driver.session(Seat { number: 0 }), variables: context.variables })
    }

    /// One run; `None` if it was interrupted.
    async fn run(
        &mut self,
        place: &str,
        timeout: Duration,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<(String, f64)>>, TrialError> {
        let failed = |detail: String| TrialError::Run {
            label: self.side.label.clone(),
            place: place.to_owned(),
            detail,
        };
        let call = Call { index: 0, variables: &self.variables, keep_body: false };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(timeout, self.session.execute(call)) => outcome,
            () = stop.cancelled() => return Ok(None),
        };
        let outcome =
            outcome.map_err(|_| failed(format!("not finished after {} s", timeout.as_secs_f64())))?;
        if let Some(failure) = outcome.failure {
            return Err(failed(failure.detail));
        }
        match outcome.status {
            Some(0) => Ok(Some(outcome.figures)),
            status => Err(failed(outcome.detail.unwrap_or_else(|| format!("status {status:?}")))),
        }
    }
}

/// A command line in words: blanks separate, quotation marks of either kind hold together, a backslash outside single
/// ones takes the next character as it is. No variables, no globs: a shell is one `sh -c '…'` away. `None` if a
/// quotation does not end.
fn split_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().push(characters.next()?),
            (mark @ ('"' | '\''), None) => {
                word.get_or_insert_default();
                quote = Some(mark);
            }
            (mark, Some(open)) if mark == open => quote = None,
            (blank, None) if blank.is_whitespace() => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if quote.is_some() { None } else { Some(words) }
}

/// Checks a commit out into a directory beside the repository's own and returns the directory; what was built there
/// before is kept, so that a second trial of the same commit is quick.
pub async fn check_out(repository: &Path, commit: &str, below: &Path) -> Result<PathBuf, CheckOutError> {
    let git = async |arguments: &[&str], dir: &Path| -> Result<String, CheckOutError> {
        let output = tokio::process::Command::new("git")
            .args(arguments)
            .current_dir(dir)
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .map_err(|source| CheckOutError::Start { source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let detail = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(CheckOutError::Git { commit: commit.to_owned(), detail })
    };
    let wanted = format!("{commit}^{{commit}}");
    let id = git(&["rev-parse", "--verify", "--end-of-options", &wanted], repository).await?;
    std::fs::create_dir_all(below).map_err(|source| CheckOutError::Start { source })?;
    let below = below.canonicalize().map_err(|source| CheckOutError::Start { source })?;
    let dir = below.join(&id);
    if !dir.is_dir() {
        let path = dir.to_string_lossy().into_owned();
        git(&["worktree", "add", "--detach", &path, &id], repository).await?;
    }
    Ok(dir)
}

/// A commit that cannot be checked out.
#[derive(Debug, thiserror::Error)]
pub enum CheckOutError {
    /// Git cannot be started, or its directory not be made.
    #[error("cannot run git")]
    Start {
        /// Why not.
        source: std::io::Error,
    },
    /// Git refused.
    #[error("cannot check out `{commit}`: {detail}")]
    Git {
        /// The commit as it was named.
        commit: String,
        /// What git said.
        detail: String,
    },
}

#[cfg(test)]
mod tests {
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
    fn a_command_line_is_split_as_a_shell_would() {
        let words = |text| split_words(text).unwrap();
        assert_eq!(words("wrk -t1  'a b' \"c \\\" d\" e\\ f ''"), ["wrk", "-t1", "a b", "c \" d", "e f", ""]);
        assert_eq!(split_words("echo 'a"), None);
        assert!(matches!(Side::new("  ", &[]), Err(TrialError::Empty { .. })));
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

    #[tokio::test]
    async fn an_unknown_commit_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let error = check_out(dir.path(), "no-such-commit", &dir.path().join("out")).await.unwrap_err();
        assert!(error.to_string().contains("no-such-commit"), "{error}");
    }
}
