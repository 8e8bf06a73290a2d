//! Recordings: the pictures of a screencast, kept and made into a film.
//!
//! A recording is bounded in time, pictures and bytes; at a bound it stops taking pictures and waits to be stopped. The
//! film is made afterwards (`film.rs`).

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use paddock_platform::{identity::Tenant, task::Tasks};
use tokio_util::sync::CancellationToken;

use crate::{
    files::Export,
    film::{self, FilmFormat, HEIGHT_MAX, Pictures, WIDTH_MAX},
    ids::TabId,
    screencast::{Screencast, ScreencastOptions},
    tab::Tab,
};

/// How a recording is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordOptions {
    pub(crate) format: FilmFormat,
    pub(crate) fps: u32,
    pub(crate) quality: u8,
    pub(crate) scale: f64,
    pub(crate) duration_max: Duration,
    pub(crate) frames_max: usize,
    pub(crate) size_max: usize,
}

/// What a recording is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordState {
    Recording,
    Encoding,
    Finished(Bytes),
    Failed(String),
}

/// A recording as it is now.
#[derive(Clone, Debug)]
pub(crate) struct RecordStatus {
    pub(crate) state: RecordState,
    pub(crate) tab: TabId,
    pub(crate) format: FilmFormat,
    pub(crate) fps: u32,
    pub(crate) frames: usize,
    pub(crate) duration: Duration,
    /// The bound that was reached: no more pictures are taken.
    pub(crate) full: Option<&'static str>,
    /// Where the film is, or will be.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Debug)]
struct Recording {
    state: RecordState,
    tab: TabId,
    options: RecordOptions,
    started: Instant,
    ended: Option<Instant>,
    frames: Pictures,
    frames_count: usize,
    size: usize,
    full: Option<&'static str>,
    path: Option<PathBuf>,
    stop: CancellationToken,
}

/// The recordings: one per tenant, the last one until the next begins. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recordings(Arc<Mutex<HashMap<Tenant, Recording>>>);

/// The tenant records already, or its last film is being made.
#[derive(Debug, thiserror::Error)]
#[error("a recording is {0} already; stop it or wait")]
pub(crate) struct RecordingBusy(&'static str);

impl Recordings {
    /// Begins one.
    pub(crate) async fn start(
        &self,
        tenant: &Tenant,
        tab: &Tab,
        options: RecordOptions,
    ) -> Result<(), StartError> {
        self.check_free(tenant)?;
        let screencast = ScreencastOptions {
            quality: options.quality,
            width_max: (f64::from(WIDTH_MAX) * options.scale) as u32,
            height_max: (f64::from(HEIGHT_MAX) * options.scale) as u32,
            fps_max: f64::from(options.fps),
        };
        let screencast = Screencast::start(tab, screencast).await?;
        let stop = CancellationToken::new();
        let recording = Recording {
            state: RecordState::Recording,
            tab: tab.id().clone(),
            options,
            started: Instant::now(),
            ended: None,
            frames: Vec::new(),
            frames_count: 0,
            size: 0,
            full: None,
            path: None,
            stop: stop.clone(),
        };
        {
            let mut all = self.all();
            check_free(all.get(tenant))?;
            all.insert(tenant.clone(), recording);
        }
        let (recordings, tenant) = (self.clone(), tenant.clone());
        tab.0.shared.tasks.spawn("browser_record", async move {
            let _ = stop.run_until_cancelled(recordings.take(&tenant, screencast)).await;
        });
        Ok(())
    }

    fn check_free(&self, tenant: &Tenant) -> Result<(), RecordingBusy> {
        check_free(self.all().get(tenant))
    }

    async fn take(&self, tenant: &Tenant, mut screencast: Screencast) {
        while let Some(image) = screencast.next().await {
            let mut all = self.all();
            let Some(recording) = all.get_mut(tenant) else { return };
            let at = recording.started.elapsed();
            let options = &recording.options;
            recording.full = if at > options.duration_max {
                Some("max_duration")
            } else if recording.frames.len() >= options.frames_max {
                Some("max_frames")
            } else {
                (recording.size + image.len() > options.size_max).then_some("max_size")
            };
            if recording.full.is_some() || recording.state != RecordState::Recording {
                return;
            }
            recording.size += image.len();
            recording.frames.push((at, image));
            recording.frames_count += 1;
        }
    }

    /// Ends the tenant's recording: its film is made into a file, or forgotten if there is none. How many pictures it has;
    /// none if there is no recording.
    pub(crate) fn stop(&self, tenant: &Tenant, file: Option<Export>, tasks: &Tasks) -> Option<RecordStatus> {
        let mut all = self.all();
        let recording = all.get_mut(tenant).filter(|recording| recording.state == RecordState::Recording)?;
        recording.stop.cancel();
        recording.ended = Some(Instant::now());
        recording.state = RecordState::Encoding;
        recording.path = file.as_ref().map(|file| file.path().to_owned());
        let frames = std::mem::take(&mut recording.frames);
        let status = recording.status();
        let (duration, options) = (status.duration, recording.options);
        let Some(file) = file else {
            all.remove(tenant);
            return Some(status);
        };
        drop(all);
        let (recordings, tenant) = (self.clone(), tenant.clone());
        let stopping = tasks.stop_token();
        tasks.spawn("browser_record_encode", async move {
            let film = film::make(options.format, frames, duration, options.fps, options.size_max);
            let state = match stopping.run_until_cancelled(film).await {
                Some(Ok(film)) => kept(file, film.into()).await,
                Some(Err(error)) => RecordState::Failed(error),
                None => RecordState::Failed("the server stops".to_owned()),
            };
            if let Some(recording) = recordings.all().get_mut(&tenant) {
                recording.state = state;
            }
        });
        Some(status)
    }

    /// How the tenant's recording is; none if there is none.
    pub(crate) fn status(&self, tenant: &Tenant) -> Option<RecordStatus> {
        self.all().get(tenant).map(Recording::status)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Tenant, Recording>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A recording that did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Busy(#[from] RecordingBusy),
    #[error(transparent)]
    Call(#[from] paddock_cdp::CallError),
}

/// A film is finished when its file is.
async fn kept(mut file: Export, film: Bytes) -> RecordState {
    let content = film.clone();
    let write = tokio::task::spawn_blocking(move || file.write(&content).and_then(|()| file.finish()));
    match write.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(_) => RecordState::Finished(film),
        Err(error) => RecordState::Failed(format!("the film could not be written: {error}")),
    }
}

fn check_free(recording: Option<&Recording>) -> Result<(), RecordingBusy> {
    match recording.map(|recording| &recording.state) {
        Some(RecordState::Recording) => Err(RecordingBusy("under way")),
        Some(RecordState::Encoding) => Err(RecordingBusy("being encoded")),
        _ => Ok(()),
    }
}

impl Recording {
    fn status(&self) -> RecordStatus {
        RecordStatus {
            state: self.state.clone(),
            tab: self.tab.clone(),
            format: self.options.format,
            fps: self.options.fps,
            frames: self.frames_count,
            duration: self.ended.map_or_else(|| self.started.elapsed(), |ended| ended - self.started),
            full: self.full,
            path: self.path.clone(),
        }
    }
}
