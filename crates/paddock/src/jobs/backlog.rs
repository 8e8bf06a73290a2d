//! `paddock jobs backlog`: what holds up a queue, what to do about it, and whether it is over.
//!
//! The looks are those of a person who was woken by an alert, in the order of docs/jobs.md: is the queue paused, is there
//! an error that most have in common, does a worker take these kinds, do the jobs take long, are there too few places.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;

use super::{args::BacklogArgs, commands::Asked};
use crate::{
    cli::say,
    exit::{CommandError, CommandResult, Exit},
    table::{counted, printable, text},
};

/// A queue whose oldest job has waited so long is backed up.
const OLDEST_MAX_S: f64 = 60.0;
/// So is one with this many ready jobs, however young.
const QUEUED_MAX: u64 = 1_000;
/// Jobs of a state that are looked at, the newest.
const LOOKED_AT: u32 = 500;
/// Fewer errors are no pattern.
const ERRORS_MIN: usize = 5;
/// A job that has run for longer is slow.
const SLOW_S: f64 = 30.0;
/// It is over when nothing was backed up for this long.
const STEADY_FOR: Duration = Duration::from_mins(1);
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What was found, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    what: String,
    action: String,
}

/// Jobs of one queue, as far as they are looked at.
#[derive(Debug, Default)]
struct Looked {
    queued: Vec<Value>,
    running: Vec<Value>,
    /// Those that failed and wait to be tried again, and those that died.
    failing: Vec<Value>,
}

/// Says what holds up the queues; with `--wait` also whether it is over.
pub(super) async fn run(asked: &Asked, args: &BacklogArgs) -> CommandResult {
    let mut answer = Vec::new();
    for queue in backed_up(asked, args).await? {
        let looked = look(asked, &text(&queue, "name")).await?;
        let findings = findings(&queue, &looked, Timestamp::now());
        if !asked.json {
            show(&queue, &findings);
        }
        let findings: Vec<Value> = findings
            .into_iter()
            .map(|finding| serde_json::json!({"what": finding.what, "action": finding.action}))
            .collect();
        answer.push(serde_json::json!({"queue": queue, "findings": findings}));
    }
    let is_clear = answer.is_empty();
    asked.print(&Value::Array(answer), || {
        if is_clear {
            say(format_args!("no queue is backed up"));
        }
    });
    if args.wait && !is_clear { wait(asked, args).await } else { Ok(()) }
}

/// The queues that are, of those that are asked for.
async fn backed_up(asked: &Asked, args: &BacklogArgs) -> Result<Vec<Value>, CommandError> {
    let answer = asked.get("/jobs/queues", &[]).await?;
    let mut queues = answer["queues"].as_array().cloned().unwrap_or_default();
    if let Some(name) = &args.queue {
        queues.retain(|queue| queue["name"] == name.as_str());
        if queues.is_empty() {
            return Err(CommandError::new(Exit::Refused, format!("there is no queue `{}`", printable(name))));
        }
    }
    queues.retain(is_backed_up);
    Ok(queues)
}

fn is_backed_up(queue: &Value) -> bool {
    let queued = queue["queued"].as_u64().unwrap_or_default();
    let oldest_s = queue["oldest_ready_seconds"].as_f64().unwrap_or_default();
    oldest_s >= OLDEST_MAX_S || queued >= QUEUED_MAX || (queued > 0 && queue["mode"] == "paused")
}

async fn look(asked: &Asked, queue: &str) -> Result<Looked, CommandError> {
    let of = async |state: &str| {
        let query =
            [("state", state.to_owned()), ("queue", queue.to_owned()), ("limit", LOOKED_AT.to_string())];
        let page = asked.get("/jobs", &query).await?;
        Ok::<_, CommandError>(page["items"].as_array().cloned().unwrap_or_default())
    };
    let mut failing = of("scheduled").await?;
    failing.retain(|job| job["error"].is_object());
    failing.extend(of("dead").await?);
    Ok(Looked { queued: of("queued").await?, running: of("running").await?, failing })
}

