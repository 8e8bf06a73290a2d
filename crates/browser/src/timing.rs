//! How quickly a page came, by its own clocks: navigation timing and web vitals.
//!
//! The browser buffers what the vitals are made of, so nothing has to run in the page before it is asked.

use std::time::Duration;

use paddock_cdp::protocol::performance::{Disable, Enable, GetMetrics};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    error::BrowserError,
    evaluate::{EvaluateError, World},
    tab::Tab,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// Times of a page, in milliseconds since its navigation began; 0 for what has not happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PageTiming {
    /// First byte of the document.
    pub ttfb_ms: f64,
    /// First contentful paint.
    pub fcp_ms: f64,
    /// Largest contentful paint so far.
    pub lcp_ms: f64,
    /// Cumulative layout shift so far: the worst session of shifts (<https://web.dev/articles/cls>).
    pub cls: f64,
    /// Interaction to next paint so far; null without an interaction that took over 100 ms.
    pub inp_ms: Option<f64>,
    /// The markup was parsed and its scripts had run.
    pub dom_content_loaded_ms: f64,
    /// The load event ended.
    pub load_ms: f64,
    /// Resources loaded beside the document.
    pub resource_count: u64,
    /// Bytes on the wire, as far as the page may know them.
    pub transfer_size_bytes: u64,
}

/// What a page takes of its renderer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageMemory {
    /// Megabytes of JavaScript objects.
    #[serde(rename = "jsHeapUsedMB")]
    pub js_heap_used_mb: f64,
    /// Megabytes held for them.
    #[serde(rename = "jsHeapTotalMB")]
    pub js_heap_total_mb: f64,
    /// Documents.
    pub documents: u64,
    /// Frames.
    pub frames: u64,
    /// Nodes of the DOM.
    pub nodes: u64,
    /// Event listeners.
    pub listeners: u64,
}

impl Tab {
    /// Times of the present document.
    pub async fn timing(&self) -> Result<PageTiming, EvaluateError> {
        self.evaluate_as(TIMING, World::Isolated, DEADLINE).await
    }

    /// What the page takes of its renderer.
    pub async fn memory(&self) -> Result<PageMemory, BrowserError> {
        let session = self.session();
        session.send(&Enable {}).await?;
        let metrics = session.send(&GetMetrics {}).await?.metrics;
        session.send(&Disable {}).await?;
        let value =
            |name: &str| metrics.iter().find(|metric| metric.name == name).map_or(0.0, |metric| metric.value);
        let mib = |name: &str| value(name) / f64::from(1 << 20);
        Ok(PageMemory {
            js_heap_used_mb: mib("JSHeapUsedSize"),
            js_heap_total_mb: mib("JSHeapTotalSize"),
            documents: value("Documents") as u64,
            frames: value("Frames") as u64,
            nodes: value("Nodes") as u64,
            listeners: value("JSEventListeners") as u64,
        })
    }
}

const TIMING: &str = "(async () => {
    const buffered = (type, options = {}) => {
        try {
            const observer = new PerformanceObserver(() => {});
            observer.observe({ type, buffered: true, ...options });
            const entries = observer.takeRecords();
            observer.disconnect();
            return entries;
        } catch { return []; }
    };
    // A page is loaded before it is drawn: soon after, the first paint is known.
    const painted = () => buffered('largest-contentful-paint').length > 0;
    if (document.readyState === 'complete' && document.body?.firstElementChild && !painted()) {
        await new Promise(resolve => {
            const observer = new PerformanceObserver(resolve);
            observer.observe({ type: 'largest-contentful-paint' });
            setTimeout(resolve, 500);
        });
    }
    const navigation = performance.getEntriesByType('navigation')[0] ?? {};
    const resources = performance.getEntriesByType('resource');
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    let cls = 0, session = 0, first = 0, last = 0;
    for (const shift of buffered('layout-shift')) {
        if (shift.hadRecentInput) continue;
        const joins = session > 0 && shift.startTime - last < 1000 && shift.startTime - first < 5000;
        if (!joins) { session = 0; first = shift.startTime; }
        session += shift.value;
        last = shift.startTime;
        cls = Math.max(cls, session);
    }
    const interactions = buffered('event', { durationThreshold: 16 }).filter(event => event.interactionId);
    const size = [navigation, ...resources].reduce((sum, entry) => sum + (entry.transferSize || 0), 0);
    return {
        ttfbMs: navigation.responseStart || 0,
        fcpMs: paint ? paint.startTime : 0,
        lcpMs: buffered('largest-contentful-paint').at(-1)?.startTime || 0,
        cls,
        inpMs: interactions.length ? Math.max(...interactions.map(event => event.duration)) : null,
        domContentLoadedMs: navigation.domContentLoadedEventEnd || 0,
        loadMs: navigation.loadEventEnd || 0,
        resourceCount: resources.length,
        transferSizeBytes: size,
    };
})()";
