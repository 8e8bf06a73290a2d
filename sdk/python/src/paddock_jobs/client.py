"""A client of a server's job queue."""

from __future__ import annotations

import json
import random
import time
import uuid
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence
from urllib.parse import quote, urlencode

from ._http import BROKEN, Interrupt, Response, Transport

#: States in which a job has ended.
FINAL = frozenset(("succeeded", "failed", "cancelled", "dead"))
#: The longest wait of one look at a job, in seconds.
LOOK_MAX = 60


class PaddockError(Exception):
    """The server refused a request."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        #: The whole problem document (RFC 9457).
        self.problem = dict(problem)
        #: The last part of its type, such as ``queue-full``.
        self.slug = str(problem.get("type", "")).rsplit(":", 1)[-1]
        self.detail = str(problem.get("detail") or f"the server answered {status}")
        super().__init__(f"{self.detail} ({status} {self.slug})" if self.slug else self.detail)


class ConnectionFailed(Exception):
    """The server was not reached, or broke off."""


class Client:
    """Enqueues jobs and looks at them. May be used by several threads at once.

    ``retries`` is how often a request is repeated that the server put off (429, 503) or that broke off; requests that
    make something carry an idempotency key, so that it is made once.
    """

    def __init__(self, url: str, key: Optional[str] = None, *, timeout: float = 30, retries: int = 4) -> None:
        self._transport = Transport(url, key, timeout)
        self._retries = retries

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._transport.close()

    # Jobs.

    def enqueue(
        self,
        kind: Optional[str] = None,
        input: Optional[Mapping[str, Any]] = None,
        *,
        tool: Optional[str] = None,
        **options: Any,
    ) -> Dict[str, Any]:
        """Hands over a job of a kind, or a call of a tool, and gives it as the server keeps it.

        ``options`` are the other members of a job: ``queue``, ``priority``, ``run_at``, ``timeout``, ``retry``,
        ``unique_key``, ``concurrency_key``, ``retention``, ``webhook``, ``trace``.
        """
        job = {"kind": kind, "tool": tool, "input": dict(input or {}), **options}
        return self.call("POST", "/jobs", {k: v for k, v in job.items() if v is not None}, once=True)

    def enqueue_many(self, jobs: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
        """Hands over up to 1,000 jobs, all of them or none."""
        return self.call("POST", "/jobs/batch", {"jobs": [dict(job) for job in jobs]}, once=True)["jobs"]

    def get(self, job: str, *, wait: int = 0) -> Dict[str, Any]:
        """A job; with ``wait`` once it has ended, or as it is after so many seconds."""
        query = f"?wait={wait}" if wait else ""
        return self.call("GET", f"/jobs/{quote(job, safe='')}{query}", wait=wait)

    def wait(self, job: str, timeout: Optional[float] = None) -> Dict[str, Any]:
        """A job once it has ended. ``TimeoutError`` when it has not within ``timeout`` seconds."""
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LOOK_MAX if give_up is None else max(0, min(LOOK_MAX, give_up - time.monotonic()))
            found = self.get(job, wait=int(left) + (left > int(left)))
            if found["state"] in FINAL:
                return found
            if give_up is not None and time.monotonic() >= give_up:
                raise TimeoutError(f"the job {job} is {found['state']} after {timeout} s")

    def result(self, job: str) -> Any:
        """The result of a job, however large."""
        return self.call("GET", f"/jobs/{quote(job, safe='')}/result")

    def list(self, **filters: Any) -> Iterator[Dict[str, Any]]:
        """Jobs, the newest first: of a ``state``, ``queue`` or ``kind``; ``limit`` is how many are asked for at a time."""
        query = {name: value for name, value in filters.items() if value is not None}
        while True:
            page = self.call("GET", f"/jobs?{urlencode(query)}" if query else "/jobs")
            yield from page["items"]
            if not page.get("next"):
                return
            query = {"cursor": page["next"]}

    def cancel(self, job: str) -> Dict[str, Any]:
        """Cancels a job."""
        return self.call("POST", f"/jobs/{quote(job, safe='')}/cancel")

    def retry(self, job: str) -> Dict[str, Any]:
        """Runs a job once more that ended otherwise than well."""
        return self.call("POST", f"/jobs/{quote(job, safe='')}/retry")

    # The protocol of workers.

    def claim(self, request: Mapping[str, Any], interrupt: Optional[Interrupt] = None) -> List[Dict[str, Any]]:
        """Claims jobs. Not repeated here: what was claimed by a request whose answer was lost comes back by itself."""
        wait = float(request.get("wait", 0))
        return self.call("POST", "/jobs/work/claim", dict(request), wait=wait, retries=0, interrupt=interrupt)["jobs"]

    def heartbeat(self, jobs: Sequence[Mapping[str, Any]], lease: Optional[int] = None) -> List[Dict[str, Any]]:
        """Keeps attempts alive and reports their progress."""
        body: Dict[str, Any] = {"jobs": list(jobs)}
        if lease is not None:
            body["lease"] = lease
        return self.call("POST", "/jobs/work/heartbeat", body, retries=0)["jobs"]

    def complete(self, jobs: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
        """Ends attempts with results."""
        return self.call("POST", "/jobs/work/complete", {"jobs": list(jobs)}, retries=0)["jobs"]

    def fail(self, jobs: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
        """Ends attempts with failures."""
        return self.call("POST", "/jobs/work/fail", {"jobs": list(jobs)}, retries=0)["jobs"]

    # Requests.

    def call(
        self,
        method: str,
        path: str,
        body: Optional[Mapping[str, Any]] = None,
        *,
        once: bool = False,
        wait: float = 0,
        retries: Optional[int] = None,
        interrupt: Optional[Interrupt] = None,
    ) -> Any:
        """One request, repeated while the server puts it off; gives the JSON of its answer."""
        encoded = None if body is None else json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        headers = {"Idempotency-Key": f'"{uuid.uuid4()}"'} if once else {}
        left = self._retries if retries is None else retries
        tries = 0
        while True:
            failure: Exception
            pause = backoff(tries)
            try:
                response = self._transport.request(method, path, encoded, headers, wait, interrupt)
                if 200 <= response.status < 300:
                    return response.json()
                failure = refused(response)
                if response.status not in (429, 502, 503, 504):
                    raise failure
                pause = max(pause, retry_after(response))
            except BROKEN as error:
                failure = ConnectionFailed(f"the server was not reached: {error or type(error).__name__}")
                failure.__cause__ = error
            if tries >= left:
                raise failure
            tries += 1
            time.sleep(pause)


def refused(response: Response) -> PaddockError:
    """The problem in an answer."""
    problem = response.json()
    return PaddockError(response.status, problem if isinstance(problem, dict) else {})


def retry_after(response: Response) -> float:
    """How long the server asks to wait, in seconds."""
    text = response.headers.get("retry-after", "")
    return min(float(text), 60.0) if text.isdigit() else 0.0


def backoff(tries: int) -> float:
    """A pause that grows, and that differs from client to client."""
    return min(0.2 * 2**tries, 10.0) * random.uniform(0.5, 1.0)
