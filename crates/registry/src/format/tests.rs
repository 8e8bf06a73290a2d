use proptest::prelude::*;

use super::*;

fn names(content: &str) -> Vec<String> {
    let parts = split(content.as_bytes()).unwrap();
    parts
        .into_iter()
        .map(|part| match part {
            Ok(part) => {
                let server: Value = serde_json::from_str(&part.server).unwrap();
                format!(
                    "{}{}",
                    server["name"].as_str().unwrap(),
                    if part.meta.is_some() { "+meta" } else { "" }
                )
            }
            Err(reason) => reason,
        })
        .collect()
}

#[test]
fn every_format_is_told_by_its_content() {
    for (content, expected) in [
        (
            r#"{"servers": [{"server": {"name": "a.b/c"}, "_meta": {}}], "metadata": {"count": 1}}"#,
            "a.b/c+meta",
        ),
        (r#"{"servers": [{"server": {"name": "a.b/c"}}]}"#, "a.b/c"),
        (r#"{"version": "1.0.0", "data": {"servers": [{"name": "a.b/c"}]}}"#, "a.b/c"),
        (r#"[{"name": "a.b/c", "version": "1"}]"#, "a.b/c"),
        (r#"{"name": "a.b/c", "version": "1"}"#, "a.b/c"),
        (r#"{"server": {"name": "a.b/c"}, "_meta": {}}"#, "a.b/c+meta"),
        ("\u{feff}  [{\"name\": \"a.b/c\"}]", "a.b/c"),
        (
            r#"[{"name": "c", "type": "server", "image": "mcp/c", "about": {"description": "d"}}]"#,
            "com.docker.mcp/c",
        ),
        ("name: c\ntype: server\nimage: mcp/c\nabout:\n  description: d\n", "com.docker.mcp/c"),
        ("registry:\n  c:\n    type: server\n    image: mcp/c\n    description: d\n", "com.docker.mcp/c"),
    ] {
        assert_eq!(names(content), [expected], "{content}");
    }
}

#[test]
fn what_is_no_list_of_servers_is_told_what_it_is() {
    for (content, expected) in [
        ("", FormatError::Empty),
        (" <!DOCTYPE html><html></html>", FormatError::Html),
        (r#"{"error": "down"}"#, FormatError::Unknown),
        (r#"{"servers": {"fetch": {}}}"#, FormatError::ToolHiveOld),
        ("just words", FormatError::Unknown),
    ] {
        assert_eq!(split(content.as_bytes()).unwrap_err(), expected, "{content}");
    }
    assert!(matches!(split(b"\xff\xfe"), Err(FormatError::NotText)));
    assert!(matches!(split(br#"{"servers": [{"server": {"na"#), Err(FormatError::Json(_))));
}

#[test]
fn an_item_that_is_no_object_leaves_the_others_alone() {
    assert_eq!(names(r#"[7, {"name": "a.b/c"}]"#), ["is not an object", "a.b/c"]);
}

#[test]
fn a_docker_server_keeps_what_it_says() {
    let content = r#"[{
        "name": "sqlite", "image": "mcp/sqlite", "type": "server", "meta": {"category": "database", "tags": ["sql"]},
        "about": {"title": "SQLite", "description": "Database", "icon": "https://a.example/i.png"},
        "source": {"project": "https://github.com/a/b", "commit": "b4ee623039a6c60053ce", "directory": "src/sqlite"},
        "run": {"command": ["--db-path", "/mcp/db.sqlite"], "volumes": ["mcp-sqlite:/mcp"]},
        "config": {"secrets": [{"name": "s.key", "env": "KEY", "example": "x"}]},
        "_tools": [{"name": "query", "description": "Runs SQL"}]
    }]"#;
    let parts = split(content.as_bytes()).unwrap();
    let server: Value = serde_json::from_str(&parts[0].as_ref().unwrap().server).unwrap();
    assert!(crate::validate::validate(&server).valid, "{:?}", crate::validate::validate(&server));
    assert_eq!(server["version"], "0.0.0-b4ee623039a6");
    assert_eq!(server["packages"][0]["packageArguments"][0]["value"], "--db-path");
    assert_eq!(server["packages"][0]["environmentVariables"][0]["isSecret"], true);
    assert_eq!(
        server["_meta"][crate::validate::PUBLISHER_META]["com.docker.mcp"]["tools"][0]["name"],
        "query"
    );
}

proptest! {
    #[test]
    fn no_content_makes_the_splitter_panic(content: Vec<u8>, text in "[\\[\\]{}\":,a-z \n-]{0,60}") {
        let _ = split(&content);
        let _ = split(text.as_bytes());
    }
}
