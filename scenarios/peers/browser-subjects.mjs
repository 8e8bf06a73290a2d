// What is measured, each in the form that costs it least: `navigate` returns when the page has loaded, `snapshot` is the text
// of the whole accessibility tree, `click` takes a CSS selector, `evaluate` an expression.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { scratch, start } from "./browser-processes.mjs";

const ANSWER_WITHIN_MS = 60_000;
const INSTALLED_WITHIN_MS = 300_000;
// Chrome does not start with its sandbox as root; Paddock leaves it out then, too.
const IS_ROOT = process.getuid() === 0;

/** Installs the peers as locked in `browser`, where they are not there yet; the directory of their modules. */
export function install() {
  const cache = process.env.PADDOCK_PEERS ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "paddock-peers");
  const locked = join(import.meta.dirname, "browser");
  const directory = join(cache, "npm");
  const modules = join(directory, "node_modules");
  const lock = (where) => readFileSync(join(where, "package-lock.json"), "utf8");
  const done = join(modules, "installed-lock.json");
  if (existsSync(done) && readFileSync(done, "utf8") === lock(locked)) return modules;
  mkdirSync(directory, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) copyFileSync(join(locked, name), join(directory, name));
  const options = { cwd: directory, stdio: ["ignore", "ignore", "inherit"], timeout: INSTALLED_WITHIN_MS };
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], options);
  copyFileSync(join(directory, "package-lock.json"), done);
  return modules;
}

/** Questions with numbers, and their answers and events, as DevTools, MCP and agent-browser have them. */
function conversation(send) {
  const waiting = new Map();
  let last = 0;
  let gone;
  const expect = (key, what) =>
    new Promise((resolve, reject) => {
      if (gone) return reject(new Error(gone));
      const settle = (how) => (value) => {
        clearTimeout(timer);
        waiting.delete(key);
        how(value);
      };
      const timer = setTimeout(() => waiting.get(key).reject(new Error(`no answer to ${what}`)), ANSWER_WITHIN_MS);
      waiting.set(key, { resolve: settle(resolve), reject: settle(reject) });
    });
  return {
    ask(message) {
      const id = ++last;
      const answer = expect(id, message.method ?? message.action);
      if (!gone) send({ id, ...message });
      return answer;
    },
    event: (method) => expect(method, method),
    hear(text) {
      const message = JSON.parse(text);
      waiting.get(message.id === undefined ? message.method : Number(message.id))?.resolve(message);
    },
    end(reason) {
      gone ??= reason;
      for (const { reject } of [...waiting.values()]) reject(new Error(gone));
    },
  };
}

function messages(stream, separator, hear) {
  let pieces = [];
  stream.setEncoding("utf8").on("data", (text) => {
    const parts = text.split(separator);
    pieces.push(parts.shift());
    for (const part of parts) {
      hear(pieces.join(""));
      pieces = [part];
    }
  });
}

/** A tab of an instance of a running server, over HTTP. */
export async function paddock(base) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (method, path, body) =>
    new Promise((resolve, reject) => {
      const text = body && JSON.stringify(body);
      const headers = text ? { "content-type": "application/json", "content-length": Buffer.byteLength(text) } : {};
      const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
      const sent = request(`${base}/browser${path}`, { method, headers, agent, signal }, (response) => {
        const parts = [];
        response.on("data", (part) => parts.push(part)).on("error", reject);
        response.on("end", () => {
          const answer = Buffer.concat(parts).toString();
          if (response.statusCode < 300) resolve(answer);
          else reject(new Error(`${path} was answered with ${response.statusCode}: ${answer.slice(0, 300)}`));
        });
      });
      sent.on("error", reject).end(text);
    });
  const post = async (path, body = {}) => JSON.parse(await ask("POST", path, body));
  const instance = (await post("/instances/start", { isolation: "context" })).id;
  const tab = (await post(`/instances/${instance}/tabs/open`)).tabId;
  return {
    navigate: (url) => post(`/tabs/${tab}/navigate`, { url }),
    // Indented, as the others' are; `compact` is shorter.
    snapshot: () => ask("GET", `/tabs/${tab}/snapshot?format=text`),
    click: (selector) => post(`/tabs/${tab}/action`, { kind: "click", selector }),
    evaluate: async (expression) => (await post(`/tabs/${tab}/evaluate`, { expression })).result,
    stop: () => post(`/instances/${instance}/stop`),
  };
}

