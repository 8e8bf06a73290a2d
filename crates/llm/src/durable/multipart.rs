//! `multipart/form-data`, as far as an upload needs it: a file and a few short fields, whole in memory.

use bytes::Bytes;
use http::{HeaderMap, header};
use paddock_platform::problem::Problem;

use super::Uploaded;

/// Parts of an upload at most.
const PARTS_MAX: usize = 16;
/// The longest head of a part.
const HEAD_MAX: usize = 4096;
/// The longest name of a file.
const NAME_MAX: usize = 255;

/// A body that ends before its parts do.
const BROKEN: &str = "ends within a part";

/// One part.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: String,
    file_name: Option<String>,
    content: Bytes,
}

/// Reads an upload: the fields `purpose` and `file`.
pub(crate) fn read_upload(headers: &HeaderMap, body: &Bytes) -> Result<Uploaded, Problem> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = boundary_of(media_type).ok_or_else(|| {
        Problem::invalid_field("Content-Type", "must be `multipart/form-data` with its boundary")
    })?;
    let parts = split(body, &boundary).map_err(|why| Problem::invalid_field("body", why))?;
    let (mut purpose, mut file) = (None, None);
    for part in parts {
        match part.name.as_str() {
            "purpose" => purpose = Some(String::from_utf8_lossy(&part.content).trim().to_owned()),
            "file" => file = Some((part.file_name.unwrap_or_default(), part.content)),
            // `expires_after` and what else a client may say: kept for as long as the configuration says.
            _ => {}
        }
    }
    let purpose = purpose.ok_or_else(|| Problem::invalid_field("purpose", "is missing"))?;
    let (name, bytes) = file.ok_or_else(|| Problem::invalid_field("file", "is missing"))?;
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(NAME_MAX).collect();
    let name = if name.is_empty() { "upload.jsonl".to_owned() } else { name };
    Ok(Uploaded { name, purpose, bytes })
}

fn boundary_of(media_type: &str) -> Option<String> {
    let (essence, parameters) = media_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

/// Splits a body at its boundary. What stands before the first one and after the last one is nothing.
fn split(body: &Bytes, boundary: &str) -> Result<Vec<Part>, &'static str> {
    let first = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let mut at = if body.starts_with(first.as_bytes()) {
        first.len()
    } else {
        memchr::memmem::find(body, next.as_bytes()).ok_or("has no part")? + next.len()
    };
    let mut parts = Vec::new();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        if parts.len() == PARTS_MAX {
            return Err("has more parts than an upload needs");
        }
        // The line break that ends the boundary's line begins the head, which may be empty.
        let head_at = at + memchr::memmem::find(rest, b"\r\n").ok_or(BROKEN)?;
        let head_end = head_at + memchr::memmem::find(&body[head_at..], b"\r\n\r\n").ok_or(BROKEN)?;
        if head_end - head_at > HEAD_MAX {
            return Err("has a part with a head that is too long");
        }
        let content_at = head_end + 4;
        let end = memchr::memmem::find(&body[content_at..], next.as_bytes()).ok_or(BROKEN)?;
        let head = String::from_utf8_lossy(&body[head_at..head_end]);
        parts.push(part(&head, body.slice(content_at..content_at + end)));
        at = content_at + end + next.len();
    }
}

fn part(head: &str, content: Bytes) -> Part {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let parameter = |wanted: &str| {
        parameters(disposition.unwrap_or_default())
            .into_iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value)
    };
    Part { name: parameter("name").unwrap_or_default(), file_name: parameter("filename"), content }
}

/// `; name="a"; filename="b"`: values may be quoted, with `\` before what would end them.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(';') {
        let Some((name, value)) = after.split_once('=') else { return found };
        let mut text = String::new();
        let value = value.trim_start();
        if let Some(quoted) = value.strip_prefix('"') {
            let mut letters = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, letter)) = letters.next() {
                match letter {
                    '"' => {
                        end = at;
                        break;
                    }
                    '\\' => text.extend(letters.next().map(|(_, escaped)| escaped)),
                    letter => text.push(letter),
                }
            }
            rest = quoted.get(end..).unwrap_or_default();
        } else {
            let end = value.find(';').unwrap_or(value.len());
            value[..end].trim().clone_into(&mut text);
            rest = &value[end..];
        }
        found.push((name.trim().to_ascii_lowercase(), text));
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn upload(body: &str) -> Result<Uploaded, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "multipart/form-data; boundary=\"b-1\"".parse().unwrap());
        read_upload(&headers, &Bytes::from(body.to_owned()))
    }

    #[test]
    fn an_upload_of_an_sdk_is_read() {
        let body = "--b-1\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b-1\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".jsonl\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{\"a\":1}\r\n{\"b\":2}\n\r\n--b-1--\r\n";
        let found = upload(body).unwrap();
        assert_eq!((found.name.as_str(), found.purpose.as_str()), ("a \"b\".jsonl", "batch"));
        assert_eq!(&found.bytes[..], b"{\"a\":1}\r\n{\"b\":2}\n");
    }

    #[test]
    fn what_is_no_upload_is_refused_with_what_is_missing() {
        for (body, expected) in [
            ("", "body"),
            ("--b-1--", "purpose"),
            ("--b-1\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b-1--", "file"),
            ("--b-1\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch", "body"),
            ("--b-1\r\nContent-Disposition", "body"),
        ] {
            let problem = upload(body).unwrap_err();
            assert!(problem.detail.contains(expected), "{body:?}: {}", problem.detail);
        }
        let problem = read_upload(&HeaderMap::new(), &Bytes::new()).unwrap_err();
        assert!(problem.detail.contains("Content-Type"), "{}", problem.detail);
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read_back(
            content in prop::collection::vec(prop::sample::select(b"\r\n-b1xyz\0\xff".to_vec()), 0..60),
            name in "[a-zé \"\\\\;=]{1,20}",
        ) {
            prop_assume!(memchr::memmem::find(&content, b"\r\n--b1").is_none());
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            let mut body = format!("--b1\r\ncontent-disposition: form-data; name=file; filename=\"{quoted}\"\r\n\r\n").into_bytes();
            body.extend_from_slice(&content);
            body.extend_from_slice(b"\r\n--b1--\r\n");
            let parts = split(&Bytes::from(body), "b1").unwrap();
            let expected = Part { name: "file".to_owned(), file_name: Some(name), content: Bytes::from(content) };
            prop_assert_eq!(parts, vec![expected]);
        }

        #[test]
        fn no_body_makes_it_panic(
            pieces in prop::collection::vec(prop::sample::select(vec![
                &b"--b"[..], b"\r\n--b", b"--", b"\r\n", b"\r\n\r\n", b"content-disposition: x; name=", b"\"", b"\\", b";", b"\xff", b"a",
            ]), 0..40),
        ) {
            let _ = split(&Bytes::from(pieces.concat()), "b");
        }
    }
}
