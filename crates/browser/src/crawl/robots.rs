//! `robots.txt` (RFC 9309): what a site does not want to be crawled.

/// The name by which a site can address us.
const NAME: &str = "paddock";
/// Bytes of the file that are read, as the RFC has it.
const SIZE_MAX: usize = 500 << 10;
/// Bytes of a rule that count.
const RULE_SIZE_MAX: usize = 2048;

/// The rules of a site for us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Robots {
    rules: Vec<Rule>,
    /// Addresses of sitemaps.
    pub(crate) sitemaps: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    path: String,
}

/// Who the lines that follow are for.
#[derive(Default)]
struct Group {
    ours: bool,
    everybodys: bool,
    has_rules: bool,
}

impl Robots {
    /// The rules of a site that gives no answer but its failure: nothing may be crawled.
    pub(crate) fn closed() -> Self {
        Self { rules: vec![Rule { allow: false, path: "/".to_owned() }], sitemaps: Vec::new() }
    }

    /// Reads the file. The rules for us count, or else those for everybody.
    pub(crate) fn parse(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(SIZE_MAX)];
        let (mut ours, mut everybodys): (Option<Vec<Rule>>, Vec<Rule>) = (None, Vec::new());
        let (mut group, mut sitemaps) = (Group::default(), Vec::new());
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "user-agent" => {
                    if group.has_rules {
                        group = Group::default();
                    }
                    let agent = value.to_ascii_lowercase();
                    group.everybodys |= agent == "*";
                    if agent == NAME {
                        group.ours = true;
                        ours.get_or_insert_default();
                    }
                }
                kind @ ("allow" | "disallow") => {
                    group.has_rules = true;
                    if value.is_empty() || value.len() > RULE_SIZE_MAX {
                        continue;
                    }
                    let rule = Rule { allow: kind == "allow", path: value.to_owned() };
                    if group.ours {
                        ours.get_or_insert_default().push(rule.clone());
                    }
                    if group.everybodys {
                        everybodys.push(rule);
                    }
                }
                "sitemap" if !value.is_empty() => sitemaps.push(value.to_owned()),
                _ => {}
            }
        }
        Self { rules: ours.unwrap_or(everybodys), sitemaps }
    }

    /// Whether a path, its query included, may be crawled: the longest rule that matches decides, and of equal ones the
    /// one that allows.
    pub(crate) fn allows(&self, path: &str) -> bool {
        let matching = self.rules.iter().filter(|rule| matches(&rule.path, path));
        let deciding = matching.max_by_key(|rule| (rule.path.len(), rule.allow));
        path == "/robots.txt" || deciding.is_none_or(|rule| rule.allow)
    }
}

/// Whether a path begins as a rule says, where `*` is anything and a `$` at the end is the end.
fn matches(rule: &str, path: &str) -> bool {
    let (rule, whole) = match rule.strip_suffix('$') {
        Some(rule) => (rule, true),
        None => (rule, false),
    };
    let mut parts = rule.split('*');
    let Some(mut rest) = path.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return !whole || rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() && whole {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_rule_decides() {
        let robots = Robots::parse("User-agent: *\nDisallow: /shop\nAllow: /shop/public\n");
        assert!(!robots.allows("/shop/private"));
        assert!(robots.allows("/shop/public/1"));
        assert!(robots.allows("/about"));
        assert!(Robots::parse("user-agent: *\ndisallow: /a\nallow: /a").allows("/a"));
    }

    #[test]
    fn rules_for_us_count_instead_of_those_for_everybody() {
        let text =
            "User-Agent: *\nDisallow: /\n\nUser-agent: other\nUser-agent: Paddock # us\nDisallow: /private\n";
        let robots = Robots::parse(text);
        assert!(robots.allows("/open"));
        assert!(!robots.allows("/private"));
        assert!(!Robots::parse("User-agent: *\nDisallow: /\n").allows("/open"));
        assert!(Robots::parse("User-agent: paddock\nDisallow:\n\nUser-agent: *\nDisallow: /").allows("/x"));
    }

    #[test]
    fn stars_and_ends_are_understood() {
        let robots = Robots::parse("User-agent: *\nDisallow: /*.pdf$\nDisallow: /a*b\n");
        assert!(!robots.allows("/x/y.pdf"));
        assert!(robots.allows("/x/y.pdf?page=1"));
        assert!(!robots.allows("/a/1/b/2"));
        assert!(robots.allows("/a/1"));
        assert!(robots.allows("/robots.txt"));
        assert!(!Robots::closed().allows("/"));
    }

    #[test]
    fn sitemaps_are_named_for_everybody() {
        let robots = Robots::parse("Sitemap: https://site.test/s.xml\nUser-agent: x\nSitemap: /t.xml\n");
        assert_eq!(robots.sitemaps, ["https://site.test/s.xml", "/t.xml"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_a_plain_rule_closes_what_begins_so(
            text in "(?s).{0,200}",
            rule in "/[a-z]{0,5}",
            rest in "[a-z/]{0,5}",
        ) {
            Robots::parse(&text);
            let robots = Robots::parse(&format!("User-agent: *\nDisallow: {rule}\n"));
            let path = format!("{rule}{rest}");
            prop_assert!(!robots.allows(&path));
        }

        #[test]
        fn a_star_matches_anything(before in "/[a-z]{0,4}", middle in "[a-z/]{0,6}", after in "[a-z]{0,4}") {
            let (rule, path) = (format!("{before}*{after}$"), format!("{before}{middle}{after}"));
            prop_assert!(matches(&rule, &path));
        }
    }
}
