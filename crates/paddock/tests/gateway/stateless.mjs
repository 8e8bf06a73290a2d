// An MCP server of protocol 2026-07-28 alone, with what the conformance suite asks of servers. It needs no packages.
//
//   node stateless.mjs         over standard input and output
//   node stateless.mjs PORT    over HTTP, at /mcp
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const VERSION = "2026-07-28";
const META = "io.modelcontextprotocol/";
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

class Refused extends Error {
  constructor(code, message, data, status) {
    super(message);
    Object.assign(this, { code, data, status: status ?? { [-32601]: 404, [-32020]: 400, [-32021]: 400, [-32022]: 400 }[code] ?? 200 });
  }
}

const content = (...content) => ({ content });
const text = (text) => ({ type: "text", text });
const image = { type: "image", data: PNG, mimeType: "image/png" };
const resource = { type: "resource", resource: { uri: "test://embedded", mimeType: "text/plain", text: "An embedded text." } };
const who = { method: "elicitation/create", params: { mode: "form", message: "Who is it?", requestedSchema: { type: "object", properties: { name: { type: "string" } } } } };
const asks = (key, requestState) => ({ resultType: "input_required", inputRequests: { [key]: who }, ...(requestState && { requestState }) });
const STATE = "what-was-asked-first";

/// Whoever listens to changes.
const listeners = new Set();
const changed = (kind) => {
  for (const { id, wants, say } of listeners) {
    if (wants[`${kind}ListChanged`]) say(`notifications/${kind}/list_changed`, { _meta: { [`${META}subscriptionId`]: id } });
  }
  return content(text("changed"));
};

const withState = ({ requestState }) => {
  if (requestState === undefined) return asks("ok", STATE);
  if (requestState !== STATE) throw new Refused(-32602, "this is not the state that was given out");
  return content(text("as it was"));
};
const tools = {
  test_simple_text: () => content(text("A simple text.")),
  test_image_content: () => content(image),
  test_audio_content: () => content({ type: "audio", data: WAV, mimeType: "audio/wav" }),
  test_embedded_resource: () => content(resource),
  test_multiple_content_types: () => content(text("Several."), image, resource),
  test_error_handling: () => ({ ...content(text("it is out of paper")), isError: true }),
  test_tool_with_progress: ({ _meta }, say) => {
    for (const progress of [0, 50, 100]) say("notifications/progress", { progressToken: _meta.progressToken, progress, total: 100 });
    return content(text("done"));
  },
  test_logging_tool: ({ _meta }, say) => {
    if (_meta[`${META}logLevel`]) say("notifications/message", { level: "info", data: "it was called" });
    return content(text("logged"));
  },
  test_missing_capability: ({ _meta }) => {
    if (!_meta[`${META}clientCapabilities`].sampling) throw new Refused(-32021, "it needs sampling", { requiredCapabilities: { sampling: {} } });
    return content(text("there is sampling"));
  },
  test_streaming_elicitation: () => asks("user_name"),
  test_input_required_result_elicitation: ({ inputResponses }) =>
    inputResponses?.user_name?.action ? content(text(`It is ${inputResponses.user_name.content.name}.`)) : asks("user_name"),
  test_input_required_result_request_state: withState,
  test_input_required_result_tampered_state: withState,
  test_trigger_tool_change: () => changed("tools"),
  test_trigger_prompt_change: () => changed("prompts"),
};

const message = (content) => ({ messages: [{ role: "user", content }] });
const prompts = {
  test_simple_prompt: () => message(text("A simple prompt.")),
  test_prompt_with_arguments: ({ arg1, arg2 }) => message(text(`With ${arg1} and ${arg2}.`)),
  test_prompt_with_embedded_resource: () => message(resource),
  test_prompt_with_image: () => message(image),
};

const resources = {
  "test://static-text": { mimeType: "text/plain", text: "A static text." },
  "test://static-binary": { mimeType: "image/png", blob: PNG },
};
const read = (uri) => resources[uri] ?? (/^test:\/\/template\/\w+\/data$/.test(uri) && { mimeType: "text/plain", text: `The data of ${uri.split("/")[3]}.` });

