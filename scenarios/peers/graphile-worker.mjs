// How many jobs a second graphile-worker takes and does on a database: one line of JSON. Batches as its documentation
// recommends: jobs added a thousand at a time, a local queue of 500, 24 at once.
//
//   node graphile-worker.mjs postgres://… [JOBS]
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const url = process.argv[2];
const pgPool = new pg.Pool({ connectionString: url, max: 10 });
const JOBS = Number(process.argv[3] ?? 50_000);
const SINGLE = Math.min(JOBS, 3_000);
const payload = { payload: "x".repeat(500) };

// A line for each job would be measured, too.
const logger = new Logger(() => () => {});

const utils = await makeWorkerUtils({ pgPool, logger });
await utils.migrate();

let began = performance.now();
for (let added = 0; added < JOBS; added += 1_000) {
  await utils.addJobs(Array.from({ length: Math.min(1_000, JOBS - added) }, () => ({ identifier: "nothing", payload })));
}
const enqueue_s = (performance.now() - began) / 1_000;
await pgPool.query("ANALYZE");

let left = JOBS;
let done;
const all = new Promise((resolve) => (done = resolve));
began = performance.now();
const runner = await run({
  pgPool,
  logger,
  concurrency: 24,
  preset: { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  noHandleSignals: true,
  taskList: { nothing: async () => { left -= 1; if (left === 0) done(); } },
});
await all;
const process_s = (performance.now() - began) / 1_000;
await runner.stop();

began = performance.now();
let next = 0;
await Promise.all(Array.from({ length: 10 }, async () => {
  while (next++ < SINGLE) await utils.addJob("nothing", payload);
}));
const single_s = (performance.now() - began) / 1_000;
await utils.release();
await pgPool.end();
console.log(JSON.stringify({
  enqueued_per_s: JOBS / enqueue_s,
  processed_per_s: JOBS / process_s,
  cycles_per_s: JOBS / (enqueue_s + process_s),
  single_enqueued_per_s: SINGLE / single_s,
}));
process.exit(0);
