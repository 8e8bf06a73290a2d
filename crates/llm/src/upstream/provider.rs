//! A provider, ready to be called.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use url::Url;

use super::{HttpClient, UpstreamBody};
use crate::{
    config::ProviderOptions,
    dialect::{Api, Dialect},
    durable::IDEMPOTENCY_KEY,
    resilience::Credential,
    sim::{Sim, SimOptions},
};

/// What Anthropic wants to know of its clients.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
/// Headers of callers that belong to what they say to Anthropic.
const ANTHROPIC_HEADERS: [&str; 2] = ["anthropic-version", "anthropic-beta"];
/// Headers of callers that belong to what they say to OpenAI.
const OPENAI_HEADERS: [&str; 1] = ["openai-beta"];
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("paddock/", env!("CARGO_PKG_VERSION")));

/// What is called at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Api(Api),
    Generate,
    GenerateStream,
    Embed,
}

/// A request did not come to an answer.
#[derive(Debug)]
pub(crate) struct SendError {
    /// Whether no connection was made, so that nothing was sent.
    pub(crate) is_connect: bool,
    pub(crate) reason: String,
}

enum Transport {
    Http(Box<HttpClient>),
    Sim(Sim),
}

/// A provider.
pub(crate) struct Provider {
    pub(crate) name: Arc<str>,
    pub(crate) dialect: Dialect,
    pub(crate) credentials: Vec<Arc<Credential>>,
    pub(crate) options: ProviderOptions,
    base: String,
    query: String,
    key_header: HeaderName,
    headers: HeaderMap,
    transport: Transport,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provider({})", self.name)
    }
}

impl Provider {
    /// Makes a provider of its options. Credentials that are as they were in `before` keep what they count.
    pub(crate) fn new(
        options: &ProviderOptions,
        http: &HttpClient,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let wrong = |detail: &str| format!("llm provider `{}`: {detail}", options.name);
        if options.name.is_empty() || options.name.contains('/') {
            return Err(wrong("`name` must be a text without `/`"));
        }
        let text = if options.url.is_empty() { options.dialect.home() } else { options.url.as_str() };
        let url =
            Url::parse(&text.replace("{model}", "--model--")).map_err(|_| wrong("`url` is not a URL"))?;
        let transport = match url.scheme() {
            "http" | "https" => Transport::Http(Box::new(http.clone())),
            "sim" => Transport::Sim(Sim::new(SimOptions::from_url(&url).map_err(|reason| wrong(&reason))?)),
            _ => return Err(wrong("`url` must begin with `http:`, `https:` or `sim:`")),
        };
        let mut base = url.clone();
        base.set_query(None);
        let default_header = match options.dialect {
            Dialect::OpenAi => header::AUTHORIZATION,
            Dialect::Anthropic => HeaderName::from_static("x-api-key"),
            Dialect::Gemini => HeaderName::from_static("x-goog-api-key"),
        };
        let key_header = match &options.key_header {
            Some(name) => HeaderName::try_from(name).map_err(|_| wrong("`key_header` is not a header"))?,
            None => default_header,
        };
        let prefix = if key_header == header::AUTHORIZATION { "Bearer " } else { "" };
        let credentials = credentials(options, prefix, before);
        Ok(Self {
            name: Arc::from(options.name.as_str()),
            dialect: options.dialect,
            base: base.as_str().trim_end_matches('/').to_owned(),
            query: url.query().map(|query| format!("?{query}")).unwrap_or_default(),
            headers: fixed_headers(options)
                .map_err(|name| wrong(&format!("`headers.{name}` is not a header")))?,
            options: options.clone(),
            key_header,
            credentials,
            transport,
        })
    }

    /// Whether answers come from the simulated provider of this process.
    pub(crate) const fn is_simulated(&self) -> bool {
        matches!(self.transport, Transport::Sim(_))
    }

    /// Whether it takes what a caller sends through an api as it is.
    pub(crate) fn takes(&self, api: Api) -> bool {
        self.dialect == api.dialect() && (api != Api::Responses || self.options.responses.unwrap_or(true))
    }

    /// The address of an endpoint for a model.
    pub(crate) fn uri(&self, endpoint: Endpoint, model: &str) -> Result<Uri, String> {
        let base = match &self.transport {
            Transport::Http(_) => self.base.as_str(),
            Transport::Sim(_) => "http://sim",
        };
        let base = base.replace("--model--", model);
        let path = match endpoint {
            Endpoint::Api(api) => api.path().to_owned(),
            Endpoint::Generate => format!("/models/{model}:generateContent"),
            Endpoint::GenerateStream => format!("/models/{model}:streamGenerateContent"),
            Endpoint::Embed => format!("/models/{model}:batchEmbedContents"),
        };
        let query = match (endpoint, self.query.as_str()) {
            (Endpoint::GenerateStream, "") => "?alt=sse".to_owned(),
            (Endpoint::GenerateStream, query) => format!("{query}&alt=sse"),
            (_, _) if self.is_simulated() => String::new(),
            (_, query) => query.to_owned(),
        };
        let text = format!("{base}{path}{query}");
        text.parse().map_err(|_| format!("`{text}` is not an address"))
    }