/** Over stdio. No snapshot in the answers to navigation and click, and no half second of waiting after a click. */
export async function playwrightMcp(modules, engine) {
  const options = ["--headless", "--isolated", "--executable-path", engine, "--snapshot-mode", "none", "--timeout-settle", "0"];
  const args = [join(modules, "@playwright/mcp/cli.js"), ...options, ...(IS_ROOT ? ["--no-sandbox"] : [])];
  const child = start(process.execPath, args, { ended: (why) => talk.end(why) });
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  const talk = conversation(send);
  messages(child.stdout, "\n", talk.hear);
  const clientInfo = { name: "paddock-peers", version: "1" };
  await talk.ask({ method: "initialize", params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo } });
  send({ method: "notifications/initialized" });
  const call = async (name, input = {}) => {
    const { result, error } = await talk.ask({ method: "tools/call", params: { name, arguments: input } });
    const text = error?.message ?? result.content.map((part) => part.text).join("\n");
    if (error || result.isError) throw new Error(`${name}: ${text.slice(0, 300)}`);
    return text;
  };
  return {
    navigate: (url) => call("browser_navigate", { url }),
    snapshot: () => call("browser_snapshot"),
    click: (target) => call("browser_click", { target }),
    evaluate: async (expression) => {
      const text = await call("browser_evaluate", { function: `() => (${expression})` });
      return JSON.parse(text.match(/^### Result\n(.*)$/m)[1]);
    },
  };
}

/** Over its daemon's socket: what its command line does, without starting a program for each step. */
export async function agentBrowser(modules, engine) {
  const env = {
    AGENT_BROWSER_SOCKET_DIR: scratch,
    AGENT_BROWSER_EXECUTABLE_PATH: engine,
    AGENT_BROWSER_ARGS: IS_ROOT ? "--no-sandbox" : "",
    AGENT_BROWSER_NO_VERSION_CHECK: "1",
  };
  await new Promise((resolve, reject) => {
    const ended = (why, code) => (code === 0 ? resolve() : reject(new Error(why)));
    const args = [join(modules, "agent-browser/bin/agent-browser.js"), "open", "about:blank"];
    const child = start(process.execPath, args, { env, ended });
    child.stdout.resume();
    setTimeout(() => reject(new Error("it does not start")), ANSWER_WITHIN_MS).unref();
  });
  const socket = connect(join(scratch, "default.sock"));
  const talk = conversation(({ id, ...message }) => socket.write(`${JSON.stringify({ id: String(id), ...message })}\n`));
  messages(socket, "\n", talk.hear);
  socket.on("error", (error) => talk.end(String(error))).on("close", () => talk.end("its daemon has gone"));
  const ask = async (action, input = {}) => {
    const { success, data, error } = await talk.ask({ action, ...input });
    if (!success) throw new Error(`${action}: ${error}`);
    return data;
  };
  return {
    navigate: (url) => ask("navigate", { url }),
    snapshot: async () => (await ask("snapshot")).snapshot,
    click: (selector) => ask("click", { selector }),
    evaluate: async (script) => (await ask("evaluate", { script })).result,
  };
}

/**
 * Over a pipe: the least that a DevTools client can do. Nothing is checked before a click, and the tree is as Chrome has it.
 * (Node's WebSocket compresses, and refuses messages of more than 4 MiB.)
 */
export async function bareDevtools(engine) {
  const profile = `--user-data-dir=${join(scratch, "devtools")}`;
  const options = ["--headless", "--remote-debugging-pipe", profile, "--window-size=1280,720"];
  const args = [...options, ...(IS_ROOT ? ["--no-sandbox"] : []), "about:blank"];
  const child = start(engine, args, { pipes: 2, ended: (why) => talk.end(why) });
  child.stdout.resume();
  const [, , , input, output] = child.stdio;
  input.on("error", () => {}); // Told by its end.
  const talk = conversation((message) => input.write(`${JSON.stringify(message)}\0`));
  messages(output, "\0", talk.hear);
  let sessionId;
  const ask = async (method, params = {}) => {
    const { result, error } = await talk.ask({ method, params, sessionId });
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  };
  const page = (await ask("Target.getTargets")).targetInfos.find(({ type }) => type === "page");
  sessionId = (await ask("Target.attachToTarget", { targetId: page.targetId, flatten: true })).sessionId;
  await ask("Page.enable");
  const evaluate = async (expression) => (await ask("Runtime.evaluate", { expression, returnByValue: true })).result.value;
  return {
    navigate: (to) => Promise.all([talk.event("Page.loadEventFired"), ask("Page.navigate", { url: to })]),
    snapshot: async () => JSON.stringify(await ask("Accessibility.getFullAXTree")),
    click: async (selector) => {
      const box = `document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect()`;
      const point = await evaluate(`(({ x, y, width, height }) => ({ x: x + width / 2, y: y + height / 2 }))(${box})`);
      const mouse = (type, rest) => ask("Input.dispatchMouseEvent", { type, ...point, ...rest });
      await mouse("mouseMoved");
      await mouse("mousePressed", { button: "left", buttons: 1, clickCount: 1 });
      await mouse("mouseReleased", { button: "left", buttons: 0, clickCount: 1 });
    },
    evaluate,
  };
}
