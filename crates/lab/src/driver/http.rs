//! HTTP/1.1 and HTTP/2 requests over kept connections.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    BuildContext, BuildError, Call, Driver, Failure, Options, Outcome, Seat, Session, Target,
    connect::{Ask, Pool, Version},
};
use crate::variables::{Bound, Template, Variables};

/// Most headers of a request.
const HEADERS_MAX: usize = 64;

/// One HTTP request: `http = { url = "${base}/healthz" }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpOptions {
    /// Absolute address, `http` only. Host and port must be the same for every operation.
    pub url: Template,
    /// Method; `GET` if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// Body of the request.
    #[serde(default)]
    pub body: Option<Template>,
    /// Version of HTTP.
    #[serde(default)]
    pub version: HttpVersion,
    /// How many connections all operations share, for HTTP/2 only; HTTP/1.1 has one per operation in flight.
    #[serde(default)]
    pub connections: Option<usize>,
}

/// Version of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum HttpVersion {
    /// HTTP/1.1 with kept connections.
    #[default]
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2 without TLS, from the first byte.
    #[serde(rename = "2")]
    Two,
}

impl Options for HttpOptions {
    fn build(&self, context: &BuildContext) -> Result<Arc<dyn Driver>, BuildError> {
        let version = match self.version {
            HttpVersion::One if self.connections.is_some() => {
                return Err(BuildError::field(
                    "connections",
                    "is for HTTP/2; HTTP/1.1 has as many connections as operations in flight",
                ));
            }
            HttpVersion::One => Version::One,
            HttpVersion::Two => Version::Two { connections: self.connections.unwrap_or(2).max(1) },
        };
        let template = RequestTemplate::new(self, context)?;
        let pool = context.connections.pool(&template.authority, version, context.seats, &context.tasks);
        Ok(Arc::new(Http { template: Arc::new(template), pool }))
    }
}

/// What requests are made from: whole, if nothing in it varies.
#[derive(Debug)]
pub(crate) struct RequestTemplate {
    pub(crate) authority: String,
    host: String,
    port: u16,
    method: Method,
    uri: UriTemplate,
    headers: HeaderMap,
    varying_headers: Vec<(HeaderName, Bound)>,
    body: Bound,
    version: HttpVersion,
    /// The whole request, if it is the same for every operation.
    prepared: Option<Bytes>,
}

/// The request of one operation.
pub(crate) struct Asked<'a> {
    template: &'a RequestTemplate,
    call: Call<'a>,
}

impl Ask for Asked<'_> {
    fn method(&self) -> &Method {
        &self.template.method
    }

    fn bytes(&self) -> Result<Bytes, Failure> {
        match &self.template.prepared {
            Some(bytes) => Ok(bytes.clone()),
            None => self.template.write(self.call.variables, self.call.index),
        }
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, Failure> {
        let (uri, headers, body) = self.template.parts(self.call.variables, self.call.index)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.template.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        *request.version_mut() = http::Version::HTTP_2;
        Ok(request)
    }
}

#[derive(Debug)]
enum UriTemplate {
    Fixed(Uri),
    Varying(Bound),
}