/// What holds up a queue, the likeliest first.
fn findings(queue: &Value, looked: &Looked, now: Timestamp) -> Vec<Finding> {
    let name = text(queue, "name");
    if queue["mode"] == "paused" {
        let action = format!("`paddock jobs resume {name}` when the reason for it is gone");
        return vec![Finding { what: "it is paused: nothing is taken out of it".to_owned(), action }];
    }
    let mut found = Vec::new();
    found.extend(common_error(&name, looked));
    found.extend(idle_kinds(looked));
    found.extend(slow(&name, looked, now));
    let (running, limit) = (queue["running"].as_u64().unwrap_or_default(), &queue["concurrency_max"]);
    found.push(match limit.as_u64() {
        Some(limit) if running >= limit => Finding {
            what: format!("as many run as may: `jobs.queue.{name}.concurrency_max` is {limit}"),
            action: "raise it, if what they use can bear more".to_owned(),
        },
        _ => Finding {
            what: format!("{} at once, and more are handed over than that ends", counted(running, "job")),
            action: format!(
                "raise `jobs.concurrency` (5 to 25), or start another server: `paddock serve --roles jobs --queues {name}`"
            ),
        },
    });
    found
}

/// An error that at least half of those that failed have in common.
fn common_error(queue: &str, looked: &Looked) -> Option<Finding> {
    let mut classes: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for error in looked.failing.iter().map(|job| &job["error"]) {
        let (count, message) = classes.entry(text(error, "class")).or_default();
        *count += 1;
        *message = text(error, "message");
    }
    let (class, (count, message)) = classes.into_iter().max_by_key(|(_, (count, _))| *count)?;
    if count < ERRORS_MIN || count * 2 < looked.failing.len() {
        return None;
    }
    Some(Finding {
        what: format!(
            "{count} of {} that failed have the error `{class}`: {message}",
            counted(looked.failing.len() as u64, "job")
        ),
        action: format!(
            "see whether what they call is there; `paddock jobs pause {queue}` until it is, then `paddock jobs retry \
             --all --queue {queue} --class {class}`"
        ),
    })
}

/// Kinds of external workers of which jobs wait and none runs.
fn idle_kinds(looked: &Looked) -> Option<Finding> {
    let kinds = |jobs: &[Value]| -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for kind in jobs.iter().map(|job| text(job, "kind")).filter(|kind| is_external(kind)) {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    };
    let running = kinds(&looked.running);
    let idle: Vec<String> = kinds(&looked.queued)
        .into_keys()
        .filter(|kind| !running.contains_key(kind))
        .map(|kind| format!("`{kind}`"))
        .collect();
    (!idle.is_empty()).then(|| Finding {
        what: format!("no worker runs jobs of {}", idle.join(", ")),
        action: "start one that takes them (docs/workers.md)".to_owned(),
    })
}

/// What the server does itself is a tool, or has a `:` in its name.
fn is_external(kind: &str) -> bool {
    !kind.is_empty() && !kind.contains(':')
}

