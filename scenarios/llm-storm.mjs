// What a storm left behind, by the gateway's own account and by that of the simulated providers: one line of JSON.
//
//   node llm-storm.mjs GATEWAY PROVIDER...
//
// retry_depth_max: the most attempts that a call took beyond its first.
// split_deviation_ratio: how far the calls of the provider that always works are from the weights of its models and
//   credentials, as a part of what chance allows (99.9 %); the greater of both. Those of the others rest by turns, which is
//   no matter of chance.
// spend_difference_tokens: what the gateway counted, against what the providers bill.
// dead_credential_calls_count: how often a credential was tried that its provider does not accept.
const WAIT_MS = 15_000;
const POLL_MS = 200;
/** Standard deviations that 99.9 % of all samples are within. */
const WITHIN = 3.29;
/** Calls below which a split says nothing. */
const CALLS_MIN = 30;

const [gateway, ...providers] = process.argv.slice(2);

async function text(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(WAIT_MS) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response.text();
}
const json = async (url) => JSON.parse(await text(url));
const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

/** What `ask` gives, once there is something. */
async function until(what, ask) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`${what} did not come within ${WAIT_MS} ms`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

/** Samples of a metric: labels as text, and the value. */
function samples(metrics, name) {
  const found = [];
  for (const line of metrics.split("\n")) {
    const [, metric, labels, value] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (metric === name) found.push({ labels: labels ?? "", value: Number(value) });
  }
  return found;
}

/** The most attempts beyond the first: the lowest bound that no call is above. */
function retryDepth(metrics) {
  const buckets = samples(metrics, "llm_call_attempts_bucket").map(({ labels, value }) => {
    const bound = /le="([^"]+)"/.exec(labels)[1];
    return { bound: bound === "+Inf" ? Infinity : Number(bound), value };
  });
  const calls = Math.max(...buckets.map(({ value }) => value));
  if (!(calls > 0)) throw new Error("no call took an attempt");
  const most = Math.min(...buckets.filter(({ value }) => value === calls).map(({ bound }) => bound));
  // Beyond the last bound nobody knows how many; it is too many.
  return most === Infinity ? 99 : most - 1;
}

/** How far a share is from what it should be, as a part of what chance allows. */
function deviation(part, whole, share) {
  if (whole < CALLS_MIN) throw new Error(`only ${whole} calls went to the provider that works`);
  return Math.abs(part / whole - share) / (WITHIN * Math.sqrt((share * (1 - share)) / whole));
}

const counted = (name, is, lanes) => sum(lanes.filter((lane) => lane[name] === is), (lane) => lane.requests);

await until("the end of all calls", async () => (await json(`${gateway}/llm/status`)).in_flight === 0);
const usage = (await json(`${gateway}/llm/usage`)).rows;
const calls = sum(usage, (row) => row.requests);
// They are rendered once a second.
const metrics = await until("the metrics of all calls", async () => {
  const rendered = await text(`${gateway}/metrics`);
  return sum(samples(rendered, "llm_calls_total"), ({ value }) => value) >= calls && rendered;
});

const lanes = await json(`${gateway}/llm/breakers`);
const works = lanes.filter((lane) => lane.provider === "slow");
const all = sum(works, (lane) => lane.requests);
const splits = [deviation(counted("model", "first", works), all, 2 / 3), deviation(counted("credential", "a", works), all, 3 / 4)];

const billed = await Promise.all(providers.map((provider) => json(`${provider}/stats`)));
const tokens = (of) => sum(of, (entry) => entry.input_tokens + entry.output_tokens);
if (!(tokens(billed) > 0)) throw new Error("no provider bills anything");

const refused = counted("credential", "revoked", lanes);
if (refused === 0) throw new Error("the dead credential was never tried");

console.log(
  JSON.stringify({
    retry_depth_max: retryDepth(metrics),
    split_deviation_ratio: Math.max(...splits),
    spend_difference_tokens: Math.abs(tokens(usage) - tokens(billed)),
    dead_credential_calls_count: refused,
  }),
);
