"""A stand-in for a container engine: the two questions about volumes, on a unix socket. No engine runs where the tests do.

What it does not show: that Docker and podman say the same; the shapes here are those of Docker's API, and podman serves them too.
"""

import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def engine(folder, labels, mountpoint=None):
    """Serves volumes with these labels, by name, below `folder`/volumes; the value of DOCKER_HOST. `mountpoint`: where
    the engine says they lie, if not there."""
    volumes = {}
    for name, said in labels.items():
        data = folder / "volumes" / name / "_data"
        data.mkdir(parents=True)
        there = f"{mountpoint}/{name}/_data" if mountpoint else str(data)
        volumes[name] = {"Name": name, "Driver": "local", "Mountpoint": there, "Labels": said, "Options": None, "Scope": "local"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = urlsplit(self.path)
            if asked.path == "/volumes":
                wanted = json.loads(parse_qs(asked.query).get("filters", ["{}"])[0]).get("label", [])
                found = [v for v in volumes.values() if all(label in (v["Labels"] or {}) for label in wanted)]
                return self.answer(200, {"Volumes": found or None, "Warnings": None})
            name = unquote(asked.path.removeprefix("/volumes/"))
            found = volumes.get(name)
            self.answer(200 if found else 404, found or {"message": f"get {name}: no such volume"})

        def answer(self, status, value):
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "socket"

        def log_message(self, *_):
            pass

    socket = folder / "engine.sock"
    with _Server(str(socket), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"unix://{socket}"
        finally:
            server.shutdown()
