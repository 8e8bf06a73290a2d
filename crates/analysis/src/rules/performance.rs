//! Whether the page is quick and stands still.
//!
//! Wall time depends on the machine that measures. A finding must not: each check asks for a cause that a busy machine
//! cannot make up (a timer, the network, CPU time that was really used) or for a value far beyond the threshold.

use super::{
    Applies, Hit, Rule, View,
    source::{WEB_CLS, WEB_INP, WEB_LCP, WEB_LONG_TASKS},
};
use crate::{Bound, Category, Severity, facts::Timing};

const LCP_GOOD_MS: f64 = 2500.0;
const LCP_POOR_MS: f64 = 4000.0;
/// So late that no contention explains it.
const LCP_FAR_OVER_MS: f64 = 6000.0;
/// By then something other than the CPU held the paint back.
const LCP_CAUSE_MS: f64 = 1500.0;
const CLS_GOOD: f64 = 0.1;
const CLS_POOR: f64 = 0.25;
/// Shifts this soon after the first paint depend on which of two came first.
const SHIFT_SETTLED_MS: f64 = 100.0;
const LONG_TASK_MS: f64 = 300.0;
const LONG_TASK_SEVERE_MS: f64 = 700.0;
/// What of a severe one must have been: a quick task does not take twelve times its time.
const LONG_TASK_SEVERE_CPU_MS: f64 = 60.0;
/// What of a long task must have been real work.
const LONG_TASK_CPU_MS: f64 = 200.0;
const INP_GOOD_MS: f64 = 200.0;
const INP_POOR_MS: f64 = 500.0;
/// Handlers alone must take this long: the rest of an interaction is the machine's.
const INP_PROCESSING_MS: f64 = 150.0;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "perf.lcp",
        category: Category::Performance,
        severity: Severity::High,
        title: "The main content appears late",
        why: "Until the largest picture or text is there, visitors look at an unfinished page, and many do not wait.",
        recommendation: "Have the main content in the HTML, load its picture first, and keep scripts and fonts from holding it back.",
        impact: 8,
        effort: 5,
        confidence: 8,
        sources: &[WEB_LCP],
        applies: Applies::Everywhere,
        check: lcp,
    },
    Rule {
        id: "perf.cls",
        category: Category::Performance,
        severity: Severity::Medium,
        title: "The page jumps while it loads",
        why: "What moves under the finger makes visitors press the wrong thing and lose their place.",
        recommendation: "Reserve the place of pictures, banners and late content with fixed sizes, and insert nothing above what is already read.",
        impact: 6,
        effort: 3,
        confidence: 8,
        sources: &[WEB_CLS],
        applies: Applies::Everywhere,
        check: cls,
    },
    Rule {
        id: "perf.long_task",
        category: Category::Performance,
        severity: Severity::Medium,
        title: "A script blocks the page",
        why: "While it runs nothing can be pressed, typed or scrolled; the page looks frozen.",
        recommendation: "Split the work into pieces under 50 ms, defer what the first screen does not need, or move it to a worker.",
        impact: 6,
        effort: 5,
        confidence: 8,
        sources: &[WEB_LONG_TASKS],
        applies: Applies::Everywhere,
        check: long_task,
    },
    Rule {
        id: "perf.inp",
        category: Category::Performance,
        severity: Severity::High,
        title: "The page answers late to a press",
        why: "Without an answer within 200 ms visitors press again, or believe that nothing works.",
        recommendation: "Show an answer first and do the work after it: yield before long handlers, and move what can wait out of them.",
        impact: 7,
        effort: 5,
        confidence: 8,
        sources: &[WEB_INP],
        applies: Applies::Everywhere,
        check: inp,
    },
];

