//! `[registry.embeddings]` of the configuration.

use std::time::Duration;

use paddock_platform::units::{HumanDuration, non_zero_duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A search that takes longer is no search.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// How many texts providers take at once.
const BATCH_MAX: usize = 1_000;
const DIMENSIONS_MAX: u32 = 8_192;

/// Finding servers by what they mean, beside the words that they say: by the embeddings of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingOptions {
    /// The model of the model gateway that embeds, as its callers name models. Empty: servers are found by words alone.
    pub model: String,
    /// How many numbers each embedding is to have, of models that can choose; otherwise the model's own number. Fewer take
    /// less memory, and searches less time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
    /// How much a server must be like the query, in percent of the same (the cosine of both embeddings), to be found by that
    /// alone.
    pub similarity_percent_min: u8,
    /// How long embedding a query may take; then servers are found by words alone.
    #[serde(deserialize_with = "non_zero_duration")]
    pub timeout: HumanDuration,
    /// How many servers are embedded in one call.
    pub batch_max: usize,
    /// How many servers are embedded; of more, the rest is found by words alone.
    pub servers_max: usize,
}

impl Default for EmbeddingOptions {
    fn default() -> Self {
        Self {
            model: String::new(),
            dimensions: None,
            similarity_percent_min: 30,
            timeout: HumanDuration::from_secs(1),
            batch_max: 64,
            servers_max: 100_000,
        }
    }
}

impl EmbeddingOptions {
    /// Vectors of the same space can be compared.
    pub(super) fn space(&self) -> String {
        match self.dimensions {
            Some(dimensions) => format!("{}/{dimensions}", self.model),
            None => self.model.clone(),
        }
    }

    /// Why they cannot be used, if they cannot.
    pub(crate) fn mistake(&self) -> Option<String> {
        let said = |what: &str| Some(format!("`embeddings` {what}"));
        if !(1..=BATCH_MAX).contains(&self.batch_max) {
            return said("has a `batch_max` that is not 1 to 1000");
        }
        if self.dimensions.is_some_and(|dimensions| !(1..=DIMENSIONS_MAX).contains(&dimensions)) {
            return said("has `dimensions` that are not 1 to 8192");
        }
        if self.similarity_percent_min > 100 {
            return said("has a `similarity_percent_min` of more than 100");
        }
        (self.timeout.get() > TIMEOUT_MAX)
            .then(|| "`embeddings` has a `timeout` of more than half a minute".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_search_could_work_with_is_a_mistake() {
        let options = |text: &str| toml::from_str::<EmbeddingOptions>(text).unwrap();
        assert_eq!(options("").mistake(), None);
        for text in ["batch_max = 0", "dimensions = 0", "similarity_percent_min = 101", "timeout = \"1h\""] {
            assert!(options(text).mistake().is_some(), "{text}");
        }
        assert_ne!(options("model = \"m\"").space(), options("model = \"m\"\ndimensions = 256").space());
    }
}
