//! The report as GitHub-flavoured Markdown; pictures are linked relative to the file.

use std::fmt::Write as _;

use super::{Flaw, Report, ReportedFinding, html::vitals, score::CATEGORIES, summary, wording};

/// The report as a Markdown document.
pub fn render(report: &Report) -> String {
    let mut text = String::with_capacity(1024 + report.findings.len() * 1024);
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, report);
    text
}

type Written = std::fmt::Result;

fn write_report(out: &mut String, report: &Report) -> Written {
    let title = if report.title.trim().is_empty() { "Untitled page" } else { &report.title };
    writeln!(out, "# Page analysis: {}\n", escaped(title))?;
    write!(out, "{}", linked(&report.url, &report.url))?;
    if report.final_url != report.url && !report.final_url.is_empty() {
        write!(out, " (led to {})", linked(&report.final_url, &report.final_url))?;
    }
    write!(out, "  \n{}", wording::date(report.generated_at))?;
    if !report.page_type.is_empty() {
        write!(out, ", taken for: {}", escaped(&report.page_type.replace('_', " ")))?;
    }
    writeln!(out, "\n\n{}\n", escaped(&summary::verdict(report)))?;
    write_quick_wins(out, report)?;
    write_scores(out, report)?;
    write_overviews(out, report)?;
    writeln!(out, "## Findings\n")?;
    if report.findings.is_empty() {
        let rules = wording::count(report.rules_checked.len(), "rule");
        writeln!(out, "Nothing found: {rules} were applied and none found a flaw.\n")?;
    }
    for flaw in report.flaws() {
        write_flaw(out, flaw)?;
    }
    write_vitals(out, report)?;
    if !report.not_checked.is_empty() {
        writeln!(out, "## Not checked\n")?;
        for gap in &report.not_checked {
            writeln!(
                out,
                "- **{}**: {}",
                escaped(&wording::capitalised(&gap.what)),
                escaped(&wording::sentence(&gap.why))
            )?;
        }
        writeln!(out)?;
    }
    write_method(out, report)
}

fn write_quick_wins(out: &mut String, report: &Report) -> Written {
    if report.summary.quick_wins.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Quick wins\n")?;
    for win in &report.summary.quick_wins {
        writeln!(
            out,
            "- **{}** (finding {}; impact {} of 10, effort {} of 10). {}",
            escaped(&win.title),
            win.number,
            win.impact,
            win.effort,
            escaped(&wording::sentence(&win.recommendation))
        )?;
    }
    writeln!(out)
}

fn write_scores(out: &mut String, report: &Report) -> Written {
    writeln!(out, "## Scores\n")?;
    match report.scores.overall {
        Some(score) => writeln!(out, "**Overall: {score} of 100** ({})\n", wording::band(score).1)?,
        None => writeln!(out, "**Overall: not judged**\n")?,
    }
    writeln!(out, "| Category | Score | Taken off |\n|---|---:|---|")?;
    for row in &report.scores.categories {
        let score = row.score.map_or_else(|| "not judged".to_owned(), |score| score.to_string());
        let taken: Vec<String> = row
            .deductions
            .iter()
            .map(|it| format!("−{} {} ({})", wording::number(it.points), escaped(&it.title), it.number))
            .collect();
        writeln!(out, "| {} | {score} | {} |", wording::category(row.category), taken.join("; "))?;
    }
    writeln!(out)
}

fn write_overviews(out: &mut String, report: &Report) -> Written {
    for shot in &report.shots {
        if let Some(overview) = &shot.overview {
            let screen = wording::screen(shot.screen);
            writeln!(
                out,
                "![{screen}: the top of the page with the numbers of the findings]({})\n",
                overview.file
            )?;
        }
    }
    Ok(())
}

fn write_flaw(out: &mut String, flaw: Flaw<'_>) -> Written {
    let lead = flaw.lead();
    writeln!(out, "### {}. {}\n", flaw.number, escaped(&lead.title))?;
    writeln!(
        out,
        "**{}** · {} · {} · priority {} (impact {}, effort {}, confidence {} of 10) · `{}`\n",
        wording::severity(flaw.severity()),
        wording::category(lead.category),
        wording::screens(&flaw.screens()),
        flaw.priority(),
        lead.impact,
        lead.effort,
        lead.confidence,
        lead.rule
    )?;
    for ReportedFinding { finding, .. } in flaw.findings {
        let evidence = &finding.evidence;
        write!(
            out,
            "- {}: {}",
            wording::screen(finding.viewport),
            escaped(&wording::sentence(&evidence.statement))
        )?;
        if let Some(measured) = &evidence.measured {
            let value = wording::quantity(measured.value, &measured.unit);
            let demand = wording::demand(measured);
            write!(
                out,
                " ({} **{}**, should be {})",
                escaped(&measured.name),
                escaped(&value),
                escaped(&demand)
            )?;
        }
        writeln!(out, "  \n  {}", code(&finding.selector))?;
        if evidence.count > 1 {
            writeln!(out, "  (the first of {})", evidence.count)?;
        }
    }
    writeln!(out)?;
    for ReportedFinding { finding, crop, .. } in flaw.findings {
        if let Some(crop) = crop {
            let screen = wording::screen(finding.viewport);
            writeln!(out, "![{screen}: {}]({})\n", escaped(&finding.title), crop.file)?;
        }
    }
    writeln!(out, "**Why it costs customers.** {}\n", escaped(&wording::sentence(&lead.why)))?;
    writeln!(out, "**What to do.** {}\n", escaped(&wording::sentence(&lead.recommendation)))?;
    let sources: Vec<String> = lead.sources.iter().map(|it| linked(&it.title, &it.url)).collect();
    if !sources.is_empty() {
        writeln!(out, "Sources: {}\n", sources.join("; "))?;
    }
    Ok(())
}

