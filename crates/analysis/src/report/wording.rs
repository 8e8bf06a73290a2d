//! How names and numbers read in the report.

use crate::{Bound, Category, Measured, Screen, Severity};

/// A category's name for people.
pub(super) fn category(category: Category) -> &'static str {
    match category {
        Category::Headline => "Headline",
        Category::Cta => "Call to action",
        Category::Form => "Forms",
        Category::Trust => "Trust",
        Category::Price => "Price and offer",
        Category::Popup => "Pop-ups",
        Category::Contrast => "Legibility",
        Category::Navigation => "Navigation",
        Category::Mobile => "Mobile",
        Category::Performance => "Speed",
        Category::Seo => "Search",
        Category::Content => "Copy and media",
    }
}

/// A category's name for style sheets and fragments.
pub(super) fn category_slug(category: Category) -> &'static str {
    match category {
        Category::Headline => "headline",
        Category::Cta => "cta",
        Category::Form => "form",
        Category::Trust => "trust",
        Category::Price => "price",
        Category::Popup => "popup",
        Category::Contrast => "contrast",
        Category::Navigation => "navigation",
        Category::Mobile => "mobile",
        Category::Performance => "performance",
        Category::Seo => "seo",
        Category::Content => "content",
    }
}

/// A severity's name for people.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "High",
        Severity::Medium => "Medium",
        Severity::Low => "Low",
    }
}

/// A severity's name for style sheets and fragments.
pub(super) fn severity_slug(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
    }
}

/// A screen's name for people.
pub(super) fn screen(screen: Screen) -> &'static str {
    match screen {
        Screen::Desktop => "Desktop",
        Screen::Mobile => "Mobile",
    }
}

/// Several screens as one phrase.
pub(super) fn screens(screens: &[Screen]) -> String {
    let names: Vec<_> = screens.iter().map(|it| screen(*it)).collect();
    match names.as_slice() {
        [first, second] => format!("{first} and {}", second.to_lowercase()),
        names => names.join(", "),
    }
}

/// What a score between 0 and 100 amounts to: its slug and its words.
pub(super) fn band(score: u8) -> (&'static str, &'static str) {
    match score {
        0..50 => ("poor", "Costs customers"),
        50..80 => ("fair", "Room to improve"),
        80.. => ("good", "In good shape"),
    }
}

/// A number with its unit, as short as it can be without lying: `4.2 s`, `2.31:1`, `24 px`, `0.31`.
pub(super) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "ms" if value.abs() >= 1000.0 => format!("{} s", number(value / 1000.0)),
        "ms" => format!("{} ms", number(value.round())),
        "bytes" | "B" => bytes(value),
        "" => number(value),
        // A ratio or a share is written against its number.
        unit if unit.starts_with([':', '%', '/']) => format!("{}{unit}", number(value)),
        unit => format!("{} {unit}", number(value)),
    }
}

/// The threshold as a demand: `at least 4.5:1`.
pub(super) fn demand(measured: &Measured) -> String {
    let bound = match measured.bound {
        Bound::AtLeast => "at least",
        Bound::AtMost => "at most",
    };
    format!("{bound} {}", quantity(measured.threshold, &measured.unit))
}

/// A number of bytes in the unit that people use for it.
pub(super) fn bytes(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} MB", number(value / 1e6)),
        value if value >= 1e3 => format!("{} kB", number((value / 1e3).round())),
        value => format!("{} B", number(value)),
    }
}

/// A number with at most two decimals, fewer the larger it is, and thousands set apart.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    if value.abs() >= 1e15 {
        return format!("{value:.2e}");
    }
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if grouped == "0" && fraction.is_empty() { "" } else { sign };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

/// The kind of a page as a reader sees it: `ecommerce_product` reads `Ecommerce product`.
pub(super) fn kind_of_page(name: &str) -> String {
    capitalised(&name.replace('_', " "))
}

/// The text with its first letter in upper case.
pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A fragment as a sentence: with a capital letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut sentence = capitalised(text.trim());
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?', '…', ':']) {
        sentence.push('.');
    }
    sentence
}

/// `1 flaw`, `2 flaws`.
pub(super) fn count(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(count as f64))
}

/// A URL that may be made a link: `http` or `https`, nothing else.
pub(super) fn link(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| url.to_string())
}

/// The time as a person writes it, in UTC.
pub(super) fn date(timestamp: jiff::Timestamp) -> String {
    timestamp.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        let cases = [
            (0.0, "", "0"),
            (-0.001, "", "0"),
            (2.314, ":1", "2.31:1"),
            (4.5, ":1", "4.5:1"),
            (24.0, "px", "24 px"),
            (950.4, "ms", "950 ms"),
            (4203.0, "ms", "4.2 s"),
            (31.0, "%", "31%"),
            (1_234_567.0, "bytes", "1.23 MB"),
            (80_106.0, "bytes", "80 kB"),
            (1_234_567.0, "", "1,234,567"),
            (f64::NAN, "", "unknown"),
        ];
        for (value, unit, expected) in cases {
            assert_eq!(quantity(value, unit), expected);
        }
    }

    #[test]
    fn fragments_become_sentences() {
        assert_eq!(sentence("the label reads \"Submit\""), "The label reads \"Submit\".");
        assert_eq!(sentence("Is it there?"), "Is it there?");
        assert_eq!(sentence(" "), "");
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert!(link("https://example.com/a b").is_some());
        for hostile in
            ["javascript:alert(1)", " JaVaScRiPt:alert(1)", "data:text/html,x", "file:///etc/passwd", "//x"]
        {
            assert_eq!(link(hostile), None, "{hostile}");
        }
    }
}
