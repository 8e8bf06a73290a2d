//! A page in a Chromium of its own, and the isolated world in which snapshots are taken.

use std::{process::Stdio, time::Duration};

use paddock_browser::{
    BrowserOptions, Engine,
    snapshot::{SCRIPT, Snapshot, SnapshotOptions},
};
use paddock_cdp::{
    Connection, ConnectionOptions, Pipe, Session,
    protocol::{page, runtime::Evaluate, target::CreateTarget},
};
use paddock_platform::task::Tasks;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Starting Chrome on a machine that compiles beside it takes its time.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Page {
    session: Session,
    world: i64,
    _connection: Connection,
    _chromium: Child,
    _profile: TempDir,
    _tasks: Tasks,
}

impl Page {
    /// Opens a page with this content.
    pub(crate) async fn open(html: &str) -> Self {
        let engine = Engine::find(&BrowserOptions::default()).expect("a Chrome to test with");
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(&engine.path);
        command
            .args(["--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--window-size=1280,800"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let (chromium, pipe) = Pipe::spawn(command).unwrap();
        let (connection, driver) =
            pipe.connect(ConnectionOptions { call_deadline: PATIENCE, ..ConnectionOptions::default() });
        let tasks = Tasks::default();
        tasks.spawn("driver", driver.run());
        let create = CreateTarget { url: "about:blank", ..CreateTarget::default() };
        let target = connection.browser().send(&create).await.unwrap().target_id;
        let session = connection.attach(&target).await.unwrap();
        let mut page = Self {
            session,
            world: 0,
            _connection: connection,
            _chromium: chromium,
            _profile: profile,
            _tasks: tasks,
        };
        page.write(html).await;
        page
    }

    /// Replaces the document and waits until it is loaded.
    async fn write(&mut self, html: &str) {
        let html = Value::from(html);
        let script = format!(
            "new Promise((done) => {{ document.open(); document.write({html}); document.close();
             document.readyState === 'complete' ? done() : addEventListener('load', () => done()); }})"
        );
        self.evaluate_in(None, &script).await;
        let frame = self.session.send(&page::GetFrameTree {}).await.unwrap().frame_tree.frame.id;
        let create = page::CreateIsolatedWorld { frame_id: &frame, world_name: "paddock" };
        self.world = self.session.send(&create).await.unwrap().execution_context_id;
        self.isolated(&SCRIPT).await;
    }

    /// Evaluates in the page's own world.
    pub(crate) async fn main(&self, expression: &str) -> Value {
        self.evaluate_in(None, expression).await
    }

    /// Evaluates where `paddockAccessibility` is defined.
    pub(crate) async fn isolated(&self, expression: &str) -> Value {
        self.evaluate_in(Some(self.world), expression).await
    }

    pub(crate) async fn try_snapshot(
        &self,
        options: &SnapshotOptions,
    ) -> Result<Snapshot, paddock_browser::snapshot::SnapshotError> {
        let answer = self.isolated(&options.expression()).await;
        Snapshot::parse(answer.as_str().expect("the expression yields a text"))
    }

    pub(crate) async fn snapshot(&self, options: &SnapshotOptions) -> Snapshot {
        self.try_snapshot(options).await.unwrap()
    }

    async fn evaluate_in(&self, context_id: Option<i64>, expression: &str) -> Value {
        let evaluate = Evaluate {
            expression,
            context_id,
            await_promise: true,
            return_by_value: true,
            user_gesture: false,
        };
        let evaluated = self.session.send(&evaluate).await.unwrap();
        assert!(evaluated.exception_details.is_none(), "{:?}", evaluated.exception_details);
        evaluated.result.value.map_or(Value::Null, |value| serde_json::from_str(value.get()).unwrap())
    }
}

/// One line per node: what a test compares.
pub(crate) fn lines(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .nodes
        .iter()
        .map(|node| {
            let indent = "  ".repeat(node.depth as usize);
            let name = if node.name.is_empty() { String::new() } else { format!(" \"{}\"", node.name) };
            format!("{indent}{}{name}", node.role)
        })
        .collect()
}
