//! Requests for responses.

use serde_json::{Value, json};

use crate::{
    dialect::{
        canonical::{
            Media, MediaKind, MediaSource, Message, Output, Part, Reasoning, Request, Role, ToolChoice,
            ToolSpec,
        },
        json::{
            Members, check_schema, data_url, need_text, object, take, take_array, take_bool, take_count,
            take_number, take_text,
        },
    },
    error::LlmError,
};

/// Reads a request.
pub(crate) fn read_request(body: Value) -> Result<Request, LlmError> {
    let mut members = object(body, "body")?;
    members.remove("model");
    for field in ["previous_response_id", "conversation", "prompt"] {
        if take(&mut members, field).is_some() {
            let detail = "is kept by the vendor, and the model behind this name is at another";
            return Err(LlmError::untranslatable(field, detail));
        }
    }
    if take_bool(&mut members, "background")?.unwrap_or(false) {
        return Err(LlmError::untranslatable("background", "is not possible at this provider"));
    }
    let mut request = Request {
        stream: take_bool(&mut members, "stream")?.unwrap_or(false),
        parallel_tools: take_bool(&mut members, "parallel_tool_calls")?,
        max_tokens: take_count(&mut members, "max_output_tokens")?,
        temperature: take_number(&mut members, "temperature")?,
        top_p: take_number(&mut members, "top_p")?,
        user: take_text(&mut members, "user")?,
        ..Request::default()
    };
    if let Some(text) = take_text(&mut members, "instructions")? {
        request.system.push(Part::text(text));
    }
    if let Some(reasoning) = take(&mut members, "reasoning") {
        let effort = reasoning["effort"].as_str().map(str::to_owned);
        request.reasoning = effort.map(|effort| Reasoning { effort: Some(effort), budget_tokens: None });
    }
    for tool in take_array(&mut members, "tools")? {
        request.tools.push(read_tool(tool)?);
    }
    request.tool_choice = take(&mut members, "tool_choice").as_ref().map(read_tool_choice).transpose()?;
    if let Some(text) = take(&mut members, "text") {
        request.output = read_format(&text["format"]);
    }
    match take(&mut members, "input") {
        Some(Value::String(text)) => {
            request.messages.push(Message { role: Role::User, parts: vec![Part::text(text)] });
        }
        Some(Value::Array(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                read_item(item, &format!("input[{index}]"), &mut request)?;
            }
        }
        _ => return Err(LlmError::invalid("input", "must be a text or an array of items")),
    }
    request.extra = members;
    Ok(request)
}

fn read_tool(tool: Value) -> Result<ToolSpec, LlmError> {
    let mut tool = object(tool, "tools")?;
    let kind = need_text(&mut tool, "type", "tools")?;
    if kind != "function" {
        let detail = format!("the vendor's own tool `{kind}` is not translated for this provider");
        return Err(LlmError::untranslatable("tools", detail));
    }
    let name = need_text(&mut tool, "name", "tools")?;
    let schema = take(&mut tool, "parameters").unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    check_schema(&schema, &name)?;
    Ok(ToolSpec {
        description: take_text(&mut tool, "description")?,
        strict: take_bool(&mut tool, "strict")?,
        cache: None,
        name,
        schema,
    })
}

fn read_tool_choice(choice: &Value) -> Result<ToolChoice, LlmError> {
    match (choice.as_str(), choice["name"].as_str()) {
        (Some("auto"), _) => Ok(ToolChoice::Auto),
        (Some("none"), _) => Ok(ToolChoice::None),
        (Some("required"), _) => Ok(ToolChoice::Required),
        (None, Some(name)) => Ok(ToolChoice::Named(name.to_owned())),
        _ => Err(LlmError::invalid("tool_choice", "must be `auto`, `none`, `required` or name a function")),
    }
}

fn read_format(format: &Value) -> Output {
    match format["type"].as_str() {
        Some("json_object") => Output::Json,
        Some("json_schema") => Output::Schema {
            name: format["name"].as_str().unwrap_or("answer").to_owned(),
            schema: format["schema"].clone(),
            strict: format["strict"].as_bool(),
        },
        _ => Output::Text,
    }
}

