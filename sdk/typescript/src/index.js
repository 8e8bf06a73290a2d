/** Hand jobs to a Paddock server, and work on them. */
export { Client, ConnectionFailed, PaddockError } from './client.js';
export { Cancelled, Fail, Job, Worker } from './worker.js';
