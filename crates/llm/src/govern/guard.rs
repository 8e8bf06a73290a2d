//! Guards: what requests and answers pass, in the order of the configuration.
//!
//! A guard sees the texts of a request (of every role, and arguments and results of tools) and of a whole answer, and lets
//! them pass, changes them or refuses them. Answers that are streamed pass unseen: holding them back would be no stream.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use paddock_platform::units::{ByteSize, HumanDuration};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    dialect::Api,
    error::{ErrorKind, LlmError},
    upstream::HttpClient,
};

/// The largest answer of a webhook.
const WEBHOOK_ANSWER_MAX: usize = 1 << 20;

/// What a guard does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuardKind {
    /// Replaces addresses of e-mail, numbers of cards, accounts and telephones, and keys, by what they are.
    #[default]
    Pii,
    /// Refuses what matches one of the patterns.
    Deny,
    /// Refuses what matches none of the patterns.
    Allow,
    /// Refuses texts that are longer together than `size_max`.
    Size,
    /// Asks `url`, which answers `{"allow": bool, "reason": …, "texts": […]}`; texts, if there are any, replace those
    /// that it was sent as `{"stage": …, "model": …, "texts": […]}`.
    Webhook,
}

/// A guard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuardOptions {
    /// What it does: `pii`, `deny`, `allow`, `size`, `webhook`.
    pub kind: GuardKind,
    /// Whether it looks at requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<bool>,
    /// Whether it looks at answers that are not streamed.
    pub answers: bool,
    /// Models that it is about, as callers name them, or prefixes that end in `*`. Empty: all.
    pub models: Vec<String>,
    /// Tenants that it is about. Empty: all.
    pub tenants: Vec<String>,
    /// `deny`, `allow`: regular expressions.
    pub patterns: Vec<String>,
    /// `size`: how long texts may be together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_max: Option<ByteSize>,
    /// `webhook`: whom to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `webhook`: how long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// `webhook`: whether calls pass when it does not answer.
    pub fail_open: bool,
}

/// What a guard looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Request,
    Answer,
}

#[derive(Debug)]
struct Guard {
    options: GuardOptions,
    patterns: Vec<Regex>,
}

/// The guards of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Guards(Vec<Guard>);

/// What is taken for personal, most telling first.
static PERSONAL: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    let patterns = [
        ("[email]", r"(?i)\b[a-z0-9._%+-]+@[a-z0-9.-]+\.[a-z]{2,}\b"),
        ("[key]", r"\b(?:sk|pk|pdk|ghp|gho|xox[abp]|AKIA)[-_A-Za-z0-9]{16,}\b"),
        ("[iban]", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
        ("[card]", r"\b\d(?:[ -]?\d){12,18}\b"),
        ("[ssn]", r"\b\d{3}-\d{2}-\d{4}\b"),
        ("[phone]", r"(?:\+|\b00)\d{1,3}[ ./-]?(?:\(\d{1,4}\)[ ./-]?)?\d(?:[ ./-]?\d){6,12}\b"),
        ("[ip]", r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b"),
    ];
    patterns.into_iter().filter_map(|(name, pattern)| Some((name, Regex::new(pattern).ok()?))).collect()
});

impl Guards {
    /// Compiles guards; says which is wrong.
    pub(crate) fn new(options: &[GuardOptions]) -> Result<Self, String> {
        let guards = options.iter().enumerate().map(|(index, options)| {
            let wrong = |detail: String| format!("llm.guards[{index}]: {detail}");
            let patterns = options.patterns.iter().map(|pattern| Regex::new(pattern));
            let patterns: Result<Vec<_>, _> = patterns.collect();
            let patterns = patterns.map_err(|error| wrong(error.to_string()))?;
            let lacks = match options.kind {
                GuardKind::Deny | GuardKind::Allow if patterns.is_empty() => Some("patterns"),
                GuardKind::Size if options.size_max.is_none() => Some("size_max"),
                GuardKind::Webhook if options.url.is_none() => Some("url"),
                _ => None,
            };
            match lacks {
                Some(key) => Err(wrong(format!("lacks `{key}`"))),
                None => Ok(Guard { options: options.clone(), patterns }),
            }
        });
        guards.collect::<Result<_, _>>().map(Self)
    }

