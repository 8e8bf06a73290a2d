//! Whether a server that was started answers yet.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use paddock_platform::task::Tasks;

use super::process::SetupError;
use crate::{
    driver::{Failure, Seat, Target, connect},
    scenario::ServerFile,
    variables::Variables,
};

/// How often a server that starts is asked whether it is ready.
pub(super) const READY_POLL: Duration = Duration::from_millis(5);

/// Where a server is asked whether it is ready.
#[derive(Debug)]
pub(super) struct Ready {
    target: Target,
    authority: String,
    path: String,
}

impl Ready {
    pub(super) fn of(file: &ServerFile, variables: &Variables) -> Result<Self, SetupError> {
        let url = file.ready.render(variables, 0)?;
        let address = || SetupError::Address { name: file.name.clone(), url: url.clone() };
        let uri: Uri = url.parse().map_err(|_| address())?;
        let (Some(host), Some("http")) = (uri.host(), uri.scheme_str()) else { return Err(address()) };
        let port = uri.port_u16().unwrap_or(80);
        Ok(Self {
            target: Target { host: host.trim_matches(['[', ']']).to_owned(), port },
            authority: format!("{host}:{port}"),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// As for the load itself: another machine has to be asked for.
    pub(super) async fn refuse_foreign(&self, name: &str) -> Result<(), SetupError> {
        match super::foreign_address(&self.target).await {
            // A name that does not resolve is met again by every attempt, and reported as not ready.
            Ok(None) | Err(_) => Ok(()),
            Ok(Some(_)) => Err(SetupError::Foreign { name: name.to_owned(), host: self.target.host.clone() }),
        }
    }

    /// Asks once. Every attempt opens a connection of its own.
    pub(super) async fn ask(&self, tasks: &Tasks) -> Result<(), Failure> {
        let Self { authority, path, .. } = self;
        let pool = connect::Pools::default().pool(authority, connect::Version::One, 1, tasks);
        let seat = Seat { number: 0 };
        let exchange = pool.send(seat, &Probe { authority, path }).await?;
        let status = exchange.status;
        let answer = exchange.outcome(true, &pool, seat).await?;
        if answer.refusal.is_none() {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&answer.body);
        let start: String = body.chars().take(200).collect();
        Err(Failure::new("http", format!("it answered {status}: {start}")))
    }
}

/// The question whether a server is ready.
struct Probe<'a> {
    authority: &'a str,
    path: &'a str,
}

impl connect::Ask for Probe<'_> {
    fn method(&self) -> &Method {
        &Method::GET
    }

    fn bytes(&self) -> Result<Bytes, Failure> {
        let Self { authority, path } = self;
        Ok(Bytes::from(format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")))
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, Failure> {
        Request::get(format!("http://{}{}", self.authority, self.path))
            .body(Full::default())
            .map_err(|error| Failure::new("request", error.to_string()))
    }
}
