#!/usr/bin/env python3
"""A TCP proxy on 127.0.0.1 that counts HTTP/1.1 requests and can make a link slow, thin or broken.

It owns: forwarding bytes unchanged, counting them, and the link's latency, rate and cuts. Request classes are
told apart in requests_seen.py. No TLS, no HTTP/2, nothing of the answers but the first digit of their status.
Invariant: bytes are never changed or reordered; with no fault set they are passed on at once.

One thread, one epoll loop: a few thousand requests a second cost a fraction of a core.

    proxy.py --listen 0 --upstream 127.0.0.1:PORT --control 0      first line printed: LISTEN-PORT CONTROL-PORT
    GET  /counts                   the counts as JSON
    POST /reset                    counts to zero; the connections stay
    POST /latency?ms=20            round trip: each byte is held half of it per direction, a connect costs one
    POST /rate?bytes=8000000       bytes a second in each direction over all connections (0: no limit)
    POST /cut?bytes=N&every=K      every K-th connection is reset after N bytes (every=0: never)
    POST /upstream?to=HOST:PORT    where new connections go (a server that was started again)
In Python: `with Proxy(upstream_port) as proxy: proxy.port, proxy.reset(), proxy.counts()`.
"""
from __future__ import annotations

import argparse
import heapq
import json
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from requests_seen import Counts, Requests

HOST = "127.0.0.1"
WINDOW = 4 << 20  # bytes that one direction of one connection may have in the proxy
BUFFER = 1 << 19
EARLY = 0.0005  # epoll counts whole milliseconds: what is due within half of one goes out now


class Side:
    """One socket of a connection, with what waits to be sent into it."""

    __slots__ = ("socket", "fd", "other", "link", "out", "out_bytes", "held", "last_due",
                 "ended", "end_sent", "mask", "upward")

    def __init__(self, sock: socket.socket, link: "Link", upward: bool) -> None:
        self.socket, self.fd, self.link, self.upward = sock, sock.fileno(), link, upward
        self.out: deque = deque()
        self.out_bytes = 0  # bytes in `out`
        self.held = 0  # bytes on the way to this side, held by latency or rate
        self.last_due = 0.0
        self.ended = False  # this side sent its last byte
        self.end_sent = False  # this side was told that no more comes
        self.mask = 0
        self.other: Side = self


class Link:
    """One client connection and the upstream connection behind it."""

    __slots__ = ("client", "server", "requests", "ready_at", "left", "open")

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = Side(client, self, True), Side(server, self, False)
        self.client.other, self.server.other = self.server, self.client
        self.requests = Requests()
        self.ready_at = 0.0
        self.left = -1  # bytes until the cut; -1: none
        self.open = True