fn lcp(view: &View<'_>) -> Vec<Hit> {
    let timing = &view.facts.timing;
    let Some(paint) = timing.lcp.as_ref().filter(|_| timing.observed) else { return Vec::new() };
    let waited =
        [paint.inserted_ms, paint.response_ms, timing.ttfb_ms].into_iter().flatten().fold(0.0, f64::max);
    let worked = timing.thread_cpu_ms.unwrap_or(0.0).min(blocked_before(timing, paint.time_ms));
    let has_cause = waited >= LCP_CAUSE_MS || waited + worked >= LCP_GOOD_MS * 0.9;
    if paint.time_ms < LCP_GOOD_MS || !(has_cause || paint.time_ms >= LCP_FAR_OVER_MS) {
        return Vec::new();
    }
    let severity = if paint.time_ms > LCP_POOR_MS { Severity::High } else { Severity::Medium };
    vec![
        Hit::on(
            paint.element,
            format!("the largest content was painted after {:.1} s", paint.time_ms / 1000.0),
        )
        .severity(severity)
        .measured(
            "largest contentful paint",
            paint.time_ms.round(),
            Bound::AtMost,
            LCP_GOOD_MS,
            "ms",
        ),
    ]
}

/// Wall time of long tasks that began before a moment.
fn blocked_before(timing: &Timing, moment_ms: f64) -> f64 {
    timing.long_tasks.iter().filter(|t| t.start_ms < moment_ms).map(|t| t.duration_ms).sum()
}

/// The largest sum of shifts within one session window: gaps under 1 s, at most 5 s long.
pub(super) fn worst_window(timing: &Timing, since_ms: f64) -> (f64, Option<usize>) {
    let (mut worst, mut worst_at) = (0.0, None);
    let (mut sum, mut largest, mut first_ms, mut last_ms) = (0.0, None::<usize>, f64::MIN, f64::MIN);
    for (i, shift) in timing.shifts.iter().enumerate().filter(|(_, s)| s.time_ms >= since_ms) {
        if shift.time_ms - last_ms > 1000.0 || shift.time_ms - first_ms > 5000.0 {
            (sum, largest, first_ms) = (0.0, None, shift.time_ms);
        }
        last_ms = shift.time_ms;
        sum += shift.value;
        if largest.is_none_or(|l| timing.shifts[l].value < shift.value) {
            largest = Some(i);
        }
        if sum > worst {
            (worst, worst_at) = (sum, largest);
        }
    }
    (worst, worst_at)
}

fn cls(view: &View<'_>) -> Vec<Hit> {
    let timing = &view.facts.timing;
    // What moves while the first paint is still being put together disturbs nobody.
    let (score, largest) = worst_window(timing, timing.fcp_ms.unwrap_or(0.0) + SHIFT_SETTLED_MS);
    if !timing.observed || score <= CLS_GOOD {
        return Vec::new();
    }
    let element = largest.and_then(|i| timing.shifts[i].element);
    let severity = if score > CLS_POOR { Severity::High } else { Severity::Medium };
    vec![
        Hit::on(element, format!("what was already shown moved, with a score of {score:.2}"))
            .severity(severity)
            .measured("cumulative layout shift", score, Bound::AtMost, CLS_GOOD, ""),
    ]
}

/// The longest task, and how much of it was work: when the page's thread used less CPU than its long tasks took, the
/// machine was shared, and each task counts only for its part.
fn longest_task(timing: &Timing) -> Option<(f64, f64)> {
    let longest = timing.long_tasks.iter().map(|t| t.duration_ms).fold(0.0, f64::max);
    let all: f64 = timing.long_tasks.iter().map(|t| t.duration_ms).sum();
    if longest < LONG_TASK_MS {
        return None;
    }
    let share = (timing.thread_cpu_ms? / all).min(1.0);
    Some((longest, longest * share))
}

/// Whether a task was slow by itself. A script that runs for so long by the clock does less work on a busy machine; but
/// no machine is so busy that a quick task takes as long as a severe one.
fn is_work(wall: f64, work: f64) -> bool {
    work >= LONG_TASK_CPU_MS || (wall >= LONG_TASK_SEVERE_MS && work >= LONG_TASK_SEVERE_CPU_MS)
}

fn long_task(view: &View<'_>) -> Vec<Hit> {
    let Some((wall, work)) = longest_task(&view.facts.timing) else { return Vec::new() };
    if !is_work(wall, work) {
        return Vec::new();
    }
    // Once it is known to be work, what counts is how long the visitor waited.
    let severity = if wall >= LONG_TASK_SEVERE_MS { Severity::High } else { Severity::Medium };
    vec![
        Hit::absent("body", format!("one task kept the page from answering for {wall:.0} ms"))
            .severity(severity)
            .measured("longest task", wall.round(), Bound::AtMost, 50.0, "ms"),
    ]
}

