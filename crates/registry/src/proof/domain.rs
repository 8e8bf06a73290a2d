//! Domains, and the namespaces that are named after them.

/// The longest domain.
const DOMAIN_LENGTH_MAX: usize = 253;

/// A domain in lower case; none if it is not one, or an address.
pub(super) fn domain_of(text: &str) -> Option<String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let (_, last) = text.rsplit_once('.')?;
    let is_domain = text.len() <= DOMAIN_LENGTH_MAX
        && text.split('.').all(is_label)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_domain.then(|| text.to_ascii_lowercase())
}

/// `com.example` for `example.com`.
pub(super) fn reversed(domain: &str) -> String {
    let mut labels: Vec<&str> = domain.split('.').collect();
    labels.reverse();
    labels.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_names_and_no_addresses() {
        for (text, domain) in [
            ("Example.COM", Some("example.com")),
            ("a-b.c1.example", Some("a-b.c1.example")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("example", None),
            ("", None),
            (".", None),
            ("example.com.", None),
            ("-a.example", None),
            ("a..example", None),
            ("127.0.0.1", None),
            ("0x7f.1", None),
            ("[::1]", None),
            ("a.example:8080", None),
            ("a.example/x", None),
            ("user@a.example", None),
            ("*.example.com", None),
            ("exämple.com", None),
        ] {
            assert_eq!(domain_of(text).as_deref(), domain, "{text}");
        }
        assert!(domain_of(&format!("{}.com", ["a"; 130].join("."))).is_none());
        assert_eq!(reversed("tools.example.com"), "com.example.tools");
    }
}