fn read_item(item: Value, field: &str, request: &mut Request) -> Result<(), LlmError> {
    let mut item = object(item, field)?;
    let kind = take_text(&mut item, "type")?;
    match kind.as_deref() {
        None | Some("message") => {
            let role = need_text(&mut item, "role", field)?;
            let parts = read_content(&mut item, field)?;
            match role.as_str() {
                "system" | "developer" => request.system.extend(parts),
                "user" => push(request, Role::User, parts),
                "assistant" => push(request, Role::Assistant, parts),
                _ => {
                    return Err(LlmError::invalid(
                        field,
                        "must have the role of a system, user or assistant",
                    ));
                }
            }
        }
        Some("function_call") => {
            let part = Part::ToolCall {
                id: need_text(&mut item, "call_id", field)?,
                name: need_text(&mut item, "name", field)?,
                arguments: take_text(&mut item, "arguments")?.unwrap_or_default(),
                signature: None,
            };
            push(request, Role::Assistant, vec![part]);
        }
        Some("function_call_output") => {
            let id = need_text(&mut item, "call_id", field)?;
            let content = match take(&mut item, "output") {
                Some(Value::String(text)) => vec![Part::text(text)],
                Some(Value::Array(parts)) => {
                    parts.into_iter().map(|part| read_part(part, field)).collect::<Result<_, _>>()?
                }
                _ => Vec::new(),
            };
            push(request, Role::User, vec![Part::ToolResult { id, content, is_error: false }]);
        }
        // What one vendor thought, encrypted, says nothing to another.
        Some("reasoning") => {}
        Some(other) => {
            let detail = format!("an item of the type `{other}` is not translated");
            return Err(LlmError::untranslatable(field, detail));
        }
    }
    Ok(())
}

/// What one side says in several items is one turn.
fn push(request: &mut Request, role: Role, parts: Vec<Part>) {
    match request.messages.last_mut() {
        Some(last) if last.role == role => last.parts.extend(parts),
        _ => request.messages.push(Message { role, parts }),
    }
}

fn read_content(item: &mut Members, field: &str) -> Result<Vec<Part>, LlmError> {
    match take(item, "content") {
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(parts)) => parts.into_iter().map(|part| read_part(part, field)).collect(),
        _ => Err(LlmError::invalid(field, "must have a text or an array of parts as `content`")),
    }
}

fn read_part(part: Value, field: &str) -> Result<Part, LlmError> {
    let mut part = object(part, field)?;
    match need_text(&mut part, "type", field)?.as_str() {
        "input_text" | "output_text" | "text" => Ok(Part::text(need_text(&mut part, "text", field)?)),
        "refusal" => Ok(Part::Refusal(need_text(&mut part, "refusal", field)?)),
        "input_image" => {
            let url = need_text(&mut part, "image_url", field)?;
            let source = match data_url(&url) {
                Some((mime, data)) => MediaSource::Base64 { mime, data },
                None => MediaSource::Url(url),
            };
            let detail = take_text(&mut part, "detail")?;
            Ok(Part::Media(Media { kind: MediaKind::Image, source, detail, name: None, cache: None }))
        }
        "input_file" => {
            let name = take_text(&mut part, "filename")?;
            let source = match (take_text(&mut part, "file_data")?, take_text(&mut part, "file_url")?) {
                (Some(data), _) => data_url(&data).map(|(mime, data)| MediaSource::Base64 { mime, data }),
                (None, url) => url.map(MediaSource::Url),
            };
            let source = source.ok_or_else(|| {
                LlmError::untranslatable(field, "a file is translated only with its data or URL")
            })?;
            Ok(Part::Media(Media { kind: MediaKind::Document, source, detail: None, name, cache: None }))
        }
        other => {
            Err(LlmError::untranslatable(field, format!("a part of the type `{other}` is not translated")))
        }
    }
}
