// The processes of a measurement: all carry a mark in their environment, and are found by it when they have to end, also
// those that left their parent. A guard in a group of its own does so when the measurement itself is killed.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const STOPPED_WITHIN_MS = 5_000;
const OUTPUT_KEPT_CHARS = 2_000;

const MARK = "PADDOCK_PEERS_RUN";
const isGuard = process.argv[1] === import.meta.filename;
/** Everything that the measured programs write, their home included: they find nobody's settings. */
export const scratch = isGuard ? process.argv[2] : mkdtempSync(join(tmpdir(), "paddock-peers-"));

function environment(extra) {
  const foreign = /^(AGENT_BROWSER|PLAYWRIGHT|XDG)_|_proxy$/i;
  const own = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  return { ...Object.fromEntries(own), HOME: scratch, TMPDIR: scratch, [MARK]: scratch, ...extra };
}

/** Starts a program, with further `pipes` from descriptor 3 on; `ended` is called with what it said when it ends. */
export function start(command, args, { env = {}, pipes = 0, ended }) {
  const child = spawn(command, args, { stdio: Array(3 + pipes).fill("pipe"), env: environment(env), cwd: scratch });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (said = (said + text).slice(-OUTPUT_KEPT_CHARS)));
  child.stdin.on("error", () => {}); // Told by its end.
  child.on("error", (error) => ended(String(error)));
  child.on("exit", (code) => ended(`it ended with ${code}: ${said.trim()}`, code));
  return child;
}

function running() {
  const ours = (pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`${MARK}=${scratch}`);
    } catch {
      return false; // It has ended, or is another user's.
    }
  };
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && ours(name)).map(Number);
}

/** Ends all that was started, and removes what they wrote. */
export async function stop() {
  for (const signal of ["SIGTERM", "SIGKILL"]) {
    for (const pid of running()) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has ended meanwhile.
      }
    }
    const until = Date.now() + STOPPED_WITHIN_MS;
    while (running().length > 0 && Date.now() < until) await new Promise((done) => setTimeout(done, 50));
  }
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
}

if (isGuard) {
  process.stdin.resume().on("close", stop);
} else {
  const guard = spawn(process.execPath, [import.meta.filename, scratch], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  guard.stdin.unref();
  guard.unref();
}
