"""A worker: claims jobs, runs handlers in threads, keeps the jobs alive and reports how they ended."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import threading
import time
from datetime import datetime
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ._http import Interrupt
from .client import Client, ConnectionFailed, PaddockError, backoff

log = logging.getLogger("paddock_jobs")

#: Attempts that are reported in one request at most; the server takes 1,000.
SETTLE_MAX = 200
#: How long a result is reported again that the server does not take, in seconds: longer than a server takes to restart.
SETTLE_PATIENCE = 300.0
#: Characters of a failure's message.
MESSAGE_MAX = 2000


class Fail(Exception):
    """Raised by a handler: the attempt failed.

    ``retry=False`` says that trying again is useless, ``retry_after`` how many seconds to wait at least.
    """

    def __init__(
        self, message: str, *, kind: str = "failed", retry: bool = True, retry_after: Optional[float] = None
    ) -> None:
        super().__init__(message)
        self.kind, self.retry, self.retry_after = kind, retry, retry_after


class Cancelled(Exception):
    """Raised by :meth:`Job.check`: the attempt is to end. A handler lets it pass."""


class Job:
    """What a handler works on."""

    def __init__(self, claimed: Dict[str, Any]) -> None:
        #: The job as the server handed it over.
        self.claimed = claimed
        self.id: str = claimed["id"]
        #: The number of this attempt: 1 for the first.
        self.attempt: int = claimed["attempt"]
        self.kind: str = claimed["kind"]
        self.queue: str = claimed.get("queue", "")
        self.input: Dict[str, Any] = claimed.get("input") or {}
        self._lock = threading.Lock()
        self._progress: Optional[Dict[str, Any]] = None
        self._stopped = threading.Event()
        self._reason = ""

    def progress(self, percent: float, message: str = "", data: Any = None) -> None:
        """Tells how far the job is. Sent with the next heartbeat; only the last report counts."""
        report: Dict[str, Any] = {"percent": max(0.0, min(100.0, float(percent)))}
        if message:
            report["message"] = message[:500]
        if data is not None:
            report["data"] = data
        with self._lock:
            self._progress = report

    @property
    def cancelled(self) -> bool:
        """Whether the attempt is to end: somebody cancelled the job, its time is up, or another worker has it."""
        return self._stopped.is_set()

    @property
    def reason(self) -> str:
        """Why: ``cancelled``, ``timeout``, ``lost`` or ``shutdown``; empty while it goes on."""
        return self._reason

    def check(self) -> None:
        """Raises :class:`Cancelled` if the attempt is to end."""
        if self.cancelled:
            raise Cancelled(self._reason)

    def sleep(self, seconds: float) -> None:
        """Sleeps, and raises :class:`Cancelled` as soon as the attempt is to end."""
        if self._stopped.wait(seconds):
            raise Cancelled(self._reason)

    def _stop(self, reason: str) -> None:
        if not self._stopped.is_set():
            self._reason = reason
            self._stopped.set()

    def _take_progress(self) -> Optional[Dict[str, Any]]:
        with self._lock:
            report, self._progress = self._progress, None
            return report

    def _put_back(self, report: Dict[str, Any]) -> None:
        with self._lock:
            self._progress = self._progress or report


Handler = Callable[[Job], Any]


class Worker:
    """Claims jobs of the kinds that it has handlers for, and runs each in a thread of its own.

    ``concurrency`` is how many run at once. ``lease`` is how many seconds the server believes in a job without a sign of
    life; heartbeats are sent every third of it. ``grace`` is how long running jobs may go on after :meth:`stop`.
    """

    def __init__(
        self,
        url: str,
        key: Optional[str] = None,
        *,
        name: Optional[str] = None,
        concurrency: int = 4,
        queues: Optional[Sequence[str]] = None,
        lease: int = 30,
        poll: int = 20,
        grace: float = 30,
        all_tenants: bool = False,
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"[:128]
        self._client = Client(url, key)
        self._concurrency, self._lease, self._poll, self._grace = concurrency, lease, poll, grace
        self._queues = list(queues) if queues is not None else None
        self._all_tenants = all_tenants
        self._handlers: Dict[str, Handler] = {}
        self._running: Dict[Tuple[str, int], Job] = {}
        self._lock = threading.Lock()
        self._free = threading.Semaphore(concurrency)
        self._stopping = threading.Event()
        self._interrupt = Interrupt()
        self._settled: "queue.SimpleQueue[Optional[Tuple[str, Dict[str, Any]]]]" = queue.SimpleQueue()
        self._beat_now = threading.Event()
        self._done = threading.Event()

    def handle(self, kind: str, handler: Handler) -> "Worker":
        """Adds the handler of a kind. What it returns is the job's result and must be JSON."""
        self._handlers[kind] = handler
        return self

    def handles(self, kind: str) -> Callable[[Handler], Handler]:
        """The same as a decorator: ``@worker.handles("resize")``."""

        def add(handler: Handler) -> Handler:
            self.handle(kind, handler)
            return handler

        return add

    def stop(self) -> None:
        """Takes no more jobs; :meth:`run` returns when those that run have ended, or ``grace`` is over."""
        self._stopping.set()
        self._interrupt.fire()

    def run(self, *, signals: bool = True) -> None:
        """Works until :meth:`stop`, or SIGTERM or SIGINT if ``signals`` and this is the main thread."""
        if not self._handlers:
            raise ValueError("the worker has no handler; add one with `handle`")
        if signals and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stop())
        settling = threading.Thread(target=self._settle, name="paddock-settle", daemon=True)
        beating = threading.Thread(target=self._beat, name="paddock-heartbeat", daemon=True)
        settling.start()
        beating.start()
        try:
            self._claim()
            self._finish()
        finally:
            self._settled.put(None)
            settling.join()
            self._done.set()
            self._beat_now.set()
            beating.join()
            self._client.close()

    # Claiming.

    def _claim(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            # Poll now and then: a stop must not wait for a place.
            if not self._free.acquire(timeout=0.2):
                continue
            places = 1
            while places < min(self._concurrency, 100) and self._free.acquire(blocking=False):
                places += 1
            jobs: List[Dict[str, Any]] = []
            try:
                jobs = self._client.claim(self._request(places), self._interrupt)
                failures = 0
            except PaddockError as error:
                if error.status in (400, 401, 403, 404):
                    self._release(places)
                    raise
                failures = self._pause(failures, error)
            except ConnectionFailed as error:
                failures = self._pause(failures, error)
            self._release(places - len(jobs))
            for claimed in jobs:
                self._start(claimed)

    def _request(self, places: int) -> Dict[str, Any]:
        request: Dict[str, Any] = {
            "worker": self.name,
            "kinds": sorted(self._handlers),
            "max": places,
            "wait": self._poll,
            "lease": self._lease,
        }
        if self._queues is not None:
            request["queues"] = self._queues
        if self._all_tenants:
            request["all_tenants"] = True
        return request

    def _pause(self, failures: int, error: Exception) -> int:
        if not self._stopping.is_set():
            log.warning("claiming failed, trying again: %s", error)
            self._stopping.wait(backoff(failures))
        return failures + 1

    def _release(self, places: int) -> None:
        for _ in range(places):
            self._free.release()

    def _start(self, claimed: Dict[str, Any]) -> None:
        job = Job(claimed)
        with self._lock:
            self._running[job.id, job.attempt] = job
        threading.Thread(target=self._run, args=(job,), name=f"paddock-{job.kind}", daemon=True).start()

    # Running.

    def _run(self, job: Job) -> None:
        attempt = {"id": job.id, "attempt": job.attempt}
        try:
            result = self._handlers[job.kind](job)
            outcome = "complete", {**attempt, "result": result}
        except Fail as error:
            failure = {**attempt, "class": error.kind, "message": str(error)[:MESSAGE_MAX], "retry": error.retry}
            if error.retry_after is not None:
                failure["retry_after"] = error.retry_after
            outcome = "fail", failure
        except Cancelled:
            outcome = "fail", {**attempt, "class": job.reason or "cancelled", "message": "stopped", "retry": True}
        except BaseException as error:  # noqa: BLE001 - a handler must not take the worker with it
            log.exception("the handler of `%s` failed on %s", job.kind, job.id)
            message = str(error)[:MESSAGE_MAX] or type(error).__name__
            outcome = "fail", {**attempt, "class": type(error).__name__, "message": message, "retry": True}
        with self._lock:
            mine = self._running.pop((job.id, job.attempt), None)
        # Given back already, or somebody else has it: what came of it counts no more.
        if mine is not None:
            if job.reason != "lost":
                self._settled.put(outcome)
            self._free.release()

    # Heartbeats.

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._done.is_set():
            self._beat_now.wait(max(0.05, min(1.0, self._lease / 6)))
            now = time.monotonic()
            with self._lock:
                jobs = list(self._running.values())
            for job in jobs:
                if out_of_time(job):
                    job._stop("timeout")
            # Progress goes out within a second, everything else every third of the lease.
            reported = [job for job in jobs if job._progress is not None]
            due = jobs if now - last >= self._lease / 3 else reported
            if not due:
                continue
            if due is jobs:
                last = now
            for start in range(0, len(due), 1000):
                self._beat_for(due[start : start + 1000])

    def _beat_for(self, jobs: List[Job]) -> None:
        beats, reports = [], {}
        for job in jobs:
            beat: Dict[str, Any] = {"id": job.id, "attempt": job.attempt}
            report = job._take_progress()
            if report is not None:
                beat["progress"], reports[job.id] = report, report
            beats.append(beat)
        by_id = {job.id: job for job in jobs}
        try:
            answers = self._client.heartbeat(beats, self._lease)
        except ConnectionFailed as error:
            log.warning("a heartbeat failed: %s", error)
            for name, report in reports.items():
                by_id[name]._put_back(report)
            return
        except PaddockError as error:
            log.warning("a heartbeat was refused: %s", error)
            return
        for answer in answers:
            job = by_id.get(answer["id"])
            if job is not None and answer["status"] == "cancel":
                job._stop("cancelled")
            elif job is not None and answer["status"] == "lost":
                job._stop("lost")

    # Reporting.

    def _settle(self) -> None:
        """Reports attempts that ended: what gathers while a request is under way goes in the next one."""
        while True:
            taken = [self._settled.get()]
            while len(taken) < SETTLE_MAX:
                try:
                    taken.append(self._settled.get_nowait())
                except queue.Empty:
                    break
            outcomes = [outcome for outcome in taken if outcome is not None]
            for way in ("complete", "fail"):
                attempts = [attempt for kind, attempt in outcomes if kind == way]
                if attempts:
                    self._report(way, attempts)
            if len(outcomes) < len(taken):
                return

    def _report(self, way: str, attempts: List[Dict[str, Any]]) -> None:
        give_up, tries = time.monotonic() + SETTLE_PATIENCE, 0
        while True:
            try:
                for answer in getattr(self._client, way)(attempts):
                    if answer["status"] == "lost":
                        log.warning("the lease of %s was lost: another worker has it, or it has ended", answer["id"])
                return
            except (TypeError, ValueError) as error:
                problem: Exception = error
            except PaddockError as error:
                problem = error
                if error.status in (429, 500, 502, 503, 504):
                    if time.monotonic() > give_up:
                        log.error("%s could not be reported: %s", ids(attempts), error)
                        return
                    time.sleep(backoff(tries))
                    tries += 1
                    continue
            except ConnectionFailed as error:
                if time.monotonic() > give_up:
                    log.error("%s could not be reported: %s", ids(attempts), error)
                    return
                time.sleep(backoff(tries))
                tries += 1
                continue
            # One of them is refused: a result that is no JSON, or too large. The others must not suffer for it.
            if len(attempts) > 1:
                for attempt in attempts:
                    self._report(way, [attempt])
                return
            if way == "fail":
                log.error("%s could not be reported: %s", ids(attempts), problem)
                return
            log.error("the result of %s is refused: %s", ids(attempts), problem)
            refusal = {"class": "result-refused", "message": str(problem)[:MESSAGE_MAX], "retry": False}
            attempts = [{"id": attempts[0]["id"], "attempt": attempts[0]["attempt"], **refusal}]
            way = "fail"

    # Stopping.

    def _finish(self) -> None:
        """Lets what runs end; what does not is told to, and at last given back."""
        if not self._wait_idle(self._grace):
            with self._lock:
                jobs = list(self._running.values())
            for job in jobs:
                job._stop("shutdown")
            self._wait_idle(5)
        with self._lock:
            left, self._running = list(self._running.values()), {}
        for job in left:
            attempt = {"id": job.id, "attempt": job.attempt, "class": "shutdown", "retry": True}
            self._settled.put(("fail", {**attempt, "message": "the worker stopped before the job ended"}))

    def _wait_idle(self, seconds: float) -> bool:
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            with self._lock:
                if not self._running:
                    return True
            time.sleep(0.02)
        return False


def ids(attempts: Sequence[Dict[str, Any]]) -> str:
    """The ids of some attempts, for the log."""
    return ", ".join(attempt["id"] for attempt in attempts[:5]) + (" and more" if len(attempts) > 5 else "")


def out_of_time(job: Job) -> bool:
    """Whether the time for this attempt is up: the server ends it by then, whatever heartbeats say."""
    deadline = job.claimed.get("deadline")
    if not isinstance(deadline, str):
        return False
    try:
        until = datetime.fromisoformat(_with_offset(deadline)).timestamp()
    except ValueError:
        return False
    return time.time() >= until


def _with_offset(text: str) -> str:
    """Python before 3.11 knows no ``Z``, and no fractions of other than 3 or 6 digits."""
    text = text[:-1] if text.endswith("Z") else text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{(fraction + '000000')[:6]}+00:00" if fraction else f"{whole}+00:00"