/// At least half of what runs has run for long.
fn slow(queue: &str, looked: &Looked, now: Timestamp) -> Option<Finding> {
    let runs_s = |job: &Value| -> Option<f64> {
        let started: Timestamp = job["started_at"].as_str()?.parse().ok()?;
        Some(now.duration_since(started).as_secs_f64())
    };
    let slow: Vec<&Value> =
        looked.running.iter().filter(|job| runs_s(job).is_some_and(|runs_s| runs_s > SLOW_S)).collect();
    if slow.is_empty() || slow.len() * 2 < looked.running.len() {
        return None;
    }
    let mut kinds: Vec<String> = slow.iter().map(|job| super::commands::kind(job)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Some(Finding {
        what: format!(
            "{} of {} that run have for over {SLOW_S} s: {}",
            slow.len(),
            looked.running.len(),
            kinds.join(", ")
        ),
        action: format!(
            "look at one (`paddock jobs list --state running --queue {queue}`); split them into smaller jobs, give them a \
             shorter `timeout`, or a queue and servers of their own"
        ),
    })
}

fn show(queue: &Value, findings: &[Finding]) {
    say(format_args!("{}", standing(queue)));
    for finding in findings {
        say(format_args!("  {}", printable(&finding.what)));
        say(format_args!("    → {}", printable(&finding.action)));
    }
}

fn standing(queue: &Value) -> String {
    format!(
        "{}: {} ready, the oldest for {:.0} s; {} run",
        text(queue, "name"),
        queue["queued"],
        queue["oldest_ready_seconds"].as_f64().unwrap_or_default(),
        queue["running"]
    )
}

/// Whether it is over: nothing was backed up for a while.
#[derive(Debug, Default)]
struct Steady(Option<Instant>);

impl Steady {
    fn look(&mut self, is_backed_up: bool, now: Instant) -> bool {
        if is_backed_up {
            self.0 = None;
            return false;
        }
        now.saturating_duration_since(*self.0.get_or_insert(now)) >= STEADY_FOR
    }
}

/// Waits until it is over, and complains if it takes too long.
async fn wait(asked: &Asked, args: &BacklogArgs) -> CommandResult {
    let (began, mut steady, mut last) = (Instant::now(), Steady::default(), String::new());
    loop {
        let queues = backed_up(asked, args).await?;
        if steady.look(!queues.is_empty(), Instant::now()) {
            if !asked.json {
                say(format_args!("steady again"));
            }
            return Ok(());
        }
        let line = queues.iter().map(standing).collect::<Vec<_>>().join("; ");
        if line != last && !line.is_empty() && !asked.json {
            say(format_args!("{line}"));
            last.clone_from(&line);
        }
        if began.elapsed() >= args.within.get() {
            let message = format!("not steady after {}: {last}", args.within);
            return Err(CommandError::new(Exit::Refused, message));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-30T09:10:00Z".parse().unwrap()
    }

    fn queue() -> Value {
        json!({"name": "standard", "mode": "open", "queued": 200, "running": 5, "oldest_ready_seconds": 312.0})
    }

    fn whats(queue: &Value, looked: &Looked) -> Vec<String> {
        findings(queue, looked, now()).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_queue_is_backed_up_when_its_oldest_waits_or_very_many_do() {
        assert!(is_backed_up(&queue()));
        let of = |queued: u64, oldest: f64, mode: &str| {
            is_backed_up(&json!({"queued": queued, "oldest_ready_seconds": oldest, "mode": mode}))
        };
        assert!(of(5_000, 1.0, "open") && of(1, 0.1, "paused"));
        assert!(!of(900, 59.0, "open") && !of(0, 0.0, "paused"));
    }

    #[test]
    fn a_paused_queue_needs_no_other_reason() {
        let mut paused = queue();
        paused["mode"] = "paused".into();
        assert_eq!(whats(&paused, &Looked::default()), ["it is paused: nothing is taken out of it"]);
    }

    #[test]
    fn an_error_that_most_have_in_common_comes_first() {
        let failed = |class: &str| json!({"error": {"class": class, "message": "it is down"}});
        let mut failing = vec![failed("upstream"); 6];
        failing.extend([failed("timeout"), failed("timeout")]);
        let looked = Looked { failing, ..Looked::default() };
        let found = whats(&queue(), &looked);
        assert_eq!(found[0], "6 of 8 jobs that failed have the error `upstream`: it is down");
        let few = Looked { failing: vec![failed("upstream"); 3], ..Looked::default() };
        assert_eq!(whats(&queue(), &few).len(), 1, "three are no pattern");
    }

    #[test]
    fn kinds_without_a_worker_and_jobs_that_take_long_are_found() {
        let job = |kind: &str, started: &str| json!({"kind": kind, "started_at": started});
        let looked = Looked {
            queued: vec![job("resize", ""), job("mail", ""), job("webhook:deliver", "")],
            running: vec![job("mail", "2026-11-30T09:08:00Z"), job("mail", "2026-11-30T09:09:59Z")],
            failing: Vec::new(),
        };
        let found = whats(&queue(), &looked);
        assert_eq!(found[0], "no worker runs jobs of `resize`");
        assert_eq!(found[1], "1 of 2 that run have for over 30 s: mail");
        assert!(found[2].starts_with("5 jobs at once"), "{found:?}");
    }

    #[test]
    fn a_limit_that_is_reached_is_told_instead_of_too_few_places() {
        let mut limited = queue();
        limited["concurrency_max"] = 5.into();
        let found = findings(&limited, &Looked::default(), now());
        assert_eq!(found[0].what, "as many run as may: `jobs.queue.standard.concurrency_max` is 5");
    }

    #[test]
    fn it_is_over_when_nothing_was_backed_up_for_a_minute() {
        let (mut steady, began) = (Steady::default(), Instant::now());
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        assert!(!steady.look(false, at(0)) && !steady.look(false, at(59)));
        assert!(!steady.look(true, at(60)), "it begins anew");
        assert!(!steady.look(false, at(61)) && !steady.look(false, at(120)));
        assert!(steady.look(false, at(121)));
    }
}
