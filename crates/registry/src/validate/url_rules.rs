//! URLs with variables in braces, as packages and remotes have them.

use url::Url;

/// The names in braces.
pub(super) fn variables(url: &str) -> impl Iterator<Item = &str> {
    url.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
        .filter(|name| !name.is_empty())
}

/// The URL with something plausible in place of every variable; none if it is no `http` or `https` URL even so.
pub(super) fn parsed(url: &str) -> Option<Url> {
    let mut filled = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        filled.push_str(before);
        let is_port = filled.ends_with(':') && (after.is_empty() || after.starts_with('/'));
        filled.push_str(match name {
            _ if is_port => "8080",
            "scheme" | "protocol" => "http",
            "host" => "example.com",
            "port" => "8080",
            _ => "placeholder",
        });
        rest = after;
    }
    filled.push_str(rest);
    let url = Url::parse(&filled).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// Whether it is a URL whose variables are all known.
pub(super) fn is_templated(url: &str, known: &[&str]) -> bool {
    parsed(url).is_some() && variables(url).all(|name| known.contains(&name))
}

/// Whether others can reach it: `https`, and not this machine.
pub(super) fn is_remote(url: &str) -> bool {
    parsed(url).is_some_and(|url| {
        let host = url.host_str().unwrap_or_default();
        url.scheme() == "https" && host != "localhost" && host != "127.0.0.1" && !host.ends_with(".localhost")
    })
}

/// Whether it is a repository at a forge that the official registry knows.
pub(super) fn is_repository(source: &str, url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest.map(|rest| rest.strip_prefix("www.").unwrap_or(rest)) else { return false };
    let Some((host, path)) = rest.split_once('/') else { return false };
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    };
    let parts = path.split('/').count();
    path.split('/').all(is_part)
        && match source {
            "github" => host == "github.com" && parts == 2,
            "gitlab" => host == "gitlab.com" && parts >= 2,
            _ => false,
        }
}

/// Whether it is a relative path without detours.
pub(super) fn is_subfolder(path: &str) -> bool {
    path.split('/').all(|part| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    })
}