    /// Whether any looks at this stage of a call.
    pub(crate) fn any(&self, stage: Stage, tenant: &str, model: &str) -> bool {
        self.0.iter().any(|guard| guard.is_about(stage, tenant, model))
    }

    /// Passes texts through all guards that are about them. Says whether any was changed.
    pub(crate) async fn pass(
        &self,
        http: &HttpClient,
        stage: Stage,
        (tenant, model): (&str, &str),
        texts: &mut [&mut String],
    ) -> Result<bool, LlmError> {
        let mut changed = false;
        for guard in self.0.iter().filter(|guard| guard.is_about(stage, tenant, model)) {
            changed |= guard.pass(http, stage, model, texts).await?;
        }
        Ok(changed)
    }
}

impl Guard {
    fn is_about(&self, stage: Stage, tenant: &str, model: &str) -> bool {
        let options = &self.options;
        let of_stage = match stage {
            Stage::Request => options.requests.unwrap_or(true),
            Stage::Answer => options.answers,
        };
        of_stage
            && (options.tenants.is_empty() || options.tenants.iter().any(|known| known == tenant))
            && (options.models.is_empty()
                || options.models.iter().any(|pattern| crate::routing::matches(pattern, model)))
    }

    async fn pass(
        &self,
        http: &HttpClient,
        stage: Stage,
        model: &str,
        texts: &mut [&mut String],
    ) -> Result<bool, LlmError> {
        let refused = |reason: &str| {
            let what = if stage == Stage::Request { "request" } else { "answer" };
            Err(LlmError::new(ErrorKind::GuardRefused, format!("the {what} was refused: {reason}")))
        };
        let matches = |text: &&mut String| self.patterns.iter().any(|pattern| pattern.is_match(text));
        match self.options.kind {
            GuardKind::Pii => {
                let mut changed = false;
                for text in texts {
                    changed |= redact(text);
                }
                Ok(changed)
            }
            GuardKind::Deny if texts.iter().any(matches) => refused("it has a text that is not allowed"),
            GuardKind::Allow if !texts.iter().any(matches) => {
                refused("it has none of the texts that are allowed")
            }
            GuardKind::Size => {
                let size: usize = texts.iter().map(|text| text.len()).sum();
                match self.options.size_max {
                    Some(max) if size as u64 > max.get() => {
                        refused(&format!("its texts are longer than {max}"))
                    }
                    _ => Ok(false),
                }
            }
            GuardKind::Webhook => match self.ask(http, stage, model, texts).await {
                Ok(answer) => apply(&answer, texts).or_else(|reason| refused(&reason)),
                Err(_) if self.options.fail_open => Ok(false),
                Err(error) => {
                    tracing::error!(error, "a guard does not answer; what it should look at is refused");
                    refused("its guard does not answer")
                }
            },
            GuardKind::Deny | GuardKind::Allow => Ok(false),
        }
    }

    async fn ask(
        &self,
        http: &HttpClient,
        stage: Stage,
        model: &str,
        texts: &[&mut String],
    ) -> Result<Value, String> {
        let stage = if stage == Stage::Request { "request" } else { "answer" };
        let body = json!({"stage": stage, "model": model, "texts": texts}).to_string();
        let request = http::Request::post(self.options.url.as_deref().unwrap_or_default())
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let timeout = self.options.timeout.map_or(Duration::from_secs(5), HumanDuration::get);
        let exchange = async {
            let response = http.request(request).await.map_err(|error| error.to_string())?;
            if !response.status().is_success() {
                return Err(format!("it answers {}", response.status()));
            }
            let body = Limited::new(response.into_body(), WEBHOOK_ANSWER_MAX).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| error.to_string())
        };
        tokio::time::timeout(timeout, exchange).await.map_err(|_| "it takes too long".to_owned())?
    }
}

