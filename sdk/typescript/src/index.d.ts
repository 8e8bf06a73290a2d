/** Hand jobs to a Paddock server, and work on them. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export type JobState =
  | 'queued'
  | 'scheduled'
  | 'running'
  | 'waiting'
  | 'succeeded'
  | 'failed'
  | 'cancelled'
  | 'dead';

/** A job to hand over: either a `kind` or a `tool`. */
export interface NewJob {
  kind?: string;
  tool?: string;
  input?: { [name: string]: Json };
  queue?: string;
  /** -100 to 100; within a queue the higher goes first. */
  priority?: number;
  /** Not before this time, such as `2026-11-30T09:00:00Z`. */
  run_at?: string;
  /** For one attempt, such as `90s`. */
  timeout?: string;
  retry?: RetryPolicy;
  /** While a job with this key is kept, asking again answers that job. */
  unique_key?: string;
  /** Jobs with the same key run one at a time. */
  concurrency_key?: string;
  /** How long it is kept after it ended, such as `7d`. */
  retention?: string;
  /** Who is told how it ended: a webhook's id, or a URL. */
  webhook?: string;
  trace?: string;
}

export interface RetryPolicy {
  attempts?: number;
  initial?: string;
  factor?: number;
  max?: string;
  jitter?: number;
  waits?: string[];
  classes?: { [errorClass: string]: number };
}

export interface Progress {
  /** 0 to 100. */
  percent: number;
  message?: string;
  data?: Json;
}

/** A job as the server answers it. Members without a value are left out. */
export interface JobView {
  id: string;
  state: JobState;
  queue: string;
  kind?: string;
  tool?: string;
  priority: number;
  input?: { [name: string]: Json };
  created_at: string;
  run_at: string;
  started_at?: string;
  finished_at?: string;
  expires_at?: string;
  attempt: number;
  attempts_max: number;
  worker?: string;
  cancelling?: boolean;
  progress?: Progress;
  result?: Json;
  result_size?: number;
  error?: { class: string; message: string };
  changes: number;
  links: { [name: string]: string };
  [member: string]: unknown;
}

/** The server refused a request. */
export class PaddockError extends Error {
  /** The HTTP status. */
  readonly status: number;
  /** The last part of the problem's type, such as `queue-full`. */
  readonly slug: string;
  readonly detail: string;
  /** The whole problem document (RFC 9457). */
  readonly problem: { [member: string]: unknown };
}

/** The server was not reached, or broke off. */
export class ConnectionFailed extends Error {}

export interface ClientOptions {
  key?: string;
  /** Seconds that an answer may take, beside what the server was asked to wait. Default 30. */
  timeout?: number;
  /** How often a request is repeated that the server put off or that broke off. Default 4. */
  retries?: number;
}

/** Enqueues jobs and looks at them. */
export class Client {
  constructor(url: string, options?: ClientOptions);
  /** Hands over a job. */
  enqueue(job: NewJob): Promise<JobView>;
  /** Hands over up to 1,000 jobs, all of them or none. */
  enqueueMany(jobs: NewJob[]): Promise<{ id: string; state: JobState; existed: boolean }[]>;
  /** A job; with `wait` once it has ended, or as it is after so many seconds, 60 at most. */
  get(id: string, options?: { wait?: number; signal?: AbortSignal }): Promise<JobView>;
  /** A job once it has ended; rejects when it has not within `timeout` seconds. */
  wait(id: string, options?: { timeout?: number; signal?: AbortSignal }): Promise<JobView>;
  /** The result of a job, however large. */
  result(id: string): Promise<Json>;
  /** Jobs, the newest first. `limit` is how many are asked for at a time. */
  list(filters?: { state?: JobState; queue?: string; kind?: string; limit?: number }): AsyncGenerator<JobView>;
  cancel(id: string): Promise<JobView>;
  /** Runs a job once more that ended otherwise than well. */
  retry(id: string): Promise<JobView>;
}

/** Thrown by a handler: the attempt failed. */
export class Fail extends Error {
  constructor(message: string, options?: { kind?: string; retry?: boolean; retryAfter?: number });
}

/** Thrown by `job.check()` and `job.sleep()`: the attempt is to end. A handler lets it pass. */
export class Cancelled extends Error {
  readonly reason: 'cancelled' | 'timeout' | 'lost' | 'shutdown';
}

/** What a handler works on. */
export class Job<Input = { [name: string]: Json }> {
  readonly id: string;
  /** The number of this attempt: 1 for the first. */
  readonly attempt: number;
  readonly kind: string;
  readonly queue: string;
  readonly input: Input;
  /** The job as the server handed it over. */
  readonly claimed: { [member: string]: unknown };
  /** Aborted when the attempt is to end: somebody cancelled it, its time is up, or another worker has it. */
  readonly signal: AbortSignal;
  readonly cancelled: boolean;
  readonly reason: '' | 'cancelled' | 'timeout' | 'lost' | 'shutdown';
  /** Tells how far the job is. Sent within a second; only the last report counts. */
  progress(percent: number, message?: string, data?: Json): void;
  /** Throws `Cancelled` if the attempt is to end. */
  check(): void;
  /** Sleeps so many seconds, and throws `Cancelled` as soon as the attempt is to end. */
  sleep(seconds: number): Promise<void>;
}

export interface WorkerOptions {
  key?: string;
  /** The worker's name for itself. Default: host and process. */
  name?: string;
  /** How many jobs run at once. Default 4. */
  concurrency?: number;
  /** Only jobs of these queues. */
  queues?: string[];
  /** How many seconds the server believes in a job without a sign of life. Default 30. */
  lease?: number;
  /** How many seconds a claim waits for jobs, 0 to 60. Default 20. */
  poll?: number;
  /** How many seconds running jobs may go on after `stop`. Default 30. */
  grace?: number;
  /** Jobs of all tenants; needs `jobs:admin`. */
  allTenants?: boolean;
  /** Where warnings and errors go. Default: the console. */
  log?: { warn(...values: unknown[]): void; error(...values: unknown[]): void };
}

/** Claims jobs of the kinds that it has handlers for, and runs them side by side. */
export class Worker {
  constructor(url: string, options?: WorkerOptions);
  /** Adds the handler of a kind. What it returns is the job's result and must be JSON. */
  handle<Input = { [name: string]: Json }>(kind: string, handler: (job: Job<Input>) => unknown): this;
  /** Works until `stop`, or SIGTERM or SIGINT unless `signals` is false. */
  run(options?: { signals?: boolean }): Promise<void>;
  /** Takes no more jobs; `run` resolves when those that run have ended, or `grace` is over. */
  stop(): void;
}
