//! How the simulated provider behaves, as pairs of a key and a value: in a URL, or as flags.

use std::time::Duration;

use paddock_platform::units::HumanDuration;
use url::Url;

/// A time that is drawn anew for each request: `5ms`, or `5ms..20ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    from: Duration,
    to: Duration,
}

impl Spread {
    /// Always the same.
    pub const fn fixed(time: Duration) -> Self {
        Self { from: time, to: time }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let time = |text: &str| -> Result<Duration, String> {
            text.trim().parse::<HumanDuration>().map(HumanDuration::get).map_err(|error| error.to_string())
        };
        match text.split_once("..") {
            None => time(text).map(Self::fixed),
            Some((from, to)) => {
                let (from, to) = (time(from)?, time(to)?);
                if from <= to {
                    Ok(Self { from, to })
                } else {
                    Err(format!("`{text}` ends before it begins"))
                }
            }
        }
    }

    pub(super) fn draw(self, random: &mut fastrand::Rng) -> Duration {
        self.from + self.to.saturating_sub(self.from).mul_f64(random.f64())
    }
}

/// How the simulated provider behaves. The default answers at once and never fails.
#[derive(Clone, Debug, PartialEq)]
pub struct SimOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// How long it takes to the first token.
    pub latency: Spread,
    /// How quickly tokens follow; zero: at once.
    pub tokens_per_s: f64,
    /// How many tokens an answer has: from, to.
    pub tokens: (u32, u32),
    /// Numbers in an embedding.
    pub dimensions: u32,
    /// Share of requests that fail with `error_status`.
    pub error: f64,
    /// The status of failures.
    pub error_status: u16,
    /// Share of requests that are refused with 429.
    pub limit: f64,
    /// What a 429 says in `Retry-After`.
    pub retry_after: Duration,
    /// Requests a minute; more are refused with 429. Zero: any number.
    pub rpm: u32,
    /// Share of requests whose connection breaks before there is an answer.
    pub reset: f64,
    /// Share of streams that break before their first token.
    pub break_early: f64,
    /// Share of answers and streams that break in the middle.
    pub break_late: f64,
    /// Share of requests that stall for `stall_for` before their first token.
    pub stall: f64,
    /// Share of streams that stall in the middle.
    pub stall_late: f64,
    /// How long a stall is.
    pub stall_for: Duration,
    /// Share of answers that are garbage.
    pub garbage: f64,
    /// Keys with this text in them are refused with 401.
    pub refuse_key: String,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            latency: Spread::default(),
            tokens_per_s: 0.0,
            tokens: (8, 24),
            dimensions: 64,
            error: 0.0,
            error_status: 500,
            limit: 0.0,
            retry_after: Duration::from_secs(1),
            rpm: 0,
            reset: 0.0,
            break_early: 0.0,
            break_late: 0.0,
            stall: 0.0,
            stall_late: 0.0,
            stall_for: Duration::from_secs(30),
            garbage: 0.0,
            refuse_key: String::new(),
        }
    }
}

impl SimOptions {
    /// The options in a URL's query: `sim:?seed=7&latency=5ms..20ms&error=0.01`.
    pub fn from_url(url: &Url) -> Result<Self, String> {
        let mut options = Self::default();
        for (key, value) in url.query_pairs() {
            options.set(&key, &value)?;
        }
        Ok(options)
    }

    /// Sets one; says what is wrong with it.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let share = || match value.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
            _ => Err(format!("`{key}` is a share, 0.0 to 1.0")),
        };
        let time = || {
            value
                .parse::<HumanDuration>()
                .map(HumanDuration::get)
                .map_err(|error| format!("`{key}`: {error}"))
        };
        let count = || value.parse::<u32>().map_err(|_| format!("`{key}` is a whole number"));
        match key {
            "seed" => self.seed = value.parse().map_err(|_| "`seed` is a whole number".to_owned())?,
            "latency" => self.latency = Spread::parse(value)?,
            "tokens_per_s" => {
                let rate: f64 = value.parse().map_err(|_| "`tokens_per_s` is a number".to_owned())?;
                self.tokens_per_s = rate.max(0.0);
            }
            "tokens" => {
                let (from, to) = value.split_once("..").unwrap_or((value, value));
                let number = |text: &str| {
                    text.trim().parse::<u32>().map_err(|_| "`tokens` is `8` or `8..24`".to_owned())
                };
                self.tokens = (number(from)?, number(to)?.max(number(from)?));
            }
            "dimensions" => self.dimensions = count()?.clamp(1, 4096),
            "error" => self.error = share()?,
            "error_status" => {
                let status = count()?;
                let status = u16::try_from(status).ok().filter(|status| (400..600).contains(status));
                self.error_status = status.ok_or("`error_status` is a status of failure, such as 503")?;
            }
            "limit" => self.limit = share()?,
            "retry_after" => self.retry_after = time()?,
            "rpm" => self.rpm = count()?,
            "reset" => self.reset = share()?,
            "break_early" => self.break_early = share()?,
            "break_late" => self.break_late = share()?,
            "stall" => self.stall = share()?,
            "stall_late" => self.stall_late = share()?,
            "stall_for" => self.stall_for = time()?,
            "garbage" => self.garbage = share()?,
            "refuse_key" => value.clone_into(&mut self.refuse_key),
            _ => return Err(format!("the simulated provider has no option `{key}`")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_from_a_url() {
        let url = "sim:?seed=7&latency=5ms..20ms&error=0.5&error_status=503&tokens=3".parse().unwrap();
        let options = SimOptions::from_url(&url).unwrap();
        assert_eq!(
            (options.seed, options.error, options.error_status, options.tokens),
            (7, 0.5, 503, (3, 3))
        );
        for wrong in ["sim:?error=2", "sim:?latency=soon", "sim:?colour=red", "sim:?error_status=200"] {
            assert!(SimOptions::from_url(&wrong.parse().unwrap()).is_err(), "{wrong}");
        }
    }
}