impl RequestTemplate {
    pub(crate) fn new(options: &HttpOptions, context: &BuildContext) -> Result<Self, BuildError> {
        let variables = &context.variables;
        let bound = options.url.bind(variables)?;
        let uri = parse_uri(&bound.text(variables, 0))?;
        let authority = authority(&uri)?;
        let method = match &options.method {
            Some(method) => Method::from_bytes(method.as_bytes())
                .map_err(|_| BuildError::field("method", format!("`{method}` is not a method")))?,
            None => Method::GET,
        };
        if options.headers.len() > HEADERS_MAX {
            return Err(BuildError::field("headers", format!("at most {HEADERS_MAX} are possible")));
        }
        let mut headers = HeaderMap::new();
        let mut varying_headers = Vec::new();
        if options.version == HttpVersion::One {
            headers.insert(header::HOST, header_value("url", &authority)?);
        }
        for (name, template) in &options.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| BuildError::field("headers", format!("`{name}` is not the name of a header")))?;
            if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&parsed) {
                return Err(BuildError::field("headers", format!("`{name}` follows from the body")));
            }
            let bound = template.bind(variables)?;
            headers.insert(parsed.clone(), header_value("headers", &bound.text(variables, 0))?);
            if !bound.is_fixed() {
                varying_headers.push((parsed, bound));
            }
        }
        let body = match &options.body {
            Some(body) => body.bind(variables)?,
            None => Bound::Fixed(String::new()),
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(80);
        let uri = if bound.is_fixed() {
            UriTemplate::Fixed(for_request(&uri, options.version)?)
        } else {
            UriTemplate::Varying(bound)
        };
        let template = Self {
            authority,
            host,
            port,
            method,
            uri,
            headers,
            varying_headers,
            body,
            version: options.version,
            prepared: None,
        };
        template.prepared(variables)
    }

    /// The request of an operation, with its address as the version wants it.
    fn parts(&self, variables: &Variables, index: u64) -> Result<(Uri, HeaderMap, Bytes), Failure> {
        let invalid = |error: BuildError| Failure::new("request", error.to_string());
        let uri = match &self.uri {
            UriTemplate::Fixed(uri) => uri.clone(),
            UriTemplate::Varying(bound) => {
                let uri = parse_uri(&bound.text(variables, index)).map_err(invalid)?;
                if authority(&uri).map_err(invalid)? != self.authority {
                    let detail =
                        format!("`{uri}` is not on {}, where the first request went", self.authority);
                    return Err(Failure::new("request", detail));
                }
                for_request(&uri, self.version).map_err(invalid)?
            }
        };
        let mut headers = self.headers.clone();
        for (name, bound) in &self.varying_headers {
            let value = header_value("headers", &bound.text(variables, index)).map_err(invalid)?;
            headers.insert(name.clone(), value);
        }
        let body = match &self.body {
            Bound::Fixed(body) if body.is_empty() => Bytes::new(),
            body => Bytes::from(body.text(variables, index).into_owned()),
        };
        Ok((uri, headers, body))
    }

    /// The request as HTTP/1.1 sends it.
    fn write(&self, variables: &Variables, index: u64) -> Result<Bytes, Failure> {
        let (uri, headers, body) = self.parts(variables, index)?;
        let mut bytes = Vec::with_capacity(256 + body.len());
        bytes.extend_from_slice(format!("{} {uri} HTTP/1.1\r\n", self.method).as_bytes());
        for (name, value) in &headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        // A method that usually has a body says when it has none (RFC 9110, section 8.6).
        if !body.is_empty() || [Method::POST, Method::PUT, Method::PATCH].contains(&self.method) {
            bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        Ok(Bytes::from(bytes))
    }

    /// Computes now what is the same for every operation.
    fn prepared(mut self, variables: &Variables) -> Result<Self, BuildError> {
        let is_fixed = matches!(self.uri, UriTemplate::Fixed(_))
            && self.varying_headers.is_empty()
            && self.body.is_fixed()
            && self.version == HttpVersion::One;
        if is_fixed {
            let bytes = self.write(variables, 0).map_err(|failure| BuildError::field("url", failure))?;
            self.prepared = Some(bytes);
        }
        Ok(self)
    }

    /// The request of an operation.
    pub(crate) fn ask<'a>(&'a self, call: Call<'a>) -> Asked<'a> {
        Asked { template: self, call }
    }

    pub(crate) fn target(&self) -> Target {
        Target { host: self.host.clone(), port: self.port }
    }
}

fn parse_uri(text: &str) -> Result<Uri, BuildError> {
    let uri: Uri = text
        .parse()
        .map_err(|error| BuildError::field("url", format!("`{text}` is not an address: {error}")))?;
    match uri.scheme_str() {
        Some("http") => Ok(uri),
        Some(scheme) => {
            let reason = format!("`{text}` has the scheme `{scheme}`; only `http` can be measured");
            Err(BuildError::field("url", reason))
        }
        None => Err(BuildError::field("url", format!("`{text}` has no scheme; write `http://…`"))),
    }
}

fn authority(uri: &Uri) -> Result<String, BuildError> {
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| BuildError::field("url", format!("`{uri}` has no host")))?;
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}

/// HTTP/1.1 sends path and query; HTTP/2 wants the whole.
fn for_request(uri: &Uri, version: HttpVersion) -> Result<Uri, BuildError> {
    match version {
        HttpVersion::Two => Ok(uri.clone()),
        HttpVersion::One => {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            path.parse().map_err(|error| BuildError::field("url", format!("`{path}` is not a path: {error}")))
        }
    }
}

fn header_value(field: &'static str, text: &str) -> Result<HeaderValue, BuildError> {
    HeaderValue::from_str(text).map_err(|_| BuildError::field(field, format!("`{text}` cannot be a header")))
}

#[derive(Clone, Debug)]
struct Http {
    template: Arc<RequestTemplate>,
    pool: Arc<Pool>,
}

impl Driver for Http {
    fn session(&self, seat: Seat) -> Box<dyn Session> {
        Box::new(HttpSession { http: self.clone(), seat })
    }

    fn targets(&self) -> Vec<Target> {
        vec![self.template.target()]
    }
}

struct HttpSession {
    http: Http,
    seat: Seat,
}

impl Session for HttpSession {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.http.pool.prepare(self.seat))
    }

    fn execute<'a>(&'a mut self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.exchange(call).await.unwrap_or_else(Outcome::failed) })
    }
}

impl HttpSession {
    async fn exchange(&mut self, call: Call<'_>) -> Result<Outcome, Failure> {
        let Http { template, pool } = &self.http;
        let exchange = pool.send(self.seat, &template.ask(call)).await?;
        exchange.outcome(call.keep_body, pool, self.seat).await
    }
}
