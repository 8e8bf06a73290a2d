//! Requests for messages.

use serde_json::{Value, json};

use crate::{
    dialect::{
        canonical::{
            Media, MediaKind, MediaSource, Message, Output, Part, Reasoning, Request, Role, ToolChoice,
            ToolSpec,
        },
        json::{
            Members, arguments_object, check_schema, need_text, object, put, take, take_array, take_bool,
            take_count, take_number, take_text, take_texts,
        },
    },
    error::LlmError,
};

/// Anthropic wants a limit in every request; this is what is written where the caller names none.
const MAX_TOKENS_DEFAULT: u64 = 4096;
/// The least that thinking may be given.
const BUDGET_MIN: u64 = 1024;
/// What says "answer in JSON" where only schemas can be asked for.
const JSON_ONLY: &str = "Answer with one JSON object and nothing else.";
/// Members of Anthropic's that only its own dialect has a place for.
const OWN: [&str; 5] = ["service_tier", "container", "mcp_servers", "context_management", "cache_control"];

/// Reads a request.
pub(crate) fn read_request(body: Value) -> Result<Request, LlmError> {
    let mut members = object(body, "body")?;
    members.remove("model");
    let mut request = Request {
        stream: take_bool(&mut members, "stream")?.unwrap_or(false),
        max_tokens: take_count(&mut members, "max_tokens")?,
        temperature: take_number(&mut members, "temperature")?,
        top_p: take_number(&mut members, "top_p")?,
        top_k: take_number(&mut members, "top_k")?,
        stop: take_texts(&mut members, "stop_sequences")?,
        ..Request::default()
    };
    request.system = read_content(take(&mut members, "system"), "system")?;
    if let Some(metadata) = take(&mut members, "metadata") {
        request.user = metadata["user_id"].as_str().map(str::to_owned);
    }
    for tool in take_array(&mut members, "tools")? {
        request.tools.push(read_tool(tool)?);
    }
    if let Some(choice) = take(&mut members, "tool_choice") {
        request.parallel_tools = choice["disable_parallel_tool_use"].as_bool().map(|disabled| !disabled);
        request.tool_choice = Some(read_tool_choice(&choice)?);
    }
    read_effort(&mut members, &mut request)?;
    for (index, message) in take_array(&mut members, "messages")?.into_iter().enumerate() {
        let field = format!("messages[{index}]");
        let mut message = object(message, &field)?;
        let role = match need_text(&mut message, "role", &field)?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => {
                request.system.extend(read_content(take(&mut message, "content"), &field)?);
                continue;
            }
            _ => return Err(LlmError::invalid(&field, "must have the role `user` or `assistant`")),
        };
        let parts = read_content(take(&mut message, "content"), &field)?;
        request.messages.push(Message { role, parts });
    }
    request.extra = members;
    Ok(request)
}

fn read_effort(members: &mut Members, request: &mut Request) -> Result<(), LlmError> {
    let mut reasoning = Reasoning::default();
    let mut thinks = false;
    if let Some(thinking) = take(members, "thinking") {
        thinks = thinking["type"] != "disabled";
        reasoning.budget_tokens = thinking["budget_tokens"].as_u64();
    }
    if let Some(config) = take(members, "output_config") {
        let mut config = object(config, "output_config")?;
        reasoning.effort = take_text(&mut config, "effort")?;
        if let Some(format) = take(&mut config, "format") {
            request.output = read_format(format)?;
        }
    }
    if let Some(format) = take(members, "output_format") {
        request.output = read_format(format)?;
    }
    if thinks && reasoning == Reasoning::default() {
        // "Adaptive": as much as the model likes.
        reasoning.effort = Some("medium".to_owned());
    }
    if reasoning != Reasoning::default() {
        request.reasoning = Some(reasoning);
    }
    Ok(())
}

