// An MCP server over standard input and output, with tools that misbehave on demand. It needs no packages.
//
//   node server.mjs [junk]
import { createInterface } from "node:readline";

const say = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\n");
const tools = ["echo", "env", "hang", "freeze", "crash", "flood", "huge", "steps", "fail", "pid"].map((name) => ({
  name,
  description: `What ${name} does`,
  inputSchema: { type: "object", properties: { text: { type: "string", description: "Any text" } } },
}));

if (process.argv[2] === "junk") for (let line = 0; line < 10_000; line++) console.log("not a message");

const text = (value) => ({ content: [{ type: "text", text: String(value) }] });
const run = {
  echo: (id, { text: said }) => say({ id, result: text(said) }),
  env: (id) => {
    process.stderr.write(`the key is ${process.env.API_KEY}\n`);
    say({ id, result: text(JSON.stringify(process.env)) });
  },
  hang: () => {},
  freeze: () => { for (;;); },
  crash: () => process.exit(7),
  flood: (id) => {
    for (let line = 0; line < 20_000; line++) say({ method: "notifications/message", params: { level: "info", data: "x".repeat(500) } });
    say({ id, result: text("flooded") });
  },
  huge: (id) => say({ id, result: text("x".repeat(32 << 20)) }),
  steps: (id, _, token) => {
    for (let step = 1; step <= 3; step++) say({ method: "notifications/progress", params: { progressToken: token, progress: step, total: 3, message: `step ${step}` } });
    say({ id, result: text("done") });
  },
  fail: (id) => say({ id, result: { ...text("it is out of paper"), isError: true } }),
  pid: (id) => say({ id, result: text(process.pid) }),
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize") {
    const serverInfo = { name: "fixture", version: "1" };
    return say({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo } });
  }
  if (method === "server/discover") return say({ id, result: { supportedVersions: ["2026-07-28"], capabilities: { tools: {} } } });
  if (method === "ping") return say({ id, result: {} });
  if (method === "tools/list") return say({ id, result: { tools } });
  if (method === "tools/call") {
    if (!run[params.name]) return say({ id, error: { code: -32602, message: `no tool ${params.name}` } });
    return run[params.name](id, params.arguments ?? {}, params._meta?.progressToken);
  }
  if (id !== undefined) say({ id, error: { code: -32601, message: `no ${method}` } });
}).on("close", () => process.exit(0));
