//! For tests of everything that stands on the bus: a NATS server of the test's own.
//!
//! Where NATS is not installed the test says `skipped: …` and goes on, unless `PADDOCK_REQUIRE_NATS=1` is set.
#![expect(clippy::print_stdout, reason = "this is test code, which other crates' tests share")]

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

/// A NATS server. Dropping it kills it.
#[derive(Debug)]
pub struct NatsServer {
    child: Option<Child>,
    port: u16,
}

impl NatsServer {
    /// Starts one on a free port; `None` where it is not installed, unless it has to be.
    pub fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        drop(listener);
        let mut server = Self { child: None, port };
        server.resume().then_some(server)
    }

    /// What `[bus] url` names it by.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it after it was stopped, where it was. Gives whether it is installed.
    pub fn resume(&mut self) -> bool {
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string()]);
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => self.child = Some(child),
            Err(error) => {
                let required = std::env::var("PADDOCK_REQUIRE_NATS").as_deref() == Ok("1");
                assert!(!required, "PADDOCK_REQUIRE_NATS=1 is set, and nats-server does not run: {error}");
                println!("skipped: nats-server is not installed (`scripts/setup.sh test`)");
                return false;
            }
        }
        true
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.stop();
    }
}
