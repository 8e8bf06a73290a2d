//! The commands of docs/agents.md, run as they are written there.

use std::{fs, path::Path, process::Command};

use super::{
    start,
    support::{self, TestServer, text},
};

/// The block of commands in the docs that contains these words.
pub(crate) fn block(words: &str) -> String {
    let docs = fs::read_to_string(support::page("docs/agents.md")).unwrap();
    let block = docs.split("```\n").find(|block| block.contains(words));
    block.unwrap_or_else(|| panic!("docs/agents.md has no commands with `{words}`")).to_owned()
}

/// Runs commands in a shell that knows the binary and the server, up to the first one that fails; what they printed.
pub(crate) fn shell(server: &TestServer, dir: &Path, commands: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_paddock")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PADDOCK_")) {
        shell.env_remove(name);
    }
    shell
        .args(["-eu", "-c", commands])
        .current_dir(dir)
        .env("PATH", path)
        .env("PADDOCK_SERVER", &server.base);
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{commands}\n{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_commands_of_the_docs_review_a_page() {
    let (server, site) = (start(&["--set", "llm.sim=true"]), super::prompts::pages().await);
    let dir = tempfile::tempdir().unwrap();
    let commands = block("cat > reviewer.md");
    let (serve, commands) = commands.split_once('\n').unwrap();
    assert_eq!(serve, "paddock serve --set llm.sim=true");
    assert!(commands.contains("https://shop.example/"), "{commands}");
    let said = shell(&server, dir.path(), &commands.replace("https://shop.example/", &site.base));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "reviewer@1");
    assert!(lines[1].ends_with(" of 100)") && !lines[1].contains("{{"), "{said}");
    let conversation = lines[2].strip_prefix("conversation ").unwrap_or_else(|| panic!("{said}"));
    assert!(lines.last().unwrap().starts_with(conversation), "{said}");
}