fn read_format(format: Value) -> Result<Output, LlmError> {
    let mut format = object(format, "output_config")?;
    let schema = take(&mut format, "schema")
        .ok_or_else(|| LlmError::invalid("output_config", "must have a format with a `schema`"))?;
    Ok(Output::Schema { name: "answer".to_owned(), schema, strict: Some(true) })
}

fn read_tool(tool: Value) -> Result<ToolSpec, LlmError> {
    let mut tool = object(tool, "tools")?;
    if let Some(kind) = take_text(&mut tool, "type")?
        && kind != "custom"
    {
        let detail = format!("the built-in tool `{kind}` is not translated for this provider");
        return Err(LlmError::untranslatable("tools", detail));
    }
    let name = need_text(&mut tool, "name", "tools")?;
    let schema = take(&mut tool, "input_schema")
        .ok_or_else(|| LlmError::invalid("tools", format!("lacks the `input_schema` of tool `{name}`")))?;
    check_schema(&schema, &name)?;
    Ok(ToolSpec {
        description: take_text(&mut tool, "description")?,
        strict: take_bool(&mut tool, "strict")?,
        cache: take(&mut tool, "cache_control"),
        name,
        schema,
    })
}

fn read_tool_choice(choice: &Value) -> Result<ToolChoice, LlmError> {
    match (choice["type"].as_str(), choice["name"].as_str()) {
        (Some("auto"), _) => Ok(ToolChoice::Auto),
        (Some("any"), _) => Ok(ToolChoice::Required),
        (Some("none"), _) => Ok(ToolChoice::None),
        (Some("tool"), Some(name)) => Ok(ToolChoice::Named(name.to_owned())),
        _ => Err(LlmError::invalid("tool_choice", "must have the type `auto`, `any`, `none` or `tool`")),
    }
}

pub(super) fn read_content(content: Option<Value>, field: &str) -> Result<Vec<Part>, LlmError> {
    match content {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(blocks)) => blocks.into_iter().map(|block| read_block(block, field)).collect(),
        Some(_) => Err(LlmError::invalid(field, "must be a text or an array of blocks")),
    }
}

/// Reads a content block, of requests and answers.
pub(super) fn read_block(block: Value, field: &str) -> Result<Part, LlmError> {
    let mut block = object(block, field)?;
    let kind = need_text(&mut block, "type", field)?;
    let cache = take(&mut block, "cache_control");
    match kind.as_str() {
        "text" => Ok(Part::Text { text: need_text(&mut block, "text", field)?, cache }),
        "image" | "document" => {
            let kind = if kind == "image" { MediaKind::Image } else { MediaKind::Document };
            let name = take_text(&mut block, "title")?;
            let mut source = object(block.remove("source").unwrap_or_default(), field)?;
            let source = match need_text(&mut source, "type", field)?.as_str() {
                "base64" => MediaSource::Base64 {
                    mime: need_text(&mut source, "media_type", field)?,
                    data: need_text(&mut source, "data", field)?,
                },
                "url" => MediaSource::Url(need_text(&mut source, "url", field)?),
                "text" => return Ok(Part::Text { text: need_text(&mut source, "data", field)?, cache }),
                _ => {
                    let detail = "a file kept by the vendor is not translated for this provider";
                    return Err(LlmError::untranslatable(field, detail));
                }
            };
            Ok(Part::Media(Media { kind, source, detail: None, name, cache }))
        }
        "tool_use" => Ok(Part::ToolCall {
            id: need_text(&mut block, "id", field)?,
            name: need_text(&mut block, "name", field)?,
            arguments: block.remove("input").unwrap_or_else(|| json!({})).to_string(),
            signature: None,
        }),
        "tool_result" => Ok(Part::ToolResult {
            id: need_text(&mut block, "tool_use_id", field)?,
            is_error: take_bool(&mut block, "is_error")?.unwrap_or(false),
            content: read_content(take(&mut block, "content"), field)?,
        }),
        "thinking" => Ok(Part::Thinking {
            text: need_text(&mut block, "thinking", field)?,
            signature: take_text(&mut block, "signature")?,
        }),
        "redacted_thinking" => Ok(Part::HiddenThinking(need_text(&mut block, "data", field)?)),
        other => {
            Err(LlmError::untranslatable(field, format!("a block of the type `{other}` is not translated")))
        }
    }
}

