//! Recording a tab as a film.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use paddock_platform::{
    identity::Caller,
    problem::{INVALID_REQUEST, NOT_FOUND, Problem, ProblemKind},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BrowserService, READ, Target, WRITE};
use crate::{
    error::call_problem,
    film::FilmFormat,
    ids::TabId,
    record::{RecordOptions, RecordState, RecordStatus, StartError},
};

/// The format needs a program that is not installed.
const FFMPEG_REQUIRED: ProblemKind =
    ProblemKind::new("ffmpeg-required", StatusCode::BAD_REQUEST, "ffmpeg required");

/// Pictures per second: at most, and when nothing is said.
const FPS: (u32, u32) = (30, 5);
/// Quality of the pictures: at most, and when nothing is said.
const QUALITY: (u8, u8) = (100, 80);
/// Least factor on the size of the pictures.
const SCALE_MIN: f64 = 0.05;

/// Begins a recording. Numbers beyond their bounds are taken for the bound.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordRequest {
    /// `gif`, or, on a server that has `ffmpeg`, `webm` or `mp4`.
    pub format: String,
    /// Most pictures per second, 1 to 30; 5 if absent or 0.
    pub fps: u32,
    /// Quality of the pictures, 1 to 100; 80 if absent or 0.
    pub quality: u8,
    /// Factor on the size of the pictures, at most 1; 1 if absent or 0.
    pub scale: f64,
    /// The tab; without one, the tab that was used last.
    pub tab_id: Option<TabId>,
}

impl Default for RecordRequest {
    fn default() -> Self {
        Self { format: "gif".to_owned(), fps: FPS.1, quality: QUALITY.1, scale: 1.0, tab_id: None }
    }
}

/// A recording began.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordStarted {
    /// `recording`.
    pub status: String,
    /// `gif`, `webm` or `mp4`.
    pub format: String,
    /// Most pictures per second.
    pub fps: u32,
    /// Quality of the pictures.
    pub quality: u8,
    /// The tab.
    pub tab_id: TabId,
}

/// Ends a recording.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(default)]
pub struct RecordStop {
    /// Forgets it instead of making a film.
    pub discard: bool,
}

/// A recording ended.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct RecordStopped {
    /// `encoding` or `discarded`.
    pub status: String,
    /// `gif`, `webm` or `mp4`.
    pub format: String,
    /// Pictures that were taken.
    pub frames: usize,
    /// Where the film will be: a file of the server. `GET /record/file` is the film as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How the recording is.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordView {
    /// Whether it is under way, the making of its film included.
    pub active: bool,
    /// `idle`, `recording`, `limit_reached` (no more pictures are taken), `encoding`, `finished` or `failed`.
    pub state: String,
    /// Which limit was reached: `max_duration`, `max_frames` or `max_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// `gif`, `webm` or `mp4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How long it is.
    pub duration_seconds: f64,
    /// Pictures that were taken.
    pub frames: usize,
    /// A bound was reached: no more are taken.
    pub full: bool,
    /// Where the film is, or will be: a file of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_path: Option<String>,
    /// Bytes of the film, when it is finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// The tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tab_id: Option<TabId>,
    /// Most pictures per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<u32>,
    /// Why there is no film.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<RecordStatus> for RecordView {
    fn from(status: RecordStatus) -> Self {
        let state = match &status.state {
            RecordState::Recording if status.full.is_some() => "limit_reached",
            RecordState::Recording => "recording",
            RecordState::Encoding => "encoding",
            RecordState::Finished(_) => "finished",
            RecordState::Failed(_) => "failed",
        };
        Self {
            active: matches!(status.state, RecordState::Recording | RecordState::Encoding),
            state: state.to_owned(),
            stop_reason: status.full.map(str::to_owned),
            format: Some(status.format.as_str().to_owned()),
            duration_seconds: status.duration.as_secs_f64(),
            frames: status.frames,
            full: status.full.is_some(),
            output_path: match status.state {
                RecordState::Failed(_) => None,
                _ => status.path.map(|path| path.to_string_lossy().into_owned()),
            },
            size: if let RecordState::Finished(film) = &status.state { Some(film.len()) } else { None },
            tab_id: Some(status.tab),
            fps: Some(status.fps),
            error: if let RecordState::Failed(error) = status.state { Some(error) } else { None },
        }
    }
}

