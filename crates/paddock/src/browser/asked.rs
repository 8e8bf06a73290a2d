//! Asking the server, and showing what it says.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::args::{ElementArgs, FileArgs, TabArgs};
use crate::{
    cli::say,
    client::Client,
    exit::{CommandError, CommandResult, Exit},
    table::{Table, is_coloured, printable, terminal_width},
};

/// The parameters of a request.
#[derive(Default)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// About the tab that is named, if one is.
    pub(super) fn of(args: &TabArgs) -> Self {
        Self::default().with("tabId", args.tab.as_deref())
    }

    pub(super) fn with(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_owned())));
        self
    }
}

/// A server, and how its answers are to be shown.
pub(super) struct Asked {
    pub(super) client: Client,
    pub(super) json: bool,
}

impl Asked {
    /// A request whose parameters are all in its query.
    pub(super) fn request(&self, method: Method, path: &str, query: Query) -> RequestBuilder {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query.0).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        self.client.request(method, &format!("/browser{path}{mark}{query}"))
    }

    pub(super) fn get(&self, path: &str, query: Query) -> RequestBuilder {
        self.request(Method::GET, path, query)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.request(Method::POST, &format!("/browser{path}")).json(body)
    }

    /// Prints an answer for a person, or as it came.
    pub(super) async fn show(&self, request: RequestBuilder, print: impl FnOnce(&Value)) -> CommandResult {
        let answer = self.client.json(request).await?;
        if self.json {
            say(format_args!("{answer:#}"));
        } else {
            print(&answer);
        }
        Ok(())
    }

    /// Has something done on a page, to an element if one is named.
    pub(super) async fn act(&self, kind: &str, element: Option<ElementArgs>, more: Value) -> CommandResult {
        let mut body = json!({"kind": kind});
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        let mut what = kind.to_owned();
        if let Some(ElementArgs { element, tab }) = element {
            what.push(' ');
            what.push_str(&element);
            let by = if is_reference(&element) { "ref" } else { "selector" };
            body[by] = element.into();
            body["tabId"] = json!(tab.tab);
        }
        self.show(self.post("/action", &compact(body)), |answer| {
            say(format_args!("{}: done", printable(&what)));
            if let Some(diff) = answer["snapshot"].as_str() {
                say(format_args!("{}", diff.trim_end()));
            }
        })
        .await
    }

    /// Writes the bytes of an answer to a file.
    pub(super) async fn save(&self, request: RequestBuilder, args: &FileArgs, name: &str) -> CommandResult {
        let response = self.client.send(request).await?;
        let bytes =
            response.bytes().await.map_err(|error| CommandError::from_error(Exit::NoServer, &error))?;
        let path = args.out.clone().unwrap_or_else(|| PathBuf::from(name));
        if path == Path::new("-") {
            let mut out = std::io::stdout().lock();
            return out
                .write_all(&bytes)
                .and_then(|()| out.flush())
                .map_err(|error| not_written("-", &error));
        }
        std::fs::write(&path, &bytes).map_err(|error| not_written(&path.display().to_string(), &error))?;
        if self.json {
            say(format_args!("{:#}", json!({"file": path, "bytes": bytes.len()})));
        } else {
            say(format_args!("{} ({:.0} kB)", path.display(), (bytes.len() as f64 / 1000.0).ceil()));
        }
        Ok(())
    }
}

/// An object without the members that are null.
pub(super) fn compact(mut body: Value) -> Value {
    if let Value::Object(members) = &mut body {
        members.retain(|_, value| !value.is_null());
    }
    body
}

/// Whether this is a reference of a snapshot (`e12`), that of an element in a frame included (`ea3`).
fn is_reference(element: &str) -> bool {
    element.strip_prefix('e').is_some_and(|rest| {
        let number = rest.trim_start_matches(|letter: char| letter.is_ascii_lowercase());
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn not_written(file: &str, error: &std::io::Error) -> CommandError {
    CommandError::new(Exit::NotWritten, format!("cannot write `{file}`: {error}"))
}

pub(super) fn print_table(table: &Table, nothing: &str) {
    if table.is_empty() {
        return say(format_args!("{nothing}"));
    }
    for line in table.lines(terminal_width(), is_coloured()) {
        say(format_args!("{line}"));
    }
}

/// Prints a text of a page: over several lines, and without commands to the terminal.
pub(super) fn print_lines(text: &str) {
    let keep = |character: &char| *character == '\n' || *character == '\t' || !character.is_control();
    let text: String = text.chars().filter(keep).collect();
    say(format_args!("{}", text.trim_end()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_told_from_a_selector() {
        assert!(["e5", "e120", "ea4", "eab12"].into_iter().all(is_reference));
        for selector in ["e", "em", "e5 > a", "#e5", "text:e5", "h1", "e-5", ""] {
            assert!(!is_reference(selector), "{selector}");
        }
    }
}
