//! A running server, as the commands that talk to one see it.

use std::time::Duration;

use clap::Args;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use url::Url;

use crate::{
    cli::ConfigArgs,
    config::load,
    exit::{CommandError, Exit},
};

/// How long a connection may take to open; a server on this machine takes none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the server takes for anything.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(11);

/// Which server, and with which key.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// The server to talk to [default: the address that `server.listen` configures]
    #[arg(long, value_name = "URL", env = "PADDOCK_SERVER", global = true)]
    pub server: Option<Url>,
    /// The key to show it, if it wants one
    #[arg(long, env = "PADDOCK_KEY", hide_env_values = true, global = true)]
    pub key: Option<String>,
}

/// Flags of every group of commands that asks a running server.
#[derive(Debug, Args)]
pub(crate) struct AskedArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl AskedArgs {
    /// The client of the server that is asked.
    pub(crate) fn client(&self) -> Result<Client, CommandError> {
        Client::new(&self.server, &self.config)
    }
}

/// A client of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    /// The client of the server that the flags or the configuration name.
    pub(crate) fn new(args: &ServerArgs, config: &ConfigArgs) -> Result<Self, CommandError> {
        let base = match &args.server {
            Some(url) if matches!(url.scheme(), "http" | "https") => {
                url.as_str().trim_end_matches('/').to_owned()
            }
            Some(url) => {
                return Err(CommandError::new(Exit::Usage, format!("`{url}` is not an http or https URL")));
            }
            None => format!("http://{}", load(config)?.config.server.listen),
        };
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // The key goes to the server that was named, and a proxy knows no loopback.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
        Ok(Self { http, base, key: args.key.clone().filter(|key| !key.is_empty()) })
    }

    /// Where the server is.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A request to a path of the server.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request and gives its answer, if it is one of success.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, CommandError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    /// Sends a request and gives its answer, whatever it is.
    pub(crate) async fn any(&self, request: RequestBuilder) -> Result<Response, CommandError> {
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// The JSON of an answer, if it is one of success.
    pub(crate) async fn accepted(&self, response: Response) -> Result<Value, CommandError> {
        if response.status().is_success() {
            return response.json().await.map_err(|error| self.unreachable(&error));
        }
        Err(self.refused(response).await)
    }

    /// Sends a request and gives the JSON of its answer.
    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value, CommandError> {
        self.send(request).await?.json().await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> CommandError {
        if error.is_timeout() {
            return CommandError::new(Exit::NoServer, format!("the server at {} does not answer", self.base));
        }
        if error.is_connect() {
            let message = format!(
                "no server answers at {}; `paddock serve` starts one, `--server URL` names another",
                self.base
            );
            return CommandError::new(Exit::NoServer, message);
        }
        let reason = paddock_platform::problem::error_chain(error);
        CommandError::new(Exit::NoServer, format!("the server at {} broke off: {reason}", self.base))
    }

    async fn refused(&self, response: Response) -> CommandError {
        let status = response.status();
        let problem: Value = response.json().await.unwrap_or_default();
        let slug =
            problem["type"].as_str().unwrap_or_default().rsplit(':').next().unwrap_or_default().to_owned();
        let mut message = match problem["detail"].as_str() {
            Some(detail) => detail.to_owned(),
            None => format!("{} answers {status}; is it a Paddock server?", self.base),
        };
        if let Some(hint) = problem["hint"].as_str() {
            message.push_str("; ");
            message.push_str(hint);
        }
        let exit = match status {
            StatusCode::UNAUTHORIZED => {
                message.push_str("; set PADDOCK_KEY (`paddock keys create` makes one)");
                Exit::NotAllowed
            }
            StatusCode::FORBIDDEN if slug == "address-refused" => Exit::AddressRefused,
            StatusCode::FORBIDDEN => Exit::NotAllowed,
            _ => match slug.as_str() {
                "host-not-found" | "host-unreachable" | "tls-failed" | "redirect-loop" | "bad-answer" => {
                    Exit::Unreachable
                }
                "browser-unavailable" => Exit::NoEngine,
                "internal" => Exit::Failure,
                _ => Exit::Refused,
            },
        };
        CommandError::new(exit, message)
    }
}
