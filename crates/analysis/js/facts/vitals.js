// What the vitals observers have seen so far, with elements referred to.

function readVitals() {
  const vitals = globalThis.paddockVitals;
  const nav = performance.getEntriesByType("navigation")[0];
  const timing = {
    ttfb_ms: nav ? round(nav.responseStart, 1) : null, dom_content_loaded_ms: nav ? round(nav.domContentLoadedEventEnd, 1) : null, load_ms: nav ? round(nav.loadEventEnd, 1) : null,
    observed_ms: round(performance.now(), 1), fcp_ms: null, lcp: null, shifts: [], long_tasks: [], observed: Boolean(vitals),
  };
  if (!vitals) return timing;
  const { state } = vitals;
  timing.fcp_ms = state.fcp === null ? null : round(state.fcp, 1);
  const last = state.lcp.at(-1);
  if (last) timing.lcp = describeLcp(last, vitals);
  timing.shifts = state.shifts.filter((s) => !s.input).slice(0, 60).map((s) => ({ time_ms: round(s.time, 1), value: round(s.value, 4), element: shiftedElement(s.sources) }));
  const reported = (gap) => state.longTasks.some((t) => t.start < gap.start + gap.duration && t.start + t.duration > gap.start);
  timing.long_tasks = [...state.longTasks, ...state.blocked.filter((gap) => !reported(gap))].sort((a, b) => a.start - b.start)
    .slice(0, 60).map((t) => ({ start_ms: round(t.start, 1), duration_ms: round(t.duration, 1) }));
  return timing;
}

function describeLcp(entry, vitals) {
  const el = entry.element && entry.element.isConnected ? entry.element : null;
  const resource = entry.url ? performance.getEntriesByName(entry.url, "resource").at(-1) : null;
  const late = el ? vitals.lateInsertion(el) : null;
  return {
    element: refer(el), time_ms: round(entry.time, 1), size: entry.size, url: entry.url.startsWith("data:") ? "data:" : entry.url.slice(0, 300), is_image: Boolean(entry.url) || el?.localName === "img",
    inserted_ms: late === null ? null : round(late, 1),
    request_ms: resource ? round(resource.startTime, 1) : null, response_ms: resource ? round(resource.responseEnd, 1) : null,
  };
}

/** The largest thing that moved. */
function shiftedElement(sources) {
  let best = null, area = 0;
  for (const source of sources) {
    const node = source.node;
    const el = node && (nodeTypeOf(node) === 1 ? node : parentElementOf(node));
    const size = source.to.width * source.to.height;
    if (el && el.isConnected && size > area) { best = el; area = size; }
  }
  return refer(best);
}
