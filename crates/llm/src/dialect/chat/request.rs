//! Requests for chat completions.

use serde_json::{Value, json};

use crate::{
    dialect::{
        canonical::{
            Media, MediaKind, MediaSource, Message, Output, Part, Reasoning, Request, Role, ToolChoice,
            ToolSpec,
        },
        json::{
            Members, check_schema, data_url, need_text, object, put, take, take_array, take_bool, take_count,
            take_number, take_text, take_texts,
        },
    },
    error::LlmError,
};

/// Members of OpenAI's that only its own dialect has a place for: passed on where that is spoken.
const OWN: [&str; 12] = [
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "n",
    "store",
    "metadata",
    "service_tier",
    "prediction",
    "modalities",
    "audio",
    "verbosity",
    "prompt_cache_key",
];

/// Reads a request.
pub(crate) fn read_request(body: Value) -> Result<Request, LlmError> {
    let mut members = object(body, "body")?;
    members.remove("model");
    members.remove("stream_options");
    if members.contains_key("functions") || members.contains_key("function_call") {
        return Err(LlmError::untranslatable("functions", "is deprecated and not translated; use `tools`"));
    }
    if members.get("n").and_then(Value::as_u64).is_some_and(|n| n > 1) {
        return Err(LlmError::untranslatable("n", "more than one answer cannot be asked of this provider"));
    }
    let mut request = Request {
        stream: take_bool(&mut members, "stream")?.unwrap_or(false),
        parallel_tools: take_bool(&mut members, "parallel_tool_calls")?,
        max_tokens: take_count(&mut members, "max_completion_tokens")?,
        temperature: take_number(&mut members, "temperature")?,
        top_p: take_number(&mut members, "top_p")?,
        top_k: take_number(&mut members, "top_k")?,
        presence_penalty: take_number(&mut members, "presence_penalty")?,
        frequency_penalty: take_number(&mut members, "frequency_penalty")?,
        seed: take_number(&mut members, "seed")?,
        stop: take_texts(&mut members, "stop")?,
        user: take_text(&mut members, "user")?,
        ..Request::default()
    };
    let old_limit = take_count(&mut members, "max_tokens")?;
    request.max_tokens = request.max_tokens.or(old_limit);
    if let Some(effort) = take_text(&mut members, "reasoning_effort")? {
        request.reasoning = Some(Reasoning { effort: Some(effort), budget_tokens: None });
    }
    for tool in take_array(&mut members, "tools")? {
        request.tools.push(read_tool(tool)?);
    }
    request.tool_choice = take(&mut members, "tool_choice").map(read_tool_choice).transpose()?;
    if let Some(format) = take(&mut members, "response_format") {
        request.output = read_format(object(format, "response_format")?)?;
    }
    for (index, message) in take_array(&mut members, "messages")?.into_iter().enumerate() {
        read_message(message, &format!("messages[{index}]"), &mut request)?;
    }
    request.extra = members;
    Ok(request)
}

fn read_tool(tool: Value) -> Result<ToolSpec, LlmError> {
    let mut tool = object(tool, "tools")?;
    if tool.get("type").and_then(Value::as_str) != Some("function") {
        return Err(LlmError::untranslatable("tools", "only tools of the type `function` can be translated"));
    }
    let cache = take(&mut tool, "cache_control");
    let mut function = object(tool.remove("function").unwrap_or_default(), "tools")?;
    let name = need_text(&mut function, "name", "tools")?;
    let schema =
        take(&mut function, "parameters").unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    check_schema(&schema, &name)?;
    Ok(ToolSpec {
        description: take_text(&mut function, "description")?,
        strict: take_bool(&mut function, "strict")?,
        name,
        schema,
        cache,
    })
}

fn read_tool_choice(choice: Value) -> Result<ToolChoice, LlmError> {
    let refused =
        || LlmError::invalid("tool_choice", "must be `auto`, `none`, `required` or name a function");
    match choice {
        Value::String(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(refused()),
        },
        choice => choice["function"]["name"]
            .as_str()
            .map(|name| ToolChoice::Named(name.to_owned()))
            .ok_or_else(refused),
    }
}

fn read_format(mut format: Members) -> Result<Output, LlmError> {
    match take_text(&mut format, "type")?.as_deref() {
        Some("text") | None => Ok(Output::Text),
        Some("json_object") => Ok(Output::Json),
        Some("json_schema") => {
            let mut schema = object(format.remove("json_schema").unwrap_or_default(), "response_format")?;
            Ok(Output::Schema {
                name: take_text(&mut schema, "name")?.unwrap_or_else(|| "answer".to_owned()),
                strict: take_bool(&mut schema, "strict")?,
                schema: take(&mut schema, "schema").unwrap_or_else(|| json!({"type": "object"})),
            })
        }
        Some(_) => {
            Err(LlmError::invalid("response_format", "must be `text`, `json_object` or `json_schema`"))
        }
    }
}