fn write_vitals(out: &mut String, report: &Report) -> Written {
    let (screens, rows) = vitals::rows(&report.vitals);
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Loading and response\n")?;
    writeln!(out, "| Measure | {} | Good |\n|---|{}---|", screens.join(" | "), "---|".repeat(screens.len()))?;
    for row in rows {
        write!(out, "| {} |", row.name)?;
        for cell in row.cells {
            let words = if cell.words.is_empty() { String::new() } else { format!(" ({})", cell.words) };
            write!(out, " {}{words} |", cell.value)?;
        }
        writeln!(out, " {} |", row.good)?;
    }
    writeln!(out)
}

fn write_method(out: &mut String, report: &Report) -> Written {
    let environment = &report.environment;
    writeln!(out, "## How this report was made\n\n{}\n", escaped(&report.scores.method))?;
    let weights: Vec<_> = CATEGORIES
        .iter()
        .map(|(category, weight)| format!("{} {weight}", wording::category(*category)))
        .collect();
    writeln!(out, "Weights: {}.\n", weights.join(", "))?;
    writeln!(
        out,
        "Paddock {}, {}, {} applied, {}. Analysis {}.",
        escaped(&environment.paddock),
        escaped(&environment.engine),
        wording::count(report.rules_checked.len(), "rule"),
        wording::quantity(report.duration_ms as f64, "ms"),
        code(&report.id)
    )
}

/// Text that means itself: on one line, with everything escaped that Markdown or HTML would read as markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        for letter in word.chars() {
            match letter {
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '&' => out.push_str("&amp;"),
                '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                    out.push('\\');
                    out.push(letter);
                }
                // A bare address would become a link of its own, and a handle would notify someone.
                ':' if out.ends_with("http") || out.ends_with("https") => out.push_str("&#58;"),
                '.' if out.ends_with("www") => out.push_str("&#46;"),
                '@' => out.push_str("&#64;"),
                letter if letter.is_control() => {}
                letter => out.push(letter),
            }
        }
    }
    // Only at the start of a line would these begin a list or a heading rule.
    if out.starts_with(['-', '+', '=']) {
        out.insert(0, '\\');
    }
    out
}

/// A link, or its text alone if the address may not be one.
fn linked(text: &str, url: &str) -> String {
    match wording::link(url) {
        Some(url) => {
            let url: String = url
                .chars()
                .map(|c| match c {
                    '(' => "%28".to_owned(),
                    ')' => "%29".to_owned(),
                    '<' => "%3C".to_owned(),
                    '>' => "%3E".to_owned(),
                    '|' => "%7C".to_owned(),
                    '\\' => "%5C".to_owned(),
                    c => c.to_string(),
                })
                .collect();
            // Within a link no other link begins.
            format!("[{}]({url})", escaped(text).replace("&#58;", ":"))
        }
        None => escaped(text),
    }
}

/// A code span around any text.
fn code(text: &str) -> String {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "¦");
    if text.is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_text_means_itself() {
        assert_eq!(escaped("a <b> & *c* | [d](e)\n# f"), r"a &lt;b&gt; &amp; \*c\* \| \[d\](e) \# f");
        assert_eq!(escaped("- no list"), r"\- no list");
        assert_eq!(escaped("see https://evil.example @you"), "see https&#58;//evil.example &#64;you");
    }

    #[test]
    fn a_code_span_holds_any_backticks() {
        assert_eq!(code("a `b`` c"), "```a `b`` c```");
        assert_eq!(code("`a`"), "`` `a` ``");
    }

    #[test]
    fn a_link_cannot_be_broken_out_of() {
        assert_eq!(linked("x", "https://e.example/a)b"), "[x](https://e.example/a%29b)");
        assert_eq!(linked("x]", "javascript:alert(1)"), r"x\]");
    }
}
