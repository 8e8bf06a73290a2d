//! Runs are kept in the words of chat completions; this says them to the model gateway, and its answers to runs.

use std::sync::Arc;

use futures_util::{StreamExt, future::BoxFuture};
use paddock_llm::{
    CompleteInput, Completion, CompletionStream, EmbedInput, Gateway, PROVIDER_FAILED, Piece, PromptMessage,
    PromptTool, PromptToolCall,
};
use paddock_platform::{identity::Caller, problem::Problem};
use serde_json::{Value, json};

use crate::live::Teller;

/// What runs ask of models.
pub(crate) trait Model: Send + Sync {
    /// A request of chat completions in, its answer out. What the model says is told as it says it, if somebody hears it.
    fn ask(&self, request: Value, teller: Option<Arc<Teller>>) -> BoxFuture<'static, Result<Value, Problem>>;

    /// The embeddings of texts by a model, in their order.
    fn embed(&self, model: &str, texts: Vec<String>) -> BoxFuture<'static, Result<Vec<Vec<f32>>, Problem>>;
}

/// The models of the gateway, on behalf of a caller.
pub(crate) struct GatewayModel {
    gateway: Gateway,
    caller: Caller,
}

impl GatewayModel {
    pub(crate) const fn new(gateway: Gateway, caller: Caller) -> Self {
        Self { gateway, caller }
    }
}

impl Model for GatewayModel {
    fn ask(&self, request: Value, teller: Option<Arc<Teller>>) -> BoxFuture<'static, Result<Value, Problem>> {
        let (gateway, caller) = (self.gateway.clone(), self.caller.clone());
        Box::pin(async move {
            let input = input_of(&request);
            let completion = match teller {
                None => gateway.complete(&caller, input).await?,
                Some(teller) => told(gateway.stream(&caller, input).await?, &teller).await?,
            };
            Ok(answer_of(&completion))
        })
    }

    fn embed(&self, model: &str, texts: Vec<String>) -> BoxFuture<'static, Result<Vec<Vec<f32>>, Problem>> {
        let input = EmbedInput { model: model.to_owned(), texts, dimensions: None };
        self.gateway.embed(&self.caller, input)
    }
}

/// Tells what comes of an answer, and gives the whole.
async fn told(mut stream: CompletionStream, teller: &Teller) -> Result<Completion, Problem> {
    while let Some(piece) = stream.next().await {
        match piece? {
            Piece::Text(text) => teller.text(&text),
            Piece::Thinking(_) => {}
            Piece::Whole(whole) => {
                teller.end_text();
                return Ok(*whole);
            }
        }
    }
    Err(Problem::new(PROVIDER_FAILED, "the answer broke off"))
}

/// What the gateway is asked.
fn input_of(request: &Value) -> CompleteInput {
    let mut input = CompleteInput {
        model: request["model"].as_str().unwrap_or_default().to_owned(),
        schema: request["response_format"]["json_schema"].get("schema").cloned(),
        max_tokens: request["max_completion_tokens"].as_u64().and_then(|tokens| u32::try_from(tokens).ok()),
        temperature: request["temperature"].as_f64(),
        ..CompleteInput::default()
    };
    for message in request["messages"].as_array().into_iter().flatten() {
        let content = message["content"].as_str().unwrap_or_default().to_owned();
        let role = message["role"].as_str().unwrap_or_default();
        if role == "system" {
            // The summary of a conversation is told before it, too.
            let system = input.system.get_or_insert_default();
            if !system.is_empty() {
                system.push_str("\n\n");
            }
            system.push_str(&content);
            continue;
        }
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        input.messages.push(PromptMessage {
            role: role.to_owned(),
            content,
            tool_calls: calls.filter_map(call_of).collect(),
            tool_call_id: message["tool_call_id"].as_str().map(str::to_owned),
        });
    }
    for tool in request["tools"].as_array().into_iter().flatten() {
        let function = &tool["function"];
        input.tools.push(PromptTool {
            name: function["name"].as_str().unwrap_or_default().to_owned(),
            description: function["description"].as_str().unwrap_or_default().to_owned(),
            schema: function["parameters"].clone(),
        });
    }
    input
}

fn call_of(call: &Value) -> Option<PromptToolCall> {
    let arguments = call["function"]["arguments"].as_str().unwrap_or("{}");
    Some(PromptToolCall {
        id: call["id"].as_str()?.to_owned(),
        name: call["function"]["name"].as_str()?.to_owned(),
        arguments: serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments)),
    })
}

/// What the gateway answered.
fn answer_of(completion: &Completion) -> Value {
    let calls = completion.tool_calls.iter().map(|call| {
        let arguments = match &call.arguments {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": arguments } })
    });
    let calls: Vec<Value> = calls.collect();
    let mut message = json!({ "role": "assistant", "content": completion.text });
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    json!({
        "model": completion.model,
        "choices": [{ "message": message }],
        "usage": { "total_tokens": completion.input_tokens + completion.output_tokens },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_said_in_the_gateways_words() {
        let call =
            json!({ "id": "c", "type": "function", "function": { "name": "t", "arguments": "{\"x\":1}" } });
        let request = json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "system", "content": "Summary" },
                { "role": "user", "content": "hello" },
                { "role": "assistant", "content": null, "tool_calls": [call] },
                { "role": "tool", "tool_call_id": "c", "content": "7" },
            ],
            "tools": [{ "type": "function", "function": { "name": "t", "description": "d", "parameters": {} } }],
            "response_format": { "type": "json_schema", "json_schema": { "name": "answer", "schema": { "type": "object" } } },
        });
        let input = input_of(&request);
        assert_eq!(input.system.as_deref(), Some("Be brief.\n\nSummary"));
        assert_eq!(input.messages.len(), 3);
        assert_eq!(input.messages[1].tool_calls[0].arguments, json!({ "x": 1 }));
        assert_eq!(input.messages[2].tool_call_id.as_deref(), Some("c"));
        assert_eq!((input.tools[0].name.as_str(), input.schema), ("t", Some(json!({ "type": "object" }))));
    }
}