impl BrowserService {
    /// Begins a recording of a tab; a tenant has one at a time.
    pub(crate) async fn record_start(
        &self,
        target: Target,
        request: RecordRequest,
    ) -> Result<RecordStarted, Problem> {
        target.caller.require(WRITE)?;
        let Some(format) = FilmFormat::parse(&request.format) else {
            return Err(Problem::invalid_field("format", "must be `gif`, `webm` or `mp4`"));
        };
        if !format.is_available() {
            let name = format.as_str();
            let detail =
                format!("recording to {name} requires ffmpeg (`apt-get install ffmpeg`); or record `gif`");
            return Err(Problem::new(FFMPEG_REQUIRED, detail).with("field", "format"));
        }
        let fps = if request.fps == 0 { FPS.1 } else { request.fps.min(FPS.0) };
        let quality = if request.quality == 0 { QUALITY.1 } else { request.quality.min(QUALITY.0) };
        let scale = if request.scale > 0.0 { request.scale.clamp(SCALE_MIN, 1.0) } else { 1.0 };
        let tenant = target.caller.tenant().clone();
        let tab = self.tab(&target.or(request.tab_id.clone()), WRITE).await?;
        let limits = self.fleet.0.options.current();
        let options = RecordOptions {
            format,
            fps,
            quality,
            scale,
            duration_max: limits.record_duration_max.get(),
            frames_max: limits.record_frames_max,
            size_max: limits.record_size_max.as_usize(),
        };
        self.recordings.start(&tenant, &tab, options).await.map_err(|error| match error {
            StartError::Busy(busy) => Problem::new(INVALID_REQUEST, busy.to_string()),
            StartError::Call(call) => call_problem(&call),
        })?;
        Ok(RecordStarted {
            status: "recording".to_owned(),
            format: request.format,
            fps,
            quality,
            tab_id: tab.id().clone(),
        })
    }

    /// Ends the caller's recording.
    pub(crate) async fn record_stop(
        &self,
        caller: &Caller,
        request: &RecordStop,
    ) -> Result<RecordStopped, Problem> {
        caller.require(WRITE)?;
        let nothing = || Problem::new(INVALID_REQUEST, "no recording is under way");
        let tenant = caller.tenant();
        let file = if request.discard {
            None
        } else {
            let status = self.recordings.status(tenant);
            let under_way = status.filter(|status| status.state == RecordState::Recording);
            let format = under_way.ok_or_else(nothing)?.format;
            Some(self.fleet.0.exports.begin(tenant, ("rec", format.as_str())).await?)
        };
        let path = file.as_ref().map(|file| file.path().to_string_lossy().into_owned());
        let stopped = self.recordings.stop(tenant, file, &self.fleet.0.tasks).ok_or_else(nothing)?;
        let hint = "ask `record/status` until its state is `finished`, then get `record/file`";
        Ok(RecordStopped {
            status: if request.discard { "discarded" } else { "encoding" }.to_owned(),
            format: stopped.format.as_str().to_owned(),
            frames: stopped.frames,
            path,
            hint: (!request.discard).then(|| hint.to_owned()),
        })
    }

    /// How the caller's recording is.
    pub(crate) fn record_status(&self, caller: &Caller) -> Result<RecordView, Problem> {
        caller.require(READ)?;
        let idle = RecordView {
            active: false,
            state: "idle".to_owned(),
            stop_reason: None,
            format: None,
            duration_seconds: Duration::ZERO.as_secs_f64(),
            frames: 0,
            full: false,
            output_path: None,
            size: None,
            tab_id: None,
            fps: None,
            error: None,
        };
        Ok(self.recordings.status(caller.tenant()).map_or(idle, RecordView::from))
    }

    /// The caller's last film.
    pub(crate) fn record_file(&self, caller: &Caller) -> Result<(FilmFormat, Bytes), Problem> {
        caller.require(READ)?;
        match self.recordings.status(caller.tenant()).map(|status| (status.format, status.state)) {
            Some((format, RecordState::Finished(film))) => Ok((format, film)),
            _ => Err(Problem::new(NOT_FOUND, "no film is finished; `record/status` tells how far it is")),
        }
    }
}
