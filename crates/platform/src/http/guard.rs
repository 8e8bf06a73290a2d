//! Which names a request may call the server by.
//!
//! A page anywhere on the web can make a browser send requests to `127.0.0.1`, or to a name of its own that resolves
//! there (DNS rebinding). Such a request betrays itself: its `Host` is not one of ours, or its `Origin` is another
//! site. A server on loopback has no keys to protect it, so it checks both on every request.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Uri, Version, header};

use super::address::is_loopback;
use crate::problem::{FORBIDDEN, Problem};

/// The names that are ours.
#[derive(Debug)]
pub(super) struct Guard {
    /// Bound to loopback only: any `Host` that is not ours is refused. Otherwise only if names are configured.
    strict: bool,
    bound: Vec<IpAddr>,
    /// Bound to all addresses of the machine. Then any address is as good as our own: it is names that DNS rebinding
    /// needs.
    any_address: bool,
    hosts: Vec<String>,
}

impl Guard {
    pub(super) fn new(bound: &[SocketAddr], hosts: &[String]) -> Self {
        Self {
            strict: bound.iter().all(|address| is_loopback(address.ip())) || !hosts.is_empty(),
            bound: bound.iter().map(SocketAddr::ip).filter(|address| !address.is_unspecified()).collect(),
            any_address: bound.iter().any(|address| address.ip().is_unspecified()),
            hosts: hosts.iter().map(|host| host.trim().to_ascii_lowercase()).collect(),
        }
    }

    /// The name that the request calls the server by: [`FORBIDDEN`] unless it is ours, [`INVALID_REQUEST`] if there is
    /// none where one must be, or more than one.
    pub(super) fn check_host<'r>(
        &self,
        headers: &'r HeaderMap,
        uri: &'r Uri,
        version: Version,
    ) -> Result<&'r str, Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (host, again) = (hosts.next(), hosts.next());
        if again.is_some() {
            return Err(Problem::invalid_field("Host", "is there more than once"));
        }
        let host = match (uri.authority(), host) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().unwrap_or_default(),
            (None, None) if self.strict || version >= Version::HTTP_11 => {
                return Err(Problem::invalid_field("Host", "is missing"));
            }
            (None, None) => "",
        };
        if self.strict && !self.is_own(host) {
            let detail = format!(
                "this server is not called `{}`; add the name to `server.hosts` if it should be",
                host.escape_default()
            );
            return Err(Problem::new(FORBIDDEN, detail).with("header", "Host"));
        }
        Ok(host)
    }

    /// [`FORBIDDEN`] unless `Origin`, if present, is the same site or an allowed one.
    pub(super) fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Problem> {
        match headers.get(header::ORIGIN) {
            None => Ok(()),
            Some(origin) => {
                let origin = origin.to_str().unwrap_or_default();
                if self.is_allowed_origin(origin, host) {
                    return Ok(());
                }
                let detail = format!(
                    "requests from pages of `{}` are refused; add its host to `server.hosts` to allow them",
                    origin.escape_default()
                );
                Err(Problem::new(FORBIDDEN, detail).with("header", "Origin"))
            }
        }
    }

    fn is_own(&self, authority: &str) -> bool {
        let name = host_of(authority);
        let unbracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        if let Ok(address) = unbracketed.parse::<IpAddr>() {
            let address = address.to_canonical();
            return is_loopback(address)
                || self.any_address
                || self.bound.contains(&address)
                || self.is_configured(authority);
        }
        name.eq_ignore_ascii_case("localhost")
            || has_suffix(name, ".localhost")
            || self.is_configured(authority)
    }

    fn is_configured(&self, authority: &str) -> bool {
        self.hosts
            .iter()
            .any(|host| host.eq_ignore_ascii_case(authority) || host.eq_ignore_ascii_case(host_of(authority)))
    }

    fn is_allowed_origin(&self, origin: &str, host: &str) -> bool {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| {
            !authority.is_empty() && (authority.eq_ignore_ascii_case(host) || self.is_configured(authority))
        })
    }
}

