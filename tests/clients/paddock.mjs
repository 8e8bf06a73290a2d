// Starts the built binary, and pages for it to look at. `PADDOCK_BIN` names the binary.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const target = process.env.CARGO_TARGET_DIR ?? new URL('../../target', import.meta.url).pathname;
export const BINARY = process.env.PADDOCK_BIN ?? join(target, 'debug', 'paddock');
/** Lets pages reach the test's own site. */
export const ALLOW = ['--set', 'browser.allow=["127.0.0.0/8"]'];

/** The environment without what would configure the binary. */
export function environment(extra = {}) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('PADDOCK_'));
  return { ...Object.fromEntries(kept), ...extra };
}

/** A directory that is gone after the test. */
export function scratch(t) {
  const dir = mkdtempSync(join(tmpdir(), 'paddock-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Runs a command to its end: `{ code, out, err }`. */
export function run(args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment(), ...options });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => (out += chunk));
    child.stderr.on('data', (chunk) => (err += chunk));
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

/** A server on a free port, stopped after the test: `{ base, data, child }`. */
export async function serve(t, flags = []) {
  const dir = scratch(t);
  const data = join(dir, 'data');
  const args = ['serve', '--listen', '127.0.0.1:0', '--data', data, ...ALLOW, ...flags];
  const child = spawn(BINARY, args, { cwd: dir, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  t.after(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  let err = '';
  child.stderr.on('data', (chunk) => (err += chunk));
  let out = '';
  const base = await new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      out += chunk;
      const found = out.match(/listens on (\S+)/);
      if (found) resolve(found[1]);
    });
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}: ${err}`)));
  });
  return { base, data, child };
}

/** A site whose pages are the values of `pages` by their path; closed after the test. Gives its base URL. */
export async function site(t, pages) {
  const server = createServer((request, response) => {
    const page = pages[new URL(request.url, 'http://site').pathname];
    response.writeHead(page === undefined ? 404 : 200, { 'Content-Type': 'text/html; charset=utf-8' });
    response.end(page ?? 'no such page');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}
