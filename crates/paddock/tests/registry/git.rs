//! Repositories that ask for a name and a password, which are sent over TLS alone.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    server_json,
    support::{self, TestServer, paddock, run, text},
    write_list,
};

const ACCOUNT: &str = "robot:correct horse";

fn command(program: &str, args: &[&str], directory: &Path) {
    let output = Command::new(program).args(args).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is installed: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", text(&output));
}

/// git's own server on a port of loopback, with a certificate that it made itself. Dropping it kills it.
struct Origin {
    dir: tempfile::TempDir,
    program: Child,
    url: String,
}

impl Origin {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let request = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout key.pem \
                       -out certificate.pem -days 2 -subj /CN=git -addext subjectAltName=IP:127.0.0.1 \
                       -addext basicConstraints=critical,CA:FALSE";
        command("openssl", &request.split(' ').collect::<Vec<_>>(), dir.path());
        let repository = dir.path().join("servers");
        fs::create_dir(&repository).unwrap();
        command("git", &["init", "--quiet", "--initial-branch=main"], &repository);
        let mut node = Command::new("node");
        node.arg(support::page("crates/paddock/tests/registry/git.mjs"));
        node.args(["certificate.pem", "key.pem", "."]).arg(ACCOUNT).current_dir(dir.path());
        let mut program =
            node.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("node is installed");
        let mut port = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let url = format!("https://127.0.0.1:{}/servers", port.trim());
        Self { dir, program, url }
    }

    fn commit(&self, servers: &[Value]) {
        let repository = self.dir.path().join("servers");
        write_list(&repository.join("servers.json"), servers);
        command("git", &["add", "."], &repository);
        let who = ["-c", "user.name=t", "-c", "user.email=t@t.example"];
        command("git", &[who.as_slice(), &["commit", "--quiet", "-m", "change"]].concat(), &repository);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn a_repository_with_a_password_is_read_and_a_wrong_one_loses_nothing() {
    let origin = Origin::start();
    origin.commit(&[server_json("com.acme/one", "1.0.0")]);
    let password = origin.dir.path().join("password");
    fs::write(&password, "correct horse\n").unwrap();
    let sources = format!(
        "registry.sources=[{{ name = \"team\", interval = \"1h\", git = {{ url = \"{}\", branch = \"main\", \
         path = \"servers.json\", username = \"robot\", password = \"file:{}\" }} }}]",
        origin.url,
        password.display()
    );
    let certificate = origin.dir.path().join("certificate.pem").display().to_string();
    let server = TestServer::start_with_env(
        &[("SSL_CERT_FILE", certificate.as_str())],
        &["--set", &sources, "--set", "browser.warm=0"],
    );
    let sync = || run(&["registry", "sync", "team", "--server", &server.base]);
    let source = || {
        let output =
            paddock().args(["registry", "status", "--json", "--server", &server.base]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["sources"][0].clone()
    };
    let synced = sync();
    assert!(synced.status.success(), "{}", text(&synced));
    assert_eq!(source()["entries"], 1);

    origin.commit(&[server_json("com.acme/one", "1.0.0"), server_json("com.acme/two", "1.0.0")]);
    fs::write(&password, "wrong horse\n").unwrap();
    let synced = sync();
    assert!(!synced.status.success(), "{}", text(&synced));
    let (status, said) = (source(), text(&synced));
    assert_eq!((&status["phase"], &status["entries"]), (&json!("failed"), &json!(1)), "{status}");
    assert!(!status.to_string().contains("horse") && !said.contains("horse"), "{status} {said}");

    fs::write(&password, "correct horse\n").unwrap();
    let synced = sync();
    assert!(synced.status.success(), "{}", text(&synced));
    assert_eq!(source()["entries"], 2);
}
