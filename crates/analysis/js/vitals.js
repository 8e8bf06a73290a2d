// Web vitals observers. Injected into the isolated world before the page's own scripts, on every navigation.
// Pure reading: nothing here can be seen by the page. Times are milliseconds since navigation start, as the
// Performance APIs give them.
"use strict";
(() => {
  if (globalThis.paddockVitals || globalThis.top !== globalThis) return;
  const ENTRIES_MAX = 200;
  const INSERTED_MAX = 2000;

  const state = { fcp: null, lcp: [], shifts: [], longTasks: [], blocked: [], events: [] };
  // When a script added an image or text block after the document was parsed: this is what makes a late LCP.
  const insertedAt = new WeakMap();
  let inserted = 0;

  const push = (list, entry) => { if (list.length < ENTRIES_MAX) list.push(entry); };
  const observe = (type, take, options = {}) => {
    try {
      new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({ type, buffered: true, ...options });
    } catch { /* This engine does not know the entry type: the fact stays absent. */ }
  };

  observe("paint", (e) => { if (e.name === "first-contentful-paint") state.fcp = e.startTime; });
  observe("largest-contentful-paint", (e) => push(state.lcp, {
    time: e.startTime, load: e.loadTime, size: e.size, url: e.url || "", element: e.element,
  }));
  observe("layout-shift", (e) => push(state.shifts, {
    time: e.startTime, value: e.value, input: e.hadRecentInput,
    sources: (e.sources || []).map((s) => ({ node: s.node, from: s.previousRect, to: s.currentRect })),
  }));
  observe("longtask", (e) => push(state.longTasks, { start: e.startTime, duration: e.duration }));
  // The task that this script itself runs in is not reported as a long task, and the parser often goes on in it. So until
  // the page has been painted and loaded, a timer that comes late tells that the thread was taken.
  const BEAT_MS = 20, BEAT_UNTIL_MS = 10000, BLOCKED_MS = 200;
  let last = performance.now();
  const beat = () => {
    const now = performance.now();
    if (now - last > BLOCKED_MS) push(state.blocked, { start: last, duration: now - last });
    last = now;
    const done = state.fcp !== null && document.readyState === "complete";
    if (!done && now < BEAT_UNTIL_MS) setTimeout(beat, BEAT_MS);
  };
  setTimeout(beat, 0);
  observe("event", (e) => {
    if (e.interactionId) push(state.events, {
      name: e.name, interaction: e.interactionId, time: e.startTime, duration: e.duration,
      processing: e.processingEnd - e.processingStart, target: e.target,
    });
  }, { durationThreshold: 16 });

  const note = (node, now) => {
    if (node.nodeType !== 1 || inserted >= INSERTED_MAX) return;
    inserted += 1;
    insertedAt.set(node, now);
  };
  addEventListener("DOMContentLoaded", () => {
    new MutationObserver((records) => {
      const now = performance.now();
      for (const record of records) {
        if (record.type === "childList") record.addedNodes.forEach((node) => note(node, now));
        else note(record.target, now);
      }
    }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["src", "srcset"] });
  }, { once: true, capture: true });

  /** When the element, or the nearest ancestor that was added late, came into the document; null: parsed with it. */
  const lateInsertion = (element) => {
    for (let at = element; at; at = at.parentElement || at.getRootNode().host) {
      if (insertedAt.has(at)) return insertedAt.get(at);
    }
    return null;
  };

  // Scripts that can change the page later. A page without any is done when it has loaded; one with timers is
  // looked at until the longest literal delay has passed, so that what comes late is seen on every run.
  const TIMER = /\bset(?:Timeout|Interval)\s*\(/g;
  const LATER = /\b(?:setTimeout|setInterval|requestIdleCallback|fetch|XMLHttpRequest|import)\b/;
  /** Delays of the timers in a script: the last argument of each call; null for one that is not a number. */
  const delaysIn = (text) => {
    const delays = [];
    for (const match of text.matchAll(TIMER)) {
      let depth = 1, comma = -1, at = match.index + match[0].length, quote = "";
      const end = Math.min(text.length, at + 20000);
      for (; at < end && depth > 0; at += 1) {
        const c = text[at];
        if (quote) { if (c === "\\") at += 1; else if (c === quote) quote = ""; continue; }
        if (c === '"' || c === "'" || c === "`") quote = c;
        else if ("([{".includes(c)) depth += 1;
        else if (")]}".includes(c)) depth -= 1;
        else if (c === "," && depth === 1) comma = at;
      }
      const last = comma < 0 ? "0" : text.slice(comma + 1, at - 1).trim();
      delays.push(/^[\d.]+(?:e\d)?$/.test(last) ? Number(last) : null);
    }
    return delays;
  };
  const AFTER_TIMER_MS = 700;
  /**
   * Until when the page should be observed before its facts are taken.
   * @param {number} unknown what to assume of scripts whose timers cannot be read
   * @param {number} most no answer is larger
   */
  const observeUntil = (unknown, most) => {
    let until = 0;
    // Timers count from when their script ran, which a long task may have put off.
    const ran = performance.getEntriesByType("navigation")[0]?.loadEventEnd || performance.now();
    for (const script of document.scripts) {
      const type = (script.type || "").toLowerCase();
      if (type && type !== "module" && !/(java|ecma)script$/.test(type)) continue;
      if (script.src) { until = Math.max(until, unknown); continue; }
      const text = script.text.slice(0, 200000);
      if (!LATER.test(text)) continue;
      const delays = delaysIn(text);
      if (delays.length === 0 || delays.includes(null)) until = Math.max(until, unknown);
      for (const delay of delays) if (delay) until = Math.max(until, ran + delay + AFTER_TIMER_MS);
    }
    const inline = document.querySelector("body[onload],img[onload]");
    if (inline && LATER.test(inline.getAttribute("onload"))) until = Math.max(until, unknown);
    return Math.min(until, most);
  };

  Object.defineProperty(globalThis, "paddockVitals", { value: Object.freeze({ state, lateInsertion, observeUntil }) });
})();