class Proxy:
    """The loop. `start()` runs it in a thread; `serve()` runs it here."""

    def __init__(self, upstream_port: int, listen: int = 0, latency_ms: float = 0, rate: int = 0,
                 cut_bytes: int = 0, cut_every: int = 0) -> None:
        self.upstream = (HOST, upstream_port)
        self.delay, self.rate = latency_ms / 2000, rate
        self.cut_bytes, self.cut_every = cut_bytes, cut_every
        self.tally = Counts()
        self.accepted = 0
        self.free_at = [0.0, 0.0]  # when the link is free again, down and up
        self.held: list = []
        self.order = 0
        self.sides: dict[int, Side] = {}
        self.view = memoryview(bytearray(BUFFER))
        self.listener = socket.create_server((HOST, listen), backlog=1024)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.epoll = select.epoll()
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        self.stopping = False
        self.thread: threading.Thread | None = None

    # What other threads call. Each is one assignment, so the loop needs no lock.

    def counts(self) -> dict:
        return self.tally.as_dict()

    def reset(self) -> None:
        self.tally = Counts()

    def set_latency(self, ms: float) -> None:
        self.delay = ms / 2000

    def set_rate(self, bytes_a_second: int) -> None:
        self.rate = bytes_a_second

    def set_cut(self, after: int, every: int) -> None:
        self.cut_bytes, self.cut_every = after, every

    def start(self) -> "Proxy":
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def stop(self) -> None:
        self.stopping = True
        if self.thread:
            self.thread.join(timeout=2)

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def serve(self) -> None:
        listener = self.listener.fileno()
        while not self.stopping:
            new = False
            for fd, event in self.epoll.poll(self.timeout(), 256):
                side = self.sides.get(fd)
                if side:
                    self.handle(side, event)
                elif fd == listener:
                    new = True
            if self.held:
                self.release()
            if new:  # last, so that no event of this round meets a descriptor used again
                self.accept()
        for side in list(self.sides.values()):
            self.close(side.link)
        self.listener.close()
        self.epoll.close()

    def timeout(self) -> float:
        if not self.held:
            return 0.5
        return min(0.5, max(0.0, self.held[0][0] - EARLY - time.monotonic()))

    def accept(self) -> None:
        for _ in range(64):
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.upstream, timeout=10)
            except OSError:
                client.close()
                continue
            self.connect(client, server)

    def connect(self, client: socket.socket, server: socket.socket) -> None:
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(client, server)
        link.ready_at = time.monotonic() + 2 * self.delay
        self.accepted += 1
        self.tally.connections += 1
        if self.cut_every and self.accepted % self.cut_every == 0:
            link.left = self.cut_bytes
        for side in (link.client, link.server):
            self.sides[side.fd] = side
            self.watch(side)

    def watch(self, side: Side) -> None:
        """Registers just what this side waits for; a side that waits for nothing is not registered."""
        other = side.other
        mask = select.EPOLLOUT if side.out else 0
        if not side.ended and other.out_bytes + other.held < WINDOW:
            mask |= select.EPOLLIN
        if mask == side.mask:
            return
        if not side.mask:
            self.epoll.register(side.fd, mask)
        elif not mask:
            self.epoll.unregister(side.fd)
        else:
            self.epoll.modify(side.fd, mask)
        side.mask = mask

    def handle(self, side: Side, event: int) -> None:
        try:
            if event & select.EPOLLOUT:
                self.flush(side)
            if event & ~select.EPOLLOUT and side.link.open and side.mask & select.EPOLLIN:
                self.read(side)
            elif event & (select.EPOLLERR | select.EPOLLHUP) and side.link.open:
                self.close(side.link)
        except BlockingIOError:
            pass
        except OSError:
            self.close(side.link)

    def read(self, side: Side) -> None:
        size = side.socket.recv_into(self.view)
        link, other = side.link, side.other
        if not size:
            side.ended = True
            self.forward(other, None)
            if link.open:
                self.watch(side)
            return
        data = self.view[:size]
        if link.left >= 0:
            data = data[:link.left]
            size = len(data)
        counts = self.tally
        if side.upward:
            counts.bytes_up += size
            link.requests.feed(data, counts)
        else:
            counts.bytes_down += size
            self.answer(link.requests, data, counts)
        self.forward(other, data)
        if link.left >= 0:
            link.left -= size
            if not link.left and link.open:
                self.cut(link)

    @staticmethod
    def answer(requests: Requests, data: memoryview, counts: Counts) -> None:
        if data[:8] != b"HTTP/1.1":
            return
        digit = bytes(data[9:10])
        if digit == b"4":
            counts.refused_4xx += 1
        elif digit == b"5":
            counts.failed_5xx += 1
        if requests.waiting and digit != b"1":
            requests.refused = True

    def forward(self, to: Side, data: memoryview | None) -> None:
        """Sends now, or holds for the latency and the rate. None is the end of the stream."""
        if not (self.delay or self.rate or to.held or to.last_due):
            self.deliver(to, data)
            return
        now = time.monotonic()
        size = len(data) if data is not None else 0
        up = not to.upward  # `to` is the server's side: the bytes go up
        due = now + self.delay
        if up:
            due = max(due, to.link.ready_at + self.delay)
        if self.rate:
            free = max(self.free_at[up], now)
            self.free_at[up] = free + size / self.rate
            due = max(due, self.free_at[up] + self.delay)
        to.last_due = due = max(due, to.last_due)
        self.order += 1
        to.held += size
        heapq.heappush(self.held, (due, self.order, to, None if data is None else bytes(data)))
        self.watch(to.other)

    def release(self) -> None:
        limit = time.monotonic() + EARLY
        while self.held and self.held[0][0] <= limit:
            _, _, to, data = heapq.heappop(self.held)
            if not to.link.open:
                continue
            to.held -= len(data) if data is not None else 0
            try:
                self.deliver(to, data)
                if to.link.open and not to.other.mask & select.EPOLLIN:
                    self.watch(to.other)
            except OSError:
                self.close(to.link)

    def deliver(self, to: Side, data: memoryview | bytes | None) -> None:
        if data is not None and not to.out:
            try:
                sent = to.socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        if data is not None:
            to.out.append(bytes(data))
            to.out_bytes += len(data)
            self.watch(to.other)
        else:
            to.out.append(None)
        self.watch(to)
        if to.out[0] is None:
            self.flush(to)

    def flush(self, side: Side) -> None:
        while side.out:
            data = side.out[0]
            if data is None:
                side.out.popleft()
                side.end_sent = True
                side.socket.shutdown(socket.SHUT_WR)
                continue
            sent = side.socket.send(data)
            side.out_bytes -= sent
            if sent < len(data):
                side.out[0] = data[sent:]
                break
            side.out.popleft()
        self.watch(side)
        self.watch(side.other)
        if side.end_sent and side.other.end_sent:
            self.close(side.link)

    def cut(self, link: Link) -> None:
        self.tally.cuts += 1
        for side in (link.client, link.server):
            side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close(link)

    def close(self, link: Link) -> None:
        if not link.open:
            return
        link.open = False
        for side in (link.client, link.server):
            if side.mask:
                self.epoll.unregister(side.fd)
            side.mask = 0
            self.sides.pop(side.fd, None)
            side.socket.close()


