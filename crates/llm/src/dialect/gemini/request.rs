//! Requests for content.

use serde_json::{Value, json};

use crate::{
    dialect::{
        canonical::{
            Media, MediaKind, MediaSource, Message, Output, Part, Reasoning, Request, Role, ToolChoice,
            ToolSpec, text_of,
        },
        json::{
            Members, arguments_object, need_text, object, put, take, take_array, take_bool, take_count,
            take_number, take_text, take_texts,
        },
    },
    error::LlmError,
};

/// Reads a request; the path says whether it streams.
pub(crate) fn read_request(body: Value, stream: bool) -> Result<Request, LlmError> {
    let mut members = object(body, "body")?;
    let mut request = Request { stream, ..Request::default() };
    if let Some(system) = take(&mut members, "systemInstruction") {
        request.system = read_parts(system, &mut Vec::new())?;
    }
    if let Some(config) = take(&mut members, "generationConfig") {
        read_config(object(config, "generationConfig")?, &mut request)?;
    }
    for tool in take_array(&mut members, "tools")? {
        let mut tool = object(tool, "tools")?;
        for function in take_array(&mut tool, "functionDeclarations")? {
            let mut function = object(function, "tools")?;
            request.tools.push(ToolSpec {
                name: need_text(&mut function, "name", "tools")?,
                description: take_text(&mut function, "description")?,
                schema: take(&mut function, "parametersJsonSchema")
                    .or_else(|| take(&mut function, "parameters"))
                    .unwrap_or_else(|| json!({"type": "object"})),
                strict: None,
                cache: None,
            });
        }
    }
    if let Some(config) = take(&mut members, "toolConfig") {
        let config = &config["functionCallingConfig"];
        let named = config["allowedFunctionNames"][0].as_str();
        request.tool_choice = match (config["mode"].as_str(), named) {
            (Some("ANY"), Some(name)) => Some(ToolChoice::Named(name.to_owned())),
            (Some("ANY"), None) => Some(ToolChoice::Required),
            (Some("NONE"), _) => Some(ToolChoice::None),
            _ => Some(ToolChoice::Auto),
        };
    }
    let mut calls = Vec::new();
    for content in take_array(&mut members, "contents")? {
        let role = if content["role"] == "model" { Role::Assistant } else { Role::User };
        request.messages.push(Message { role, parts: read_parts(content, &mut calls)? });
    }
    request.extra = members;
    Ok(request)
}

fn read_config(mut config: Members, request: &mut Request) -> Result<(), LlmError> {
    request.max_tokens = take_count(&mut config, "maxOutputTokens")?;
    request.temperature = take_number(&mut config, "temperature")?;
    request.top_p = take_number(&mut config, "topP")?;
    request.top_k = take_number(&mut config, "topK")?;
    request.seed = take_number(&mut config, "seed")?;
    request.stop = take_texts(&mut config, "stopSequences")?;
    let schema = take(&mut config, "responseJsonSchema").or_else(|| take(&mut config, "responseSchema"));
    request.output = match schema {
        Some(schema) => Output::Schema { name: "answer".to_owned(), schema, strict: None },
        None if config.get("responseMimeType").is_some_and(|mime| mime == "application/json") => Output::Json,
        None => Output::Text,
    };
    if let Some(thinking) = take(&mut config, "thinkingConfig") {
        request.reasoning =
            Some(Reasoning { effort: None, budget_tokens: thinking["thinkingBudget"].as_u64() });
    }
    Ok(())
}

/// A call that was read: its function, and its id.
pub(super) type ReadCall = (String, String);

/// Reads parts. Calls and results need not have ids: `calls` remembers those that were read, and a result without an id
/// is that of the last call of its function.
pub(super) fn read_parts(content: Value, calls: &mut Vec<ReadCall>) -> Result<Vec<Part>, LlmError> {
    let mut content = object(content, "contents")?;
    take_array(&mut content, "parts")?.into_iter().map(|part| read_part(part, calls)).collect()
}

