//! What tokens cost.
//!
//! The built-in table has figures of `BerriAI/litellm`'s price file (MIT), trimmed; the configuration's `[llm.prices]`
//! goes over it. Nothing is ever fetched.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use serde::Deserialize;

use super::Pico;
use crate::{
    config::PriceOptions,
    dialect::{scan::Needs, usage::Usage},
};

static BUILT_IN: LazyLock<HashMap<String, Price>> = LazyLock::new(|| {
    let table: Result<Table, _> = serde_json::from_str(include_str!("../../data/prices.json"));
    table
        .map(|table| table.models.into_iter().map(|(name, row)| (name, row.price())).collect())
        .unwrap_or_default()
});

#[derive(Deserialize)]
struct Table {
    models: HashMap<String, TableRow>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct TableRow {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    window: Option<u32>,
    can: Option<Vec<String>>,
}

/// What one token of a model costs, and what the model takes and can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Price {
    input: Pico,
    output: Pico,
    cache_read: Pico,
    cache_write: Pico,
    /// Tokens that a request may have.
    pub(crate) window: Option<u32>,
    /// What it can do; `None` if nobody says.
    pub(crate) can: Option<Needs>,
}

impl TableRow {
    fn price(self) -> Price {
        let options = PriceOptions {
            input: self.input,
            output: self.output,
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            window: self.window,
        };
        let can = self.can.map(|can| {
            let has = |what: &str| can.iter().any(|word| word == what);
            Needs { tools: has("tools"), vision: has("vision"), json: has("json") }
        });
        Price { can, ..Price::from(options) }
    }
}

/// Dollars for a million tokens are picodollars for a token, a million times.
fn per_token(dollars_per_million: f64) -> Pico {
    (dollars_per_million.max(0.0) * 1e6).round() as Pico
}

impl From<PriceOptions> for Price {
    fn from(options: PriceOptions) -> Self {
        let input = per_token(options.input);
        Self {
            input,
            output: per_token(options.output),
            cache_read: options.cache_read.map_or(input, per_token),
            cache_write: options.cache_write.map_or(input, per_token),
            window: options.window,
            can: None,
        }
    }
}

impl Price {
    /// What a call cost.
    pub(crate) fn cost(&self, usage: &Usage) -> Pico {
        let plain = usage.input.saturating_sub(usage.cache_read).saturating_sub(usage.cache_write);
        [
            (plain, self.input),
            (usage.cache_read, self.cache_read),
            (usage.cache_write, self.cache_write),
            (usage.output, self.output),
        ]
        .into_iter()
        .fold(0_u64, |sum, (tokens, price)| sum.saturating_add(tokens.saturating_mul(price)))
    }

    /// What a call may cost before anybody knows.
    pub(crate) fn estimate(&self, input: u64, output: u64) -> Pico {
        self.cost(&Usage { input, output, ..Usage::default() })
    }
}

/// The price of a model at a provider: from the configuration as `provider/model` or `model`, or from the table, where a
/// name may also stand with its vendor in front or a version behind.
pub(crate) fn price(
    overrides: &BTreeMap<String, PriceOptions>,
    provider: &str,
    model: &str,
) -> Option<Price> {
    let built_in = built_in(model);
    let given = overrides.get(&format!("{provider}/{model}")).or_else(|| overrides.get(model));
    match given {
        Some(given) => {
            let known = built_in.unwrap_or_default();
            let price = Price::from(*given);
            Some(Price { can: known.can, window: price.window.or(known.window), ..price })
        }
        None => built_in,
    }
}

fn built_in(model: &str) -> Option<Price> {
    let bare = model.rsplit('/').next().unwrap_or(model);
    let candidates = [model, bare, bare.trim_end_matches("-latest"), bare.split(':').next().unwrap_or(bare)];
    candidates.iter().find_map(|name| BUILT_IN.get(*name)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_its_prices_are_exact() {
        assert!(BUILT_IN.len() > 300);
        let price = price(&BTreeMap::new(), "anthropic", "claude-haiku-4-5").unwrap();
        let usage = Usage { input: 1000, output: 10, cache_read: 600, cache_write: 100, ..Usage::default() };
        // 300 at $1, 600 at $0.10, 100 at $1.25 and 10 at $5 for a million.
        assert_eq!(price.cost(&usage), 300_000_000 + 60_000_000 + 125_000_000 + 50_000_000);
        assert_eq!(price.window, Some(200_000));
    }

    #[test]
    fn the_configuration_goes_over_the_table() {
        let cheap = PriceOptions { input: 0.5, output: 1.0, ..PriceOptions::default() };
        let overrides = BTreeMap::from([("mine/claude-haiku-4-5".to_owned(), cheap)]);
        let mine = price(&overrides, "mine", "claude-haiku-4-5").unwrap();
        assert_eq!(mine.estimate(2, 1), 2_000_000);
        assert_eq!(mine.window, Some(200_000), "what it says nothing about stays");
        let theirs = price(&overrides, "other", "claude-haiku-4-5").unwrap();
        assert_eq!(theirs.estimate(2, 1), 7_000_000);
        assert!(price(&overrides, "mine", "unheard-of").is_none());
    }
}
