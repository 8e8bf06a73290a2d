//! Log lines: readable on a terminal, JSON elsewhere, always with the ids of the request.

use std::{fmt, io::IsTerminal};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, JsonFields, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::{TelemetryError, TelemetryOptions, spans::Exporting};
use crate::http::current_request;

/// Environment variable whose filter takes precedence over the configured one.
const PADDOCK_LOG: &str = "PADDOCK_LOG";

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// Sets the process's subscriber.
pub(super) fn start(options: &TelemetryOptions, spans: Option<&Exporting>) -> Result<(), TelemetryError> {
    let filter = std::env::var(PADDOCK_LOG).ok().filter(|filter| !filter.is_empty());
    let mut filter = filter.unwrap_or_else(|| options.log.clone());
    // It tells of every request at the level of its own lifecycle.
    if !filter.contains("rmcp") {
        filter.push_str(",rmcp=warn");
    }
    let filter = EnvFilter::builder()
        .parse(&filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.clone(), source })?;
    let terminal = std::io::stderr().is_terminal();
    let pretty = match options.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let subscriber = Registry::default().with(spans.map(Exporting::layer));
    let lines = lines(pretty, terminal && std::env::var_os("NO_COLOR").is_none());
    subscriber.with(lines.with_filter(filter)).try_init().map_err(|_| TelemetryError::LogsTaken)
}

/// The layer that writes lines to standard error; standard output belongs to the results of commands.
fn lines<S>(pretty: bool, colors: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if pretty {
        let format = Format::default().with_ansi(colors).with_target(false).compact();
        layer.event_format(WithRequest { format, json: false }).boxed()
    } else {
        let format = Format::default().json().flatten_event(true).with_ansi(false);
        layer.fmt_fields(JsonFields::new()).event_format(WithRequest { format, json: true }).boxed()
    }
}

/// Adds the trace and request id to each line of a request. Here rather than in a span: most requests log nothing,
/// and a span would be paid for by all.
struct WithRequest<F> {
    format: F,
    json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithRequest<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(request) = current_request() else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let trace_id = request.trace.trace_id_hex();
        let request_id = request.id.to_str().unwrap_or_default();
        let line = line.trim_end();
        match line.strip_suffix('}') {
            Some(open) if self.json => {
                // A request id is printable, but may hold quotes.
                let request_id = serde_json::Value::from(request_id);
                writeln!(writer, "{open},\"trace_id\":\"{trace_id}\",\"request_id\":{request_id}}}")
            }
            _ => writeln!(writer, "{line} trace_id={trace_id} request_id={request_id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::http::{CURRENT, CurrentRequest, TraceContext};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let sink = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || sink.clone());
        let layer: Box<dyn Layer<Registry> + Send + Sync> = if json {
            let format = Format::default().json().flatten_event(true);
            layer.fmt_fields(JsonFields::new()).event_format(WithRequest { format, json }).boxed()
        } else {
            let format = Format::default().with_ansi(false).compact();
            layer.event_format(WithRequest { format, json }).boxed()
        };
        tracing::subscriber::with_default(Registry::default().with(layer), log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn in_request(log: impl FnOnce()) {
        let trace = TraceContext::begin(&HeaderMap::new());
        let request = CurrentRequest { trace, id: HeaderValue::from_static("say\"7") };
        CURRENT.sync_scope(request, log);
    }

    #[test]
    fn a_line_of_a_request_carries_its_ids() {
        let line = logged(true, || in_request(|| tracing::info!(size = 3, "stored")));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((line["message"].as_str(), line["size"].as_u64()), (Some("stored"), Some(3)));
        assert_eq!(line["request_id"], "say\"7");
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
        let line = logged(false, || in_request(|| tracing::info!("stored")));
        assert!(line.contains("stored") && line.contains("request_id=say\"7"), "{line}");
    }

    #[test]
    fn a_line_outside_of_requests_has_no_ids() {
        let line = logged(true, || tracing::info!("started"));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["message"], "started");
        assert!(line.get("trace_id").is_none());
    }
}
