import { randomUUID } from 'node:crypto';

/** States in which a job has ended. */
const FINAL = new Set(['succeeded', 'failed', 'cancelled', 'dead']);
/** The longest wait of one look at a job, in seconds. */
const LOOK_MAX = 60;
/** The longest pause that a server may ask for, in seconds. */
const PAUSE_MAX = 60;

/** The server refused a request. */
export class PaddockError extends Error {
  constructor(status, problem) {
    const slug = String(problem.type ?? '').split(':').pop();
    const detail = String(problem.detail ?? `the server answered ${status}`);
    super(slug ? `${detail} (${status} ${slug})` : detail);
    this.name = 'PaddockError';
    Object.assign(this, { status, slug, detail, problem });
  }
}

/** The server was not reached, or broke off. */
export class ConnectionFailed extends Error {
  constructor(cause) {
    super(`the server was not reached: ${cause?.cause?.message ?? cause?.message ?? cause}`, { cause });
    this.name = 'ConnectionFailed';
  }
}

/** Enqueues jobs and looks at them. */
export class Client {
  #base;
  #headers;
  #timeout;
  #retries;

  constructor(url, { key, timeout = 30, retries = 4 } = {}) {
    const parsed = new URL(url.includes('//') ? url : `http://${url}`);
    if (!['http:', 'https:'].includes(parsed.protocol)) throw new TypeError(`${url} is not the URL of a server`);
    if (parsed.username || parsed.password) {
      throw new TypeError('the URL holds a user or password; pass `key` instead');
    }
    this.#base = parsed.origin + parsed.pathname.replace(/\/+$/, '');
    this.#headers = { accept: 'application/json', ...(key && { authorization: `Bearer ${key}` }) };
    this.#timeout = timeout;
    this.#retries = retries;
  }

  // Jobs.

  enqueue(job) {
    return this.call('POST', '/jobs', { input: {}, ...job }, { once: true });
  }

  async enqueueMany(jobs) {
    return (await this.call('POST', '/jobs/batch', { jobs }, { once: true })).jobs;
  }

  get(id, { wait = 0, signal } = {}) {
    const query = wait ? `?wait=${wait}` : '';
    return this.call('GET', `/jobs/${encodeURIComponent(id)}${query}`, undefined, { wait, signal });
  }

  async wait(id, { timeout, signal } = {}) {
    const giveUp = timeout === undefined ? Infinity : performance.now() + timeout * 1000;
    for (;;) {
      const left = Math.max(0, Math.ceil((giveUp - performance.now()) / 1000));
      const job = await this.get(id, { wait: Math.min(LOOK_MAX, left), signal });
      if (FINAL.has(job.state)) return job;
      if (performance.now() >= giveUp) throw new Error(`the job ${id} is ${job.state} after ${timeout} s`);
    }
  }

  result(id) {
    return this.call('GET', `/jobs/${encodeURIComponent(id)}/result`);
  }

  async *list(filters = {}) {
    let query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value !== undefined));
    for (;;) {
      const page = await this.call('GET', String(query) ? `/jobs?${query}` : '/jobs');
      yield* page.items;
      if (!page.next) return;
      query = new URLSearchParams({ cursor: page.next });
    }
  }

  cancel(id) {
    return this.call('POST', `/jobs/${encodeURIComponent(id)}/cancel`);
  }

  retry(id) {
    return this.call('POST', `/jobs/${encodeURIComponent(id)}/retry`);
  }

  // The protocol of workers. Not repeated here: the worker knows what to do.

  async claim(request, { signal } = {}) {
    const options = { wait: request.wait ?? 0, retries: 0, signal };
    return (await this.call('POST', '/jobs/work/claim', request, options)).jobs;
  }

  async heartbeat(jobs, lease) {
    return (await this.call('POST', '/jobs/work/heartbeat', { lease, jobs }, { retries: 0 })).jobs;
  }

  async complete(jobs) {
    return (await this.call('POST', '/jobs/work/complete', { jobs }, { retries: 0 })).jobs;
  }

  async fail(jobs) {
    return (await this.call('POST', '/jobs/work/fail', { jobs }, { retries: 0 })).jobs;
  }

  // Requests.

  async call(method, path, body, { once = false, wait = 0, retries = this.#retries, signal } = {}) {
    const headers = { ...this.#headers };
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (once) headers['idempotency-key'] = `"${randomUUID()}"`;
    const text = body === undefined ? undefined : JSON.stringify(body);
    for (let tries = 0; ; tries += 1) {
      let [failure, pause] = [undefined, backoff(tries)];
      try {
        const timeout = AbortSignal.timeout((this.#timeout + wait) * 1000);
        const either = signal ? anyOf([signal, timeout]) : timeout;
        const response = await fetch(this.#base + path, { method, headers, body: text, signal: either });
        const answer = await response.text();
        if (response.ok) return answer ? JSON.parse(answer) : undefined;
        failure = new PaddockError(response.status, problemIn(answer));
        if (![429, 502, 503, 504].includes(response.status)) throw failure;
        pause = Math.max(pause, retryAfter(response.headers.get('retry-after')));
      } catch (error) {
        if (error === failure || signal?.aborted) throw error;
        failure = new ConnectionFailed(error);
      }
      if (tries >= retries) throw failure;
      await sleep(pause, signal);
    }
  }
}

function problemIn(text) {
  try {
    const problem = JSON.parse(text);
    return problem !== null && typeof problem === 'object' ? problem : {};
  } catch {
    return {};
  }
}

function retryAfter(text) {
  return /^\d+$/.test(text ?? '') ? Math.min(Number(text), PAUSE_MAX) * 1000 : 0;
}

/** A pause in milliseconds that grows, and that differs from client to client. */
export function backoff(tries) {
  return Math.min(200 * 2 ** tries, 10_000) * (0.5 + Math.random() / 2);
}

/** Resolves after so many milliseconds; rejects with the signal's reason when that is aborted. */
export function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/** `AbortSignal.any`, which Node has since 20. */
function anyOf(signals) {
  if (AbortSignal.any) return AbortSignal.any(signals);
  const controller = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason);
    signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true });
  }
  return controller.signal;
}
