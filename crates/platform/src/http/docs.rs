//! The page at `/docs`: the OpenAPI document for people, as one file of HTML without scripts.

use std::fmt::Write as _;

use serde_json::Value;

/// How deep nested objects are spelled out; also what ends a schema that contains itself.
const DEPTH_MAX: usize = 6;

const STYLE: &str = include_str!("docs.css");

/// The document as a page.
pub(super) fn render(document: &Value) -> String {
    let mut page = Page { document, html: String::with_capacity(64 << 10) };
    page.write(document);
    page.html
}

struct Page<'a> {
    document: &'a Value,
    html: String,
}

/// One operation with where it is.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn anchor(&self) -> String {
        let name = format!("{}-{}", self.method, self.path);
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }

    fn tag(&self) -> &str {
        self.value["tags"][0].as_str().unwrap_or("server")
    }
}

impl<'a> Page<'a> {
    fn write(&mut self, document: &'a Value) {
        let info = &document["info"];
        let title = text(&info["title"]);
        let operations = operations(document);
        self.push(&format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{title} API</title>\
             <style>{STYLE}</style></head><body><header><h1>{title} <small>{}</small></h1>{}\
             <p>The same as a document for machines: <a href=\"/openapi.json\">/openapi.json</a>.</p></header>",
            text(&info["version"]),
            prose(info["description"].as_str().unwrap_or_default()),
        ));
        let mut tags: Vec<&str> = operations.iter().map(Operation::tag).collect();
        tags.sort_unstable();
        tags.dedup();
        self.write_contents(&tags, &operations);
        self.push("<main>");
        for tag in tags {
            self.push(&format!("<section><h2 id=\"{0}\">{0}</h2>", escape(tag)));
            for operation in operations.iter().filter(|operation| operation.tag() == tag) {
                self.write_operation(operation);
            }
            self.push("</section>");
        }
        self.write_problem();
        self.push("</main></body></html>");
    }

    fn push(&mut self, html: &str) {
        self.html.push_str(html);
    }

    fn write_contents(&mut self, tags: &[&str], operations: &[Operation<'_>]) {
        self.push("<nav aria-label=\"Contents\">");
        for tag in tags {
            self.push(&format!("<a class=\"tag\" href=\"#{0}\">{0}</a><ul>", escape(tag)));
            for operation in operations.iter().filter(|operation| operation.tag() == *tag) {
                self.push(&format!(
                    "<li><a href=\"#{}\"><b class=\"{1}\">{1}</b> {2}</a></li>",
                    operation.anchor(),
                    escape(operation.method),
                    path_html(operation.path)
                ));
            }
            self.push("</ul>");
        }
        self.push("</nav>");
    }

    fn write_operation(&mut self, operation: &Operation<'_>) {
        let value = operation.value;
        self.push(&format!(
            "<article id=\"{}\"><h3><b class=\"{1}\">{1}</b> <code>{2}</code></h3>",
            operation.anchor(),
            escape(operation.method),
            path_html(operation.path)
        ));
        if let Some(summary) = value["summary"].as_str() {
            self.push(&format!("<p class=\"summary\">{}</p>", inline(summary)));
        }
        self.push(&prose(value["description"].as_str().unwrap_or_default()));
        self.write_parameters(&value["parameters"]);
        let body = &value["requestBody"];
        if body.is_object() {
            self.push("<h4>Body</h4>");
            self.push(&prose(body["description"].as_str().unwrap_or_default()));
            self.write_content(&body["content"]);
        }
        for (status, response) in value["responses"].as_object().into_iter().flatten() {
            // Problems are the same everywhere: told once at the end.
            if status == "default" {
                continue;
            }
            self.push(&format!(
                "<h4>{} {}</h4>",
                escape(status),
                inline(response["description"].as_str().unwrap_or_default())
            ));
            self.write_content(&response["content"]);
        }
        self.push("</article>");
    }

    fn write_parameters(&mut self, parameters: &Value) {
        let Some(parameters) = parameters.as_array().filter(|parameters| !parameters.is_empty()) else {
            return;
        };
        self.push("<h4>Parameters</h4><dl>");
        for parameter in parameters {
            let required = parameter["required"].as_bool().unwrap_or(false);
            self.push(&format!(
                "<dt><code>{}</code> <span>{} in {}{}</span></dt><dd>{}</dd>",
                text(&parameter["name"]),
                escape(&self.label(&parameter["schema"])),
                text(&parameter["in"]),
                if required { "" } else { ", optional" },
                inline(parameter["description"].as_str().unwrap_or_default()),
            ));
        }
        self.push("</dl>");
    }

    fn write_content(&mut self, content: &Value) {
        for (media_type, body) in content.as_object().into_iter().flatten() {
            self.push(&format!("<p class=\"media\">{}</p>", escape(media_type)));
            self.write_schema(&body["schema"], 0);
        }
    }

    /// Follows a reference into the document.
    fn resolve<'v>(&self, schema: &'v Value) -> &'v Value
    where
        'a: 'v,
    {
        let target = schema["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
        target.and_then(|pointer| self.document.pointer(pointer)).unwrap_or(schema)
    }

    /// The type in a few words; that of a reference to an enumeration is its values.
    fn label(&self, schema: &Value) -> String {
        let resolved = self.resolve(schema);
        type_name(if resolved["enum"].is_array() { resolved } else { schema })
    }

    fn write_schema(&mut self, schema: &Value, depth: usize) {
        let resolved = self.resolve(schema);
        let object = if resolved["type"] == "array" { self.resolve(&resolved["items"]) } else { resolved };
        let Some(properties) = object["properties"].as_object().filter(|_| depth < DEPTH_MAX) else {
            if depth == 0 {
                let name = self.label(schema);
                self.push(&format!("<p><span>{}</span></p>", escape(&name)));
            }
            return;
        };
        self.push(if depth == 0 { "<dl>" } else { "<details><summary>fields</summary><dl>" });
        for (name, property) in properties {
            self.write_property(name, property, &object["required"], depth);
        }
        self.push(if depth == 0 { "</dl>" } else { "</dl></details>" });
    }

    fn write_property(&mut self, name: &str, property: &Value, required: &Value, depth: usize) {
        let required = required.as_array().is_some_and(|required| required.iter().any(|field| field == name));
        self.push(&format!(
            "<dt><code>{}</code> <span>{}{}</span></dt><dd>{}",
            escape(name),
            escape(&self.label(property)),
            if required { "" } else { ", optional" },
            inline(property["description"].as_str().unwrap_or_default()),
        ));
        self.write_schema(property, depth + 1);
        self.push("</dd>");
    }

    fn write_problem(&mut self) {
        let document = self.document;
        let response = &document["components"]["responses"]["Problem"];
        if response.is_object() {
            self.push("<section><h2 id=\"problems\">problems</h2><article>");
            self.push(&prose(response["description"].as_str().unwrap_or_default()));
            self.push("<p>Every route may fail with one.</p>");
            self.write_content(&response["content"]);
            self.push("</article></section>");
        }
    }
}

