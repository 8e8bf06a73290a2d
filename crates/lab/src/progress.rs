//! The live view of a run: a bar that redraws itself on a terminal, plain lines anywhere else.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{engine::Observer, record::Interval};

/// Seconds that the sparkline shows.
const SPARK_SECONDS: usize = 30;
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Seconds between two plain lines, after the first of them.
const LINE_EVERY_S: u64 = 5;

/// Shows a run on stderr while it goes on.
#[derive(Debug)]
pub struct Progress {
    title: String,
    bar: Option<ProgressBar>,
    p99_us: VecDeque<f64>,
    seconds: u64,
    total: Option<Duration>,
    started: Option<Instant>,
    last: Interval,
}

impl Progress {
    /// A view under a title, for example the scenario's name and form.
    pub fn new(title: impl Into<String>) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(1_000), ProgressDrawTarget::stderr());
            // The template is a constant; a broken one would leave indicatif's own, which shows progress too.
            if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg}") {
                bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
            }
            bar
        });
        let title = title.into();
        if let Some(bar) = &bar {
            bar.set_prefix(title.clone());
        }
        Self {
            title,
            bar,
            p99_us: VecDeque::new(),
            seconds: 0,
            total: None,
            started: None,
            last: Interval::default(),
        }
    }

    fn line(&self) -> String {
        let Interval { completed, errors, p99_us, .. } = &self.last;
        let mut line = format!("{completed}/s  p99 {} {}", format_us(*p99_us), self.sparkline());
        if *errors > 0 {
            let _ = write!(line, "  {errors} errors/s");
        }
        if let Some(disturbance) = &self.last.contamination {
            let _ = write!(line, "  [{disturbance}]");
        }
        line
    }

    /// The p99 of the last seconds, from the smallest to the largest of them.
    fn sparkline(&self) -> String {
        sparkline(self.p99_us.iter().copied())
    }

    fn remaining(&self, elapsed: Duration) -> String {
        match self.total {
            Some(total) => format!("{:>4}s left", total.saturating_sub(elapsed).as_secs()),
            None => format!("{:>4}s", elapsed.as_secs()),
        }
    }
}

fn sparkline(values: impl Iterator<Item = f64> + Clone) -> String {
    let max = values.clone().fold(0.0, f64::max);
    let min = values.clone().fold(f64::INFINITY, f64::min);
    values
        .map(|value| {
            let share = if max > min { (value - min) / (max - min) } else { 0.0 };
            let index = (share * (SPARKS.len() - 1) as f64).round() as usize;
            SPARKS.get(index).copied().unwrap_or('▁')
        })
        .collect()
}

/// A time in microseconds with three digits and the unit that fits.
fn format_us(micros: f64) -> String {
    match micros {
        value if value >= 1e6 => format!("{:.2}s", value / 1e6),
        value if value >= 1e4 => format!("{:.1}ms", value / 1e3),
        value if value >= 1e3 => format!("{:.2}ms", value / 1e3),
        value => format!("{value:.0}µs"),
    }
}

impl Observer for Progress {
    fn started(&mut self, at: Instant) {
        self.started = Some(at);
    }

    fn interval(&mut self, interval: &Interval) {
        self.p99_us.push_back(interval.p99_us);
        if self.p99_us.len() > SPARK_SECONDS {
            self.p99_us.pop_front();
        }
        self.last = interval.clone();
        self.seconds += 1;
        let is_shown = self.seconds <= LINE_EVERY_S || self.seconds.is_multiple_of(LINE_EVERY_S);
        if self.bar.is_none() && is_shown {
            let elapsed = Duration::from_secs_f64(interval.at_s + 1.0);
            // Whoever closed stderr does not want to see it.
            let _ = writeln!(stderr(), "{}: {}  {}", self.title, self.remaining(elapsed).trim(), self.line());
        }
    }

    fn progress(&mut self, elapsed: Duration, total: Option<Duration>) {
        self.total = total;
        if let Some(bar) = &self.bar {
            if let Some(total) = total.filter(|total| !total.is_zero()) {
                let share = elapsed.as_secs_f64() / total.as_secs_f64();
                bar.set_position((share.min(1.0) * 1_000.0) as u64);
            }
            bar.set_message(format!("{}  {}", self.remaining(elapsed), self.line()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_goes_from_the_smallest_to_the_largest() {
        assert_eq!(sparkline([1.0, 8.0, 4.5].into_iter()), "▁█▅");
        assert_eq!(sparkline([3.0, 3.0].into_iter()), "▁▁");
        assert_eq!(sparkline(std::iter::empty()), "");
    }

    #[test]
    fn times_are_shown_with_the_unit_that_fits() {
        let shown: Vec<String> =
            [12.0, 999.4, 1_500.0, 25_000.0, 2_000_000.0].into_iter().map(format_us).collect();
        assert_eq!(shown, ["12µs", "999µs", "1.50ms", "25.0ms", "2.00s"]);
    }
}
