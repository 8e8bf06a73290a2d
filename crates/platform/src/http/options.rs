//! The `[server]` section of the configuration.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    address::{ListenAddress, ProxyNetwork},
    rate::RateLimit,
};
use crate::units::{ByteSize, HumanDuration, non_zero, non_zero_duration};

/// How the server listens and what it lets in. Limits follow a change of the file; `listen`, `connections_max`,
/// `header_timeout`, `shutdown` and `debug` take effect at the next start, and so does `timeout` as far as it is about
/// clients that take none of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerOptions {
    /// Address to listen on, `host:port`. Anything but loopback needs at least one key (`paddock keys create`).
    pub listen: ListenAddress,
    /// Names under which the server is reached beside `localhost` and its own addresses, as `name` or `name:port`:
    /// requests whose `Host` or `Origin` names another are refused.
    pub hosts: Vec<String>,
    /// Whether requests of this machine need a key too. Those from beyond always do, also when a proxy here forwards
    /// them.
    pub keys_required: bool,
    /// Proxies whose `X-Forwarded-For` is believed, as addresses or networks. List a proxy on this machine too: once
    /// any is listed, only what a proxy says comes from this machine does without a key.
    pub trusted_proxies: Vec<ProxyNetwork>,
    /// How long an answer may take to begin before the request fails with 504, and how long a client may take none of
    /// an answer before it is disconnected.
    #[serde(deserialize_with = "non_zero_duration")]
    pub timeout: HumanDuration,
    /// How long a connection may take to send a request's headers, and may be idle between two requests (with HTTP/2: up
    /// to twice as long).
    #[serde(deserialize_with = "non_zero_duration")]
    pub header_timeout: HumanDuration,
    /// The largest request body.
    pub body_max: ByteSize,
    /// Requests worked on at once; more are refused with 503.
    pub concurrency_max: NonZeroUsize,
    /// Connections open at once; more wait to be accepted.
    pub connections_max: NonZeroUsize,
    /// How often requests may come; more are refused.
    pub rates: RateLimits,
    /// How long requests in flight may take to finish when the server stops.
    pub shutdown: HumanDuration,
    /// Requests that take longer are logged as slow.
    pub slow_request: HumanDuration,
    /// For development: answers carry `X-Response-Time`, and profiles are served at `/debug/pprof` to keys with the
    /// scope `debug:read`.
    pub debug: bool,
}

/// How often requests may come: `100/s`, `600/min`, `100/s burst 20`, or `unlimited`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// All requests together; more are refused with 503.
    pub global: RateLimit,
    /// Requests of one client address (IPv6: of one /64 network); more are refused with 429.
    pub per_ip: RateLimit,
    /// Requests with one key, unless the key has its own limit; more are refused with 429.
    pub per_key: RateLimit,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            global: RateLimit::per_second(50_000),
            per_ip: RateLimit::per_second(5_000),
            per_key: RateLimit::per_second(5_000),
        }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: ListenAddress::default(),
            hosts: Vec::new(),
            keys_required: false,
            trusted_proxies: Vec::new(),
            timeout: HumanDuration::from_secs(60),
            header_timeout: HumanDuration::from_secs(15),
            body_max: ByteSize::mib(2),
            concurrency_max: non_zero(1024),
            connections_max: non_zero(4096),
            rates: RateLimits::default(),
            shutdown: HumanDuration::from_secs(10),
            slow_request: HumanDuration::from_secs(1),
            debug: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_is_a_working_server() {
        assert_eq!(toml::from_str::<ServerOptions>("").unwrap(), ServerOptions::default());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let options: ServerOptions = toml::from_str(
            "listen = \"[::1]:80\"\nbody_max = \"1KiB\"\nrates.per_key = \"10/s burst 2\"\ntrusted_proxies = [\"10.0.0.0/8\"]",
        )
        .unwrap();
        let text = toml::to_string(&options).unwrap();
        assert_eq!(toml::from_str::<ServerOptions>(&text).unwrap(), options);
    }

    #[test]
    fn an_unknown_key_or_a_bad_value_is_refused() {
        for text in [
            "listn = \"a:1\"",
            "listen = \"7070\"",
            "concurrency_max = 0",
            "rates.per_ip = \"often\"",
            "timeout = \"0s\"",
        ] {
            assert!(toml::from_str::<ServerOptions>(text).is_err(), "{text}");
        }
    }
}
