/** A small server that speaks the workers' protocol, for the tests. */
import { createServer } from 'node:http';
import { EventEmitter, once } from 'node:events';

export async function fakeServer(t) {
  const fake = {
    queued: [],
    ended: new Map(),
    beats: [],
    requests: [],
    /** What heartbeats answer for a job, instead of `ok`. */
    beatStatus: new Map(),
    /** Called with method and path first; what it gives, `{ status, headers, body }`, is sent instead. */
    intercept: () => undefined,
    changed: new EventEmitter().setMaxListeners(0),
    add(id, members = {}) {
      fake.queued.push({ id, attempt: 1, kind: 'double', queue: 'standard', ...members });
      fake.changed.emit('change');
    },
    async until(condition) {
      const signal = AbortSignal.timeout(30_000);
      while (!condition()) await once(fake.changed, 'change', { signal });
    },
    async endOf(id) {
      await fake.until(() => fake.ended.has(id));
      return fake.ended.get(id);
    },
  };
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = text ? JSON.parse(text) : undefined;
    const { method, url, headers } = request;
    fake.requests.push({ method, path: url, headers, body });
    const answer = fake.intercept(method, url) ?? (await answerOf(fake, url, body, response));
    response.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers });
    response.end(JSON.stringify(answer.body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  fake.url = `http://127.0.0.1:${server.address().port}`;
  fake.close = () => {
    server.closeAllConnections();
    server.close();
  };
  t.after(fake.close);
  return fake;
}

async function answerOf(fake, path, body, response) {
  switch (path) {
    case '/jobs/work/claim': {
      if (fake.queued.length === 0) {
        const signal = AbortSignal.timeout(Math.min(body.wait * 1000, 300));
        await once(fake.changed, 'change', { signal }).catch(() => {});
      }
      // A worker that stopped meanwhile gets nothing any more.
      const jobs = response.destroyed ? [] : fake.queued.splice(0, body.max);
      fake.changed.emit('change');
      return { body: { jobs } };
    }
    case '/jobs/work/heartbeat':
      fake.beats.push(...body.jobs);
      fake.changed.emit('change');
      return { body: { jobs: body.jobs.map(({ id }) => ({ id, status: fake.beatStatus.get(id) ?? 'ok' })) } };
    case '/jobs/work/complete':
    case '/jobs/work/fail':
      for (const job of body.jobs) fake.ended.set(job.id, { way: path.split('/').pop(), ...job });
      fake.changed.emit('change');
      return { body: { jobs: body.jobs.map(({ id }) => ({ id, status: 'ok' })) } };
    case '/jobs':
      return { status: 202, body: { id: 'a', state: 'queued', ...body } };
    default:
      return { status: 404, body: { type: 'urn:paddock:problem:not-found', detail: 'no such route' } };
  }
}
