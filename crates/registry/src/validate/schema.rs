//! The rules of the schema of 2025-12-11, written down as data.

use serde_json::Value;

use super::{
    Report,
    rule::{Choice, Form, Object, Rule, TEXT, Text, URI},
};

/// Checks against the schema.
pub(super) fn check(server: &Value, report: &mut Report) {
    Rule::Object(&SERVER).check(server, "#/definitions/ServerDetail", report);
}

const fn text(length_min: usize, length_max: usize, form: Form) -> Rule {
    Rule::Text(Text { length_min, length_max, form })
}

const fn one_of(values: &'static [&'static str]) -> Rule {
    text(0, usize::MAX, Form::OneOf(values))
}

const fn pattern(pattern: &'static str, matches: fn(&str) -> bool) -> Form {
    Form::Pattern { pattern, matches }
}

const TEXTS: Rule = Rule::List(&TEXT);

static SERVER: Object = Object {
    name: "ServerDetail",
    required: &["name", "description", "version"],
    one_of: &[],
    members: &[
        ("$schema", URI),
        ("name", text(3, 200, pattern("^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", is_name))),
        ("description", text(1, 100, Form::Any)),
        ("title", text(1, 100, Form::Any)),
        ("version", text(0, 255, Form::Any)),
        ("websiteUrl", URI),
        ("repository", Rule::Object(&REPOSITORY)),
        ("icons", Rule::List(&Rule::Object(&ICON))),
        ("packages", Rule::List(&Rule::Object(&PACKAGE))),
        ("remotes", Rule::List(&Rule::Choice(&REMOTE))),
        ("_meta", Rule::Object(&META)),
    ],
};

static META: Object = Object {
    name: "ServerDetail/properties/_meta",
    required: &[],
    one_of: &[],
    members: &[(super::PUBLISHER_META, Rule::Object(&ANYTHING))],
};

static ANYTHING: Object = Object { name: "ServerDetail", required: &[], one_of: &[], members: &[] };

static REPOSITORY: Object = Object {
    name: "Repository",
    required: &["url", "source"],
    one_of: &[],
    members: &[("url", URI), ("source", TEXT), ("id", TEXT), ("subfolder", TEXT)],
};

static ICON: Object = Object {
    name: "Icon",
    required: &["src"],
    one_of: &[],
    members: &[
        ("src", text(0, 255, Form::Uri)),
        ("mimeType", one_of(&["image/png", "image/jpeg", "image/jpg", "image/svg+xml", "image/webp"])),
        ("sizes", Rule::List(&text(0, usize::MAX, pattern("^(\\d+x\\d+|any)$", is_size)))),
        ("theme", one_of(&["light", "dark"])),
    ],
};

static PACKAGE: Object = Object {
    name: "Package",
    required: &["registryType", "identifier", "transport"],
    one_of: &[],
    members: &[
        ("registryType", TEXT),
        ("registryBaseUrl", URI),
        ("identifier", TEXT),
        ("version", text(1, usize::MAX, Form::Not("latest"))),
        ("fileSha256", text(0, usize::MAX, pattern("^[a-f0-9]{64}$", is_sha256))),
        ("runtimeHint", TEXT),
        ("transport", Rule::Choice(&LOCAL)),
        ("runtimeArguments", Rule::List(&Rule::Choice(&ARGUMENT))),
        ("packageArguments", Rule::List(&Rule::Choice(&ARGUMENT))),
        ("environmentVariables", Rule::List(&Rule::Object(&KEY_VALUE))),
    ],
};

static LOCAL: Choice = Choice {
    name: "LocalTransport",
    by: "type",
    objects: &[("stdio", &STDIO), ("streamable-http", &STREAMABLE), ("sse", &SSE)],
};

static REMOTE: Choice = Choice {
    name: "RemoteTransport",
    by: "type",
    objects: &[("streamable-http", &REMOTE_STREAMABLE), ("sse", &REMOTE_SSE)],
};

static ARGUMENT: Choice =
    Choice { name: "Argument", by: "type", objects: &[("positional", &POSITIONAL), ("named", &NAMED)] };

static STDIO: Object = Object { name: "StdioTransport", required: &[], one_of: &[], members: &[] };

const TRANSPORT_URL: Rule = text(0, usize::MAX, pattern("^https?://[^\\s]+$", is_transport_url));
const HEADERS: Rule = Rule::List(&Rule::Object(&KEY_VALUE));
const VARIABLES: Rule = Rule::Map(&Rule::Object(&INPUT));

macro_rules! transport {
    ($name:literal $(, $more:expr)*) => {
        Object {
            name: $name,
            required: &["url"],
            one_of: &[],
            members: &[("url", TRANSPORT_URL), ("headers", HEADERS) $(, $more)*],
        }
    };
}

static STREAMABLE: Object = transport!("StreamableHttpTransport");
static SSE: Object = transport!("SseTransport");
static REMOTE_STREAMABLE: Object = transport!("StreamableHttpTransport", ("variables", VARIABLES));
static REMOTE_SSE: Object = transport!("SseTransport", ("variables", VARIABLES));

macro_rules! input {
    ($name:literal, $required:expr, $one_of:expr $(, $more:expr)*) => {
        Object {
            name: $name,
            required: $required,
            one_of: $one_of,
            members: &[
                ("description", TEXT),
                ("isRequired", Rule::Flag),
                ("isSecret", Rule::Flag),
                ("format", one_of(&["string", "number", "boolean", "filepath"])),
                ("value", TEXT),
                ("default", TEXT),
                ("placeholder", TEXT),
                ("choices", TEXTS)
                $(, $more)*
            ],
        }
    };
}

static INPUT: Object = input!("Input", &[], &[]);
static KEY_VALUE: Object = input!("KeyValueInput", &["name"], &[], ("name", TEXT), ("variables", VARIABLES));
static POSITIONAL: Object = input!(
    "PositionalArgument",
    &[],
    &["valueHint", "value"],
    ("valueHint", TEXT),
    ("isRepeated", Rule::Flag),
    ("variables", VARIABLES)
);
static NAMED: Object = input!(
    "NamedArgument",
    &["name"],
    &[],
    ("name", TEXT),
    ("isRepeated", Rule::Flag),
    ("variables", VARIABLES)
);

/// The schema's pattern for names.
pub(crate) fn is_name(name: &str) -> bool {
    let Some((namespace, rest)) = name.split_once('/') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    !namespace.is_empty()
        && !rest.is_empty()
        && namespace.bytes().all(is_plain)
        && rest.bytes().all(|byte| is_plain(byte) || byte == b'_')
}

fn is_size(size: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    size == "any" || size.split_once('x').is_some_and(|(wide, high)| is_number(wide) && is_number(high))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_transport_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.chars().any(char::is_whitespace))
}