fn inp(view: &View<'_>) -> Vec<Hit> {
    let slow = view
        .facts
        .timing
        .interactions
        .iter()
        .filter(|i| i.duration_ms > INP_GOOD_MS && i.processing_ms >= INP_PROCESSING_MS);
    slow.map(|interaction| {
        let severity = if interaction.duration_ms > INP_POOR_MS { Severity::High } else { Severity::Medium };
        Hit::on(
            interaction.element,
            format!("a press was answered after {:.0} ms, in both of two tries", interaction.duration_ms),
        )
        .severity(severity)
        .measured(
            "interaction to next paint",
            interaction.duration_ms.round(),
            Bound::AtMost,
            INP_GOOD_MS,
            "ms",
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        facts::{Facts, Interaction, LargestPaint, LongTask, Shift},
        page_type::PageType,
    };

    fn count(check: fn(&View<'_>) -> Vec<Hit>, timing: Timing) -> usize {
        let facts = Facts { timing: Timing { observed: true, ..timing }, ..Facts::default() };
        check(&View::new(&facts, PageType::Saas)).len()
    }

    fn painted(time_ms: f64, inserted_ms: Option<f64>) -> Timing {
        Timing {
            lcp: Some(LargestPaint { time_ms, inserted_ms, ..LargestPaint::default() }),
            ..Timing::default()
        }
    }

    #[test]
    fn a_late_paint_needs_a_cause_that_contention_cannot_make_up() {
        assert_eq!(count(lcp, painted(2900.0, Some(2600.0))), 1);
        assert_eq!(count(lcp, painted(2900.0, None)), 0);
        assert_eq!(count(lcp, painted(2400.0, Some(2300.0))), 0);
        assert_eq!(count(lcp, painted(7000.0, None)), 1);
    }

    #[test]
    fn a_long_task_counts_only_for_the_work_in_it() {
        let task = |duration_ms, thread_cpu_ms| Timing {
            long_tasks: vec![LongTask { start_ms: 10.0, duration_ms }],
            thread_cpu_ms,
            ..Timing::default()
        };
        assert_eq!(count(long_task, task(900.0, Some(950.0))), 1);
        assert_eq!(count(long_task, task(900.0, Some(500.0))), 1);
        assert_eq!(count(long_task, task(900.0, Some(120.0))), 1);
        assert_eq!(count(long_task, task(900.0, Some(50.0))), 0);
        assert_eq!(count(long_task, task(400.0, Some(120.0))), 0);
        assert_eq!(count(long_task, task(900.0, None)), 0);
        assert_eq!(count(long_task, task(200.0, Some(900.0))), 0);
    }

    #[test]
    fn a_slow_press_is_one_whose_handlers_are_slow() {
        let press = |duration_ms, processing_ms| Timing {
            interactions: vec![Interaction { element: None, duration_ms, processing_ms }],
            ..Timing::default()
        };
        assert_eq!(count(inp, press(400.0, 350.0)), 1);
        assert_eq!(count(inp, press(400.0, 5.0)), 0);
        assert_eq!(count(inp, press(120.0, 100.0)), 0);
    }

    #[test]
    fn shifts_are_summed_within_a_session_window() {
        let shift = |time_ms, value| Shift { time_ms, value, element: None };
        let timing = Timing {
            fcp_ms: Some(50.0),
            shifts: vec![shift(60.0, 0.9), shift(1000.0, 0.06), shift(1500.0, 0.05), shift(4000.0, 0.08)],
            ..Timing::default()
        };
        let (score, _) = worst_window(&timing, 150.0);
        assert!((score - 0.11).abs() < 1e-9, "{score}");
    }

    proptest! {
        #[test]
        fn a_window_is_never_worse_than_all_shifts_together(values in prop::collection::vec((0.0_f64..10_000.0, 0.0_f64..0.5), 0..30)) {
            let mut values = values;
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            let timing = Timing { shifts: values.iter().map(|&(time_ms, value)| Shift { time_ms, value, element: None }).collect(), ..Timing::default() };
            let (score, largest) = worst_window(&timing, 0.0);
            prop_assert!(score <= values.iter().map(|v| v.1).sum::<f64>() + 1e-9);
            prop_assert_eq!(score > 0.0, largest.is_some());
        }
    }
}
