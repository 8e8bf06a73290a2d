//! A small seeded generator of random numbers: reproducible, and of no use for secrets.

use std::f64::consts::TAU;

/// The generator of the whole lab, with the distributions that statistics need.
#[derive(Clone, Debug)]
pub struct Random(crate::random::Random);

impl Random {
    /// A generator; the same seed gives the same numbers on every machine.
    pub fn seeded(seed: u64) -> Self {
        Self(crate::random::Random::new(seed))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0 < x < 1`: never an end, so that logarithms are finite.
    pub fn uniform(&mut self) -> f64 {
        ((self.next_u64() >> 11) as f64 + 0.5) * 2.0_f64.powi(-53)
    }

    /// Uniform in `0..bound`.
    pub fn index(&mut self, bound: usize) -> usize {
        ((self.uniform() * bound as f64) as usize).min(bound.saturating_sub(1))
    }

    /// Standard normal (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// Gamma with this shape, at least 1, and scale 1 (Marsaglia and Tsang, 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        debug_assert!(shape >= 1.0, "the method needs a shape of at least 1, not {shape}");
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_published_algorithm() {
        let mut random = Random::seeded(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn each_distribution_has_its_mean() {
        let mut random = Random::seeded(7);
        let mut mean =
            |draw: fn(&mut Random) -> f64| (0..100_000).map(|_| draw(&mut random)).sum::<f64>() / 100_000.0;
        assert!((mean(Random::uniform) - 0.5).abs() < 0.01);
        assert!(mean(Random::normal).abs() < 0.02);
        assert!((mean(Random::exponential) - 1.0).abs() < 0.02);
        assert!((mean(|random| random.gamma(4.0)) - 4.0).abs() < 0.05);
        assert!((mean(|random| random.index(10) as f64) - 4.5).abs() < 0.05);
    }
}