fn read_part(part: Value, calls: &mut Vec<ReadCall>) -> Result<Part, LlmError> {
    let mut part = object(part, "parts")?;
    let signature = take_text(&mut part, "thoughtSignature")?;
    if let Some(text) = take_text(&mut part, "text")? {
        if take_bool(&mut part, "thought")?.unwrap_or(false) {
            return Ok(Part::Thinking { text, signature });
        }
        return Ok(Part::text(text));
    }
    if let Some(call) = take(&mut part, "functionCall") {
        let mut call = object(call, "functionCall")?;
        let name = need_text(&mut call, "name", "functionCall")?;
        let id = take_text(&mut call, "id")?.unwrap_or_else(|| format!("call_{}", calls.len()));
        calls.push((name.clone(), id.clone()));
        let arguments = call.remove("args").unwrap_or_else(|| json!({})).to_string();
        return Ok(Part::ToolCall { id, name, arguments, signature });
    }
    if let Some(response) = take(&mut part, "functionResponse") {
        let mut response = object(response, "functionResponse")?;
        let name = need_text(&mut response, "name", "functionResponse")?;
        let id = take_text(&mut response, "id")?;
        let of_name = calls.iter().rev().find(|(known, _)| *known == name).map(|(_, id)| id.clone());
        let id = id.or(of_name).unwrap_or(name);
        let result = response.remove("response").unwrap_or_default();
        let text = result["output"].as_str().map_or_else(|| result.to_string(), str::to_owned);
        let is_error = result.get("error").is_some();
        return Ok(Part::ToolResult { id, content: vec![Part::text(text)], is_error });
    }
    if let Some(inline) = take(&mut part, "inlineData") {
        let mut inline = object(inline, "inlineData")?;
        let mime = need_text(&mut inline, "mimeType", "inlineData")?;
        let data = need_text(&mut inline, "data", "inlineData")?;
        let kind = kind_of(&mime);
        let source = MediaSource::Base64 { mime, data };
        return Ok(Part::Media(Media { kind, source, detail: None, name: None, cache: None }));
    }
    if let Some(file) = take(&mut part, "fileData") {
        let url = file["fileUri"].as_str().unwrap_or_default().to_owned();
        let kind = kind_of(file["mimeType"].as_str().unwrap_or("image/"));
        let source = MediaSource::Url(url);
        return Ok(Part::Media(Media { kind, source, detail: None, name: None, cache: None }));
    }
    Err(LlmError::untranslatable("parts", "has a part that is not translated"))
}

fn kind_of(mime: &str) -> MediaKind {
    if mime.starts_with("image/") {
        MediaKind::Image
    } else if mime.starts_with("audio/") {
        MediaKind::Audio
    } else {
        MediaKind::Document
    }
}

/// Writes a request. The model and whether it streams are in the path.
pub(crate) fn write_request(request: &Request) -> Result<Value, LlmError> {
    let mut members = Members::new();
    if !request.system.is_empty() {
        put(&mut members, "systemInstruction", json!({"parts": [{"text": text_of(&request.system)}]}));
    }
    put(&mut members, "contents", write_contents(&request.messages)?);
    if !request.tools.is_empty() {
        let functions: Vec<Value> = request.tools.iter().map(write_tool).collect();
        put(&mut members, "tools", json!([{"functionDeclarations": functions}]));
        if let Some(choice) = &request.tool_choice {
            let config = match choice {
                ToolChoice::Auto => json!({"mode": "AUTO"}),
                ToolChoice::None => json!({"mode": "NONE"}),
                ToolChoice::Required => json!({"mode": "ANY"}),
                ToolChoice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
            };
            put(&mut members, "toolConfig", json!({"functionCallingConfig": config}));
        }
    }
    let config = write_config(request);
    if !config.is_empty() {
        put(&mut members, "generationConfig", config);
    }
    for name in ["safetySettings", "cachedContent", "labels"] {
        if let Some(value) = request.extra.get(name) {
            put(&mut members, name, value.clone());
        }
    }
    Ok(Value::Object(members))
}

