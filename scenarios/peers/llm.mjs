// Calls a second and added latency of Paddock's model gateway, LiteLLM's proxy and Portkey's gateway, in turn over the same
// simulated provider: one line of JSON.
//
//   node llm.mjs PADDOCK [--seconds N] [--rounds N]
//
// LiteLLM and Portkey are installed into $PADDOCK_PEERS, or the user's cache directory, when they are not there. What
// they are asked is the same; so is the load (wrk). All are up while one is loaded, and idle.
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";

const LITELLM = "litellm[proxy]==1.106.2";
const PORTKEY = "@portkey-ai/gateway@1.15.2";
const CONNECTIONS = 64;
const READY_MS = 300_000;

const [program, ...flags] = process.argv.slice(2);
const flag = (name, fallback) => (flags.includes(name) ? Number(flags[flags.indexOf(name) + 1]) : fallback);
const seconds = flag("--seconds", 5);
const rounds = flag("--rounds", 3);
const paddock = resolve(program);
const cache = process.env.PADDOCK_PEERS ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "paddock-peers");
const scratch = mkdtempSync(join(tmpdir(), "paddock-peers-"));
const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "Say something about kettles." }] });

function install() {
  mkdirSync(cache, { recursive: true });
  const quiet = { stdio: ["ignore", "ignore", "inherit"] };
  if (!existsSync(join(cache, "litellm/bin/litellm"))) {
    execFileSync("python3", ["-m", "venv", join(cache, "litellm")], quiet);
    execFileSync(join(cache, "litellm/bin/pip"), ["install", "-q", "--disable-pip-version-check", LITELLM], quiet);
  }
  if (!existsSync(join(cache, "portkey/node_modules/@portkey-ai/gateway"))) {
    mkdirSync(join(cache, "portkey"), { recursive: true });
    execFileSync("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", join(cache, "portkey"), PORTKEY], quiet);
  }
}

const running = [];
function start(name, command, args, env = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...env }, cwd: scratch });
  let said = "";
  child.stderr.on("data", (text) => (said = (said + text).slice(-4000)));
  child.on("exit", (code) => {
    if (!child.stopping) fail(`${name} ended with ${code}: ${said}`);
  });
  running.push(child);
  return child;
}

function stop() {
  for (const child of running) {
    child.stopping = true;
    child.kill("SIGKILL");
  }
  rmSync(scratch, { recursive: true, force: true });
}

function fail(message) {
  console.error(message);
  stop();
  process.exit(1);
}

const freePort = () =>
  new Promise((done) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });

async function ready({ name, url, headers }) {
  const until = Date.now() + READY_MS;
  let last = "nothing";
  while (Date.now() < until) {
    try {
      const answer = await fetch(url, { method: "POST", headers, body });
      const text = await answer.text();
      if (answer.ok && JSON.parse(text).choices.length === 1) return;
      last = `${answer.status} ${text}`;
    } catch (error) {
      last = String(error.cause ?? error);
    }
    await new Promise((done) => setTimeout(done, 250));
  }
  fail(`${name} did not come up: ${last}`);
}

function idleMib(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(status.match(/VmRSS:\s+(\d+)/)[1]) / 1024;
}

/** wrk's rate, and its latencies in milliseconds. */
function load({ name, url, headers }, connections, duration) {
  const lines = Object.entries(headers).map(([key, value]) => `wrk.headers[${JSON.stringify(key)}] = ${JSON.stringify(value)}`);
  const script = join(scratch, `${name}.lua`);
  const report = `done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("@%d %d %f %f %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
  end`;
  writeFileSync(script, `wrk.method = "POST"\nwrk.body = ${JSON.stringify(body)}\n${lines.join("\n")}\n${report}\n`);
  const out = execFileSync("wrk", ["-t1", `-c${connections}`, `-d${duration}s`, "--timeout", "30s", "-s", script, url], { encoding: "utf8" });
  const [requests, micros, p50, p99, errors] = out.match(/^@(\d.*)$/m)[1].split(" ").map(Number);
  if (errors > 0) fail(`${name}: ${errors} of ${requests} calls failed`);
  return { rate: requests / (micros / 1e6), p50: p50 / 1e3, p99: p99 / 1e3 };
}

