"""An HTTP proxy that breaks what is asked of it: refusals, errors, cut answers, changed answers, a shifted clock.

Owns one listening port on 127.0.0.1 and a list of faults. A fault looks at a request and either answers it
itself, changes the server's answer, or lets it be. Requests pass unchanged, so signatures stay valid.
Slow and thin links and counting are the business of ../bench/proxy.py.
"""
from __future__ import annotations

import http.client
import re
import threading
from dataclasses import dataclass, field
from email.utils import format_datetime, parsedate_to_datetime
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class Request:
    method: str
    target: str  # path and query as sent
    headers: dict
    body: bytes

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def listing(self) -> bool:
        return self.method == "GET" and "list-type=2" in self.query

    @property
    def content(self) -> bool:
        """A write of a file's content."""
        return self.method == "PUT" and "/.offsite/" not in self.path


@dataclass
class Answer:
    status: int
    headers: list = field(default_factory=list)
    body: bytes = b""
    cut_after: int | None = None  # so many bytes of the body, then the connection is closed

    @classmethod
    def error(cls, status: int, code: str, message: str = "made up by the test") -> "Answer":
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        return cls(status, [("Content-Type", "application/xml")], body)


class Faulty:
    """`refuse(request) -> Answer | None` comes first, `change(request, answer)` last; either may be None."""

    def __init__(self, port: int) -> None:
        self.upstream, self.refuse, self.change = port, None, None
        self.seen: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        handler = type("Bound", (Handler,), {"faulty": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def first(self, count: int, fits, answer):
        """A fault for `refuse`: the first `count` requests that fit are answered so."""
        left = [count]

        def refuse(request: Request):
            with self.lock:
                if left[0] and fits(request):
                    left[0] -= 1
                    return answer
            return None

        return refuse


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faulty: Faulty

    def handle_any(self) -> None:
        body = self.read_body()
        request = Request(self.command, self.path, dict(self.headers), body)
        with self.faulty.lock:
            self.faulty.seen.append((request.method, request.target))
        refuse = self.faulty.refuse
        answer = refuse(request) if refuse else None
        if answer is None:
            answer = self.forward(request)
            if self.faulty.change:
                self.faulty.change(request, answer)
        self.send(answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

    def read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def forward(self, request: Request) -> Answer:
        upstream = http.client.HTTPConnection("127.0.0.1", self.faulty.upstream, timeout=60)
        upstream.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name.lower() not in HOP:
                upstream.putheader(name, value)
        upstream.putheader("Content-Length", str(len(request.body)))
        upstream.endheaders(request.body)
        got = upstream.getresponse()
        body = got.read()
        headers = [(k, v) for k, v in got.getheaders() if k.lower() not in HOP]
        if request.method == "HEAD":
            headers.append(("Content-Length", got.getheader("Content-Length", "0")))
        upstream.close()
        return Answer(got.status, headers, body)

    def send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.command != "HEAD" and answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.cut_after is not None:
            self.wfile.write(answer.body[:answer.cut_after])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, *_) -> None:
        pass


def shift_clock(seconds: int):
    """A fault for `change`: the server's `Date` is so much later. AWS's SDK is told no time, since it signs by the time
    it is told, and the server behind this one has another; the right one would be the store's clock for a moment."""

    def change(request: Request, answer: Answer) -> None:
        if any(name.lower() == "user-agent" and "aws-sdk" in value for name, value in request.headers.items()):
            answer.headers = [(name, value) for name, value in answer.headers if name.lower() != "date"]
            return
        for index, (name, value) in enumerate(answer.headers):
            if name.lower() == "date":
                moved = parsedate_to_datetime(value) + timedelta(seconds=seconds)
                answer.headers[index] = (name, format_datetime(moved, usegmt=True))

    return change


def truncate_listing(fits):
    """A fault for `change`: listings that fit hold only their first half, and say that they are whole."""

    def change(request: Request, answer: Answer) -> None:
        if request.listing and fits(request):
            items = re.findall(rb"<Contents>.*?</Contents>", answer.body, re.S)
            for item in items[len(items) // 2:]:
                answer.body = answer.body.replace(item, b"", 1)

    return change