fn write_config(request: &Request) -> Members {
    let mut config = Members::new();
    put(&mut config, "maxOutputTokens", request.max_tokens);
    for (name, number) in [
        ("temperature", &request.temperature),
        ("topP", &request.top_p),
        ("topK", &request.top_k),
        ("seed", &request.seed),
        ("presencePenalty", &request.presence_penalty),
        ("frequencyPenalty", &request.frequency_penalty),
    ] {
        put(&mut config, name, number.clone().map_or(Value::Null, Value::Number));
    }
    if !request.stop.is_empty() {
        put(&mut config, "stopSequences", request.stop.clone());
    }
    match &request.output {
        Output::Text => {}
        Output::Json => put(&mut config, "responseMimeType", "application/json"),
        Output::Schema { schema, .. } => {
            put(&mut config, "responseMimeType", "application/json");
            put(&mut config, "responseJsonSchema", schema.clone());
        }
    }
    if let Some(reasoning) = &request.reasoning {
        let budget = reasoning.budget().unwrap_or(0);
        put(&mut config, "thinkingConfig", json!({"thinkingBudget": budget, "includeThoughts": budget > 0}));
    }
    config
}

fn write_tool(tool: &ToolSpec) -> Value {
    let mut function = Members::new();
    put(&mut function, "name", tool.name.clone());
    put(&mut function, "description", tool.description.clone());
    put(&mut function, "parametersJsonSchema", tool.schema.clone());
    Value::Object(function)
}

fn write_contents(messages: &[Message]) -> Result<Vec<Value>, LlmError> {
    // Results name the function, not the call.
    let mut names: Vec<(&str, &str)> = Vec::new();
    let mut contents: Vec<Value> = Vec::new();
    for message in messages {
        let mut parts = Vec::new();
        for part in &message.parts {
            if let Part::ToolCall { id, name, .. } = part {
                names.push((id, name));
            }
            write_part(part, &names, &mut parts)?;
        }
        let role = if message.role == Role::User { "user" } else { "model" };
        match contents.last_mut() {
            Some(last) if last["role"] == role => {
                if let Some(turn) = last["parts"].as_array_mut() {
                    turn.extend(parts);
                }
            }
            _ if parts.is_empty() => {}
            _ => contents.push(json!({"role": role, "parts": parts})),
        }
    }
    Ok(contents)
}

pub(super) fn write_part(
    part: &Part,
    names: &[(&str, &str)],
    parts: &mut Vec<Value>,
) -> Result<(), LlmError> {
    match part {
        Part::Text { text, .. } | Part::Refusal(text) => parts.push(json!({"text": text})),
        Part::Media(media) => parts.push(write_media(media)),
        Part::ToolCall { id, name, arguments, signature } => {
            let call = json!({"id": id, "name": name, "args": arguments_object(arguments)});
            let mut written = json!({"functionCall": call});
            if let Some(signature) = signature {
                written["thoughtSignature"] = json!(signature);
            }
            parts.push(written);
        }
        Part::ToolResult { id, content, is_error } => {
            let name = names.iter().rev().find(|(known, _)| known == id).map(|(_, name)| *name);
            let Some(name) = name else {
                return Err(LlmError::invalid("messages", "has the result of a tool that was not called"));
            };
            let key = if *is_error { "error" } else { "output" };
            let result = json!({"id": id, "name": name, "response": {key: text_of(content)}});
            parts.push(json!({"functionResponse": result}));
            for part in content.iter().filter(|part| matches!(part, Part::Media(_))) {
                write_part(part, names, parts)?;
            }
        }
        Part::Thinking { text, signature } => {
            let mut written = json!({"text": text, "thought": true});
            if let Some(signature) = signature {
                written["thoughtSignature"] = json!(signature);
            }
            parts.push(written);
        }
        Part::HiddenThinking(_) => {}
    }
    Ok(())
}

fn write_media(media: &Media) -> Value {
    match &media.source {
        MediaSource::Base64 { mime, data } => json!({"inlineData": {"mimeType": mime, "data": data}}),
        MediaSource::Url(url) => {
            let mime = match media.kind {
                MediaKind::Image => "image/jpeg",
                MediaKind::Document => "application/pdf",
                MediaKind::Audio => "audio/mpeg",
            };
            json!({"fileData": {"mimeType": mime, "fileUri": url}})
        }
    }
}