fn read_message(message: Value, field: &str, request: &mut Request) -> Result<(), LlmError> {
    let mut message = object(message, field)?;
    let role = need_text(&mut message, "role", field)?;
    let content = take(&mut message, "content");
    match role.as_str() {
        "system" | "developer" => request.system.extend(read_content(content, field)?),
        "user" => {
            let parts = read_content(content, field)?;
            request.messages.push(Message { role: Role::User, parts });
        }
        "assistant" => {
            let parts = read_assistant(&mut message, content, field)?;
            request.messages.push(Message { role: Role::Assistant, parts });
        }
        "tool" => {
            let id = need_text(&mut message, "tool_call_id", field)?;
            let part = Part::ToolResult { id, content: read_content(content, field)?, is_error: false };
            // Results of one round of calls belong into one turn.
            match request.messages.last_mut() {
                Some(last)
                    if last.role == Role::User
                        && last.parts.iter().all(|part| matches!(part, Part::ToolResult { .. })) =>
                {
                    last.parts.push(part);
                }
                _ => request.messages.push(Message { role: Role::User, parts: vec![part] }),
            }
        }
        _ => {
            let detail = "must have the role `system`, `developer`, `user`, `assistant` or `tool`";
            return Err(LlmError::invalid(field, detail));
        }
    }
    Ok(())
}

fn read_assistant(message: &mut Members, content: Option<Value>, field: &str) -> Result<Vec<Part>, LlmError> {
    let mut parts = Vec::new();
    if let Some(text) = take_text(message, "reasoning_content")? {
        parts.push(Part::Thinking { text, signature: take_text(message, "reasoning_signature")? });
    }
    parts.extend(read_content(content, field)?);
    if let Some(refusal) = take_text(message, "refusal")? {
        parts.push(Part::Refusal(refusal));
    }
    for call in take_array(message, "tool_calls")? {
        let mut call = object(call, field)?;
        let mut function = object(call.remove("function").unwrap_or_default(), field)?;
        parts.push(Part::ToolCall {
            id: need_text(&mut call, "id", field)?,
            name: need_text(&mut function, "name", field)?,
            arguments: take_text(&mut function, "arguments")?.unwrap_or_default(),
            signature: take_text(&mut call, "signature")?,
        });
    }
    Ok(parts)
}

fn read_content(content: Option<Value>, field: &str) -> Result<Vec<Part>, LlmError> {
    match content {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(parts)) => parts.into_iter().map(|part| read_part(part, field)).collect(),
        Some(_) => Err(LlmError::invalid(field, "must have a text or an array of parts as `content`")),
    }
}

fn read_part(part: Value, field: &str) -> Result<Part, LlmError> {
    let mut part = object(part, field)?;
    let kind = need_text(&mut part, "type", field)?;
    let cache = take(&mut part, "cache_control");
    match kind.as_str() {
        "text" => Ok(Part::Text { text: need_text(&mut part, "text", field)?, cache }),
        "refusal" => Ok(Part::Refusal(need_text(&mut part, "refusal", field)?)),
        "image_url" => {
            let mut image = object(part.remove("image_url").unwrap_or_default(), field)?;
            let url = need_text(&mut image, "url", field)?;
            let detail = take_text(&mut image, "detail")?;
            let source = match data_url(&url) {
                Some((mime, data)) => MediaSource::Base64 { mime, data },
                None => MediaSource::Url(url),
            };
            Ok(Part::Media(Media { kind: MediaKind::Image, source, detail, name: None, cache }))
        }
        "input_audio" => {
            let mut audio = object(part.remove("input_audio").unwrap_or_default(), field)?;
            let mime = format!("audio/{}", need_text(&mut audio, "format", field)?);
            let source = MediaSource::Base64 { mime, data: need_text(&mut audio, "data", field)? };
            Ok(Part::Media(Media { kind: MediaKind::Audio, source, detail: None, name: None, cache }))
        }
        "file" => {
            let mut file = object(part.remove("file").unwrap_or_default(), field)?;
            let name = take_text(&mut file, "filename")?;
            let data = take_text(&mut file, "file_data")?;
            let source = data.as_deref().and_then(data_url);
            let Some((mime, data)) = source else {
                let detail = "a file is translated only with its data, as `data:TYPE;base64,…`";
                return Err(LlmError::untranslatable(field, detail));
            };
            let source = MediaSource::Base64 { mime, data };
            Ok(Part::Media(Media { kind: MediaKind::Document, source, detail: None, name, cache }))
        }
        other => {
            Err(LlmError::untranslatable(field, format!("a part of the type `{other}` is not translated")))
        }
    }
}

