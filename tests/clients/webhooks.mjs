// Follows an analysis from `POST /analysis` to its report, and verifies what webhooks are told of it with the library of
// Standard Webhooks: `webhooks.mjs BASE`.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const [base] = process.argv.slice(2);
const PATIENCE_MS = 60_000;
const received = [];

// What came to a path, as it came.
const at = (path) => received.filter((message) => message.path === path);

const receiver = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  received.push({ path: request.url, headers: request.headers, body });
  // The first try of everything fails: the second must carry the same id.
  const id = request.headers['webhook-id'];
  const tries = at(request.url).filter(({ headers }) => headers['webhook-id'] === id).length;
  response.writeHead(tries === 1 ? 500 : 204).end();
  receiver.emit('received');
});
const hooks = await listen(receiver);

// A shop that does not open before somebody has seen the analysis begin.
let open;
const opened = new Promise((resolve) => { open = resolve; });
const shop = createServer(async (_, response) => {
  await opened;
  response.writeHead(200, { 'content-type': 'text/html' });
  response.end('<!doctype html><html lang=en><title>A shop</title><h1>Shoes</h1><p>They are good shoes.</p>');
});
const page = `${await listen(shop)}/shoes`;

async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}`;
}

async function call(method, path, body) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) });
  const answer = response.status === 204 ? undefined : await response.json();
  return { status: response.status, headers: response.headers, answer };
}

async function until(condition) {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  while (!condition()) await once(receiver, 'received', { signal });
}

// The data of server-sent events, one after the other.
async function* dataOf(stream) {
  let text = '';
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const events = (text + chunk).split('\n\n');
    text = events.pop();
    for (const event of events) {
      const line = event.split('\n').find((line) => line.startsWith('data:'));
      if (line) yield JSON.parse(line.slice('data:'.length));
    }
  }
}

function verified(secret, { headers, body }) {
  assert.ok(Buffer.byteLength(body) <= 20_000);
  return new Webhook(secret).verify(body, headers);
}

// An analysis, from the request to the report.
const everything = await call('POST', '/jobs/webhooks', { url: `${hooks}/all`, events: ['job.*'] });
assert.equal(everything.status, 201);
const events = await fetch(`${base}/events?topics=jobs`, { signal: AbortSignal.timeout(PATIENCE_MS) });
assert.equal(events.status, 200);
const accepted = await call('POST', '/analysis', { url: page, viewports: ['mobile'] });
assert.equal(accepted.status, 202);
const analysis = accepted.answer;
assert.equal(accepted.headers.get('location'), `/jobs/${analysis.id}`);
const progress = [];
for await (const event of dataOf(events.body)) {
  if (event.job !== analysis.id) continue;
  if (event.type === 'progress') {
    progress.push(event.progress);
    if (event.progress.message.startsWith('loading')) open();
  }
  if (event.state === 'succeeded') break;
  assert.ok(['queued', 'running', undefined].includes(event.state), JSON.stringify(event));
}
assert.ok(progress.some(({ message, percent }) => message.startsWith('loading') && percent === 10));
const ended = await call('GET', accepted.headers.get('location'));
assert.deepEqual([ended.status, ended.answer.state], [200, 'succeeded']);
const { answer: report } = await call('GET', ended.answer.links.result);
assert.ok(Array.isArray(report.findings) && JSON.stringify(report).includes(page));
assert.deepEqual((await call('GET', `/analysis/${report.id}`)).answer, report);
await until(() => at('/all').length === 2);
for (const message of at('/all')) {
  const event = verified(everything.answer.secret, message);
  assert.deepEqual(
    [event.type, event.data.id, event.data.tool],
    ['job.succeeded', analysis.id, 'analysis_run'],
  );
  // The report itself if it fits into a message, otherwise how large it is.
  if (event.data.result) assert.equal(event.data.result.id, report.id);
  else assert.ok(event.data.result_size > 1_000);
}
assert.equal((await call('DELETE', `/jobs/webhooks/${everything.answer.webhook.id}`)).status, 204);

// A job that names its webhook; the first try fails, the second has the same id.
const { status, answer: made } = await call('POST', '/jobs/webhooks', { url: `${hooks}/hook` });
assert.equal(status, 201);
assert.match(made.secret, /^whsec_/);
const { answer: job } = await call('POST', '/jobs', {
  tool: 'analysis_run',
  input: { url: page, viewports: ['mobile'] },
  webhook: made.webhook.id,
});
await until(() => at('/hook').length === 2);
const [first, second] = at('/hook');
assert.equal(first.headers['webhook-id'], second.headers['webhook-id']);
for (const message of [first, second]) {
  const event = verified(made.secret, message);
  assert.equal(event.type, 'job.succeeded');
  assert.deepEqual([event.data.id, event.data.tool], [job.id, 'analysis_run']);
}
assert.throws(() => new Webhook(made.secret).verify(second.body.replace('succeeded', 'failed'), second.headers));

// While the secret is replaced, receivers verify with either.
const { answer: rotated } = await call('POST', `/jobs/webhooks/${made.webhook.id}/rotate`, {});
await call('POST', `/jobs/webhooks/${made.webhook.id}/ping`);
await until(() => at('/hook').length === 3);
const [, , ping] = at('/hook');
for (const secret of [made.secret, rotated.secret]) {
  assert.equal(verified(secret, ping).type, 'webhook.ping');
}
assert.throws(() => new Webhook(`whsec_${'A'.repeat(32)}`).verify(ping.body, ping.headers));

for (const server of [receiver, shop]) {
  server.closeAllConnections();
  server.close();
}
console.log('ok');