/// The type in a few words.
fn type_name(schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        return target.rsplit('/').next().unwrap_or(target).to_owned();
    }
    for union in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[union].as_array() {
            let names: Vec<_> = parts.iter().map(type_name).collect();
            return names.join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        return values.join(" or ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", type_name(&schema["items"])),
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
            names.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object();
    let mut operations = Vec::new();
    for (path, item) in paths.into_iter().flatten() {
        for method in ["get", "post", "put", "patch", "delete", "head", "options"] {
            if let Some(value) = item.get(method) {
                operations.push(Operation { method, path, value });
            }
        }
    }
    operations
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A path may break between its segments, and its parameters stand out.
fn path_html(path: &str) -> String {
    let mut html = String::new();
    for segment in path.split_inclusive('/') {
        let parameter = segment.starts_with('{');
        let escaped = escape(segment);
        let _ = if parameter { write!(html, "<i>{escaped}</i>") } else { write!(html, "{escaped}<wbr>") };
    }
    html
}

/// Text with `code` marked up.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let escaped = escape(part);
        let _ =
            if index % 2 == 1 { write!(html, "<code>{escaped}</code>") } else { write!(html, "{escaped}") };
    }
    html
}

fn prose(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    paragraphs.fold(String::new(), |mut html, paragraph| {
        let _ = write!(html, "<p>{}</p>", inline(paragraph));
        html
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn document(description: &str) -> Value {
        json!({
            "info": {"title": "Paddock", "version": "1", "description": description},
            "paths": {"/jobs/{id}": {"get": {
                "tags": ["jobs"],
                "summary": "Shows a job",
                "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
                "responses": {"200": {"description": "It", "content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Job"}
                }}}}
            }}},
            "components": {"schemas": {"Job": {"type": "object", "required": ["id"], "properties": {
                "id": {"type": "string", "description": "Its `id`."},
                "parent": {"$ref": "#/components/schemas/Job"},
                "state": {"$ref": "#/components/schemas/State"}
            }}, "State": {"type": "string", "enum": ["waits", "runs"]}}}
        })
    }

    #[test]
    fn a_route_is_shown_with_its_parameters_and_fields() {
        let page = render(&document("All of it."));
        for part in [
            "Shows a job",
            "<i>{id}</i>",
            "string in path",
            "<code>parent</code>",
            "&quot;waits&quot; or",
            "Its <code>id</code>.",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }

    proptest! {
        #[test]
        fn text_of_the_document_is_never_markup(name in "[a-z]{1,8}") {
            let page = render(&document(&format!("<{name} onload=1>")));
            let escaped = format!("&lt;{name} onload=1&gt;");
            let raw = format!("<{name} onload=1>");
            prop_assert!(page.contains(&escaped));
            prop_assert!(!page.contains(&raw));
        }
    }
}
