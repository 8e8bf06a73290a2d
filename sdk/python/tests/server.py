"""A small server that speaks the workers' protocol, for the tests."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Optional, Tuple


class FakeServer:
    """Holds jobs in memory, and notes every request."""

    def __init__(self) -> None:
        self.queued: List[Dict[str, Any]] = []
        self.ended: Dict[str, Tuple[str, Dict[str, Any]]] = {}
        self.beats: List[Dict[str, Any]] = []
        self.requests: List[Tuple[str, str, Dict[str, str], Any]] = []
        #: What heartbeats answer for a job, instead of `ok`.
        self.beat_status: Dict[str, str] = {}
        #: Called with method and path before anything else; an answer of (status, headers, body) is sent instead.
        self.intercept: Optional[Callable[[str, str], Optional[Tuple[int, Dict[str, str], Any]]]] = None
        self.changed = threading.Condition()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def handle_one(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                text = self.rfile.read(length)
                if len(text) < length:
                    # A worker that stops breaks off its requests.
                    self.close_connection = True
                    return
                body = json.loads(text) if text else None
                with fake.changed:
                    fake.requests.append((self.command, self.path, dict(self.headers), body))
                status, headers, answer = fake.answer(self.command, self.path, body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(text)))
                try:
                    self.end_headers()
                    self.wfile.write(text)
                except ConnectionError:
                    # A worker that stops breaks off its poll.
                    self.close_connection = True

            do_GET = do_POST = handle_one

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def add(self, job: str, kind: str = "double", attempt: int = 1, **members: Any) -> None:
        with self.changed:
            self.queued.append({"id": job, "attempt": attempt, "kind": kind, "queue": "standard", **members})
            self.changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            if not self.changed.wait_for(condition, timeout=30):
                raise AssertionError(f"gave up waiting; ended: {self.ended}")

    def answer(self, method: str, path: str, body: Any) -> Tuple[int, Dict[str, str], Any]:
        with self.changed:
            instead = self.intercept and self.intercept(method, path)
            if instead:
                return instead
            if path == "/jobs/work/claim":
                self.changed.wait_for(lambda: bool(self.queued), timeout=min(body["wait"], 0.3))
                taken, self.queued = self.queued[: body["max"]], self.queued[body["max"] :]
                return 200, {}, {"jobs": taken}
            if path == "/jobs/work/heartbeat":
                self.beats.extend(body["jobs"])
                self.changed.notify_all()
                status = [{"id": b["id"], "status": self.beat_status.get(b["id"], "ok")} for b in body["jobs"]]
                return 200, {}, {"jobs": status}
            if path in ("/jobs/work/complete", "/jobs/work/fail"):
                for job in body["jobs"]:
                    self.ended[job["id"]] = (path.rsplit("/", 1)[1], job)
                self.changed.notify_all()
                return 200, {}, {"jobs": [{"id": job["id"], "status": "ok"} for job in body["jobs"]]}
            if path == "/jobs":
                return 202, {}, {"id": "a", "state": "queued", **(body or {})}
            return 404, {}, {"type": "urn:paddock:problem:not-found", "detail": "no such route"}