/// Does as a webhook says; an error is its refusal.
fn apply(answer: &Value, texts: &mut [&mut String]) -> Result<bool, String> {
    if answer["allow"] != true {
        return Err(answer["reason"].as_str().unwrap_or("its guard says no").to_owned());
    }
    let Some(replaced) = answer["texts"].as_array() else { return Ok(false) };
    if replaced.len() != texts.len() {
        return Err("its guard answers with another number of texts".to_owned());
    }
    let mut changed = false;
    for (text, replacement) in texts.iter_mut().zip(replaced) {
        if let Some(replacement) = replacement.as_str()
            && text.as_str() != replacement
        {
            replacement.clone_into(text);
            changed = true;
        }
    }
    Ok(changed)
}

/// Replaces what is personal by what it is.
fn redact(text: &mut String) -> bool {
    let mut changed = false;
    for (name, pattern) in PERSONAL.iter() {
        let is_card = *name == "[card]";
        let replaced = pattern.replace_all(text, |found: &regex::Captures<'_>| {
            let found = found.get(0).map_or("", |found| found.as_str());
            if is_card && !passes_luhn(found) { found.to_owned() } else { (*name).to_owned() }
        });
        if let std::borrow::Cow::Owned(replaced) = replaced
            && replaced != *text
        {
            *text = replaced;
            changed = true;
        }
    }
    changed
}

/// Whether digits have the check sum of a card's number.
fn passes_luhn(text: &str) -> bool {
    let digits = text.chars().rev().filter_map(|character| character.to_digit(10));
    let sum: u32 = digits
        .enumerate()
        .map(|(index, digit)| match (index % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether guards can look into what an api carries.
pub(crate) const fn can_look_into(api: Api) -> bool {
    matches!(api, Api::Chat | Api::Completions | Api::Responses | Api::Messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_personal_is_replaced_by_what_it_is() {
        let mut text =
            "mail ada@example.org, card 4111 1111 1111 1111, order 1234567890123456, call +49 30 1234567"
                .to_owned();
        assert!(redact(&mut text));
        assert_eq!(text, "mail [email], card [card], order 1234567890123456, call [phone]");
        let mut plain = "3 kettles for $49.90 on 2026-11-30".to_owned();
        assert!(!redact(&mut plain), "{plain}");
    }

    #[tokio::test]
    async fn patterns_and_sizes_refuse() {
        let http = crate::upstream::http_client(Duration::from_secs(1));
        let guards = |toml: &str| {
            #[derive(Deserialize)]
            struct File {
                guards: Vec<GuardOptions>,
            }
            Guards::new(&toml::from_str::<File>(toml).unwrap().guards)
        };
        let pass = async |guards: &Guards, text: &str| {
            let mut text = text.to_owned();
            guards.pass(&http, Stage::Request, ("t", "m"), &mut [&mut text]).await
        };
        let deny = guards("guards = [{ kind = 'deny', patterns = ['(?i)secret'] }]").unwrap();
        assert!(pass(&deny, "a Secret").await.is_err() && pass(&deny, "a plan").await.is_ok());
        let allow = guards("guards = [{ kind = 'allow', patterns = ['^kettle', 'pot$'] }]").unwrap();
        assert!(pass(&allow, "kettles").await.is_ok() && pass(&allow, "a teapot").await.is_ok());
        let refused = pass(&allow, "a plan").await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::GuardRefused, "{refused}");
        let size = guards("guards = [{ kind = 'size', size_max = '4B' }]").unwrap();
        assert!(pass(&size, "12345").await.is_err() && pass(&size, "1234").await.is_ok());
        let elsewhere = guards("guards = [{ kind = 'deny', patterns = ['.'], models = ['x*'] }]").unwrap();
        assert!(pass(&elsewhere, "anything").await.is_ok());
        assert!(guards("guards = [{ kind = 'deny' }]").unwrap_err().contains("patterns"));
        assert!(guards("guards = [{ kind = 'deny', patterns = ['('] }]").unwrap_err().contains("guards[0]"));
    }
}
