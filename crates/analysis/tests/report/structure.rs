//! Enough of an HTML reader to tell whether a document is what its template meant it to be.

/// Elements without an end tag.
const VOID: [&str; 5] = ["meta", "img", "input", "circle", "path"];

/// A start tag with its attributes.
#[derive(Debug)]
pub(crate) struct Tag<'a> {
    pub(crate) name: &'a str,
    pub(crate) attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Tag<'a> {
    pub(crate) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}

/// The start tags of a document; an error tells where it is not well formed.
pub(crate) fn tags(html: &str) -> Result<Vec<Tag<'_>>, String> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>").ok_or("no document type")?;
    let (mut tags, mut open) = (Vec::new(), Vec::new());
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if let Some(end_tag) = rest.strip_prefix('/') {
            let (name, after) = end_tag.split_once('>').ok_or("an end tag that does not end")?;
            match open.pop() {
                Some(last) if last == name => {}
                last => return Err(format!("`{name}` ends where {last:?} is open")),
            }
            rest = after;
            continue;
        }
        let (tag, after) = tag(rest)?;
        rest = after;
        if tag.name == "style" {
            rest = &rest[rest.find("</style>").ok_or("a style that does not end")?..];
        }
        if !VOID.contains(&tag.name) {
            open.push(tag.name);
        }
        tags.push(tag);
    }
    if open.is_empty() { Ok(tags) } else { Err(format!("{open:?} do not end")) }
}

fn tag(text: &str) -> Result<(Tag<'_>, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).ok_or("a tag that does not end")?;
    let (name, mut rest) = text.split_at(end);
    if name.is_empty() {
        return Err(format!("a bare `<` before {:?}", text.chars().take(20).collect::<String>()));
    }
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '/']);
        if let Some(after) = rest.strip_prefix('>') {
            return Ok((Tag { name, attributes }, after));
        }
        let end = rest.find(['=', ' ', '>']).ok_or("an attribute that does not end")?;
        let (key, after) = rest.split_at(end);
        if key.is_empty() || key.contains(['"', '<', '\'']) {
            return Err(format!("`{key}` is no attribute of `{name}`"));
        }
        rest = after;
        let mut value = "";
        if let Some(quoted) = rest.strip_prefix("=\"") {
            (value, rest) = quoted.split_once('"').ok_or("a value that does not end")?;
        }
        attributes.push((key, value));
    }
}
