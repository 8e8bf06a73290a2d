//! A private PostgreSQL server for one test process.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

/// Far longer than a server takes to start on a loaded machine.
const START_WAIT: Duration = Duration::from_mins(2);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Durable only as long as the test: that is what makes it quick.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "shared_buffers=16MB",
    "max_connections=100",
    "max_wal_senders=0",
    "wal_level=minimal",
    "dynamic_shared_memory_type=mmap",
];
/// As a careful operator has it.
const DURABLE_SETTINGS: &[&str] = &[
    "listen_addresses=",
    "shared_buffers=256MB",
    "max_connections=100",
    "max_wal_size=2GB",
    "dynamic_shared_memory_type=mmap",
];
/// Runs the server, stops and starts it as it is told, and ends with the test process: `read` fails when the other end of
/// its pipe is gone, by whatever means the process ended.
const GUARD: &str = r#"
directory=$1; shift
start() { "$@" >>"$directory/log" 2>&1 & server=$!; }
stop() { kill "-$1" "$server" 2>/dev/null; wait "$server"; }
start "$@"
while read -r order; do
  case $order in
    start) start "$@" ;;
    stop) stop INT ;;
  esac
done
stop QUIT
rm -rf "$directory"
"#;

/// The process's server, while any fixture uses it.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// The process's server, started by the first that asks; `None` if PostgreSQL is not installed.
pub(super) fn server() -> Option<Arc<Server>> {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = server.upgrade() {
        return Some(running);
    }
    let started = Arc::new(Server::start(&find_binaries()?, None, SETTINGS));
    *server = Arc::downgrade(&started);
    Some(started)
}

/// A server of its own that syncs what it acknowledges; `None` if PostgreSQL is not installed.
pub(super) fn durable_server() -> Option<Server> {
    Some(Server::start(&find_binaries()?, None, DURABLE_SETTINGS))
}

/// A server of its own that speaks TLS on a free port, with a certificate that only its own file vouches for; `None`
/// if PostgreSQL or OpenSSL is not installed.
pub(super) fn tls_server() -> Option<Server> {
    let binaries = find_binaries()?;
    Command::new("openssl").arg("version").stdout(Stdio::null()).status().ok()?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    drop(listener);
    Some(Server::start(&binaries, Some(port), SETTINGS))
}

/// The newest installation, or the one that `PADDOCK_POSTGRES_BIN` names.
fn find_binaries() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("PADDOCK_POSTGRES_BIN") {
        return Some(PathBuf::from(named));
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = versions.into_iter().rev().map(|(_, path)| path).chain(std::env::split_paths(&path));
    candidates.find(|directory| directory.join("postgres").exists() && directory.join("initdb").exists())
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    binaries: PathBuf,
    guard: Child,
    directory: PathBuf,
    /// Set where it speaks TLS, and then on this port.
    tls_port: Option<u16>,
}

impl Server {
    fn start(binaries: &Path, tls_port: Option<u16>, settings: &[&str]) -> Self {
        let template = template(binaries);
        // Short: the path of a socket has 107 bytes at most.
        let name = uuid::Uuid::now_v7().simple().to_string();
        let directory = temp_dir().join(format!("paddock-pg-{}", &name[12..]));
        let data = directory.join("data");
        run(unprivileged("mkdir").args(["-m", "700"]).arg(&directory));
        run(unprivileged("cp").args(["-R", "--reflink=auto"]).arg(&template).arg(&data));

        let mut guard = unprivileged("setsid");
        guard.args(["sh", "-c", GUARD, "sh"]).arg(&directory).arg(binaries.join("postgres"));
        guard.arg("-D").arg(&data).arg("-k").arg(&directory);
        for setting in settings {
            guard.args(["-c", setting]);
        }
        if let Some(port) = tls_port {
            make_certificate(&data);
            guard
                .args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on", "-c"])
                .arg(format!("port={port}"));
        }
        guard.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let guard = guard.spawn().expect("`setsid` runs");
        let server = Self { binaries: binaries.to_owned(), guard, directory, tls_port };
        server.wait_until(true);
        server
    }

