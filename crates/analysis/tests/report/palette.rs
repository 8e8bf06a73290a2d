//! The colours of the HTML form: readable in light and dark.

use std::collections::HashMap;

const STYLES: &str = include_str!("../../templates/report.css");

/// Text and what it stands on: 4.5:1 (WCAG 2.2, 1.4.3).
const TEXT: [(&str, &str); 35] = [
    ("ink", "paper"),
    ("ink", "surface"),
    ("ink", "sunken"),
    ("paper", "ink"),
    ("muted", "paper"),
    ("muted", "surface"),
    ("muted", "sunken"),
    ("brand", "surface"),
    ("brand", "sunken"),
    ("brand", "paper"),
    ("link", "surface"),
    ("link", "sunken"),
    ("link", "paper"),
    ("high", "high-tint"),
    ("high", "surface"),
    ("high", "paper"),
    ("medium", "medium-tint"),
    ("medium", "surface"),
    ("medium", "paper"),
    ("low", "low-tint"),
    ("low", "surface"),
    ("low", "paper"),
    ("good", "surface"),
    ("good", "sunken"),
    ("good", "paper"),
    ("good", "good-tint"),
    ("masthead-ink", "masthead"),
    ("masthead-ink", "masthead-2"),
    ("masthead-muted", "masthead"),
    ("masthead-muted", "masthead-2"),
    ("on-solid", "solid-high"),
    ("on-solid", "solid-medium"),
    ("on-solid", "solid-low"),
    ("surface", "ink"),
    ("surface", "muted"),
];

/// Parts of controls and drawings, and what they stand on: 3:1 (WCAG 2.2, 1.4.11).
const SHAPES: [(&str, &str); 9] = [
    ("edge", "surface"),
    ("bar-good", "surface"),
    ("bar-fair", "surface"),
    ("bar-poor", "surface"),
    ("gauge-good", "masthead-2"),
    ("gauge-fair", "masthead-2"),
    ("gauge-poor", "masthead-2"),
    ("brand", "surface"),
    ("link", "paper"),
];

type Palette = HashMap<&'static str, [u8; 3]>;

/// The colours that a block of custom properties declares.
fn declared(block: &'static str) -> Palette {
    block
        .split(';')
        .filter_map(|declaration| {
            let (name, value) = declaration.trim().split_once(':')?;
            let hex = value.trim().strip_prefix('#').filter(|hex| hex.len() == 6)?;
            let channel = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).ok();
            Some((name.trim().strip_prefix("--")?, [channel(0)?, channel(2)?, channel(4)?]))
        })
        .collect()
}

fn block(after: &str) -> &'static str {
    let start = STYLES.find(after).unwrap() + after.len();
    &STYLES[start..start + STYLES[start..].find('}').unwrap()]
}

fn luminance(color: [u8; 3]) -> f64 {
    let [red, green, blue] = color.map(|channel| {
        let share = f64::from(channel) / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn assert_readable(theme: &str, palette: &Palette) {
    for (pairs, least) in [(&TEXT[..], 4.5), (&SHAPES[..], 3.0)] {
        for (front, back) in pairs {
            let ratio = contrast(palette[front], palette[back]);
            assert!(ratio >= least, "{theme}: {front} on {back} is {ratio:.2}:1, should be {least}:1");
        }
    }
}

#[test]
fn text_and_shapes_stand_out_in_both_themes_and_in_print() {
    let light = declared(block(":root{"));
    assert_readable("light", &light);
    let mut dark = light.clone();
    dark.extend(declared(block("(prefers-color-scheme:dark){:root{")));
    assert_readable("dark", &dark);
    let mut print = light.clone();
    print.extend(declared(block("@media print{\n  :root{")));
    assert_readable("print", &print);
}

#[test]
fn print_overrides_every_colour_of_the_dark_theme() {
    let print = declared(block("@media print{\n  :root{"));
    for name in declared(block("(prefers-color-scheme:dark){:root{")).keys() {
        assert!(print.contains_key(name), "{name} would stay dark on paper");
    }
}
