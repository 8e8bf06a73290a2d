"""Requests over connections that are kept: the standard library's, and no more."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

#: Connections that are kept for the next request.
IDLE_MAX = 8
#: What a broken connection raises.
BROKEN = (http.client.HTTPException, OSError)


class Response:
    """An answer, read to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The JSON in it; ``None`` if there is none."""
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            return None


class Interrupt:
    """Breaks off a request from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: List[socket.socket] = []
        self._fired = False

    def fire(self) -> None:
        """Breaks off what is under way, and all that begins later."""
        with self._lock:
            self._fired = True
            for connected in self._sockets:
                try:
                    connected.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def watch(self, connected: socket.socket) -> None:
        with self._lock:
            if self._fired:
                raise ConnectionAbortedError("interrupted")
            self._sockets.append(connected)

    def forget(self, connected: Optional[socket.socket]) -> None:
        with self._lock:
            if connected in self._sockets:
                self._sockets.remove(connected)


class Transport:
    """Sends requests to one server. May be used by several threads at once."""

    def __init__(self, url: str, key: Optional[str], timeout: float) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the URL of a server")
        if parts.username or parts.password:
            raise ValueError("the URL holds a user or password; pass `key` instead")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._timeout = timeout
        self._idle: List[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self.headers: Dict[str, str] = {"Accept": "application/json"}
        if key:
            self.headers["Authorization"] = f"Bearer {key}"

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """A new connection."""
        kind: Callable[..., http.client.HTTPConnection] = (
            http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        )
        connection = kind(self._host, self._port, timeout=timeout)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def path(self, path: str) -> str:
        """A path below the server's base."""
        return self._base + path

    def _take(self, timeout: float) -> Tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            return self.connect(timeout), False
        connection.sock.settimeout(timeout)
        return connection, True

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if connection.sock is not None and len(self._idle) < IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: Optional[bytes] = None,
        headers: Optional[Mapping[str, str]] = None,
        wait: float = 0,
        interrupt: Optional[Interrupt] = None,
    ) -> Response:
        """Sends one request and reads its answer; ``wait`` is how long the server was asked to wait."""
        sent = dict(self.headers, **(headers or {}))
        if body is not None:
            sent["Content-Type"] = "application/json"
        while True:
            connection, kept = self._take(self._timeout + wait)
            watched = connection.sock
            try:
                if interrupt is not None:
                    interrupt.watch(watched)
                connection.request(method, self.path(path), body, sent)
                answer = connection.getresponse()
                response = Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()
                # The server closed a connection that was idle before this request reached it: that was nobody's fault.
                if kept and not (interrupt is not None and interrupt._fired):
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            finally:
                if interrupt is not None:
                    interrupt.forget(watched)
            self._give_back(connection)
            return response

    def close(self) -> None:
        """Closes what is kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