const median = (numbers) => numbers.toSorted((left, right) => left - right)[Math.floor(numbers.length / 2)];

async function main() {
  install();
  const [simPort, paddockPort, litellmPort, portkeyPort] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const upstream = `http://127.0.0.1:${simPort}/v1`;
  const json = { "content-type": "application/json" };
  const key = `sk-${randomBytes(24).toString("hex")}`;
  const yaml = join(scratch, "litellm.yaml");
  writeFileSync(yaml, `model_list:
  - model_name: m
    litellm_params: { model: openai/m, api_base: "${upstream}", api_key: unused }
general_settings: { master_key: ${key} }
`);
  start("sim", paddock, ["llm", "sim", "--listen", `127.0.0.1:${simPort}`, "tokens=8"]);
  const direct = { name: "direct", url: `${upstream}/chat/completions`, headers: json };
  const gateways = [
    {
      name: "paddock",
      url: `http://127.0.0.1:${paddockPort}/llm/v1/chat/completions`,
      headers: json,
      child: start("paddock", paddock, [
        "serve", "--listen", `127.0.0.1:${paddockPort}`, "--data", join(scratch, "data"), "--set", "browser.warm=0",
        "--set", "server.rates.per_ip=unlimited", "--set", "llm.log.sample_ratio=0.0",
        "--set", `llm.providers=[{ name = 'p', url = '${upstream}', models = ['m'] }]`,
      ]),
    },
    {
      name: "portkey",
      url: `http://127.0.0.1:${portkeyPort}/v1/chat/completions`,
      headers: { ...json, authorization: "Bearer unused", "x-portkey-provider": "openai", "x-portkey-custom-host": upstream },
      child: start("portkey", "node", [join(cache, "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"), `--port=${portkeyPort}`, "--headless"]),
    },
    {
      name: "litellm",
      url: `http://127.0.0.1:${litellmPort}/v1/chat/completions`,
      headers: { ...json, authorization: `Bearer ${key}` },
      child: start(
        "litellm", join(cache, "litellm/bin/litellm"),
        ["--config", yaml, "--host", "127.0.0.1", "--port", String(litellmPort), "--num_workers", "1", "--telemetry", "False"],
        { LITELLM_LOCAL_MODEL_COST_MAP: "True", LITELLM_LOG: "ERROR", NO_PROXY: "127.0.0.1" },
      ),
    },
  ];
  await ready(direct);
  for (const gateway of gateways) await ready(gateway);
  const figures = {};
  for (const { name, child } of gateways) figures[`${name}_idle_mib`] = idleMib(child.pid);
  const seen = {};
  const note = (name, figure, value) => ((seen[name] ??= {})[figure] ??= []).push(value);
  for (let round = 0; round < rounds; round++) {
    for (const gateway of gateways) {
      load(gateway, CONNECTIONS, 1);
      note(gateway.name, "rate", load(gateway, CONNECTIONS, seconds).rate);
      // One caller: what the gateway adds to what the provider takes, one after the other.
      const [without, through] = [load(direct, 1, seconds), load(gateway, 1, seconds)];
      note(gateway.name, "added", through.p50 - without.p50);
      note(gateway.name, "addedTail", through.p99 - without.p99);
    }
  }
  for (const [name, { rate, added, addedTail }] of Object.entries(seen)) {
    figures[`${name}_per_s`] = median(rate);
    figures[`${name}_added_ms`] = median(added);
    figures[`${name}_added_p99_ms`] = median(addedTail);
  }
  figures.ahead_of_litellm_ratio = figures.paddock_per_s / figures.litellm_per_s;
  figures.ahead_of_portkey_ratio = figures.paddock_per_s / figures.portkey_per_s;
  stop();
  console.log(JSON.stringify(figures));
  process.exit(0);
}

main().catch((error) => fail(error.stack ?? String(error)));
