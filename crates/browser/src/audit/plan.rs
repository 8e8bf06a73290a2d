//! Which pages are audited, and in which order.

use std::collections::{HashMap, HashSet};

use url::Url;

/// The form of an address: digits do not count, nor do query and fragment. `/p/1` and `/p/2` are pages of one template.
fn template_of(address: &str) -> String {
    let text = match Url::parse(address) {
        Ok(url) if url.has_host() => {
            format!("{}{}", url.origin().ascii_serialization(), url.path())
        }
        _ => address.to_owned(),
    };
    let mut template = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '0'..='9' if template.ends_with('#') => {}
            '0'..='9' => template.push('#'),
            other => template.push(other),
        }
    }
    template
}

/// Each address once: the first one, then pages of which there is no other of their template, then those of templates,
/// of each at most `per_template_max`, in alphabetical order.
pub(crate) fn pages_of(addresses: &[String], per_template_max: Option<usize>) -> Vec<String> {
    let mut seen = HashSet::new();
    let distinct: Vec<&String> =
        addresses.iter().filter(|address| !address.is_empty() && seen.insert(*address)).collect();
    let Some((first, rest)) = distinct.split_first() else { return Vec::new() };
    let mut order: Vec<String> = Vec::new();
    let mut of_template: HashMap<String, Vec<&String>> = HashMap::new();
    for address in &distinct {
        let template = template_of(address);
        let members = of_template.entry(template.clone()).or_default();
        if members.is_empty() {
            order.push(template);
        }
        members.push(*address);
    }
    let is_single =
        |address: &str| of_template.get(&template_of(address)).is_some_and(|pages| pages.len() == 1);
    let mut pages = vec![(*first).clone()];
    pages.extend(rest.iter().filter(|address| is_single(address.as_str())).map(|address| (*address).clone()));
    for template in &order {
        let Some(members) = of_template.get(template).filter(|members| members.len() > 1) else { continue };
        let has_first = members.contains(first);
        let mut others: Vec<&String> = members.iter().copied().filter(|member| member != first).collect();
        others.sort();
        let max = per_template_max.map_or(usize::MAX, |max| max.saturating_sub(usize::from(has_first)));
        pages.extend(others.into_iter().take(max).cloned());
    }
    pages
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| format!("http://shop.test/{path}")).collect()
    }

    #[test]
    fn pages_of_a_template_are_sampled_after_the_others() {
        let given = addresses(&["", "p3.html", "p1.html", "about", "p2.html", "about"]);
        assert_eq!(pages_of(&given, Some(2)), addresses(&["", "about", "p1.html", "p2.html"]));
        assert_eq!(pages_of(&given, None), addresses(&["", "about", "p1.html", "p2.html", "p3.html"]));
    }

    #[test]
    fn the_first_page_counts_as_one_of_its_template() {
        let given = addresses(&["p9.html", "p1.html", "p2.html"]);
        assert_eq!(pages_of(&given, Some(2)), addresses(&["p9.html", "p1.html"]));
        assert_eq!(pages_of(&given, Some(1)), addresses(&["p9.html"]));
    }

    proptest! {
        #[test]
        fn every_page_comes_once_and_the_first_first(paths in prop::collection::vec("[a-c]?[0-9]{0,2}", 1..30)) {
            let given = addresses(&paths.iter().map(String::as_str).collect::<Vec<_>>());
            let pages = pages_of(&given, None);
            let (distinct, planned): (HashSet<_>, HashSet<_>) = (given.iter().collect(), pages.iter().collect());
            prop_assert_eq!(&pages[0], &given[0]);
            prop_assert_eq!(pages.len(), planned.len());
            prop_assert_eq!(distinct, planned);
        }
    }
}
