//! Watching a tab live, and working in it.

use std::{sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use paddock_platform::{
    identity::Caller,
    problem::{OVERLOADED, Problem},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, TabInUse, Target, WRITE};
use crate::{
    error::{BrowserError, RETRY_AFTER},
    ids::{InstanceId, TabId},
    screencast::{Screencast, ScreencastOptions, ViewerInput},
    tab::Tab,
};

/// How long a viewer may take nothing of what is sent to it.
const SEND_DEADLINE: Duration = Duration::from_secs(20);
/// How often a viewer of a page that does not change is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What a viewer wants to see.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ScreencastQuery {
    /// Quality of the JPEG images, 1 to 100.
    pub quality: u8,
    /// Largest width of an image in pixels; the height follows, three quarters of it at most.
    pub max_width: u32,
    /// Most images per second, 1 to 30.
    pub fps: u32,
    /// Accepted and not used: images are skipped by time, see `fps`.
    pub every_nth_frame: Option<u32>,
}

impl Default for ScreencastQuery {
    fn default() -> Self {
        Self { quality: 40, max_width: 800, fps: 5, every_nth_frame: None }
    }
}

/// A tab that can be watched.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchableTab {
    /// Its id.
    pub id: TabId,
    /// Its instance.
    pub instance_id: InstanceId,
    /// Where it is.
    pub url: String,
    /// Title of its page.
    pub title: String,
}

/// A viewer that was let in and is not connected yet.
pub(crate) struct Viewing {
    tab: TabInUse,
    options: ScreencastOptions,
    may_act: bool,
    service: BrowserService,
    _place: OwnedSemaphorePermit,
}

impl BrowserService {
    /// The tabs that can be watched.
    pub(crate) async fn watchable_tabs(&self, caller: &Caller) -> Result<Vec<WatchableTab>, Problem> {
        let tabs = self.all_tabs(caller, false).await?;
        let view = |tab: &super::TabView| WatchableTab {
            id: tab.id.clone(),
            instance_id: tab.instance_id.clone(),
            url: tab.url.clone(),
            title: tab.title.clone(),
        };
        Ok(tabs.iter().map(view).collect())
    }

    /// Lets a viewer in: to the tab that it names, or to the one used last, of one instance if that is named.
    pub(crate) async fn view(
        &self,
        target: Target,
        instance: Option<InstanceId>,
        query: ScreencastQuery,
    ) -> Result<Viewing, Problem> {
        target.caller.require(READ)?;
        let target = match instance {
            None => target,
            Some(id) => {
                let tabs = self.own(&target.caller, &id)?.tabs();
                let tab = match &target.tab {
                    Some(tab) => tabs.into_iter().find(|known| known.id() == tab),
                    None => tabs.into_iter().max_by_key(Tab::used),
                };
                let tab = tab.ok_or_else(|| Problem::not_found("tab", "of this instance"))?;
                Target { tab: Some(tab.id().clone()), ..target }
            }
        };
        let place = Arc::clone(&self.screencasts).try_acquire_owned().map_err(|_| {
            Problem::new(OVERLOADED, "as many tabs are watched as may be (`[browser] screencasts_max`)")
                .retry_after(RETRY_AFTER)
        })?;
        let width_max = query.max_width.clamp(64, 3840);
        Ok(Viewing {
            may_act: target.caller.may(WRITE),
            tab: self.tab(&target, READ).await?,
            options: ScreencastOptions {
                quality: query.quality.clamp(1, 100),
                width_max,
                height_max: width_max * 3 / 4,
                fps_max: f64::from(query.fps.clamp(1, 30)),
            },
            service: self.clone(),
            _place: place,
        })
    }
}

/// Why watching ends: a WebSocket code and what the viewer is told.
type End = (u16, &'static str);

impl Viewing {
    /// Shows the tab until it is closed or the viewer leaves.
    pub(crate) async fn serve(self, mut socket: WebSocket) {
        let tasks = self.service.fleet.0.tasks.clone();
        let stopping = tasks.stop_token();
        let serving = async move {
            let (code, reason) = tokio::select! {
                end = self.show(&mut socket) => end,
                () = stopping.cancelled() => (1012, "the server is stopping"),
            };
            let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            timeout(SEND_DEADLINE, socket.send(close)).await.ok();
        };
        tasks.spawn("browser_screencast", serving).await.ok();
    }

    async fn show(&self, socket: &mut WebSocket) -> End {
        let started = Screencast::start(&self.tab, self.options).await;
        let Ok(mut screencast) = started.map_err(BrowserError::from) else {
            return (1011, "the page could not be watched");
        };
        let input = screencast.input();
        let mut ping = tokio::time::interval(PING_INTERVAL);
        loop {
            let size = screencast.size();
            let message = tokio::select! {
                frame = screencast.next() => match frame {
                    Some(image) => Message::Binary(image),
                    None => return (1001, "the tab is closed"),
                },
                message = socket.recv() => {
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            if !self.may_act {
                                return (1008, "this key may look and not act");
                            }
                            let Ok(action) = serde_json::from_str::<ViewerInput>(&text) else {
                                return (1007, "a message is no input");
                            };
                            if input.dispatch(action, size).await.is_err_and(|error| error.is_session_lost()) {
                                return (1001, "the tab is closed");
                            }
                        }
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return (1000, ""),
                        Some(Ok(_)) => {}
                    }
                    continue;
                }
                _ = ping.tick() => Message::Ping(Vec::new().into()),
            };
            match timeout(SEND_DEADLINE, socket.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return (1000, ""),
                Err(_) => return (1008, "the viewer does not take its pictures"),
            }
        }
    }
}