/// Writes a request for a model.
pub(crate) fn write_request(request: &Request, model: &str) -> Result<Value, LlmError> {
    let mut members = Members::new();
    put(&mut members, "model", model);
    let mut max_tokens = request.max_tokens.unwrap_or(MAX_TOKENS_DEFAULT);
    let reasoning = request.reasoning.as_ref().filter(|_| may_think(request));
    let budget = reasoning.and_then(Reasoning::budget).map(|budget| budget.max(BUDGET_MIN));
    if let Some(budget) = budget {
        // What is thought counts: the caller's limit is about the answer.
        if max_tokens <= budget {
            max_tokens += budget;
        }
        put(&mut members, "thinking", json!({"type": "enabled", "budget_tokens": budget}));
    }
    put(&mut members, "max_tokens", max_tokens);
    let mut system = request.system.clone();
    match &request.output {
        Output::Text => {}
        Output::Json => system.push(Part::text(JSON_ONLY)),
        Output::Schema { schema, .. } => {
            let format = json!({"type": "json_schema", "schema": schema});
            put(&mut members, "output_config", json!({"format": format}));
        }
    }
    if let [Part::Text { text, cache: None }] = system.as_slice() {
        put(&mut members, "system", text.clone());
    } else if !system.is_empty() {
        put(&mut members, "system", write_blocks(&system)?);
    }
    put(&mut members, "messages", write_messages(&request.messages)?);
    if request.stream {
        put(&mut members, "stream", true);
    }
    // Thinking allows no other temperature than its own.
    if budget.is_none() {
        put(&mut members, "temperature", request.temperature.clone().map_or(Value::Null, at_most_one));
        put(&mut members, "top_k", request.top_k.clone().map_or(Value::Null, Value::Number));
        // Models of today refuse both at once.
        if request.temperature.is_none() {
            put(&mut members, "top_p", request.top_p.clone().map_or(Value::Null, Value::Number));
        }
    }
    if !request.stop.is_empty() {
        put(&mut members, "stop_sequences", request.stop.clone());
    }
    if !request.tools.is_empty() {
        put(&mut members, "tools", request.tools.iter().map(write_tool).collect::<Vec<_>>());
        put(&mut members, "tool_choice", write_tool_choice(request));
    }
    if let Some(user) = &request.user {
        put(&mut members, "metadata", json!({"user_id": user}));
    }
    for name in OWN {
        if let Some(value) = request.extra.get(name).filter(|_| name != "service_tier") {
            put(&mut members, name, value.clone());
        }
    }
    Ok(Value::Object(members))
}

/// Anthropic refuses to think when a call is forced, and when the calls that are being answered came without thoughts.
fn may_think(request: &Request) -> bool {
    if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
        return false;
    }
    let last = request.messages.iter().rev().find(|turn| turn.role == Role::Assistant);
    last.is_none_or(|turn| {
        let has_calls = turn.parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
        let is_thought =
            |part: &Part| matches!(part, Part::Thinking { signature: Some(_), .. } | Part::HiddenThinking(_));
        !has_calls || turn.parts.iter().any(is_thought)
    })
}

/// OpenAI's temperatures go to 2, Anthropic's to 1.
fn at_most_one(temperature: serde_json::Number) -> Value {
    match temperature.as_f64() {
        Some(degrees) if degrees > 1.0 => json!(1.0),
        _ => Value::Number(temperature),
    }
}

