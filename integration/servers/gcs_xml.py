"""The XML API of the fake Google Cloud Storage, and the token endpoint of a metadata server.

Owns the protocol only; the rules are in `gcs_store.py`. Besides Google's own paths there are some for tests: `GET /_fake/ready`; `POST
/_fake/fail` with {"path", "status", "times"}, after which as many requests whose path holds `path` fail so; `GET /_fake/undigested`, the
paths of all that was put with no digest to check it by; `GET
/_fake/seen`, a line for each request; and `POST /_fake/bucket` with {"name", "open", "versioned", "pace"}, which makes a bucket, an open one for everybody, one with a pace for who takes his time;
`GET /_fake/slowed`, how many mutations came too soon; `POST /oauth/token` is Google's token server, `GET /_fake/exchanged` the grants it was asked for,
`GET /_fake/refresh` a refresh token; `POST /_fake/hold` with {"name", "on"}, a temporary hold.
"""

import base64
import gzip
import json
import re
import secrets
from datetime import datetime, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import google_crc32c

from gcs_store import FAILED, Refused

KEPT = ("content-type", "content-encoding", "content-language", "content-disposition", "cache-control", "x-goog-storage-class")


def when(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def integer(text, what):
    try:
        return None if text is None else int(text)
    except ValueError:
        raise Refused(400, "InvalidArgument", f"Invalid value for {what}.") from None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    store, describe = None, None

    def log_message(self, *_):
        pass

    def do_any(self):
        self.url = urlsplit(self.path)
        self.query = dict(parse_qsl(self.url.query, keep_blank_values=True))
        length = integer(self.headers.get("content-length"), "Content-Length")
        self.body = self.rfile.read(length) if length else self.chunked()
        bucket, _, name = self.url.path[1:].partition("/")
        if bucket not in ("_fake", "computeMetadata", "oauth"):
            self.store.seen.append(f"{self.command} {unquote(self.path, errors='replace')}".replace("\n", "?"))
        try:
            status = self.store.fault(unquote(self.url.path))
            if status:
                return self.answer(status, b"<Error><Code>SlowDown</Code><Message>asked for by a test</Message></Error>")
            if bucket == "_fake":
                return self.fake(name)
            if bucket == "computeMetadata":
                return self.metadata(name)
            if bucket == "oauth":
                return self.oauth()
            self.role = self.store.who(self.headers.get("authorization"))
            self.bucket = self.store.bucket(unquote(bucket))
            self.name = unquote(name, errors="surrogateescape")
            verb = {"PUT": self.put, "GET": self.get, "HEAD": self.get, "DELETE": self.delete, "POST": self.post}[self.command]
            verb() if name else self.listing()
        except Refused as no:
            text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{no.code}</Code><Message>{escape(no.message)}</Message></Error>"
            self.answer(no.status, text.encode(), {"content-type": "application/xml; charset=UTF-8"})

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any

    def chunked(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return b""
        out = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out

    def answer(self, status, body=b"", headers=None, length=None):
        # Not send_response: it names the server and formats a Date of its own.
        self.send_response_only(status)
        self.send_header("Date", formatdate(usegmt=True))
        for name, value in (headers or {}).items():
            self.send_header(name, str(value))
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def xml(self, text, headers=None):
        self.answer(200, f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode(), {"content-type": "application/xml; charset=UTF-8", **(headers or {})})

    # --- for tests ---
    def fake(self, name):
        if name == "fail":
            self.store.faults.append(json.loads(self.body))
        if name == "hold":
            how = json.loads(self.body)
            {True: self.store.held.add, False: self.store.held.discard}[how["on"]](how["name"])
        if name == "bucket":
            how = json.loads(self.body)
            if how["name"] not in self.store.buckets:
                self.describe(self.store.make_bucket(**how))
        told = {"undigested": self.store.undigested, "seen": self.store.seen, "exchanged": self.store.exchanged, "slowed": [str(self.store.slowed)],
                "refresh": list(self.store.refreshes)}.get(name, [])
        self.answer(200, "\n".join(told).encode())

    def metadata(self, name):
        if self.headers.get("metadata-flavor") != "Google":
            return self.answer(403)
        if name.endswith("/token"):
            token = secrets.token_urlsafe(40)
            self.store.tokens[token] = "admin"
            body = {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
            return self.answer(200, json.dumps(body).encode(), {"content-type": "application/json", "metadata-flavor": "Google"})
        self.answer(404)

    def oauth(self):
        form = dict(parse_qsl(self.body.decode()))
        if "json" in self.headers.get("content-type", ""):
            form = json.loads(self.body)
        status, said = self.store.exchange(form)
        self.answer(status, json.dumps(said).encode(), {"content-type": "application/json"})

    # --- objects ---
    def about(self, found):
        md5 = [f"md5={base64.b64encode(found.md5).decode()}"] if found.md5 else []
        crc = base64.b64encode(found.crc32c.to_bytes(4, "big")).decode()
        return {"etag": found.etag, "x-goog-generation": found.generation, "x-goog-metageneration": found.metageneration,
                "x-goog-hash": ",".join([f"crc32c={crc}", *md5]), "x-goog-stored-content-length": len(found.body)}

    def conditions(self):
        return integer(self.headers.get("x-goog-if-generation-match"), "generation"), integer(self.headers.get("x-goog-if-metageneration-match"), "metageneration")

    def checked(self):
        """The body, if it is what its digests say."""
        said = dict(pair.strip().split("=", 1) for line in self.headers.get_all("x-goog-hash") or [] for pair in line.split(","))
        md5 = said.get("md5") or self.headers.get("content-md5")
        crc = said.get("crc32c")
        if md5 is None and crc is None:
            self.store.undigested.append(unquote(self.url.path))
        self.store.digests(self.body, md5 and base64.b64decode(md5), crc and int.from_bytes(base64.b64decode(crc), "big"))
        return self.body

    def put(self):
        if "uploadId" in self.query:
            number = integer(self.query.get("partNumber"), "partNumber") or 0
            etag = self.store.part(self.role, self.bucket, self.name, self.query["uploadId"], number, self.checked())
            crc = base64.b64encode(google_crc32c.value(self.body).to_bytes(4, "big")).decode()
            return self.answer(200, headers={"etag": f'"{etag}"', "x-goog-hash": f"crc32c={crc}"})
        generation, metageneration = self.conditions()
        source = self.headers.get("x-goog-copy-source")
        if source is not None:
            bucket, _, name = unquote(source.lstrip("/")).partition("/")
            if bucket != self.bucket.name:
                raise Refused(400, "InvalidArgument", "only copies within a bucket here")
            get = lambda header: integer(self.headers.get(header), header)
            made = self.store.copy(self.role, self.bucket, name, self.name, get("x-goog-copy-source-generation"), get("x-goog-copy-source-if-generation-match"), generation)
            return self.xml(f"<CopyObjectResult><ETag>{escape(made.etag)}</ETag><LastModified>{when(made.created)}</LastModified></CopyObjectResult>", self.about(made))
        made = self.store.put(self.role, self.bucket, self.name, self.checked(), self.kept(), generation, metageneration)
        self.answer(200, headers=self.about(made))

    def kept(self):
        return {name: self.headers[name] for name in self.headers if name.lower() in KEPT or name.lower().startswith("x-goog-meta-")}

    def get(self):
        found = self.store.find(self.role, self.bucket, self.name, integer(self.query.get("generation"), "generation"))
        self.store.check(found, *self.conditions())
        tags = lambda header: [tag.strip() for tag in self.headers[header].split(",")]
        if "if-match" in self.headers and not {found.etag, "*"} & set(tags("if-match")):
            raise FAILED
        if "if-none-match" in self.headers and {found.etag, "*"} & set(tags("if-none-match")):
            return self.answer(304, headers=self.about(found))
        kept = {name.lower(): value for name, value in found.headers.items()}
        headers = {**self.about(found), **kept, "last-modified": formatdate(found.created, usegmt=True), "x-goog-storage-class": kept.get("x-goog-storage-class", "STANDARD")}
        body, status = found.body, 200
        if kept.get("content-encoding") == "gzip" and "gzip" not in self.headers.get("accept-encoding", ""):
            # Decompressive transcoding: the length is another one, and ranges are not looked at.
            del headers["content-encoding"]
            return self.answer(200, gzip.decompress(body), {**headers, "x-goog-stored-content-encoding": "gzip", "warning": "214 UploadServer gunzipped"})
        spans = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        if spans and any(spans.groups()):
            first, last = spans.groups()
            start = int(first) if first else max(0, len(body) - int(last))
            end = min(int(last), len(body) - 1) if first and last else len(body) - 1
            if start >= len(body):
                raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.", "OUT_OF_RANGE")
            headers["content-range"] = f"bytes {start}-{end}/{len(body)}"
            body, status = body[start : end + 1], 206
        self.answer(status, body, headers)

    def delete(self):
        if "uploadId" in self.query:
            self.store.abort(self.role, self.bucket, self.name, self.query["uploadId"])
        else:
            self.store.delete(self.role, self.bucket, self.name, integer(self.query.get("generation"), "generation"), self.conditions()[0])
        self.answer(204)

    # --- uploads in parts ---
    def post(self):
        bucket, name = escape(self.bucket.name), escape(self.name)
        if "uploads" in self.query:
            upload = self.store.begin(self.role, self.bucket, self.name, self.kept())
            return self.xml(f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{name}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        if "uploadId" not in self.query:
            raise Refused(400, "InvalidArgument", "neither uploads nor uploadId")
        try:
            tree = ElementTree.fromstring(self.body)
            parts = [(int(part.findtext("PartNumber")), part.findtext("ETag")) for part in tree.iter("Part")]
        except (ElementTree.ParseError, TypeError, ValueError):
            raise Refused(400, "MalformedCompleteMultipartUploadRequest", "The XML you provided was not well-formed.") from None
        made = self.store.complete(self.role, self.bucket, self.name, self.query["uploadId"], parts)
        self.xml(f"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{name}</Key><ETag>{escape(made.etag)}</ETag></CompleteMultipartUploadResult>", self.about(made))

    # --- listings ---
    def listing(self):
        if self.command not in ("GET", "HEAD"):
            raise Refused(405, "MethodNotAllowed", "buckets are made by gRPC here", "UNIMPLEMENTED")
        self.shown = (lambda text: quote(text, safe="/")) if self.query.get("encoding-type") == "url" else escape
        encoding = "<EncodingType>url</EncodingType>" if self.query.get("encoding-type") == "url" else ""
        if "uploads" in self.query:
            return self.uploads(encoding)
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = base64.urlsafe_b64decode(self.query.get("continuation-token", "")) or self.query.get("start-after", "").encode()
        limit = min(integer(self.query.get("max-keys", "1000"), "max-keys"), 1000)
        rows, folders, more = [], [], True
        while more and len(rows) + len(folders) < limit:
            page, more = self.store.page(self.role, self.bucket, prefix, after, limit=limit - len(rows) - len(folders))
            for found in page:
                after = found.name.encode()
                folder, slash, _ = found.name[len(prefix) :].partition(delimiter) if delimiter else (None, None, None)
                if slash:
                    folders.append(prefix + folder + slash)
                    # The rest of this folder is passed over.
                    after, more = folders[-1].encode() + b"\xff" * 8, True
                    break
                rows.append(self.row(found))
        token = f"<NextContinuationToken>{base64.urlsafe_b64encode(after).decode()}</NextContinuationToken>" if more else ""
        common = "".join(f"<CommonPrefixes><Prefix>{self.shown(folder)}</Prefix></CommonPrefixes>" for folder in folders)
        self.xml(f"<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'><Name>{self.bucket.name}</Name><Prefix>{self.shown(prefix)}</Prefix>{encoding}"
                 f"<KeyCount>{len(rows) + len(folders)}</KeyCount><IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{''.join(rows)}{common}</ListBucketResult>")

    def row(self, found):
        return (f"<Contents><Key>{self.shown(found.name)}</Key><Generation>{found.generation}</Generation><MetaGeneration>{found.metageneration}</MetaGeneration>"
                f"<LastModified>{when(found.created)}</LastModified><ETag>{escape(found.etag)}</ETag><Size>{len(found.body)}</Size><StorageClass>STANDARD</StorageClass></Contents>")

    def uploads(self, encoding):
        self.store.allow(self.role, "storage.multipartUploads.list", self.bucket)
        prefix, limit = self.query.get("prefix", ""), min(integer(self.query.get("max-uploads", "1000"), "max-uploads"), 1000)
        after = (self.query.get("key-marker", ""), self.query.get("upload-id-marker", ""))
        found = sorted((upload.name, key, upload) for key, upload in self.bucket.uploads.items() if upload.name.startswith(prefix))
        found = [row for row in found if not after[0] or row[:2] > after]
        rows = "".join(f"<Upload><Key>{self.shown(name)}</Key><UploadId>{key}</UploadId><StorageClass>STANDARD</StorageClass><Initiated>{when(upload.begun)}</Initiated></Upload>"
                       for name, key, upload in found[:limit])
        more = len(found) > limit
        markers = f"<NextKeyMarker>{self.shown(found[limit - 1][0])}</NextKeyMarker><NextUploadIdMarker>{found[limit - 1][1]}</NextUploadIdMarker>" if more else ""
        self.xml(f"<ListMultipartUploadsResult><Bucket>{self.bucket.name}</Bucket>{encoding}<IsTruncated>{'true' if more else 'false'}</IsTruncated>{markers}{rows}</ListMultipartUploadsResult>")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(store, port, describe):
    """`describe` gives a bucket what the control plane says of a new one."""
    Handler.store, Handler.describe = store, staticmethod(describe)
    return Server(("127.0.0.1", port), Handler)
