/** A worker for the tests: `worker.mjs BASE PREFIX`. Says `ready` when it is up, and what it begins. */
import { Fail, Worker } from '../../sdk/typescript/src/index.js';

const [base, prefix] = process.argv.slice(2);

const worker = new Worker(base, { name: 'typescript', lease: 5, poll: 5, concurrency: 4 });

worker.handle(`${prefix}-double`, (job) => {
  if (job.input.n < 0) throw new Fail('it is negative', { kind: 'negative', retry: false });
  job.progress(50, 'half');
  return { n: 2 * job.input.n, by: 'typescript', attempt: job.attempt };
});

// The first attempt never ends by itself, a later one does.
worker.handle(`${prefix}-hang`, async (job) => {
  console.log('begun', job.id);
  if (job.attempt === 1) {
    job.progress(10, 'hanging');
    await job.sleep(3600);
  }
  return { by: 'typescript', attempt: job.attempt };
});

console.log('ready');
await worker.run();
console.log('stopped');