fn write_tool(tool: &ToolSpec) -> Value {
    let mut written = Members::new();
    put(&mut written, "name", tool.name.clone());
    put(&mut written, "description", tool.description.clone());
    put(&mut written, "input_schema", with_type(&tool.schema));
    put(&mut written, "cache_control", tool.cache.clone().unwrap_or_default());
    Value::Object(written)
}

/// Anthropic insists on the type.
fn with_type(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(members) = &mut schema {
        members.entry("type").or_insert_with(|| json!("object"));
    }
    schema
}

fn write_tool_choice(request: &Request) -> Value {
    let mut choice = match &request.tool_choice {
        None if request.parallel_tools == Some(false) => json!({"type": "auto"}),
        None => return Value::Null,
        Some(ToolChoice::Auto) => json!({"type": "auto"}),
        Some(ToolChoice::None) => return json!({"type": "none"}),
        Some(ToolChoice::Required) => json!({"type": "any"}),
        Some(ToolChoice::Named(name)) => json!({"type": "tool", "name": name}),
    };
    if request.parallel_tools == Some(false) {
        choice["disable_parallel_tool_use"] = json!(true);
    }
    choice
}

/// Turns must alternate: what one side says twice in a row is one turn.
fn write_messages(messages: &[Message]) -> Result<Vec<Value>, LlmError> {
    let mut written: Vec<(Role, Vec<Value>)> = Vec::new();
    for message in messages {
        let blocks = write_blocks(&message.parts)?;
        match written.last_mut() {
            Some((role, turn)) if *role == message.role => turn.extend(blocks),
            _ => written.push((message.role, blocks)),
        }
    }
    let turns = written.into_iter().filter(|(_, blocks)| !blocks.is_empty());
    Ok(turns
        .map(|(role, blocks)| {
            let role = if role == Role::User { "user" } else { "assistant" };
            json!({"role": role, "content": blocks})
        })
        .collect())
}

pub(super) fn write_blocks(parts: &[Part]) -> Result<Vec<Value>, LlmError> {
    parts.iter().filter_map(|part| write_block(part).transpose()).collect()
}

/// A content block, of requests and answers; `None` where Anthropic has no use for the part.
fn write_block(part: &Part) -> Result<Option<Value>, LlmError> {
    let (mut block, cache) = match part {
        // Empty blocks are refused.
        Part::Text { text, .. } if text.is_empty() => return Ok(None),
        Part::Text { text, cache } => (json!({"type": "text", "text": text}), cache.as_ref()),
        Part::Media(media) => (write_media(media)?, media.cache.as_ref()),
        Part::ToolCall { id, name, arguments, .. } => {
            let input = arguments_object(arguments);
            (json!({"type": "tool_use", "id": id, "name": name, "input": input}), None)
        }
        Part::ToolResult { id, content, is_error } => {
            let mut block =
                json!({"type": "tool_result", "tool_use_id": id, "content": write_blocks(content)?});
            if *is_error {
                block["is_error"] = json!(true);
            }
            (block, None)
        }
        Part::Thinking { text, signature: Some(signature) } => {
            (json!({"type": "thinking", "thinking": text, "signature": signature}), None)
        }
        // Unproved thoughts are refused.
        Part::Thinking { signature: None, .. } => return Ok(None),
        Part::HiddenThinking(data) => (json!({"type": "redacted_thinking", "data": data}), None),
        Part::Refusal(text) => (json!({"type": "text", "text": text}), None),
    };
    if let Some(cache) = cache {
        block["cache_control"] = cache.clone();
    }
    Ok(Some(block))
}

fn write_media(media: &Media) -> Result<Value, LlmError> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Audio => {
            return Err(LlmError::untranslatable("messages", "has audio, which this provider does not take"));
        }
    };
    let source = match &media.source {
        MediaSource::Url(url) => json!({"type": "url", "url": url}),
        MediaSource::Base64 { mime, data } => json!({"type": "base64", "media_type": mime, "data": data}),
    };
    Ok(json!({"type": kind, "source": source}))
}
