//! DevTools clients: what they ask before they connect, and their connection.

use axum::extract::ws::WebSocket;
use paddock_cdp::RelayOptions;
use paddock_platform::{identity::Caller, problem::Problem};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{BrowserService, WRITE};
use crate::{
    error::BrowserError,
    ids::InstanceId,
    instance::{ContextOf, InUse},
    passthrough::{Client, Place},
    tab::Tab,
};

/// What an instance tells a DevTools client about itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BrowserVersion {
    /// Product and version.
    #[serde(rename = "Browser")]
    pub browser: String,
    /// Version of the protocol.
    #[serde(rename = "Protocol-Version")]
    pub protocol_version: String,
    /// The user agent.
    #[serde(rename = "User-Agent")]
    pub user_agent: String,
    /// Where to connect to.
    #[serde(rename = "webSocketDebuggerUrl")]
    pub web_socket_debugger_url: String,
}

/// A page of an instance as DevTools clients list it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DebugTarget {
    /// DevTools' id of the page, for `Target.attachToTarget`.
    pub id: String,
    /// `page`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Title of the page.
    pub title: String,
    /// Where it is.
    pub url: String,
    /// The tab's id in this interface.
    pub tab_id: String,
    /// Where to connect to: the instance, as a browser.
    pub web_socket_debugger_url: String,
}

/// A DevTools client that was let in and is not connected yet.
pub(crate) struct Passage {
    context: ContextOf,
    relay: RelayOptions,
    pub(crate) message_max: usize,
    stopping: CancellationToken,
    instance_ended: CancellationToken,
    service: BrowserService,
    _place: Place,
    _instance: InUse,
}

impl BrowserService {
    /// What `/json/version` says of an instance.
    pub(crate) async fn cdp_version(
        &self,
        caller: &Caller,
        id: &InstanceId,
        url: String,
    ) -> Result<BrowserVersion, Problem> {
        caller.require(WRITE)?;
        let instance = self.own(caller, id)?;
        let _in_use = instance.enter().await?;
        let context = instance.context().await?;
        let version = context.process.version();
        Ok(BrowserVersion {
            browser: version.product.clone(),
            protocol_version: "1.3".to_owned(),
            user_agent: version.user_agent.clone(),
            web_socket_debugger_url: url,
        })
    }

    /// What `/json/list` says of an instance.
    pub(crate) async fn cdp_targets(
        &self,
        caller: &Caller,
        id: &InstanceId,
        url: String,
    ) -> Result<Vec<DebugTarget>, Problem> {
        caller.require(WRITE)?;
        let instance = self.own(caller, id)?;
        let _in_use = instance.enter().await?;
        instance.context().await?;
        let target = async |tab: Tab| {
            let info = tab.info().await.ok()?;
            Some(DebugTarget {
                id: info.target_id,
                kind: info.kind,
                title: info.title,
                url: info.url,
                tab_id: tab.id().to_string(),
                web_socket_debugger_url: url.clone(),
            })
        };
        let targets = futures_util::future::join_all(instance.tabs().into_iter().map(target)).await;
        Ok(targets.into_iter().flatten().collect())
    }

    /// Lets a DevTools client in, before its connection becomes a WebSocket: refusals are ordinary answers.
    pub(crate) async fn cdp_enter(&self, caller: &Caller, id: &InstanceId) -> Result<Passage, Problem> {
        caller.require(WRITE)?;
        let instance = self.own(caller, id)?;
        let options = self.fleet.0.options.current();
        let max = options.cdp_clients_max;
        let place = self.cdp_clients.enter(id, max).ok_or(BrowserError::CdpClientsExhausted { max })?;
        let in_use = instance.enter().await?;
        let context = instance.context().await?;
        Ok(Passage {
            context,
            relay: RelayOptions {
                queue_size_max: options.cdp_queue_max.as_usize(),
                ..RelayOptions::default()
            },
            message_max: options.cdp_message_max.as_usize(),
            stopping: self.fleet.0.tasks.stop_token(),
            instance_ended: instance.ended(),
            service: self.clone(),
            _place: place,
            _instance: in_use,
        })
    }
}

impl Passage {
    /// Serves the client until it leaves.
    pub(crate) async fn serve(self, socket: WebSocket) {
        let tasks = self.service.fleet.0.tasks.clone();
        let serving = async move {
            match self.context.process.connection().relay(self.relay).await {
                Ok((relay, messages)) => {
                    let client = Client::new(socket, relay, messages, &self.context);
                    client.run(self.stopping, self.instance_ended).await;
                }
                Err(error) => tracing::info!(error = %error, "a DevTools client could not be connected"),
            }
        };
        tasks.spawn("browser_cdp_client", serving).await.ok();
    }
}
