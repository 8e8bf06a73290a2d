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

/// Begins a recording.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordRequest {
    /// `gif`, or, on a server that has `ffmpeg`, `webm` or `mp4`.
    pub format: String,
    /// Most pictures per second, 1 to 30.
    pub fps: u32,
    /// Quality of the pictures, 1 to 100.
    pub quality: u8,
    /// Factor on the size of the pictures, over 0 and at most 1.
    pub scale: f64,
    /// The tab; without one, the tab that was used last.
    pub tab_id: Option<TabId>,
}

impl Default for RecordRequest {
    fn default() -> Self {
        Self { format: "gif".to_owned(), fps: 5, quality: 80, scale: 1.0, tab_id: None }
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
    /// Where the film will be, as a route beside this one.
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
    /// Whether pictures are taken.
    pub active: bool,
    /// `idle`, `recording`, `encoding`, `finished` or `failed`.
    pub state: String,
    /// `gif`, `webm` or `mp4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How long it is.
    pub duration_seconds: f64,
    /// Pictures that were taken.
    pub frames: usize,
    /// A bound was reached: no more are taken.
    pub full: bool,
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
            RecordState::Recording => "recording",
            RecordState::Encoding => "encoding",
            RecordState::Finished(_) => "finished",
            RecordState::Failed(_) => "failed",
        };
        Self {
            active: status.state == RecordState::Recording,
            state: state.to_owned(),
            format: Some(status.format.as_str().to_owned()),
            duration_seconds: status.duration.as_secs_f64(),
            frames: status.frames,
            full: status.full,
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
        if !(1..=30).contains(&request.fps) {
            return Err(Problem::invalid_field("fps", "must be 1 to 30"));
        }
        if !(1..=100).contains(&request.quality) {
            return Err(Problem::invalid_field("quality", "must be 1 to 100"));
        }
        if !(request.scale > 0.05 && request.scale <= 1.0) {
            return Err(Problem::invalid_field("scale", "must be over 0.05 and at most 1"));
        }
        let tenant = target.caller.tenant().clone();
        let tab = self.tab(&target.or(request.tab_id.clone()), WRITE).await?;
        let limits = self.fleet.0.options.current();
        let options = RecordOptions {
            format,
            fps: request.fps,
            quality: request.quality,
            scale: request.scale,
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
            fps: request.fps,
            quality: request.quality,
            tab_id: tab.id().clone(),
        })
    }

    /// Ends the caller's recording.
    pub(crate) fn record_stop(
        &self,
        caller: &Caller,
        request: &RecordStop,
    ) -> Result<RecordStopped, Problem> {
        caller.require(WRITE)?;
        let stopped = self.recordings.stop(caller.tenant(), request.discard, &self.fleet.0.tasks);
        let stopped = stopped.ok_or_else(|| Problem::new(INVALID_REQUEST, "no recording is under way"))?;
        let hint = "ask `record/status` until its state is `finished`, then get `record/file`";
        Ok(RecordStopped {
            status: if request.discard { "discarded" } else { "encoding" }.to_owned(),
            format: stopped.format.as_str().to_owned(),
            frames: stopped.frames,
            path: (!request.discard).then(|| "/browser/record/file".to_owned()),
            hint: (!request.discard).then(|| hint.to_owned()),
        })
    }

    /// How the caller's recording is.
    pub(crate) fn record_status(&self, caller: &Caller) -> Result<RecordView, Problem> {
        caller.require(READ)?;
        let idle = RecordView {
            active: false,
            state: "idle".to_owned(),
            format: None,
            duration_seconds: Duration::ZERO.as_secs_f64(),
            frames: 0,
            full: false,
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
