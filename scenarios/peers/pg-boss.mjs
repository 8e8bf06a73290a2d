// How many jobs a second pg-boss takes, fetches and completes on a database: one line of JSON.
//
//   node pg-boss.mjs postgres://… [JOBS]
import PgBoss from "pg-boss";

const boss = new PgBoss({ connectionString: process.argv[2], max: 10, supervise: false, schedule: false });
const JOBS = Number(process.argv[3] ?? 20_000);
const SINGLE = Math.min(JOBS, 3_000);
const BATCH = 1_000;
const data = { payload: "x".repeat(500) };

await boss.start();
await boss.createQueue("nothing");
let began = performance.now();
for (let added = 0; added < JOBS; added += BATCH) {
  await boss.insert(Array.from({ length: Math.min(BATCH, JOBS - added) }, () => ({ name: "nothing", data })));
}
const enqueue_s = (performance.now() - began) / 1_000;

began = performance.now();
let left = JOBS;
await Promise.all(Array.from({ length: 8 }, async () => {
  while (left > 0) {
    const jobs = await boss.fetch("nothing", { batchSize: 100 });
    if (jobs.length === 0) return;
    await boss.complete("nothing", jobs.map((job) => job.id));
    left -= jobs.length;
  }
}));
const process_s = (performance.now() - began) / 1_000;

began = performance.now();
let next = 0;
await Promise.all(Array.from({ length: 10 }, async () => {
  while (next++ < SINGLE) await boss.send("nothing", data);
}));
const single_s = (performance.now() - began) / 1_000;
await boss.stop({ graceful: false });
console.log(JSON.stringify({
  enqueued_per_s: JOBS / enqueue_s,
  processed_per_s: JOBS / process_s,
  cycles_per_s: JOBS / (enqueue_s + process_s),
  single_enqueued_per_s: SINGLE / single_s,
}));
process.exit(0);
