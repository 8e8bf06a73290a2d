use std::fs;

use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    server: Server,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Server {
    listen: String,
    rate: u32,
}

struct Fixture {
    dir: tempfile::TempDir,
    live: Live<Config>,
    status: ReloadStatus,
    tasks: Tasks,
}

/// Longer than any reload takes: passing it means that the reload does not come.
const WAIT_MAX: Duration = Duration::from_secs(30);

impl Fixture {
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let loader = Loader::new().with_file_if_present(dir.path().join("paddock.toml"));
        let tasks = Tasks::default();
        let loaded = loader.load().unwrap();
        let (live, status) = Watcher::spawn(loader, loaded, &["server.listen"], &tasks).unwrap();
        Self { dir, live, status, tasks }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("paddock.toml")
    }

    async fn wait(&mut self, condition: impl FnMut(&ReloadState) -> bool) -> ReloadState {
        tokio::time::timeout(WAIT_MAX, self.status.wait_until(condition)).await.expect("the state is reached")
    }

    async fn stop(self) {
        self.tasks.stop(WAIT_MAX).await.unwrap();
    }
}

fn rate(rate: u32) -> String {
    format!("[server]\nrate = {rate}\n")
}

#[tokio::test]
async fn a_file_that_is_replaced_is_reloaded() {
    let mut fixture = Fixture::start(|dir| fs::write(dir.join("paddock.toml"), rate(1)).unwrap());
    let next = fixture.dir.path().join("next");
    fs::write(&next, rate(2)).unwrap();
    fs::rename(&next, fixture.path()).unwrap();
    let state = fixture.wait(|state| state.applied == 1).await;
    assert_eq!(fixture.live.current().server.rate, 2);
    assert_eq!(state.error, None);
    fixture.stop().await;
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_reloaded() {
    let mut fixture = Fixture::start(|dir| fs::write(dir.join("paddock.toml"), rate(1)).unwrap());
    fs::write(fixture.path(), rate(3)).unwrap();
    fixture.wait(|state| state.applied >= 1).await;
    assert_eq!(fixture.live.current().server.rate, 3);
    fixture.stop().await;
}

#[tokio::test]
async fn a_swapped_directory_symlink_as_of_a_configmap_is_followed() {
    use std::os::unix::fs::symlink;
    let mut fixture = Fixture::start(|dir| {
        for (version, value) in [("v1", 1), ("v2", 2)] {
            fs::create_dir(dir.join(version)).unwrap();
            fs::write(dir.join(version).join("paddock.toml"), rate(value)).unwrap();
        }
        symlink("v1", dir.join("..data")).unwrap();
        symlink("..data/paddock.toml", dir.join("paddock.toml")).unwrap();
    });
    assert_eq!(fixture.live.current().server.rate, 1);
    symlink("v2", fixture.dir.path().join("..data_tmp")).unwrap();
    fs::rename(fixture.dir.path().join("..data_tmp"), fixture.dir.path().join("..data")).unwrap();
    fixture.wait(|state| state.applied == 1).await;
    assert_eq!(fixture.live.current().server.rate, 2);
    fixture.stop().await;
}

#[tokio::test]
async fn a_bad_file_is_reported_and_the_running_config_kept_until_a_good_one_comes() {
    let mut fixture = Fixture::start(|dir| fs::write(dir.join("paddock.toml"), rate(1)).unwrap());
    fs::write(fixture.path(), "[server]\nrat = 9\n").unwrap();
    let state = fixture.wait(|state| state.error.is_some()).await;
    let error = state.error.unwrap();
    assert!(error.contains("paddock.toml:2") && error.contains("`server.rate`"), "{error}");
    assert_eq!(fixture.live.current().server.rate, 1);
    fs::write(fixture.path(), rate(4)).unwrap();
    fixture.wait(|state| state.error.is_none()).await;
    assert_eq!(fixture.live.current().server.rate, 4);
    fixture.stop().await;
}

#[tokio::test]
async fn a_deleted_file_is_reported_and_the_running_config_kept_until_it_is_back() {
    let mut fixture = Fixture::start(|dir| fs::write(dir.join("paddock.toml"), rate(1)).unwrap());
    fs::remove_file(fixture.path()).unwrap();
    let state = fixture.wait(|state| state.error.is_some()).await;
    assert!(state.error.unwrap().contains("is gone"));
    assert_eq!(fixture.live.current().server.rate, 1);
    fs::write(fixture.path(), rate(1)).unwrap();
    fixture.wait(|state| state.error.is_none()).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_file_that_appears_is_loaded() {
    let mut fixture = Fixture::start(|_| ());
    fs::write(fixture.path(), rate(5)).unwrap();
    fixture.wait(|state| state.applied == 1).await;
    assert_eq!(fixture.live.current().server.rate, 5);
    fixture.stop().await;
}

#[tokio::test]
async fn a_key_that_is_read_at_start_waits_for_a_restart_until_it_is_set_back() {
    let mut fixture =
        Fixture::start(|dir| fs::write(dir.join("paddock.toml"), "[server]\nlisten = \"a\"\n").unwrap());
    fs::write(fixture.path(), "[server]\nlisten = \"b\"\nrate = 2\n").unwrap();
    let state = fixture.wait(|state| !state.restart_pending.is_empty()).await;
    assert_eq!(state.restart_pending, ["server.listen"]);
    fs::write(fixture.path(), "[server]\nlisten = \"a\"\nrate = 2\n").unwrap();
    fixture.wait(|state| state.restart_pending.is_empty()).await;
    fixture.stop().await;
}

#[tokio::test]
async fn polling_alone_finds_a_change() {
    // The directory of the path is a link that is swapped: no event comes from the directory that was watched.
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    for (version, value) in [("v1", 1), ("v2", 2)] {
        fs::create_dir(dir.path().join(version)).unwrap();
        fs::write(dir.path().join(version).join("paddock.toml"), rate(value)).unwrap();
    }
    symlink("v1", dir.path().join("current")).unwrap();
    let loader = Loader::new().with_file(dir.path().join("current/paddock.toml"));
    let tasks = Tasks::default();
    let loaded = loader.load::<Config>().unwrap();
    let (live, mut status) = Watcher::spawn(loader, loaded, &[], &tasks).unwrap();
    symlink("v2", dir.path().join("next")).unwrap();
    fs::rename(dir.path().join("next"), dir.path().join("current")).unwrap();
    tokio::time::timeout(WAIT_MAX, status.wait_until(|state| state.applied == 1)).await.unwrap();
    assert_eq!(live.current().server.rate, 2);
    tasks.stop(WAIT_MAX).await.unwrap();
}

#[test]
fn the_keys_that_differ_are_found() {
    let table = |text: &str| text.parse::<toml::Table>().unwrap();
    let before = table("a = 1\nb = [1]\n[s]\nx = 1\ny = 2\n[gone]\nz = 1\n");
    let after = table("a = 1\nb = [2]\n[s]\nx = 2\ny = 2\nnew = 3\n");
    assert_eq!(changed_keys(&before, &after), ["b", "s.new", "s.x", "gone"]);
    assert!(is_within("store.url", "store") && is_within("store.url", "store.url"));
    assert!(!is_within("store.url2", "store.url"));
}