/// Writes a request for a model.
pub(crate) fn write_request(request: &Request, model: &str) -> Result<Value, LlmError> {
    let mut members = Members::new();
    put(&mut members, "model", model);
    put(&mut members, "messages", write_messages(request)?);
    if request.stream {
        put(&mut members, "stream", true);
    }
    put(&mut members, "max_completion_tokens", request.max_tokens);
    for (name, number) in [
        ("temperature", &request.temperature),
        ("top_p", &request.top_p),
        ("presence_penalty", &request.presence_penalty),
        ("frequency_penalty", &request.frequency_penalty),
        ("seed", &request.seed),
    ] {
        put(&mut members, name, number.clone().map_or(Value::Null, Value::Number));
    }
    if !request.stop.is_empty() {
        put(&mut members, "stop", request.stop.clone());
    }
    if !request.tools.is_empty() {
        put(&mut members, "tools", request.tools.iter().map(write_tool).collect::<Vec<_>>());
        put(&mut members, "parallel_tool_calls", request.parallel_tools);
    }
    put(&mut members, "tool_choice", request.tool_choice.as_ref().map_or(Value::Null, write_tool_choice));
    put(&mut members, "response_format", write_format(&request.output));
    put(&mut members, "reasoning_effort", request.reasoning.as_ref().map(Reasoning::effort));
    put(&mut members, "user", request.user.clone());
    for name in OWN {
        if let Some(value) = request.extra.get(name) {
            put(&mut members, name, value.clone());
        }
    }
    Ok(Value::Object(members))
}

fn write_tool(tool: &ToolSpec) -> Value {
    let mut function = Members::new();
    put(&mut function, "name", tool.name.clone());
    put(&mut function, "description", tool.description.clone());
    put(&mut function, "parameters", tool.schema.clone());
    put(&mut function, "strict", tool.strict);
    json!({"type": "function", "function": function})
}

fn write_tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    }
}

fn write_format(output: &Output) -> Value {
    match output {
        Output::Text => Value::Null,
        Output::Json => json!({"type": "json_object"}),
        Output::Schema { name, schema, strict } => {
            let mut inner = json!({"name": name, "schema": schema});
            if let Some(strict) = strict {
                inner["strict"] = json!(strict);
            }
            json!({"type": "json_schema", "json_schema": inner})
        }
    }
}

fn write_messages(request: &Request) -> Result<Vec<Value>, LlmError> {
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({"role": "system", "content": write_content(&request.system)?}));
    }
    for message in &request.messages {
        match message.role {
            Role::User => write_user(message, &mut messages)?,
            Role::Assistant => messages.push(write_assistant(message)?),
        }
    }
    Ok(messages)
}

/// Results of tools are messages of their own, and come before what the user says beside them.
fn write_user(message: &Message, messages: &mut Vec<Value>) -> Result<(), LlmError> {
    let mut rest = Vec::new();
    for part in &message.parts {
        match part {
            Part::ToolResult { id, content, is_error } => {
                let text = super::super::canonical::text_of(content);
                let text = if *is_error { format!("Error: {text}") } else { text };
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": text}));
                // A tool message has no pictures: they follow as the user's.
                rest.extend(content.iter().filter(|part| matches!(part, Part::Media(_))).cloned());
            }
            part => rest.push(part.clone()),
        }
    }
    if !rest.is_empty() {
        messages.push(json!({"role": "user", "content": write_content(&rest)?}));
    }
    Ok(())
}

fn write_assistant(message: &Message) -> Result<Value, LlmError> {
    let mut members = Members::new();
    put(&mut members, "role", "assistant");
    let (mut calls, mut content) = (Vec::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::ToolCall { id, name, arguments, .. } => {
                let function = json!({"name": name, "arguments": arguments});
                calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            // Thoughts are for the vendor that proved them.
            Part::Thinking { .. } | Part::HiddenThinking(_) => {}
            Part::Refusal(text) => put(&mut members, "refusal", text.clone()),
            part => content.push(part.clone()),
        }
    }
    let content = if content.is_empty() { Value::Null } else { write_content(&content)? };
    members.insert("content".to_owned(), content);
    if !calls.is_empty() {
        put(&mut members, "tool_calls", calls);
    }
    Ok(Value::Object(members))
}

/// Parts; a single text as the text itself, which every compatible server understands. Anthropic's marks for its prompt
/// cache are left out: OpenAI caches by itself, and refuses members that it does not know.
fn write_content(parts: &[Part]) -> Result<Value, LlmError> {
    if let [Part::Text { text, .. }] = parts {
        return Ok(json!(text));
    }
    parts.iter().map(write_part).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn write_part(part: &Part) -> Result<Value, LlmError> {
    match part {
        Part::Text { text, .. } => Ok(json!({"type": "text", "text": text})),
        Part::Media(media) => Ok(write_media(media)),
        _ => Err(LlmError::untranslatable("messages", "has a part that does not belong into its turn")),
    }
}

fn write_media(media: &Media) -> Value {
    let url = match &media.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Base64 { mime, data } => format!("data:{mime};base64,{data}"),
    };
    match (media.kind, &media.source) {
        (MediaKind::Image, _) => {
            let mut image = json!({"url": url});
            if let Some(detail) = &media.detail {
                image["detail"] = json!(detail);
            }
            json!({"type": "image_url", "image_url": image})
        }
        (MediaKind::Audio, MediaSource::Base64 { mime, data }) => {
            let format = mime.strip_prefix("audio/").unwrap_or(mime);
            json!({"type": "input_audio", "input_audio": {"data": data, "format": format}})
        }
        _ => {
            let name = media.name.clone().unwrap_or_else(|| "document".to_owned());
            json!({"type": "file", "file": {"filename": name, "file_data": url}})
        }
    }
}