    /// Builds a request. Of the caller's headers only those pass that belong to what it says; `once` names a call that shall
    /// be made once.
    pub(crate) fn request(
        &self,
        uri: Uri,
        body: Bytes,
        credential: &Credential,
        caller: &HeaderMap,
        once: Option<HeaderValue>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.reserve(8);
        headers.clone_from(&self.headers);
        let own: &[&str] = match self.dialect {
            Dialect::OpenAi => &OPENAI_HEADERS,
            Dialect::Anthropic => &ANTHROPIC_HEADERS,
            Dialect::Gemini => &[],
        };
        for name in own {
            if let Some(value) = caller.get(*name) {
                headers.insert(*name, value.clone());
            }
        }
        if let Some(key) = credential.header() {
            headers.insert(self.key_header.clone(), key);
        }
        if let Some(name) = once {
            headers.insert(IDEMPOTENCY_KEY, name);
        }
        request
    }

    /// Sends a request.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<UpstreamBody>, SendError> {
        match &self.transport {
            Transport::Http(client) => match client.request(request).await {
                Ok(response) => Ok(response.map(UpstreamBody::Http)),
                Err(error) => {
                    let reason = paddock_platform::problem::error_chain(&error);
                    Err(SendError { is_connect: error.is_connect(), reason })
                }
            },
            Transport::Sim(sim) => {
                sim.answer(request).await.map_err(|reason| SendError { is_connect: false, reason })
            }
        }
    }

    /// Asks whether it answers, at a path below its base.
    pub(crate) async fn probe(&self, path: &str) -> Result<u16, String> {
        let Transport::Http(client) = &self.transport else { return Ok(200) };
        let mut request = Request::new(Full::new(Bytes::new()));
        let text = format!("{}/{}{}", self.base, path.trim_start_matches('/'), self.query);
        *request.uri_mut() = text.parse().map_err(|_| format!("`{text}` is not an address"))?;
        request.headers_mut().clone_from(&self.headers);
        if let Some(key) = self.credentials.first().and_then(|credential| credential.header()) {
            request.headers_mut().insert(self.key_header.clone(), key);
        }
        let response = client.request(request).await;
        let response = response.map_err(|error| paddock_platform::problem::error_chain(&error))?;
        Ok(response.status().as_u16())
    }
}

fn credentials(
    options: &ProviderOptions,
    prefix: &'static str,
    before: Option<&Provider>,
) -> Vec<Arc<Credential>> {
    if options.credentials.is_empty() {
        let known = before.filter(|before| before.options.credentials.is_empty());
        return match known {
            Some(before) => before.credentials.clone(),
            None => vec![Arc::new(Credential::none())],
        };
    }
    let make = |credential: &crate::config::CredentialOptions| {
        let unchanged = before.and_then(|before| {
            let position = before.options.credentials.iter().position(|known| known == credential)?;
            before.credentials.get(position)
        });
        match unchanged {
            Some(known) => {
                known.refresh();
                Arc::clone(known)
            }
            None => Arc::new(Credential::new(credential, prefix)),
        }
    };
    options.credentials.iter().map(make).collect()
}

fn fixed_headers(options: &ProviderOptions) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, USER_AGENT);
    // Compressed answers would have to be unpacked to be understood.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if options.dialect == Dialect::Anthropic {
        headers.insert("anthropic-version", ANTHROPIC_VERSION);
    }
    let own: &BTreeMap<String, String> = &options.headers;
    for (name, value) in own {
        let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let (header, value) = pair.ok_or_else(|| name.clone())?;
        headers.insert(header, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(toml: &str) -> Result<Provider, String> {
        let options: ProviderOptions = toml::from_str(&format!("name = 'p'\n{toml}")).unwrap();
        Provider::new(&options, &crate::upstream::http_client(std::time::Duration::from_secs(1)), None)
    }

    #[tokio::test]
    async fn addresses_have_the_form_of_each_vendor() {
        let uri = |toml: &str, endpoint| provider(toml).unwrap().uri(endpoint, "m").unwrap().to_string();
        assert_eq!(uri("", Endpoint::Api(Api::Chat)), "https://api.openai.com/v1/chat/completions");
        assert_eq!(
            uri("dialect = 'anthropic'", Endpoint::Api(Api::Messages)),
            "https://api.anthropic.com/v1/messages"
        );
        assert_eq!(
            uri("dialect = 'gemini'\nurl = 'http://g/v1beta?x=1'", Endpoint::GenerateStream),
            "http://g/v1beta/models/m:streamGenerateContent?x=1&alt=sse"
        );
        let azure =
            "url = 'https://a.example/openai/deployments/{model}?api-version=1'\nkey_header = 'api-key'";
        assert_eq!(
            uri(azure, Endpoint::Api(Api::Embeddings)),
            "https://a.example/openai/deployments/m/embeddings?api-version=1"
        );
        for wrong in ["url = 'ftp://a'", "url = 'nothing'", "headers = { 'a b' = 'c' }"] {
            assert!(provider(wrong).unwrap_err().contains("provider `p`"), "{wrong}");
        }
    }
}
