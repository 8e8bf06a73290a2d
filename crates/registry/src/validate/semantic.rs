//! What the official registry checks beside the schema, under its codes.

use serde_json::Value;
use url::Url;

use super::{Report, url_rules, version_rules};

/// Checks what the schema cannot say.
pub(super) fn check(server: &Value, report: &mut Report) {
    if let Some(mistake) = name_mistake(text(server, "name")) {
        report.semantic("name", "invalid-server-name", mistake);
    }
    version_rules::check(text(server, "version"), "version", report);
    repository(&server["repository"], report);
    website(text(server, "websiteUrl"), report);
    let title = text(server, "title");
    if !title.is_empty() && title.trim().is_empty() {
        report.semantic("title", "title-whitespace-only", "is nothing but white space");
    }
    report.within("icons", |report| {
        report.each(list(server, "icons"), |report, it| icon(text(it, "src"), report));
    });
    report
        .within("packages", |report| report.each(list(server, "packages"), |report, it| package(it, report)));
    report.within("remotes", |report| report.each(list(server, "remotes"), |report, it| remote(it, report)));
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_default()
}

fn list<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

/// Why a name is none, if it is none: `dns-namespace/name`, each beginning and ending with a letter or digit.
fn name_mistake(name: &str) -> Option<&'static str> {
    let Some((namespace, rest)) = name.split_once('/') else {
        return Some("must be `namespace/name`, for example `com.example/weather`");
    };
    if rest.contains('/') {
        return Some("has more than one `/`");
    }
    let framed = |part: &str| {
        part.len() >= 2
            && part.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && part.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric)
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    if !framed(namespace) || !namespace.bytes().all(is_plain) {
        return Some(
            "has a namespace that does not begin and end with a letter or digit, with dots and hyphens between",
        );
    }
    let is_good = framed(rest) && rest.bytes().all(|byte| is_plain(byte) || byte == b'_');
    (!is_good).then_some(
        "has a name that does not begin and end with a letter or digit, with dots, underscores and hyphens between",
    )
}

fn repository(repository: &Value, report: &mut Report) {
    let (url, source) = (text(repository, "url"), text(repository, "source"));
    if url.is_empty() && source.is_empty() {
        return;
    }
    report.within("repository", |report| {
        if !url_rules::is_repository(source, url) {
            let message = format!("`{url}` is not a repository at `{source}`");
            report.semantic("url", "invalid-repository-url", message);
        }
        let subfolder = text(repository, "subfolder");
        if !subfolder.is_empty() && !url_rules::is_subfolder(subfolder) {
            report.semantic("subfolder", "invalid-subfolder-path", "is not a relative path without detours");
        }
    });
}

fn website(url: &str, report: &mut Report) {
    if url.is_empty() {
        return;
    }
    match Url::parse(url) {
        Ok(url) if url.scheme() == "https" => {}
        Ok(_) => report.semantic("websiteUrl", "website-url-invalid-scheme", "must be an `https` URL"),
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            report.semantic("websiteUrl", "website-url-must-be-absolute", "must be an absolute URL");
        }
        Err(_) => report.semantic("websiteUrl", "invalid-website-url", "is not a URL"),
    }
}

fn icon(src: &str, report: &mut Report) {
    match Url::parse(src) {
        Ok(url) if url.scheme() == "https" => {}
        Ok(_) => report.semantic("src", "icon-src-invalid-scheme", "must be an `https` URL"),
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            report.semantic("src", "icon-src-not-absolute", "must be an absolute URL");
        }
        Err(_) => report.semantic("src", "icon-src-invalid-url", "is not a URL"),
    }
}

fn package(package: &Value, report: &mut Report) {
    if text(package, "identifier").contains(' ') {
        report.semantic("identifier", "package-name-has-spaces", "has spaces");
    }
    version_rules::check(text(package, "version"), "version", report);
    if text(package, "registryType") == "mcpb" && text(package, "fileSha256").is_empty() {
        report.semantic(
            "fileSha256",
            "mcpb-file-sha256-required",
            "is needed for packages of the type `mcpb`",
        );
    }
    let mut known: Vec<&str> =
        list(package, "environmentVariables").iter().map(|variable| text(variable, "name")).collect();
    for arguments in ["runtimeArguments", "packageArguments"] {
        let items = list(package, arguments);
        known.extend(items.iter().flat_map(|item| [text(item, "name"), text(item, "valueHint")]));
        report.within(arguments, |report| report.each(items, |report, item| argument(item, report)));
    }
    let transport = &package["transport"];
    let (kind, url) = (text(transport, "type"), text(transport, "url"));
    report.within("transport", |report| match kind {
        "stdio" if url.is_empty() => {}
        "stdio" => report.semantic("url", "stdio-transport-url-not-empty", "must be empty for `stdio`"),
        "streamable-http" | "sse" if url.is_empty() => {
            report.semantic("url", "streamable-transport-url-required", format!("is needed for `{kind}`"));
        }
        "streamable-http" | "sse" if url_rules::is_templated(url, &known) => {}
        "streamable-http" | "sse" => report.semantic("url", "invalid-templated-url", templated_mistake(url)),
        _ => report.semantic("type", "unsupported-transport-type", format!("`{kind}` is not supported")),
    });
}

fn argument(argument: &Value, report: &mut Report) {
    if text(argument, "type") != "named" {
        return;
    }
    let name = text(argument, "name");
    if name.is_empty() {
        return report.semantic("name", "named-argument-name-required", "is needed for a named argument");
    }
    if name.contains(['<', '>', ' ', '$']) {
        report.semantic("name", "invalid-named-argument-name", format!("`{name}` holds more than a name"));
    }
    for (member, code) in
        [("value", "argument-value-starts-with-name"), ("default", "argument-default-starts-with-name")]
    {
        if text(argument, member).starts_with(name) {
            report.semantic(member, code, format!("repeats the argument's name `{name}`"));
        }
    }
}

fn remote(remote: &Value, report: &mut Report) {
    let (kind, url) = (text(remote, "type"), text(remote, "url"));
    if !matches!(kind, "streamable-http" | "sse") {
        let message = format!("`{kind}` is not supported; remotes are `streamable-http` or `sse`");
        return report.semantic("type", "unsupported-remote-transport-type", message);
    }
    if url.is_empty() {
        return report.semantic("url", "remote-transport-url-required", format!("is needed for `{kind}`"));
    }
    if !url_rules::is_remote(url) {
        let message = format!("`{url}` is not an `https` URL that others can reach");
        report.semantic("url", "invalid-remote-url", message);
    }
    let variables = remote["variables"].as_object();
    let known: Vec<&str> = variables.into_iter().flat_map(|map| map.keys().map(String::as_str)).collect();
    if !url_rules::is_templated(url, &known) {
        report.semantic("url", "invalid-templated-url", templated_mistake(url));
    }
}

fn templated_mistake(url: &str) -> String {
    let names: Vec<_> = url_rules::variables(url).collect();
    if names.is_empty() {
        return format!("`{url}` is not an `http` or `https` URL");
    }
    format!("`{url}` uses variables that are not all declared: {}", names.join(", "))
}
