// The official MCP client, over standard input and output and over HTTP.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ALLOW, BINARY, environment, run, scratch, serve, site } from './paddock.mjs';

const PAGE = `<!doctype html><title>Shop</title><h1>Kettles</h1>
<button onclick="this.textContent = 'Bought'">Buy</button><input aria-label="Name">`;

const newClient = () => new Client({ name: 'paddock-e2e', version: '1.0.0' });

async function overHttp(t, base, key) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const transport = new StreamableHTTPClientTransport(new URL('/mcp', base), { requestInit: { headers } });
  const client = newClient();
  await client.connect(transport);
  t.after(() => client.close());
  return client;
}

async function overStdio(t, args) {
  const transport = new StdioClientTransport({
    command: BINARY,
    args: ['mcp', ...args],
    env: environment(),
    cwd: scratch(t),
    stderr: 'ignore',
  });
  const client = newClient();
  await client.connect(transport);
  t.after(() => client.close());
  return { client, transport };
}

const text = (result) => result.content.filter((part) => part.type === 'text').map((part) => part.text).join('\n');

/** What every transport has to do: list, navigate, look, act on what was seen, and say what is wrong. */
async function browse(client, base) {
  const { tools } = await client.listTools();
  const names = tools.map((tool) => tool.name);
  for (const name of ['browser_navigate', 'browser_snapshot', 'browser_screenshot', 'analysis_run']) {
    assert.ok(names.includes(name), `${name} is not among ${names}`);
  }
  assert.equal(tools.find((tool) => tool.name === 'browser_snapshot').annotations.readOnlyHint, true);

  const went = await client.callTool({ name: 'browser_navigate', arguments: { url: base } });
  assert.ok(!went.isError, text(went));
  const seen = await client.callTool({ name: 'browser_snapshot', arguments: {} });
  assert.match(text(seen), /^e\d+:button "Buy"/m);
  const picture = await client.callTool({ name: 'browser_screenshot', arguments: {} });
  const [image] = picture.content;
  assert.equal(image.type, 'image');
  assert.match(image.mimeType, /^image\/(jpeg|png)$/);
  assert.ok(Buffer.from(image.data, 'base64').length > 500);

  const value = await client.callTool({ name: 'browser_evaluate', arguments: { expression: '6 * 7' } });
  assert.match(text(value), /42/);
  const wrong = await client.callTool({ name: 'browser_navigate', arguments: { address: base } });
  assert.ok(wrong.isError);
  assert.match(text(wrong), /`(address|url)`/);
  await assert.rejects(client.callTool({ name: 'browser_navigat', arguments: {} }), /browser_navigate/);
}

test('a client browses over HTTP', async (t) => {
  const [{ base }, shop] = await Promise.all([serve(t), site(t, { '/': PAGE })]);
  await browse(await overHttp(t, base), shop);
});

test('a client browses over stdio with browsers of its own, which end with it', async (t) => {
  const shop = await site(t, { '/': PAGE });
  const { client, transport } = await overStdio(t, ['--embedded', ...ALLOW]);
  await browse(client, shop);
  const family = descendants(transport.pid);
  assert.ok(family.length > 1, 'a Chrome runs');
  await client.close();
  const left = family.filter((pid) => isAlive(pid));
  assert.deepEqual(left, [], 'nothing is left running');
});

test('a client browses over stdio with the browsers of a running server', async (t) => {
  const [{ base }, shop] = await Promise.all([serve(t), site(t, { '/': PAGE })]);
  const { client, transport } = await overStdio(t, ['--server', base]);
  await browse(client, shop);
  assert.deepEqual(descendants(transport.pid), [transport.pid], 'it starts no Chrome of its own');
  const instances = await (await fetch(`${base}/browser/instances`)).json();
  assert.equal(instances.length, 1);
});

test('a key shows the tools that its scopes allow', async (t) => {
  const { base, data } = await serve(t, ['--set', 'server.keys_required=true']);
  const made = await run(['keys', 'create', 'reader', '--scope', 'browser:read', '--data', data]);
  const client = await overHttp(t, base, made.out.trim());
  const { tools } = await client.listTools();
  assert.ok(tools.length > 1);
  assert.ok(tools.every((tool) => tool.annotations.readOnlyHint && tool.name.startsWith('browser_')));
  const refused = await client.callTool({ name: 'browser_navigate', arguments: { url: 'http://127.0.0.1/' } });
  assert.match(text(refused), /browser:write/);
  await assert.rejects(overHttp(t, base), /401|key/);
  const { client: bridged } = await overStdio(t, ['--server', base, '--key', made.out.trim()]);
  assert.equal((await bridged.listTools()).tools.length, tools.length);
});

test('pages of other sites cannot speak MCP', async (t) => {
  const { base } = await serve(t);
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
  const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };
  const ask = (more) => fetch(`${base}/mcp`, { method: 'POST', body, headers: { ...headers, ...more } });
  assert.equal((await ask({ Origin: 'https://evil.example' })).status, 403);
  assert.equal((await ask({})).status, 200);
});

test('a cancelled call ends at once on either transport', async (t) => {
  const [{ base }, shop] = await Promise.all([serve(t), site(t, { '/': PAGE })]);
  const { client: bridged } = await overStdio(t, ['--server', base]);
  for (const client of [await overHttp(t, base), bridged]) {
    await client.callTool({ name: 'browser_navigate', arguments: { url: shop } });
    const stop = new AbortController();
    const call = { name: 'browser_evaluate', arguments: { expression: 'new Promise(() => {})' } };
    const waiting = client.callTool(call, undefined, { signal: stop.signal });
    await until('the call has begun', async () => (await calls(base)) > 0);
    stop.abort('the user changed their mind');
    await assert.rejects(waiting);
    await until('the call has ended', async () => (await calls(base)) === 0);
  }
});

/** How many tool calls the server has running. */
async function calls(base) {
  const metrics = await (await fetch(`${base}/metrics`)).text();
  return Number(metrics.match(/^mcp_calls_running(?:\{\})? (\d+)/m)?.[1] ?? 0);
}

async function until(what, check) {
  for (let tries = 0; tries < 600; tries += 1) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`gave up waiting until ${what}`);
}

/** A process and all that descend from it. */
function descendants(root) {
  const parents = new Map();
  for (const name of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // It ended in between.
    }
  }
  const family = [root];
  for (const pid of family) family.push(...[...parents].filter(([, parent]) => parent === pid).map(([pid]) => pid));
  return family;
}

function isAlive(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}
