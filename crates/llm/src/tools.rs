//! The area's tools.

use paddock_platform::{identity::Scope, problem::Problem, tool::Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    durable::{BATCH_TOOL, BatchView, CALL_TOOL, CallInput, CallOutput, Durable},
    gateway::{BreakerInput, CompleteInput, Completion, Gateway, LaneStatus},
    routes::{UsageQuery, UsageReport},
    routing::Explanation,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RouteInput {
    /// The model, as a caller would name it.
    model: String,
    /// A prompt, for how long the request is.
    #[serde(default)]
    prompt: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct ModelList {
    /// Names that can be used as a model.
    models: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct BreakerList {
    /// One for each credential and model.
    breakers: Vec<LaneStatus>,
}

/// The tools of this area.
pub fn tools(gateway: &Gateway, durable: Option<&Durable>) -> Vec<Tool> {
    let own = vec![
        complete(gateway.clone()),
        call(gateway.clone()),
        models(gateway.clone()),
        route(gateway.clone()),
        usage(gateway.clone()),
        breakers(gateway.clone()),
        set_breakers(gateway.clone()),
    ];
    own.into_iter().chain(durable.cloned().map(run_batch)).collect()
}

fn complete(gateway: Gateway) -> Tool {
    Tool::new(
        "llm_complete",
        "Asks a language model: a prompt or a conversation in, a text out, in JSON if a schema is given.",
        Scope::write("llm"),
        move |context, input: CompleteInput| {
            let gateway = gateway.clone();
            async move { gateway.complete(&context.caller, input).await as Result<Completion, Problem> }
        },
    )
}

fn call(gateway: Gateway) -> Tool {
    Tool::new(
        CALL_TOOL,
        "Makes a call of a vendor's API of language models: the request and the answer are in the vendor's form. A call with \
         the same idempotency key is made once.",
        Scope::write("llm"),
        move |context, input: CallInput| {
            let gateway = gateway.clone();
            async move { gateway.call(&context.caller, input).await as Result<CallOutput, Problem> }
        },
    )
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunBatchInput {
    /// The batch.
    batch: String,
}

fn run_batch(durable: Durable) -> Tool {
    Tool::new(
        BATCH_TOOL,
        "Carries out a batch of calls of language models to its end, from where it was. The job that each batch has calls it.",
        Scope::write("llm"),
        move |context, input: RunBatchInput| {
            let durable = durable.clone();
            async move {
                let ran = durable.run_batch(&context.caller, &input.batch, &context.progress).await;
                ran as Result<BatchView, Problem>
            }
        },
    )
}

fn models(gateway: Gateway) -> Tool {
    Tool::new(
        "llm_models",
        "Lists the language models that can be asked.",
        Scope::read("llm"),
        move |context, _: Nothing| {
            let models = gateway.models_for(&context.caller).into_iter().map(|(name, _)| name).collect();
            async move { Ok(ModelList { models }) }
        },
    )
}

fn route(gateway: Gateway) -> Tool {
    Tool::new(
        "llm_route",
        "Explains where a call of a language model would go and why, without making it.",
        Scope::read("llm"),
        move |context, input: RouteInput| {
            let message = json!({"role": "user", "content": input.prompt.unwrap_or_default()});
            let request = json!({"model": input.model, "messages": [message]});
            let explained: Result<Explanation, Problem> =
                gateway.explain(&context.caller, http::HeaderMap::new(), &request);
            async move { explained }
        },
    )
}

fn usage(gateway: Gateway) -> Tool {
    Tool::new(
        "llm_usage",
        "Tells what language models were used and what that cost, by model, provider, key or day.",
        Scope::read("llm"),
        move |context, query: UsageQuery| {
            let gateway = gateway.clone();
            async move { gateway.usage(&context.caller, &query).await as Result<UsageReport, Problem> }
        },
    )
}

fn breakers(gateway: Gateway) -> Tool {
    Tool::new(
        "llm_breakers",
        "Shows which credentials and models of providers work, rest or fail.",
        Scope::read("llm"),
        move |_, _: Nothing| {
            let breakers = gateway.lanes();
            async move { Ok(BreakerList { breakers }) }
        },
    )
}

fn set_breakers(gateway: Gateway) -> Tool {
    Tool::new(
        "llm_set_breakers",
        "Opens, closes or resets the breakers of a provider, model or credential: an open one lets no call pass.",
        Scope::admin("llm"),
        move |_, input: BreakerInput| {
            let breakers = gateway.set_breakers(&input);
            async move { Ok(BreakerList { breakers }) }
        },
    )
}
