//! The contract: one OpenAPI document merged from what the areas declare, served as JSON and as a page.

use axum::{Router, body::Bytes, extract::State, response::Response, routing::get};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::{Map, Value, json};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

use super::{docs, etag::Etag};
use crate::problem::{PROBLEM_JSON, Problem};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// The page is one file: nothing is loaded, nothing is run.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
);

/// The document that areas' routers are merged into: `OpenApiRouter::with_openapi(openapi::base(version)).merge(…)`.
pub fn base(version: &str) -> OpenApi {
    let info = InfoBuilder::new()
        .title("Paddock")
        .version(version)
        .description(Some(
            "One server that AI agents work on. Failures are problem documents (RFC 9457) with a stable `type`; \
             every answer carries `X-Request-Id` and `traceparent`.",
        ))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// The finished document: what every route has in common (problems, keys) is said here, once.
pub fn document(api: &OpenApi) -> Result<Value, Problem> {
    let mut document = serde_json::to_value(api)
        .map_err(|error| Problem::internal("writing the OpenAPI document", &error))?;
    let members = object(&mut document);
    let components = object(members.entry("components").or_insert_with(|| json!({})));
    insert(components, "schemas", "Problem", problem_schema());
    let problem = json!({
        "description": "What went wrong, as RFC 9457 has it.",
        "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    insert(components, "responses", "Problem", problem);
    insert(components, "securitySchemes", "bearer", json!({"type": "http", "scheme": "bearer"}));
    insert(
        components,
        "securitySchemes",
        "apiKey",
        json!({"type": "apiKey", "in": "header", "name": "X-Api-Key"}),
    );
    members.entry("security").or_insert_with(|| json!([{"bearer": []}, {"apiKey": []}, {}]));
    if let Some(Value::Object(paths)) = members.get_mut("paths") {
        for operation in paths.values_mut().flat_map(operations_mut) {
            let responses = object(object(operation).entry("responses").or_insert_with(|| json!({})));
            responses.entry("default").or_insert_with(|| json!({"$ref": "#/components/responses/Problem"}));
        }
    }
    Ok(document)
}

fn operations_mut(path: &mut Value) -> impl Iterator<Item = &mut Value> {
    let members = path.as_object_mut().into_iter().flatten();
    members.filter(|(name, _)| METHODS.contains(&name.as_str())).map(|(_, operation)| operation)
}

/// The value as an object; made one if it is not.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(members) => members,
        _ => unreachable!("made an object above"),
    }
}

fn insert(components: &mut Map<String, Value>, kind: &str, name: &str, value: Value) {
    object(components.entry(kind).or_insert_with(|| json!({}))).insert(name.to_owned(), value);
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "A failure: what happened, what was kept, what to do.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "description": "Stable identifier to branch on, for example `urn:paddock:problem:not-found`." },
            "title": { "type": "string", "description": "Summary, the same for every occurrence." },
            "status": { "type": "integer", "description": "The HTTP status." },
            "detail": { "type": "string", "description": "What happened this time." },
            "trace_id": { "type": "string", "description": "Finds the request in the server's log and traces." },
            "field": { "type": "string", "description": "The field or parameter that was refused." },
        },
        "additionalProperties": true,
    })
}

/// Serves the document at `/openapi.json` and its page at `/docs`.
pub fn router(api: &OpenApi) -> Result<Router, Problem> {
    let document = document(api)?;
    let page = Document::new("text/html; charset=utf-8", docs::render(&document).into());
    let json = Document::new("application/json", document.to_string().into());
    Ok(Router::new()
        .route("/openapi.json", get(serve).with_state(json))
        .route("/docs", get(serve).with_state(page)))
}

#[derive(Clone)]
struct Document {
    media_type: &'static str,
    bytes: Bytes,
    etag: Etag,
}

impl Document {
    fn new(media_type: &'static str, bytes: Bytes) -> Self {
        Self { media_type, etag: Etag::of(&bytes), bytes }
    }
}

async fn serve(State(document): State<Document>, headers: HeaderMap) -> Response {
    let mut response = document.etag.answer(&headers, document.media_type, document.bytes.clone());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("content-security-policy"), PAGE_POLICY);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_that_it_may_fail_with_a_problem() {
        let toolbox = crate::tool::Toolbox::new([]).unwrap();
        let (_, api) = utoipa_axum::router::OpenApiRouter::with_openapi(base("1.2.3"))
            .merge(super::super::tools::router(toolbox))
            .split_for_parts();
        let document = document(&api).unwrap();
        assert_eq!(document["info"]["version"], "1.2.3");
        let mut paths = document["paths"].clone();
        let operations: Vec<_> =
            paths.as_object_mut().unwrap().values_mut().flat_map(operations_mut).collect();
        assert_eq!(operations.len(), 2);
        for operation in operations {
            assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/Problem");
        }
        assert!(document["components"]["schemas"]["Problem"].is_object());
        assert!(document["components"]["schemas"]["ToolList"].is_object());
    }
}
