// Receives the webhook of an analysis and verifies it with the library of Standard Webhooks: `webhooks.mjs BASE PAGE`.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const [base, page] = process.argv.slice(2);
const received = [];

const receiver = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  received.push({ headers: request.headers, body });
  // The first try of everything fails: the second must carry the same id.
  const tries = received.filter(({ headers }) => headers['webhook-id'] === request.headers['webhook-id']).length;
  response.writeHead(tries === 1 ? 500 : 204).end();
  receiver.emit('received');
});
receiver.listen(0, '127.0.0.1');
await once(receiver, 'listening');
const url = `http://127.0.0.1:${receiver.address().port}/hook`;

async function call(method, path, body) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(base + path, { method, headers, body: JSON.stringify(body) });
  const answer = response.status === 204 ? undefined : await response.json();
  return { status: response.status, answer };
}

async function until(condition) {
  const signal = AbortSignal.timeout(60_000);
  while (!condition()) await once(receiver, 'received', { signal });
}

const { status, answer: made } = await call('POST', '/jobs/webhooks', { url });
assert.equal(status, 201);
assert.match(made.secret, /^whsec_/);

const { answer: job } = await call('POST', '/jobs', {
  tool: 'analysis_run',
  input: { url: page, viewports: ['mobile'] },
  webhook: made.webhook.id,
});
await until(() => received.length === 2);
const [first, second] = received;
assert.equal(first.headers['webhook-id'], second.headers['webhook-id']);
for (const { headers, body } of received) {
  const event = new Webhook(made.secret).verify(body, headers);
  assert.equal(event.type, 'job.succeeded');
  assert.deepEqual([event.data.id, event.data.tool], [job.id, 'analysis_run']);
}
assert.throws(() => new Webhook(made.secret).verify(second.body.replace('succeeded', 'failed'), second.headers));
assert.ok(Buffer.byteLength(second.body) <= 20_000);

// While the secret is replaced, receivers verify with either.
const { answer: rotated } = await call('POST', `/jobs/webhooks/${made.webhook.id}/rotate`, {});
await call('POST', `/jobs/webhooks/${made.webhook.id}/ping`);
await until(() => received.length === 3);
const ping = received[2];
for (const secret of [made.secret, rotated.secret]) {
  assert.equal(new Webhook(secret).verify(ping.body, ping.headers).type, 'webhook.ping');
}
assert.throws(() => new Webhook(`whsec_${'A'.repeat(32)}`).verify(ping.body, ping.headers));

receiver.closeAllConnections();
receiver.close();
console.log('ok');
