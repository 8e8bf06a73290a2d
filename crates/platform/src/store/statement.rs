//! SQL with a name.

use std::{borrow::Cow, fmt, sync::OnceLock};

/// A named piece of SQL of an area. Declared as a `static`: it keeps its translation.
///
/// Parameters are `?1`, `?2`, …; for PostgreSQL they become `$1`, `$2`, …
///
/// ```
/// use paddock_platform::store::Statement;
///
/// static FIND: Statement = Statement::new("jobs", "find", "SELECT state FROM jobs WHERE id = ?1");
/// static CLAIM: Statement = Statement::new(
///     "jobs",
///     "claim",
///     "UPDATE jobs SET owner = ?1 WHERE id = (SELECT id FROM jobs WHERE owner IS NULL LIMIT 1) RETURNING id",
/// )
/// .with_postgres(
///     "UPDATE jobs SET owner = ?1 WHERE id = \
///      (SELECT id FROM jobs WHERE owner IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
/// );
/// ```
pub struct Statement {
    /// The area it belongs to.
    pub area: &'static str,
    /// What it does, unique within its area.
    pub name: &'static str,
    sqlite: &'static str,
    postgres: Option<&'static str>,
    translated: OnceLock<Cow<'static, str>>,
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statement({}.{})", self.area, self.name)
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.area, self.name)
    }
}

impl Statement {
    /// SQL that both engines understand.
    pub const fn new(area: &'static str, name: &'static str, sql: &'static str) -> Self {
        Self { area, name, sqlite: sql, postgres: None, translated: OnceLock::new() }
    }

    /// Gives PostgreSQL a text of its own, with the same parameters and columns.
    #[must_use]
    pub const fn with_postgres(mut self, sql: &'static str) -> Self {
        self.postgres = Some(sql);
        self
    }

    pub(super) const fn sqlite(&self) -> &'static str {
        self.sqlite
    }

    pub(super) fn postgres(&self) -> &str {
        self.translated.get_or_init(|| numbered_with_dollars(self.postgres.unwrap_or(self.sqlite)))
    }
}

/// `?1` becomes `$1`, except within quotes and comments.
fn numbered_with_dollars(sql: &'static str) -> Cow<'static, str> {
    if !sql.contains('?') {
        return Cow::Borrowed(sql);
    }
    let mut translated = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(start) = rest.find(['?', '\'', '"', '-']) {
        let (before, from) = rest.split_at(start);
        translated.push_str(before);
        let skipped = match from.as_bytes() {
            [b'?', digit, ..] if digit.is_ascii_digit() => {
                translated.push('$');
                rest = &from[1..];
                continue;
            }
            [quote @ (b'\'' | b'"'), ..] => quoted_len(from, char::from(*quote)),
            [b'-', b'-', ..] => from.find('\n').unwrap_or(from.len()),
            _ => 1,
        };
        translated.push_str(&from[..skipped]);
        rest = &from[skipped..];
    }
    translated.push_str(rest);
    Cow::Owned(translated)
}

/// The length of a quoted text. A doubled quote inside reads as two texts side by side, which is as good here.
fn quoted_len(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_are_translated_outside_quotes_and_comments() {
        for (sql, expected) in [
            ("SELECT ?1, ?12", "SELECT $1, $12"),
            ("SELECT '?1', \"?2\", ?3", "SELECT '?1', \"?2\", $3"),
            ("SELECT 'it''s ?1', ?2 -- ?3\n, ?4", "SELECT 'it''s ?1', $2 -- ?3\n, $4"),
            ("SELECT a - ?1 ? b", "SELECT a - $1 ? b"),
            ("SELECT 'open ?1", "SELECT 'open ?1"),
        ] {
            assert_eq!(numbered_with_dollars(sql), expected);
        }
    }

    proptest! {
        #[test]
        fn only_placeholders_are_changed(sql in "[?1'\"a é\n-]{0,40}") {
            let sql: &'static str = Box::leak(sql.into_boxed_str());
            prop_assert_eq!(numbered_with_dollars(sql).replace('$', "?"), sql);
        }
    }
}
