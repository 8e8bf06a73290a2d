//! Data files: a value per operation, from CSV (RFC 4180, with a header line) or from JSON lines.

use std::{path::Path, sync::Arc};

use serde_json::Value;

/// Largest data file.
pub(crate) const DATA_BYTES_MAX: u64 = 64 << 20;

/// A data file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    #[error("cannot read `{path}`: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("`{path}` has {size} bytes; at most {DATA_BYTES_MAX} are read")]
    TooLarge { path: String, size: u64 },
    #[error("`{path}` must end in `.csv` or `.jsonl`")]
    Kind { path: String },
    #[error("`{path}` line {line}: {reason}")]
    Line { path: String, line: usize, reason: String },
    #[error("`{path}` has no column `{column}`; there are `{}`", known.join("`, `"))]
    Column { path: String, column: String, known: Vec<String> },
    #[error("`{path}` has no rows")]
    Empty { path: String },
}

/// The values of one column.
pub(crate) fn column(path: &Path, column: &str) -> Result<Arc<[String]>, DataError> {
    let shown = path.display().to_string();
    let read_error = |source| DataError::Read { path: shown.clone(), source };
    let size = std::fs::metadata(path).map_err(read_error)?.len();
    if size > DATA_BYTES_MAX {
        return Err(DataError::TooLarge { path: shown, size });
    }
    let text = std::fs::read_to_string(path).map_err(read_error)?;
    let values = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => csv_column(&shown, &text, column)?,
        Some("jsonl" | "ndjson") => json_column(&shown, &text, column)?,
        _ => return Err(DataError::Kind { path: shown }),
    };
    if values.is_empty() {
        return Err(DataError::Empty { path: shown });
    }
    Ok(values.into())
}

fn json_column(path: &str, text: &str, column: &str) -> Result<Vec<String>, DataError> {
    let mut values = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let error = |reason: String| DataError::Line { path: path.to_owned(), line: index + 1, reason };
        let row: Value = serde_json::from_str(line).map_err(|source| error(format!("not JSON: {source}")))?;
        values.push(match row.get(column) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => return Err(error(format!("the object has no `{column}`"))),
        });
    }
    Ok(values)
}

fn csv_column(path: &str, text: &str, column: &str) -> Result<Vec<String>, DataError> {
    let mut records = csv_records(text);
    let line_error =
        |line, reason: &str| DataError::Line { path: path.to_owned(), line, reason: reason.to_owned() };
    let header = match records.next() {
        Some(Ok((_, header))) => header,
        Some(Err(line)) => return Err(line_error(line, "a quoted field does not end")),
        None => return Err(DataError::Empty { path: path.to_owned() }),
    };
    let place = header.iter().position(|name| name == column).ok_or_else(|| DataError::Column {
        path: path.to_owned(),
        column: column.to_owned(),
        known: header.clone(),
    })?;
    records
        .map(|record| match record {
            Ok((line, fields)) => {
                fields.into_iter().nth(place).ok_or_else(|| line_error(line, "the line has too few fields"))
            }
            Err(line) => Err(line_error(line, "a quoted field does not end")),
        })
        .collect()
}

/// Records with the line they begin on; an error is the line of a quoted field that does not end.
fn csv_records(text: &str) -> impl Iterator<Item = Result<(usize, Vec<String>), usize>> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    let mut line = 1;
    std::iter::from_fn(move || {
        while rest.next_if(|next| matches!(next, '\r' | '\n')).is_some_and(|next| {
            line += usize::from(next == '\n');
            true
        }) {}
        rest.peek()?;
        let began = line;
        let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
        loop {
            match rest.next() {
                Some('"') if quoted && rest.next_if_eq(&'"').is_some() => field.push('"'),
                Some('"') if quoted => quoted = false,
                Some('"') if field.is_empty() => quoted = true,
                Some(',') if !quoted => fields.push(std::mem::take(&mut field)),
                Some('\n') if !quoted => {
                    line += 1;
                    break;
                }
                Some('\r') if !quoted && rest.peek() == Some(&'\n') => {}
                Some(other) => {
                    line += usize::from(other == '\n');
                    field.push(other);
                }
                None if quoted => return Some(Err(began)),
                None => break,
            }
        }
        fields.push(field);
        Some(Ok((began, fields)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_fields_may_be_quoted_and_span_lines() {
        let text = "id,\"full name\"\r\n1,\"Ada \"\"Countess\"\", L.\"\r\n\r\n2,\"two\nlines\"\n3,plain";
        assert_eq!(
            csv_column("x.csv", text, "full name").unwrap(),
            ["Ada \"Countess\", L.", "two\nlines", "plain"]
        );
        assert_eq!(csv_column("x.csv", text, "id").unwrap(), ["1", "2", "3"]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        let error = |text, column| csv_column("x.csv", text, column).unwrap_err().to_string();
        assert_eq!(error("id,name\n1,a\n2\n", "name"), "`x.csv` line 3: the line has too few fields");
        assert_eq!(error("id,name\n1,\"a\n", "name"), "`x.csv` line 2: a quoted field does not end");
        assert_eq!(error("id,name\n", "nmae"), "`x.csv` has no column `nmae`; there are `id`, `name`");
        let json = |text| json_column("x.jsonl", text, "id").unwrap_err().to_string();
        assert_eq!(json("{\"id\":1}\n{}\n"), "`x.jsonl` line 2: the object has no `id`");
        assert!(json("{\"id\":1}\n{\n").starts_with("`x.jsonl` line 2: not JSON"));
    }

    #[test]
    fn json_values_are_texts() {
        let text = "{\"id\": 7}\n\n{\"id\": \"a b\"}\n{\"id\": true}\n";
        assert_eq!(json_column("x.jsonl", text, "id").unwrap(), ["7", "a b", "true"]);
    }

    #[test]
    fn files_are_told_apart_by_their_ending() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.csv");
        std::fs::write(&path, "id\n1\n2\n").unwrap();
        assert_eq!(column(&path, "id").unwrap().as_ref(), ["1", "2"]);
        std::fs::write(&path, "id\n").unwrap();
        assert!(column(&path, "id").unwrap_err().to_string().ends_with("has no rows"));
        assert!(column(&dir.path().join("none.csv"), "id").is_err());
        std::fs::write(dir.path().join("rows.txt"), "x").unwrap();
        assert!(matches!(column(&dir.path().join("rows.txt"), "id"), Err(DataError::Kind { .. })));
    }
}
