"""A worker for the tests: `worker.py BASE PREFIX`. Says `ready` when it is up, and what it begins."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "sdk/python/src"))
sys.dont_write_bytecode = True

from paddock_jobs import Fail, Worker  # noqa: E402

base, prefix = sys.argv[1:]


def say(*words):
    print(*words, flush=True)


def double(job):
    if job.input["n"] < 0:
        raise Fail("it is negative", kind="negative", retry=False)
    job.progress(50, "half")
    return {"n": 2 * job.input["n"], "by": "python", "attempt": job.attempt}


def hang(job):
    """The first attempt never ends by itself, a later one does."""
    say("begun", job.id)
    if job.attempt == 1:
        job.progress(10, "hanging")
        job.sleep(3600)
    return {"by": "python", "attempt": job.attempt}


worker = Worker(base, name="python", lease=5, poll=5, concurrency=4)
worker.handle(f"{prefix}-double", double).handle(f"{prefix}-hang", hang)
say("ready")
worker.run()
say("stopped")
