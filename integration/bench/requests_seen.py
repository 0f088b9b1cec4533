"""Tells HTTP/1.1 requests apart in a byte stream and counts them: the reading half of the proxy.

It owns: request heads, bodies by Content-Length or chunks, Expect: 100-continue, the class of a request.
It does not own sockets. Invariant: whatever cannot be read is counted as bytes, and never stops the stream.
"""
from __future__ import annotations

CLASSES = ("PUT", "GET", "HEAD", "LIST", "COPY", "DELETE", "MULTIPART", "OTHER")
LISTING = {b"list-type", b"prefix", b"versions", b"delimiter", b"marker", b"max-keys", b"uploads"}
PARTS = {b"uploads", b"uploadid", b"partnumber"}


def classify(method: bytes, target: bytes, head: bytes) -> str:
    """The class of one request, from its method, target and lower-cased head."""
    _, _, query = target.partition(b"?")
    names = {part.partition(b"=")[0].lower() for part in query.split(b"&")} if query else ()
    if method == b"PUT":
        if b"\r\nx-amz-copy-source:" in head:
            return "COPY"
        return "MULTIPART" if PARTS.intersection(names) else "PUT"
    if method == b"GET":
        if b"uploadid" in names:
            return "MULTIPART"
        return "LIST" if LISTING.intersection(names) else "GET"
    if method == b"POST":
        if PARTS.intersection(names):
            return "MULTIPART"
        return "DELETE" if b"delete" in names else "OTHER"
    if method == b"DELETE":
        return "MULTIPART" if b"uploadid" in names else "DELETE"
    return "HEAD" if method == b"HEAD" else "OTHER"


class Counts:
    """What went through since the last reset.

    `own` are the requests below a `.offsite/` key; `content_up` is what other PUTs and parts carried. `packs` are those
    of `own` that write a pack, and `packs_up` is what they carried.
    """

    def __init__(self) -> None:
        self.requests = dict.fromkeys(CLASSES, 0)
        self.own = dict.fromkeys(CLASSES, 0)
        self.bytes_up = self.bytes_down = self.body_up = self.own_body_up = self.content_up = 0
        self.packs = self.packs_up = 0
        self.connections = self.cuts = self.refused_4xx = self.failed_5xx = self.unparsed = 0

    def as_dict(self) -> dict:
        answer = dict(vars(self))
        answer["total"] = sum(self.requests.values())
        answer["own_total"] = sum(self.own.values())
        return answer


class Requests:
    """Follows one client's byte stream: reads request heads, skips bodies."""

    __slots__ = ("buffer", "skip", "chunked", "waiting", "refused", "lost", "own", "content", "pack")

    def __init__(self) -> None:
        self.buffer = b""  # a part of a head, or of a chunk's size line
        self.skip = 0  # bytes of a body, or of a chunk, still to come
        self.chunked = ""  # "", "size" or "trailer"
        self.waiting = False  # head said `Expect: 100-continue`, no byte of the body came yet
        self.refused = False  # and the server answered with a final status
        self.lost = False  # not HTTP/1.1: bytes only
        self.own = False
        self.content = False  # the body is a file's content
        self.pack = False  # the body is a pack

    def feed(self, data: memoryview, counts: Counts) -> None:
        if self.lost:
            return
        if self.waiting:
            self.end_waiting(data)
        size = len(data)
        if self.skip >= size:
            self.take_body(size, counts)
            return
        position = self.skip
        self.take_body(position, counts)
        rest = self.buffer + bytes(data[position:])
        self.buffer = b""
        while rest and not self.lost:
            rest = self.step(rest, counts)

    def end_waiting(self, data: memoryview) -> None:
        """A refused client may send its next request instead of the body."""
        start = bytes(data[:16])
        if self.refused and start.split(b" ")[0] in (b"PUT", b"GET", b"HEAD", b"POST", b"DELETE"):
            self.skip, self.chunked = 0, ""
        self.waiting = self.refused = False

    def lose(self, counts: Counts) -> None:
        self.lost = True
        self.buffer = b""
        counts.unparsed += 1

    def take_body(self, size: int, counts: Counts) -> None:
        self.skip -= size
        counts.body_up += size
        if self.content:
            counts.content_up += size
        elif self.own:
            counts.own_body_up += size
            counts.packs_up += size if self.pack else 0

    def step(self, rest: bytes, counts: Counts) -> bytes:
        """Consumes one head, size line or body part from `rest`, and returns what is left."""
        if self.skip:
            size = min(self.skip, len(rest))
            self.take_body(size, counts)
            return rest[size:]
        end = rest.find(b"\r\n" if self.chunked else b"\r\n\r\n")
        if end < 0:
            self.buffer = rest
            if len(rest) > 1 << 20:
                self.lose(counts)
            return b""
        if self.chunked:
            self.chunk_line(rest[:end], counts)
            return rest[end + 2:]
        self.head(rest[:end + 2], counts)
        return rest[end + 4:]

    def chunk_line(self, line: bytes, counts: Counts) -> None:
        if self.chunked == "trailer":
            self.chunked = "trailer" if line else ""
            return
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            self.lose(counts)
            return
        if size:
            self.skip = size + 2  # its line end too
        else:
            self.chunked = "trailer"

    def head(self, head: bytes, counts: Counts) -> None:
        words = head[:head.find(b"\r\n")].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            self.lose(counts)
            return
        lower = head.lower()
        name = classify(words[0], words[1], lower)
        counts.requests[name] += 1
        self.own = b"/.offsite/" in words[1] or b"%2eoffsite" in lower
        if self.own:
            counts.own[name] += 1
        self.content = not self.own and words[0] == b"PUT"
        self.pack = words[0] == b"PUT" and b"/.offsite/packs/" in words[1]
        counts.packs += self.pack
        length = header(lower, b"content-length")
        self.skip = int(length) if length.isdigit() else 0
        if b"chunked" in header(lower, b"transfer-encoding"):
            self.skip, self.chunked = 0, "size"
        self.waiting = b"100-continue" in header(lower, b"expect")


def header(lower: bytes, name: bytes) -> bytes:
    start = lower.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    return lower[start:lower.find(b"\r\n", start)].strip()