    /// Ends it, as its administrator does, and waits until it is gone.
    pub(super) fn stop(&self) {
        self.order("stop");
        self.wait_until(false);
    }

    /// Starts it again, and waits until it answers.
    pub(super) fn resume(&self) {
        self.order("start");
        self.wait_until(true);
    }

    fn order(&self, order: &str) {
        let mut guard = self.guard.stdin.as_ref().expect("its input is a pipe");
        writeln!(guard, "{order}").expect("the guard of PostgreSQL runs");
    }

    fn wait_until(&self, answers: bool) {
        let started = Instant::now();
        loop {
            let mut ready = Command::new(self.binaries.join("pg_isready"));
            ready.arg("-q").arg("-h").arg(&self.directory).stdin(Stdio::null());
            self.tls_port.map(|port| ready.arg("-p").arg(port.to_string()));
            if ready.status().is_ok_and(|status| status.success()) == answers {
                return;
            }
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(started.elapsed() < START_WAIT, "PostgreSQL did not start or stop:\n{}", log());
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The URL of a new, empty database.
    pub(super) async fn create_database(&self) -> String {
        let name = format!("t{}", uuid::Uuid::now_v7().simple());
        let url = format!("{}&sslmode=disable", self.url("postgres"));
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .expect("the private PostgreSQL answers");
        let create = format!("CREATE DATABASE {name}");
        // The connection drives itself only while it is polled; it ends when the client is dropped.
        let create = async move { client.batch_execute(&create).await };
        let (created, _) = futures_util::join!(create, connection);
        created.expect("a database can be created");
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        match self.tls_port {
            Some(port) => format!("postgres://127.0.0.1:{port}/{database}?user=paddock"),
            None => format!("postgres:///{database}?host={}&user=paddock", self.directory.display()),
        }
    }

    /// Who vouches for the server: its own certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.directory.join("data/server.crt")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// A fresh cluster to copy from, made once per version and kept: `initdb` takes as long as a hundred tests.
fn template(binaries: &Path) -> PathBuf {
    let version = Command::new(binaries.join("postgres")).arg("--version").output().expect("`postgres` runs");
    let version = String::from_utf8_lossy(&version.stdout);
    // `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
    let version = version.split_whitespace().nth(2).unwrap_or("unknown");
    let user = if is_root() { "nobody".to_owned() } else { rustix::process::getuid().as_raw().to_string() };
    let cache = temp_dir().join(format!("paddock-postgres-{version}-{user}"));
    let template = cache.join("template");
    run(unprivileged("mkdir").arg("-p").arg(&cache));
    // Tests start side by side, in processes of their own: one makes it, the others wait.
    let lock = fs::File::create(temp_dir().join(format!("paddock-postgres-{version}-{user}.lock")))
        .expect("a lock file can be created");
    lock.lock().expect("a file can be locked");
    if !template.exists() {
        let unfinished = cache.join("unfinished");
        run(unprivileged("rm").arg("-rf").arg(&unfinished));
        run(unprivileged(binaries.join("initdb").to_str().unwrap_or_default())
            .args(["--no-sync", "--no-instructions", "--auth=trust", "--username=paddock"])
            .args(["--encoding=UTF8", "--locale=C", "--wal-segsize=1", "-D"])
            .arg(&unfinished));
        run(unprivileged("mv").arg(&unfinished).arg(&template));
    }
    template
}

/// One that an unprivileged user may write to.
fn temp_dir() -> PathBuf {
    if is_root() { PathBuf::from("/tmp") } else { std::env::temp_dir() }
}

fn make_certificate(data: &Path) {
    let mut openssl = unprivileged("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    run(openssl.arg("-keyout").arg(data.join("server.key")).arg("-out").arg(data.join("server.crt")));
    run(unprivileged("chmod").arg("600").arg(data.join("server.key")));
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command as a user that PostgreSQL accepts: it refuses to run as root.
fn unprivileged(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

fn run(command: &mut Command) {
    let output = command.current_dir("/").stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
