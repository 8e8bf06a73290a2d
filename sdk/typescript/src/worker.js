import { hostname } from 'node:os';
import { backoff, Client, ConnectionFailed, PaddockError, sleep } from './client.js';

/** Attempts that are reported in one request at most; the server takes 1,000. */
const SETTLE_MAX = 200;
/** How long a result is reported again that the server does not take: longer than a server takes to restart. */
const SETTLE_PATIENCE_MS = 300_000;
/** How often progress is sent, and deadlines are looked at. */
const BEAT_MS = 500;
/** Characters of a failure's message. */
const MESSAGE_MAX = 2000;

/** Thrown by a handler: the attempt failed. */
export class Fail extends Error {
  constructor(message, { kind = 'failed', retry = true, retryAfter } = {}) {
    super(message);
    this.name = 'Fail';
    Object.assign(this, { kind, retry, retryAfter });
  }
}

/** Thrown by `job.check()`: the attempt is to end. A handler lets it pass. */
export class Cancelled extends Error {
  constructor(reason) {
    super(`the attempt is to end: ${reason}`);
    this.name = 'Cancelled';
    this.reason = reason;
  }
}

/** What a handler works on. */
export class Job {
  #controller = new AbortController();
  #progress;

  constructor(claimed) {
    const { id, attempt, kind, queue, input = {} } = claimed;
    Object.assign(this, { claimed, id, attempt, kind, queue, input });
  }

  /** Tells how far the job is. Sent within a second; only the last report counts. */
  progress(percent, message, data) {
    this.#progress = { percent: Math.max(0, Math.min(100, percent)), message: message?.slice(0, 500), data };
  }

  /** Aborted when the attempt is to end, with a `Cancelled` as its reason: pass it to `fetch` and the like. */
  get signal() {
    return this.#controller.signal;
  }

  /** Whether the attempt is to end. */
  get cancelled() {
    return this.signal.aborted;
  }

  /** Why: `cancelled`, `timeout`, `lost` or `shutdown`; empty while it goes on. */
  get reason() {
    return this.signal.reason?.reason ?? '';
  }

  /** Throws `Cancelled` if the attempt is to end. */
  check() {
    if (this.cancelled) throw this.signal.reason;
  }

  /** Sleeps so many seconds, and throws `Cancelled` as soon as the attempt is to end. */
  sleep(seconds) {
    return sleep(seconds * 1000, this.signal);
  }

  /** @internal */
  _stop(reason) {
    if (!this.cancelled) this.#controller.abort(new Cancelled(reason));
  }

  /** @internal */
  _takeProgress() {
    const report = this.#progress;
    this.#progress = undefined;
    return report;
  }

  /** @internal */
  _putBack(report) {
    this.#progress ??= report;
  }

  /** @internal */
  get _reports() {
    return this.#progress !== undefined;
  }
}

/** Claims jobs of the kinds that it has handlers for, and runs them side by side. */
export class Worker {
  #client;
  #options;
  #handlers = new Map();
  #running = new Map();
  #stopping = new AbortController();
  #wake = () => {};
  #outcomes = [];
  #settling;

