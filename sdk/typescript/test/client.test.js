import assert from 'node:assert/strict';
import test from 'node:test';
import { Client, ConnectionFailed, PaddockError } from '../src/index.js';
import { fakeServer } from './server.js';

test('a job is handed over as it was said', async (t) => {
  const fake = await fakeServer(t);
  await new Client(fake.url).enqueue({ kind: 'resize', input: { w: 1 }, queue: 'low' });
  const { method, path, headers, body } = fake.requests[0];
  assert.deepEqual([method, path], ['POST', '/jobs']);
  assert.deepEqual(body, { kind: 'resize', input: { w: 1 }, queue: 'low' });
  assert.equal(headers.authorization, undefined);
});

test('a request that is repeated is the same one', async (t) => {
  const fake = await fakeServer(t);
  const answers = [{ status: 503, headers: { 'retry-after': '0' }, body: {} }];
  fake.intercept = () => answers.pop();
  await new Client(fake.url).enqueue({ tool: 'analysis_run' });
  const keys = new Set(fake.requests.map(({ headers }) => headers['idempotency-key']));
  assert.deepEqual([fake.requests.length, keys.size], [2, 1]);
});

test('a refusal says why', async (t) => {
  const fake = await fakeServer(t);
  const problem = { type: 'urn:paddock:problem:invalid-request', detail: '`queue`: no such', field: 'queue' };
  fake.intercept = () => ({ status: 400, body: problem });
  await assert.rejects(new Client(fake.url).enqueue({ kind: 'resize' }), (error) => {
    assert.ok(error instanceof PaddockError);
    assert.deepEqual([error.status, error.slug, error.problem.field], [400, 'invalid-request', 'queue']);
    return true;
  });
});

test('a list is read page by page', async (t) => {
  const fake = await fakeServer(t);
  const pages = [{ body: { items: [{ id: 'a' }], next: 'c/1' } }, { body: { items: [{ id: 'b' }] } }];
  fake.intercept = () => pages.shift();
  const found = [];
  for await (const { id } of new Client(fake.url).list({ state: 'dead', queue: undefined })) found.push(id);
  assert.deepEqual(found, ['a', 'b']);
  assert.deepEqual(fake.requests.map(({ path }) => path), ['/jobs?state=dead', '/jobs?cursor=c%2F1']);
});

test('waiting asks until the end or the time is up', async (t) => {
  const fake = await fakeServer(t);
  const states = ['running', 'running', 'succeeded'];
  fake.intercept = () => ({ body: { id: 'a', state: states.shift() ?? 'running' } });
  const client = new Client(fake.url);
  assert.equal((await client.wait('a')).state, 'succeeded');
  await assert.rejects(client.wait('a', { timeout: 0 }), /running after 0 s/);
});

test('a server that is not there is said', async (t) => {
  const fake = await fakeServer(t);
  fake.close();
  await assert.rejects(new Client(fake.url, { retries: 0 }).get('a'), ConnectionFailed);
});

test('what is no server is refused', () => {
  for (const url of ['ftp://a', 'http://user:pw@a']) assert.throws(() => new Client(url), TypeError, url);
});