const cached = (result) => ({ ttlMs: 0, cacheScope: "private", ...result });
const named = (all, name) => all[name] ?? (() => { throw new Refused(-32602, `there is no ${name}`); });
const described = (all, more) => Object.keys(all).map((name) => ({ name, description: `What ${name} gives`, ...more }));
const methods = {
  "server/discover": () => cached({
    supportedVersions: [VERSION],
    capabilities: { tools: { listChanged: true }, prompts: { listChanged: true }, resources: {}, completions: {} },
    _meta: { [`${META}serverInfo`]: { name: "stateless", version: "1" } },
  }),
  "tools/list": () => cached({ tools: described(tools, { inputSchema: { type: "object" } }) }),
  "tools/call": (params, say) => named(tools, params.name)(params, say),
  "prompts/list": () => cached({ prompts: described(prompts) }),
  "prompts/get": ({ name, arguments: given }) => named(prompts, name)(given ?? {}),
  "resources/list": () => cached({ resources: Object.keys(resources).map((uri) => ({ uri, name: uri })) }),
  "resources/templates/list": () => cached({ resourceTemplates: [{ uriTemplate: "test://template/{id}/data", name: "data" }] }),
  "resources/read": ({ uri }) => {
    const found = read(uri);
    if (!found) throw new Refused(-32602, "there is no such resource", { uri });
    return cached({ contents: [{ uri, ...found }] });
  },
  "completion/complete": () => ({ completion: { values: ["paris", "park"], total: 2, hasMore: false } }),
};

/// The result of a request; throws what it is refused with.
function answer({ method, params = {} }, say) {
  const meta = params._meta ?? {};
  const missing = ["protocolVersion", "clientCapabilities"].filter((key) => meta[META + key] === undefined);
  if (missing.length) throw new Refused(-32602, `_meta lacks ${missing}`, undefined, 400);
  const requested = meta[`${META}protocolVersion`];
  if (requested !== VERSION) throw new Refused(-32022, "this version is not spoken here", { supported: [VERSION], requested });
  if (!methods[method]) throw new Refused(-32601, `there is no ${method}`);
  return { resultType: "complete", ...methods[method](params, say) };
}

/// The whole answer to a request, with its HTTP status; none to one that listens, which `say` tells what there is.
function respond(request, say) {
  const { id, method, params } = request;
  try {
    if (method === "subscriptions/listen") {
      const wants = params.notifications ?? {};
      listeners.add({ id, wants, say });
      say("notifications/subscriptions/acknowledged", { notifications: wants, _meta: { [`${META}subscriptionId`]: id } });
      return undefined;
    }
    return { status: 200, body: { jsonrpc: "2.0", id, result: answer(request, say) } };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { status: error.status, body: { jsonrpc: "2.0", id, error: { code: error.code, message: error.message, data: error.data } } };
  }
}
const forget = (is) => listeners.forEach((listener) => is(listener) && listeners.delete(listener));

/// Headers repeat what a message says.
function checkHeaders(headers, { method, params }) {
  const object = { "tools/call": params?.name, "prompts/get": params?.name, "resources/read": params?.uri }[method];
  const said = { "mcp-protocol-version": params?._meta?.[`${META}protocolVersion`], "mcp-method": method, "mcp-name": object };
  for (const [name, value] of Object.entries(said)) {
    if (value !== undefined && headers[name]?.trim() !== value) throw new Refused(-32020, `${name} does not say what the message says`);
  }
}

function serveHttp(port) {
  createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk)).on("end", () => {
      if (request.method !== "POST") return response.writeHead(405).end();
      if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(request.headers.host)) return response.writeHead(403).end();
      const message = JSON.parse(Buffer.concat(chunks));
      if (message.id === undefined) return response.writeHead(202).end();
      const say = (method, params) => {
        if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream" });
        response.write(`data: ${JSON.stringify({ jsonrpc: "2.0", method, params })}\n\n`);
      };
      response.on("close", () => forget((listener) => listener.say === say));
      let answered;
      try {
        checkHeaders(request.headers, message);
        answered = respond(message, say);
      } catch (error) {
        const { code, message: reason, status } = error;
        answered = { status, body: { jsonrpc: "2.0", id: message.id, error: { code, message: reason } } };
      }
      if (!answered) return;
      if (response.headersSent) return response.end(`data: ${JSON.stringify(answered.body)}\n\n`);
      response.writeHead(answered.status, { "content-type": "application/json" }).end(JSON.stringify(answered.body));
    });
  }).listen(port, "127.0.0.1");
}

function serveLines() {
  const write = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
  const say = (method, params) => write({ jsonrpc: "2.0", method, params });
  createInterface({ input: process.stdin }).on("line", (line) => {
    const message = JSON.parse(line);
    if (message.method === "notifications/cancelled") return forget(({ id }) => id === message.params.requestId);
    if (message.id === undefined) return;
    const answered = respond(message, say);
    if (answered) write(answered.body);
  }).on("close", () => process.exit(0));
}

if (process.argv[2]) serveHttp(Number(process.argv[2]));
else serveLines();