  constructor(url, options = {}) {
    const defaults = { concurrency: 4, lease: 30, poll: 20, grace: 30, allTenants: false, log: console };
    this.#options = { ...defaults, name: `${hostname()}-${process.pid}`.slice(0, 128), ...options };
    if (!(this.#options.concurrency >= 1)) throw new RangeError('concurrency must be at least 1');
    this.#client = new Client(url, { key: options.key });
  }

  /** Adds the handler of a kind. What it returns is the job's result and must be JSON. */
  handle(kind, handler) {
    this.#handlers.set(kind, handler);
    return this;
  }

  /** Takes no more jobs; `run` resolves when those that run have ended, or `grace` is over. */
  stop() {
    this.#stopping.abort();
    this.#wake();
  }

  /** Works until `stop`, or SIGTERM or SIGINT unless `signals` is false. */
  async run({ signals = true } = {}) {
    if (this.#handlers.size === 0) throw new Error('the worker has no handler; add one with `handle`');
    const stop = () => this.stop();
    const names = signals ? ['SIGTERM', 'SIGINT'] : [];
    for (const name of names) process.on(name, stop);
    const beating = this.#beat();
    try {
      await this.#claim();
      await this.#finish();
      await this.#settling;
    } finally {
      beating.end();
      for (const name of names) process.off(name, stop);
    }
  }

  // Claiming.

  async #claim() {
    const { concurrency } = this.#options;
    const { signal } = this.#stopping;
    let failures = 0;
    while (!signal.aborted) {
      const places = concurrency - this.#running.size;
      if (places <= 0) {
        await new Promise((resolve) => (this.#wake = resolve));
        continue;
      }
      try {
        const jobs = await this.#client.claim(this.#request(Math.min(places, 100)), { signal });
        failures = 0;
        for (const claimed of jobs) this.#start(new Job(claimed));
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof PaddockError && [400, 401, 403, 404].includes(error.status)) throw error;
        if (!(error instanceof PaddockError || error instanceof ConnectionFailed)) throw error;
        this.#options.log.warn(`claiming failed, trying again: ${error.message}`);
        await sleep(backoff(failures), signal).catch(() => {});
        failures += 1;
      }
    }
  }

  #request(max) {
    const { name: worker, poll: wait, lease, queues, allTenants } = this.#options;
    const kinds = [...this.#handlers.keys()].sort();
    return { worker, kinds, max, wait, lease, queues, all_tenants: allTenants || undefined };
  }

  #start(job) {
    this.#running.set(job, undefined);
    this.#work(job);
  }

  // Running.

  async #work(job) {
    const attempt = { id: job.id, attempt: job.attempt };
    let outcome;
    try {
      const result = (await this.#handlers.get(job.kind)(job)) ?? null;
      // Now, so that a result that is no JSON is its handler's failure.
      outcome = ['complete', { ...attempt, result: JSON.parse(JSON.stringify(result)) }];
    } catch (error) {
      outcome = ['fail', { ...attempt, ...this.#failure(job, error) }];
    }
    // Given back already, or somebody else has it: what came of it counts no more.
    if (!this.#running.delete(job)) return;
    if (job.reason !== 'lost') this.#settle(outcome);
    this.#wake();
  }

  #failure(job, error) {
    if (error instanceof Cancelled) return { class: job.reason || 'cancelled', message: 'stopped', retry: true };
    const message = String(error?.message ?? error).slice(0, MESSAGE_MAX);
    if (error instanceof Fail) {
      return { class: error.kind, message, retry: error.retry, retry_after: error.retryAfter };
    }
    this.#options.log.error(`the handler of \`${job.kind}\` failed on ${job.id}:`, error);
    return { class: error?.name ?? 'Error', message: message || 'it failed', retry: true };
  }

  // Heartbeats.

  #beat() {
    const every = (this.#options.lease * 1000) / 3;
    let last = performance.now();
    let busy = false;
    const timer = setInterval(async () => {
      const jobs = [...this.#running.keys()];
      for (const job of jobs) if (Date.parse(job.claimed.deadline) <= Date.now()) job._stop('timeout');
      const now = performance.now();
      const all = now - last >= every;
      const due = all ? jobs : jobs.filter((job) => job._reports);
      if (busy || due.length === 0) return;
      if (all) last = now;
      busy = true;
      for (let start = 0; start < due.length; start += 1000) await this.#beatFor(due.slice(start, start + 1000));
      busy = false;
    }, Math.min(BEAT_MS, every / 2));
    return { end: () => clearInterval(timer) };
  }

  async #beatFor(jobs) {
    const reports = jobs.map((job) => job._takeProgress());
    const beats = jobs.map(({ id, attempt }, index) => ({ id, attempt, progress: reports[index] }));
    let answers = [];
    try {
      answers = await this.#client.heartbeat(beats, this.#options.lease);
    } catch (error) {
      this.#options.log.warn(`a heartbeat failed: ${error.message}`);
      if (error instanceof ConnectionFailed) jobs.forEach((job, index) => job._putBack(reports[index]));
    }
    for (const { id, status } of answers) {
      const job = jobs.find((known) => known.id === id);
      if (status === 'cancel') job?._stop('cancelled');
      if (status === 'lost') job?._stop('lost');
    }
  }

  // Reporting.

  /** What gathers while a request is under way goes in the next one. */
  #settle(outcome) {
    this.#outcomes.push(outcome);
    this.#settling ??= (async () => {
      while (this.#outcomes.length > 0) {
        const taken = this.#outcomes.splice(0, SETTLE_MAX);
        for (const way of ['complete', 'fail']) {
          const attempts = taken.filter(([kind]) => kind === way).map(([, attempt]) => attempt);
          if (attempts.length > 0) await this.#report(way, attempts);
        }
      }
      this.#settling = undefined;
    })();
  }

  async #report(way, attempts) {
    const { log } = this.#options;
    const giveUp = performance.now() + SETTLE_PATIENCE_MS;
    for (let tries = 0; ; tries += 1) {
      try {
        for (const { id, status } of await this.#client[way](attempts)) {
          if (status === 'lost') log.warn(`the lease of ${id} was lost: another worker has it, or it has ended`);
        }
        return;
      } catch (error) {
        const passes = error instanceof ConnectionFailed || [429, 500, 502, 503, 504].includes(error.status);
        if (passes && performance.now() < giveUp) {
          await sleep(backoff(tries));
          continue;
        }
        if (passes || !(error instanceof PaddockError)) {
          log.error(`${attempts.length} attempts could not be reported: ${error.message}`);
          return;
        }
        await this.#refused(way, attempts, error);
        return;
      }
    }
  }

  /** One of them is refused, such as a result that is too large: the others must not suffer for it. */
  async #refused(way, attempts, error) {
    if (attempts.length > 1) {
      for (const attempt of attempts) await this.#report(way, [attempt]);
      return;
    }
    const [{ id, attempt }] = attempts;
    this.#options.log.error(`what came of ${id} is refused: ${error.message}`);
    if (way === 'fail') return;
    const message = error.message.slice(0, MESSAGE_MAX);
    await this.#report('fail', [{ id, attempt, class: 'result-refused', message, retry: false }]);
  }

  // Stopping.

  /** Lets what runs end; what does not is told to, and at last given back. */
  async #finish() {
    if (!(await this.#idle(this.#options.grace))) {
      for (const job of this.#running.keys()) job._stop('shutdown');
      await this.#idle(5);
    }
    for (const job of [...this.#running.keys()]) {
      this.#running.delete(job);
      const failure = { class: 'shutdown', message: 'the worker stopped before the job ended', retry: true };
      this.#settle(['fail', { id: job.id, attempt: job.attempt, ...failure }]);
    }
  }

  async #idle(seconds) {
    const giveUp = performance.now() + seconds * 1000;
    while (this.#running.size > 0 && performance.now() < giveUp) await sleep(20);
    return this.#running.size === 0;
  }
}
