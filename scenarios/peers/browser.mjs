// Warm navigation, full snapshot and click of Paddock's browsers, of @playwright/mcp, of agent-browser and of a bare DevTools
// client, in turn, with the same engine and the same pages: one line of JSON.
//
//   node browser.mjs PADDOCK_URL PAGES_URL ENGINE [--count N] [--rounds N]
//
// The peers are installed from the lock file in `browser` into $PADDOCK_PEERS, or the user's cache directory. What cannot
// be installed, or fails, is told on the error output, and its figures are `null`. All are up while one is measured.
import { stop } from "./browser-processes.mjs";
import { agentBrowser, bareDevtools, install, paddock, playwrightMcp } from "./browser-subjects.mjs";

const DEADLINE_MS = 20 * 60_000;
const WARM_ARTICLES = 3;
const PEERS = ["playwright_mcp", "agent_browser"];
const ALL = ["paddock", ...PEERS, "devtools"];
// A text near the end of each page: a snapshot without it is not of the whole page.
const PAGES = { article: "About", product: "$478.13" };
const FIGURES = {
  article_navigate_p50_ms: (seen) => quantile(seen.article_navigate, 0.5),
  article_navigate_p99_ms: (seen) => quantile(seen.article_navigate, 0.99),
  article_snapshot_p50_ms: (seen) => quantile(seen.article_snapshot, 0.5),
  article_snapshot_bytes: (seen) => quantile(seen.article_bytes, 0.5),
  product_snapshot_p50_ms: (seen) => quantile(seen.product_snapshot, 0.5),
  product_snapshot_bytes: (seen) => quantile(seen.product_bytes, 0.5),
  click_p50_ms: (seen) => quantile(seen.click, 0.5),
};
const AHEAD = {
  navigate_ahead_ratio: "article_navigate_p50_ms",
  article_snapshot_ahead_ratio: "article_snapshot_p50_ms",
  product_snapshot_ahead_ratio: "product_snapshot_p50_ms",
  click_ahead_ratio: "click_p50_ms",
};

const [server, site, engine, ...flags] = process.argv.slice(2);
const flag = (name, fallback) => (flags.includes(name) ? Number(flags[flags.indexOf(name) + 1]) : fallback);
const count = flag("--count", 20);
const rounds = flag("--rounds", 5);

/** The nearest rank. */
function quantile(numbers, part) {
  return numbers.toSorted((left, right) => left - right)[Math.ceil(numbers.length * part) - 1];
}

let visits = 0;

async function timed(times, work) {
  const began = performance.now();
  const value = await work();
  times.push(performance.now() - began);
  return value;
}

async function visit(subject, page, seen) {
  const url = `${site}/${page}.html?${++visits}`;
  await timed((seen[`${page}_navigate`] ??= []), () => subject.navigate(url));
  const text = await timed((seen[`${page}_snapshot`] ??= []), () => subject.snapshot());
  if (!text.includes(PAGES[page])) throw new Error(`its snapshot of ${page} is incomplete: ${text.slice(-200)}`);
  (seen[`${page}_bytes`] ??= []).push(Buffer.byteLength(text));
}

/** Clicks on the heading of an article, which lead nowhere; the page has to have seen each. */
async function click(subject, times, seen) {
  await subject.evaluate("addEventListener('click', () => document.body.dataset.clicks++), document.body.dataset.clicks = 0");
  for (let done = 0; done < times; done++) await timed((seen.click ??= []), () => subject.click("h1"));
  const arrived = Number(await subject.evaluate("document.body.dataset.clicks"));
  if (arrived !== times) throw new Error(`${arrived} of ${times} clicks arrived`);
}

async function turn(subject, articles, seen) {
  for (let done = 0; done < articles; done++) await visit(subject, "article", seen);
  await click(subject, articles, seen);
  for (let done = 0; done < Math.ceil(articles / 5); done++) await visit(subject, "product", seen);
}

/** A peer that fails is left out; Paddock's failure is the run's. */
async function attempt(name, work) {
  try {
    return await work();
  } catch (error) {
    if (name === "paddock") throw error;
    console.error(`${name}: not measured: ${error.message}`);
  }
}

async function measure() {
  const modules = await attempt("peers", install);
  const begin = {
    paddock: () => paddock(server),
    playwright_mcp: modules && (() => playwrightMcp(modules, engine)),
    agent_browser: modules && (() => agentBrowser(modules, engine)),
    devtools: () => bareDevtools(engine),
  };
  const measured = new Map();
  for (const name of ALL.filter((name) => begin[name])) {
    const subject = await attempt(name, async () => {
      const begun = await begin[name]();
      await turn(begun, WARM_ARTICLES, {});
      return begun;
    });
    if (subject) measured.set(name, { subject, seen: {} });
  }
  for (let round = 0; round < rounds; round++) {
    for (const [name, { subject, seen }] of [...measured]) {
      const done = await attempt(name, () => turn(subject, count, seen).then(() => true));
      if (!done) measured.delete(name);
    }
  }
  await measured.get("paddock").subject.stop();
  return measured;
}

function report(measured) {
  const figures = { peers_count: PEERS.filter((name) => measured.has(name)).length };
  for (const name of ALL) {
    const seen = measured.get(name)?.seen;
    for (const [figure, of] of Object.entries(FIGURES)) figures[`${name}_${figure}`] = seen ? of(seen) : null;
  }
  for (const [ratio, figure] of Object.entries(AHEAD)) {
    const others = PEERS.map((name) => figures[`${name}_${figure}`]).filter((value) => value !== null);
    figures[ratio] = others.length > 0 ? Math.min(...others) / figures[`paddock_${figure}`] : null;
  }
  return figures;
}

let ending;
/** Ends what was started, once, and then this. */
function end(code) {
  ending ??= stop().finally(() => process.exit(code));
  return ending;
}

function fail(message) {
  console.error(message);
  return end(1);
}

for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => fail(`ended by ${signal}`));
setTimeout(() => fail(`not done within ${DEADLINE_MS / 60_000} minutes`), DEADLINE_MS).unref();
try {
  const figures = report(await measure());
  // The last line, after what the programs say when they end.
  await stop();
  console.log(JSON.stringify(figures));
  await end(0);
} catch (error) {
  await fail(error.stack ?? String(error));
}
