"""How long a list and one item take at ContextForge and at Paddock, asked in turns: one line of JSON.

    python3 contextforge.py http://127.0.0.1:7070 [COUNT]

ContextForge (`mcp-contextforge-gateway`) has no official registry API: its list is that of its tools, of which it is given
COUNT. It is installed beside the cache of the tests at the first run, and runs on SQLite with one worker, without rate
limits. Times are those of one client that asks for one thing after the other, its own work included.
"""

import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

PACKAGE = "mcp-contextforge-gateway==1.0.7"
REQUESTS = 300
SECRET = "of-a-measurement-that-nobody-else-reaches"
START_DEADLINE_S = 180


def installed():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    directory = cache / "paddock" / "contextforge"
    python = directory / "bin" / "python"
    if not (directory / "bin" / "mcpgateway").exists():
        subprocess.run([sys.executable, "-m", "venv", directory], check=True, stdout=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE], check=True, stdout=sys.stderr)
    return python


class Client:
    def __init__(self, host, port, headers):
        self.connection = http.client.HTTPConnection(host, port, timeout=60)
        self.headers = headers

    def ask(self, path, body=None):
        headers = dict(self.headers, **({"content-type": "application/json"} if body else {}))
        self.connection.request("POST" if body else "GET", path, body, headers)
        response = self.connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise SystemExit(f"{path} was answered with {response.status}: {text[:200]!r}")
        return text

    def time(self, path):
        began = time.perf_counter()
        self.ask(path)
        return (time.perf_counter() - began) * 1000


def start(python, directory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = dict(
        os.environ,
        DATABASE_URL="sqlite:///./mcp.db",
        AUTH_REQUIRED="false",
        RATE_LIMITING_ENABLED="false",
        SSRF_DNS_FAIL_CLOSED="false",
        MCPGATEWAY_UI_ENABLED="false",
        LOG_LEVEL="ERROR",
        JWT_SECRET_KEY=SECRET,
    )
    server = subprocess.Popen(
        [python.parent / "mcpgateway", "--host", "127.0.0.1", "--port", str(port)],
        cwd=directory, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    make = [python, "-m", "mcpgateway.utils.create_jwt_token", "--username", "admin@example.com", "--exp", "60"]
    made = subprocess.run([*make, "--secret", SECRET], env=environment, cwd=directory, capture_output=True, text=True)
    client = Client("127.0.0.1", port, {"authorization": f"Bearer {made.stdout.strip().splitlines()[-1]}"})
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        try:
            client.ask("/health")
            return server, client
        except OSError:
            if time.monotonic() > deadline or server.poll() is not None:
                server.kill()
                raise SystemExit("ContextForge does not start")
            client.connection.close()
            time.sleep(0.2)


def fill(client, count):
    first = None
    for number in range(count):
        tool = {
            "name": f"tool-{number}", "url": f"https://api.example.com/{number}", "description": f"Does thing {number}",
            "integration_type": "REST", "request_type": "POST", "input_schema": {"type": "object"},
        }
        made = json.loads(client.ask("/tools", json.dumps({"tool": tool})))
        first = first or made["id"]
    return first


def main():
    url = urllib.parse.urlsplit(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    with tempfile.TemporaryDirectory() as directory:
        server, peer = start(installed(), directory)
        try:
            first = fill(peer, count)
            paddock = Client(url.hostname, url.port, {})
            asked = {
                "list": (paddock, "/registry/v0.1/servers?limit=30"),
                "detail": (paddock, "/registry/v0.1/servers/io.example.lab%2Ffirst/versions/1.0.0"),
                "peer_list": (peer, "/tools?limit=30"),
                "peer_detail": (peer, f"/tools/{first}"),
            }
            times = {name: [] for name in asked}
            for _ in range(REQUESTS):
                for name, (client, path) in asked.items():
                    times[name].append(client.time(path))
        finally:
            server.terminate()
            server.wait(30)
    figures = {}
    for name, values in times.items():
        figures[f"{name}_p50_ms"] = statistics.median(values)
        figures[f"{name}_p99_ms"] = statistics.quantiles(values, n=100)[98]
    for name in ("list", "detail"):
        figures[f"{name}_ahead_ratio"] = figures[f"peer_{name}_p50_ms"] / figures[f"{name}_p50_ms"]
    print(json.dumps(figures))


main()
