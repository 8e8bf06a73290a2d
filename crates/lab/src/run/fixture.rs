//! Set-up and tear-down: what is started for a run, and is stopped again whatever happens.

use std::{collections::BTreeMap, time::Instant};

use paddock_platform::task::Tasks;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{
    last::measure,
    process::{SetupError, run_command},
    ready::Ready,
    server::Server,
    site::Site,
};
use crate::{
    resources::Watched,
    scenario::{Scenario, SetupFile, TeardownFile},
    variables::Variables,
};

/// Everything that set-up made. Dropping it kills what still runs.
#[derive(Debug, Default)]
pub(super) struct Fixtures {
    servers: Vec<Server>,
    sites: Vec<Site>,
    dirs: Vec<TempDir>,
    /// Whether other machines may be talked to.
    allow_target: bool,
    ready_ms: BTreeMap<String, f64>,
    /// What was measured after the load.
    figures: Vec<(String, f64)>,
    variables: Variables,
}

impl Fixtures {
    /// Prepares every part in order. After a failure, what was started before is killed.
    pub(super) async fn prepare(
        scenario: &Scenario,
        variables: &mut Variables,
        allow_target: bool,
        tasks: &Tasks,
        stop: &CancellationToken,
    ) -> Result<Self, SetupError> {
        let mut fixtures = Self { allow_target, ..Self::default() };
        for part in &scenario.file.setup {
            let prepared = fixtures.prepare_part(scenario, part.get_ref(), variables, tasks);
            tokio::select! {
                prepared = prepared => prepared?,
                () = stop.cancelled() => return Err(SetupError::Interrupted),
            }
        }
        fixtures.variables = variables.clone();
        Ok(fixtures)
    }

    async fn prepare_part(
        &mut self,
        scenario: &Scenario,
        part: &SetupFile,
        variables: &mut Variables,
        tasks: &Tasks,
    ) -> Result<(), SetupError> {
        let resource = |what: &str| {
            let what = what.to_owned();
            move |source| SetupError::Resource { what, source }
        };
        match part {
            SetupFile::Server(file) => {
                let ready = Ready::of(file, variables)?;
                if !self.allow_target {
                    ready.refuse_foreign(&file.name).await?;
                }
                let started = Instant::now();
                let mut server = Server::start(scenario, file, variables, tasks)?;
                server.wait_until_ready(&ready, file, tasks).await?;
                let ready_ms = started.elapsed().as_secs_f64() * 1e3;
                self.ready_ms.insert(file.name.replace('-', "_"), ready_ms);
                self.servers.push(server);
            }
            SetupFile::Site(file) => {
                let site =
                    Site::start(scenario.dir().join(&file.dir), tasks).await.map_err(resource("a site"))?;
                variables.fix(&file.variable, format!("http://{}", site.address));
                self.sites.push(site);
            }
            SetupFile::Command(file) => run_command(scenario, file, variables).await?,
            SetupFile::TempDir(file) => {
                let dir = TempDir::with_prefix("paddock-lab-").map_err(resource("a temporary directory"))?;
                variables.fix(&file.variable, dir.path().to_string_lossy());
                self.dirs.push(dir);
            }
            SetupFile::FreePort(file) => {
                // Another process may take it in the moment before the server does; that is reported as not ready.
                let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
                variables.fix(&file.variable, free.map_err(resource("a free port"))?.port().to_string());
            }
        }
        Ok(())
    }

    /// The trees of the servers.
    pub(super) fn watched(&self) -> Vec<Watched> {
        self.servers
            .iter()
            .map(|server| Watched { name: server.name.clone(), pid: server.group.as_raw_nonzero().get() })
            .collect()
    }

    /// Milliseconds from the start of each server until it answered, by its name.
    pub(super) fn ready_ms(&self) -> &BTreeMap<String, f64> {
        &self.ready_ms
    }

    /// What tear-down measured.
    pub(super) fn take_figures(&mut self) -> Vec<(String, f64)> {
        std::mem::take(&mut self.figures)
    }

    /// Servers that have ended although nobody asked them to, each as a sentence fragment.
    pub(super) fn ended_servers(&mut self) -> Vec<String> {
        self.servers.iter_mut().filter_map(Server::ended).collect()
    }

    /// Runs the commands of tear-down, then stops everything in reverse order. Everything is stopped even if one fails.
    pub(super) async fn tear_down(&mut self, scenario: &Scenario) -> Result<(), SetupError> {
        let mut result = Ok(());
        for part in &scenario.file.teardown {
            let done = match part.get_ref() {
                TeardownFile::Command(file) => run_command(scenario, file, &self.variables).await,
                TeardownFile::Measure(options) => {
                    let measured = measure(scenario, options, &self.variables).await;
                    measured.map(|figures| self.figures.extend(figures))
                }
            };
            result = result.and(done);
        }
        while let Some(server) = self.servers.pop() {
            server.stop().await;
        }
        self.sites.clear();
        self.dirs.clear();
        result
    }
}
