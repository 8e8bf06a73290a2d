import assert from 'node:assert/strict';
import test from 'node:test';
import { Cancelled, Fail, Worker } from '../src/index.js';
import { fakeServer } from './server.js';

const quiet = { warn() {}, error() {} };

function start(t, fake, handler, options = {}) {
  const worker = new Worker(fake.url, { key: 'pdk_x', name: 'tester', poll: 1, grace: 0, log: quiet, ...options });
  worker.handle('double', handler);
  const running = worker.run({ signals: false });
  t.after(async () => {
    worker.stop();
    await running.catch(() => {});
  });
  return { worker, running };
}

test('a handler gets its input and its result is reported under the attempt', async (t) => {
  const fake = await fakeServer(t);
  start(t, fake, ({ input }) => ({ n: input.n * 2 }));
  fake.add('a', { input: { n: 21 }, attempt: 3 });
  assert.deepEqual(await fake.endOf('a'), { way: 'complete', id: 'a', attempt: 3, result: { n: 42 } });
  const { body, headers } = fake.requests.find(({ path }) => path.endsWith('claim'));
  assert.deepEqual([body.worker, body.kinds, body.lease], ['tester', ['double'], 30]);
  assert.equal(headers.authorization, 'Bearer pdk_x');
});

test('failures say what they are and whether trying again helps', async (t) => {
  const fake = await fakeServer(t);
  start(t, fake, ({ id }) => {
    if (id === 'a') throw new Fail('not a PNG', { kind: 'bad-image', retry: false });
    if (id === 'b') throw new Fail('busy', { retryAfter: 5 });
    throw new RangeError('seven');
  });
  for (const id of ['a', 'b', 'c']) fake.add(id);
  const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((id) => fake.endOf(id)));
  assert.deepEqual([a.way, a.class, a.retry], ['fail', 'bad-image', false]);
  assert.deepEqual([b.class, b.retry_after], ['failed', 5]);
  assert.deepEqual([c.class, c.message, c.retry], ['RangeError', 'seven', true]);
});

test('jobs run side by side and no more than may', async (t) => {
  const fake = await fakeServer(t);
  let [now, most, release] = [0, 0, undefined];
  const released = new Promise((resolve) => (release = resolve));
  const full = new Promise((resolve) => {
    start(t, fake, async () => {
      most = Math.max(most, (now += 1));
      if (now === 3) resolve();
      await released;
      now -= 1;
    }, { concurrency: 3 });
  });
  for (let id = 0; id < 10; id += 1) fake.add(String(id));
  await full;
  assert.equal(fake.queued.length, 7);
  release();
  for (let id = 0; id < 10; id += 1) await fake.endOf(String(id));
  assert.equal(most, 3);
});

test('progress goes out and a cancellation comes in with the heartbeat', async (t) => {
  const fake = await fakeServer(t);
  start(t, fake, async (job) => {
    job.progress(40, 'half', { page: 2 });
    for (;;) {
      await job.sleep(0.05);
      if (fake.beats.some(({ progress }) => progress)) job.progress(41);
    }
  });
  fake.add('a');
  await fake.until(() => fake.beats.some(({ progress }) => progress));
  const { progress } = fake.beats.find((beat) => beat.progress);
  assert.deepEqual(progress, { percent: 40, message: 'half', data: { page: 2 } });
  fake.beatStatus.set('a', 'cancel');
  assert.equal((await fake.endOf('a')).class, 'cancelled');
});

test('what came of a lost attempt is not reported', async (t) => {
  const fake = await fakeServer(t);
  fake.beatStatus.set('a', 'lost');
  const reason = new Promise((resolve) => {
    start(t, fake, async (job) => {
      job.progress(1);
      await job.sleep(60).catch((error) => {
        assert.ok(error instanceof Cancelled);
        resolve(job.reason);
        throw error;
      });
    });
  });
  fake.add('a');
  assert.equal(await reason, 'lost');
  fake.add('b');
  await fake.until(() => fake.queued.length === 0);
  assert.ok(!fake.ended.has('a'));
});

test('a job whose time is up is told', async (t) => {
  const fake = await fakeServer(t);
  start(t, fake, (job) => job.sleep(60));
  fake.add('a', { deadline: '2020-01-01T00:00:00Z' });
  assert.equal((await fake.endOf('a')).class, 'timeout');
});

test('stopping lets running jobs end and takes no more', async (t) => {
  const fake = await fakeServer(t);
  let [begin, release] = [];
  const begun = new Promise((resolve) => (begin = resolve));
  const released = new Promise((resolve) => (release = resolve));
  const { worker, running } = start(t, fake, async () => {
    begin();
    await released;
    return 'done';
  }, { concurrency: 1, grace: 30 });
  fake.add('a');
  await begun;
  worker.stop();
  fake.add('b');
  release();
  await running;
  assert.equal(fake.ended.get('a').result, 'done');
  assert.deepEqual(fake.queued.map(({ id }) => id), ['b']);
});

test('a job that outlasts the grace is given back', async (t) => {
  const fake = await fakeServer(t);
  let begin;
  const begun = new Promise((resolve) => (begin = resolve));
  const { worker, running } = start(t, fake, (job) => {
    begin();
    return job.sleep(60);
  }, { grace: 0 });
  fake.add('a');
  await begun;
  worker.stop();
  await running;
  assert.deepEqual([fake.ended.get('a').class, fake.ended.get('a').retry], ['shutdown', true]);
});

test('a server that is away for a moment loses nothing', async (t) => {
  const fake = await fakeServer(t);
  const refusals = new Map([['/jobs/work/claim', 2], ['/jobs/work/complete', 2]]);
  fake.intercept = (_, path) => {
    const left = refusals.get(path) ?? 0;
    refusals.set(path, left - 1);
    return left > 0 ? { status: 503, headers: { 'retry-after': '0' }, body: {} } : undefined;
  };
  fake.add('a');
  start(t, fake, () => 1);
  assert.equal((await fake.endOf('a')).result, 1);
});

test('a result that is refused fails its job and no other', async (t) => {
  const fake = await fakeServer(t);
  const circular = {};
  circular.self = circular;
  start(t, fake, ({ id }) => (id === 'a' ? circular : id));
  fake.add('a');
  fake.add('b');
  assert.equal((await fake.endOf('a')).class, 'TypeError');
  assert.equal((await fake.endOf('b')).result, 'b');
});

test('a batch of which one result is refused is reported one by one', async (t) => {
  const fake = await fakeServer(t);
  fake.intercept = (_, path) => {
    if (path !== '/jobs/work/complete') return undefined;
    const { jobs } = fake.requests.at(-1).body;
    return jobs.some(({ id }) => id === 'a') ? { status: 400, body: { detail: 'too large' } } : undefined;
  };
  start(t, fake, ({ id }) => id);
  fake.add('a');
  fake.add('b');
  const a = await fake.endOf('a');
  assert.deepEqual([a.way, a.class, a.retry], ['fail', 'result-refused', false]);
  assert.equal((await fake.endOf('b')).way, 'complete');
});

test('a key that may not work ends the worker', async (t) => {
  const fake = await fakeServer(t);
  fake.intercept = () => ({ status: 403, body: { type: 'urn:paddock:problem:forbidden', detail: 'no' } });
  const { running } = start(t, fake, () => 1);
  await assert.rejects(running, /403 forbidden/);
});

test('a worker without handlers is a mistake', async () => {
  await assert.rejects(new Worker('http://127.0.0.1:1').run({ signals: false }), /no handler/);
});