class Control(BaseHTTPRequestHandler):
    """The small HTTP interface; `proxy` is set on the class made by `control_server`."""

    proxy: Proxy

    def do_GET(self) -> None:
        self.reply(self.proxy.counts() if urlsplit(self.path).path == "/counts" else None)

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        values = {name: value[0] for name, value in parse_qs(parts.query).items()}
        try:
            self.reply(self.act(parts.path, values))
        except (KeyError, ValueError) as problem:
            self.reply({"error": str(problem)}, 400)

    def act(self, path: str, values: dict[str, str]) -> dict | None:
        if path == "/reset":
            self.proxy.reset()
        elif path == "/latency":
            self.proxy.set_latency(float(values["ms"]))
        elif path == "/rate":
            self.proxy.set_rate(int(values["bytes"]))
        elif path == "/cut":
            self.proxy.set_cut(int(values.get("bytes", 0)), int(values["every"]))
        elif path == "/upstream":
            self.proxy.upstream = address(values["to"])
        else:
            return None
        return {"ok": True}

    def reply(self, answer: dict | None, status: int = 200) -> None:
        body = json.dumps(answer if answer is not None else {"error": "no such path"}).encode() + b"\n"
        self.send_response(status if answer is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def control_server(proxy: Proxy, port: int = 0) -> ThreadingHTTPServer:
    handler = type("BoundControl", (Control,), {"proxy": proxy})
    server = ThreadingHTTPServer((HOST, port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host or HOST, int(port)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", type=int, default=0)
    parser.add_argument("--upstream", required=True, help="HOST:PORT")
    parser.add_argument("--control", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0, help="round trip in milliseconds")
    parser.add_argument("--rate", type=int, default=0, help="bytes a second in each direction")
    parser.add_argument("--cut-bytes", type=int, default=0)
    parser.add_argument("--cut-every", type=int, default=0)
    options = parser.parse_args()
    proxy = Proxy(0, options.listen, options.latency, options.rate, options.cut_bytes, options.cut_every)
    proxy.upstream = address(options.upstream)
    control = control_server(proxy, options.control)
    print(proxy.port, control.server_address[1], flush=True)
    try:
        proxy.serve()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