fn has_suffix(name: &str, suffix: &str) -> bool {
    name.len() > suffix.len()
        && name.get(name.len() - suffix.len()..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// The authority without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::problem::INVALID_REQUEST;

    fn check(bound: &str, hosts: &[&str], host: Option<&str>, origin: Option<&str>) -> bool {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        let guard = Guard::new(&[bound.parse().unwrap()], &hosts);
        guard
            .check_host(&headers, &Uri::from_static("/"), Version::HTTP_11)
            .is_ok_and(|host| guard.check_origin(&headers, host).is_ok())
    }

    #[test]
    fn a_host_is_there_once() {
        let guard = Guard::new(&["0.0.0.0:7070".parse().unwrap()], &[]);
        let kind = |headers: &HeaderMap, version| {
            let uri = Uri::from_static("/");
            let host = guard.check_host(headers, &uri, version);
            host.map(|_| ()).map_err(|problem| problem.kind)
        };
        let mut headers = HeaderMap::new();
        assert_eq!(kind(&headers, Version::HTTP_11), Err(INVALID_REQUEST));
        assert_eq!(kind(&headers, Version::HTTP_10), Ok(()), "health checks of old load balancers");
        headers.append(header::HOST, HeaderValue::from_static("a.example"));
        assert_eq!(kind(&headers, Version::HTTP_11), Ok(()));
        headers.append(header::HOST, HeaderValue::from_static("a.example"));
        assert_eq!(kind(&headers, Version::HTTP_11), Err(INVALID_REQUEST));
    }

    #[test]
    fn bound_to_all_addresses_any_of_them_is_ours() {
        for (bound, host) in [("0.0.0.0:7070", "10.1.2.3:7070"), ("[::]:7070", "[fd00::7]:7070")] {
            assert!(check(bound, &["paddock.example"], Some(host), None), "a probe of the kubelet");
        }
        assert!(!check("192.0.2.7:7070", &["paddock.example"], Some("10.1.2.3:7070"), None));
    }

    #[test]
    fn on_loopback_only_own_names_are_accepted() {
        for host in ["127.0.0.1:7070", "localhost:7070", "LocalHost", "[::1]:7070", "paddock.localhost:7070"]
        {
            assert!(check("127.0.0.1:7070", &[], Some(host), None), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:7070",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            ".localhost",
        ] {
            assert!(!check("127.0.0.1:7070", &[], Some(host), None), "{host}");
        }
        assert!(!check("127.0.0.1:7070", &[], None, None));
    }

    #[test]
    fn configured_names_are_accepted_with_or_without_their_port() {
        for (configured, host, accepted) in [
            ("paddock.example", "paddock.example:7070", true),
            ("Paddock.Example", "paddock.example", true),
            ("paddock.example:7070", "paddock.example:7070", true),
            ("paddock.example:7070", "paddock.example:7071", false),
            ("paddock.example", "other.example", false),
        ] {
            assert_eq!(
                check("127.0.0.1:7070", &[configured], Some(host), None),
                accepted,
                "{configured} {host}"
            );
        }
    }

    #[test]
    fn beyond_loopback_any_name_is_accepted_until_some_are_configured() {
        assert!(check("0.0.0.0:7070", &[], Some("paddock.example"), None));
        assert!(!check("0.0.0.0:7070", &["paddock.example"], Some("evil.example"), None));
        assert!(check("192.0.2.7:7070", &["paddock.example"], Some("192.0.2.7:7070"), None));
    }

    #[test]
    fn another_sites_pages_are_refused() {
        let host = Some("127.0.0.1:7070");
        let from = |origin: &str| check("127.0.0.1:7070", &["app.example"], host, Some(origin));
        assert!(from("http://127.0.0.1:7070"));
        assert!(from("https://app.example"));
        assert!(from("https://app.example:8443"));
        for origin in ["http://127.0.0.1:3000", "https://evil.example", "null", "", "http://", "file://"] {
            assert!(!from(origin), "{origin}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_guard_panic(host in "[ -~]{0,32}", origin in "[ -~]{0,32}") {
            check("127.0.0.1:7070", &["app.example"], Some(&host), Some(&origin));
        }

        #[test]
        fn a_foreign_domain_is_never_ours(name in "[a-z]{1,10}(\\.[a-z]{1,10}){1,3}", port: u16) {
            prop_assume!(!name.ends_with(".localhost"));
            let host = format!("{name}:{port}");
            prop_assert!(!check("127.0.0.1:7070", &[], Some(&host), None));
        }
    }
}
