"""A small S3 in memory whose unkind habits are switched on one by one; for `integration/e2e/t_quirks.py`.

Owns the objects, versions and uploads of any number of buckets, and the table of quirks. Signatures are not
checked, but for the region that a request was signed for. Invariant: without a quirk it answers as AWS
documents for what offsite asks; each quirk changes one thing and counts how often it showed.
"""
import base64
import email.utils
import hashlib
import re
import ssl
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote_plus, unquote, urlsplit

QUIRKS = {
    "create-conflict": "the first two creates of each key answer 409 ConditionalRequestConflict",
    "no-conditions-501": "If-None-Match and If-Match on a PUT answer 501",
    "no-conditions-400": "the same with 400 InvalidArgument",
    "no-copy-conditions-501": "If-None-Match and If-Match on a CopyObject answer 501",
    "no-copy-conditions-400": "the same with 400 InvalidArgument",
    "no-end-conditions-501": "If-None-Match and If-Match on a CompleteMultipartUpload answer 501",
    "no-end-conditions-400": "the same with 400 InvalidArgument",
    "no-checksums-501": "every x-amz-checksum-* and x-amz-sdk-checksum-* header answers 501",
    "no-checksums-400": "the same with 400 InvalidArgument",
    "no-bulk-delete": "DeleteObjects answers 501",
    "no-copy": "CopyObject and UploadPartCopy answer 501",
    "md5-wanted": "settings of a bucket and DeleteObjects want Content-MD5, and no other checksum will do",
    "busy": "each fifth request answers 429 with a body",
    "busy-bare": "each fifth request answers 429 with Retry-After and no body, a HEAD too",
    "other-region": "requests signed for another region than eu-test-7 answer 301, with the region in a header",
    "whole": "a ranged GET is answered 200 with the whole object",
    "unmarked": "a ranged GET is answered 200 with the part and its Content-Range",
    "kms-tags": "tags are not the MD5 of the content",
    "virtual-hosts": "the bucket is in the host's name, and only there",
    "requester-pays": "requests without x-amz-request-payer answer 403",
    "no-versions": "ListObjectVersions answers 501",
    "no-settings": "versioning and lifecycle answer 501",
    "equal-parts": "all parts of an upload but the last must have one size",
    "part-tags": "an object that was put together of parts has the MD5 of the whole as its tag, which is not the one in the answer",
    "part-copies-ignored": "a part that is to be copied is taken for a part without bytes",
    "part-copies-whole": "a part that is to be copied becomes the whole object, whatever its range",
    "garbage": "what is read is not what was put",
}
REGION = "eu-test-7"
SETTINGS = ("versioning", "lifecycle", "object-lock", "publicAccessBlock", "encryption", "location", "policy")


@dataclass
class Bucket:
    objects: dict = field(default_factory=dict)  # key to (content, tag, time)
    uploads: dict = field(default_factory=dict)  # id to (key, parts)
    summed: set = field(default_factory=set)  # uploads whose parts have a SHA-256
    settings: dict = field(default_factory=dict)  # name to body
    creates: Counter = field(default_factory=Counter)


class Refused(Exception):
    def __init__(self, status: int, code: str, text: str = "as the test wants it", headers: dict | None = None, body: bool = True):
        self.status, self.code, self.text, self.headers, self.body = status, code, text, headers or {}, body


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # who hung up is no fault of this server


class QuirkyS3:
    """Listens on a free port of 127.0.0.1 from its making to `close`; with `tls`, a certificate and its key, by TLS."""

    def __init__(self, *quirks: str, tls: tuple[str, str] | None = None) -> None:
        unknown = set(quirks) - set(QUIRKS)
        if unknown:
            raise ValueError(f"no such quirk: {unknown}")
        self.quirks, self.shown, self.requests, self.log = set(quirks), Counter(), 0, []
        self.ahead = 0  # seconds by which its clock is ahead of this machine's
        self.buckets: dict[str, Bucket] = {}
        self.lock = threading.RLock()
        handler = type("Handler", (Handler,), {"server_": self})
        self.http = Listener(("127.0.0.1", 0), handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            # Each connection's own thread shakes hands, so that one who does not like the certificate holds up nobody.
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def now(self) -> float:
        return time.time() + self.ahead

    def has(self, quirk: str) -> bool:
        """Whether a quirk is on; noted as shown, so ask only where it would show."""
        if quirk in self.quirks:
            self.shown[quirk] += 1
        return quirk in self.quirks

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def xml(text: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&apos;", "'").replace("&amp;", "&")


def sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms behind its head
    server_: QuirkyS3

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None) -> str:
        return super().date_time_string(self.server_.now() if timestamp is None else timestamp)

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.data = self.rfile.read(length)
        url = urlsplit(self.path)
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        path = unquote(url.path).lstrip("/")
        server = self.server_
        with server.lock:
            server.requests += 1
            try:
                if "virtual-hosts" in server.quirks:
                    name, _, rest = self.headers["Host"].partition(".")
                    if not rest:
                        raise Refused(400, "InvalidRequest", "the bucket is not in the host's name")
                    server.shown["virtual-hosts"] += 1
                    self.bucket_name, self.key = name, path
                else:
                    self.bucket_name, _, self.key = path.partition("/")
                self.before()
                status, headers, body = self.object() if self.key else self.bucket()
            except Refused as no:
                status, headers = no.status, {"Content-Type": "application/xml", **no.headers}
                body = xml(f"<Error><Code>{no.code}</Code><Message>{escaped(no.text)}</Message></Error>") if no.body else b""
            server.log.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # who has cut a part out of a whole object hangs up

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def checksums(self) -> list[str]:
        return [name for name in self.headers if name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-checksum-"))]

    def before(self) -> None:
        """What is refused whatever is asked for."""
        has = self.server_.has
        if self.server_.requests % 5 == 0 and has("busy"):
            raise Refused(429, "TooManyRequests", "Please reduce your request rate")
        if self.server_.requests % 5 == 0 and has("busy-bare"):
            raise Refused(429, "", headers={"Retry-After": "1"}, body=False)
        signed = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3/", self.headers.get("Authorization", ""))
        if signed and signed[1] != REGION and has("other-region"):
            raise Refused(301, "PermanentRedirect", "The bucket is in another region", {"x-amz-bucket-region": REGION})
        if has("requester-pays") and self.headers.get("x-amz-request-payer") != "requester":
            raise Refused(403, "AccessDenied", "Access Denied")
        sums = self.checksums()
        if sums and has("no-checksums-501"):
            raise Refused(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        if sums and has("no-checksums-400"):
            raise Refused(400, "InvalidArgument", f"Unsupported header '{sums[0]}' received for this API call.")
        given = self.headers.get("Content-MD5")
        if given and given != base64.b64encode(hashlib.md5(self.data).digest()).decode():
            raise Refused(400, "BadDigest", "The Content-MD5 is not that of the body")

    # --- buckets ---

    def bucket(self):
        has, named = self.server_.has, [name for name in SETTINGS if name in self.query]
        if self.command == "PUT" and not named:
            self.server_.buckets.setdefault(self.bucket_name, Bucket())
            return 200, {}, b""
        bucket = self.there()
        if self.command == "POST" and "delete" in self.query:
            return self.delete_many(bucket)
        if named:
            return self.setting(bucket, named[0])
        if self.command == "HEAD":
            return 200, {"x-amz-bucket-region": REGION}, b""
        if "uploads" in self.query:
            found = "".join(f"<Upload><Key>{escaped(key)}</Key><UploadId>{i}</UploadId><Initiated>{stamp(0)}</Initiated></Upload>" for i, (key, _) in bucket.uploads.items())
            return 200, {}, xml(f"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{found}</ListMultipartUploadsResult>")
        if "versions" in self.query:
            if has("no-versions"):
                raise Refused(501, "NotImplemented")
            found = "".join(f"<Version>{self.listed(key, value)}<VersionId>null</VersionId><IsLatest>true</IsLatest></Version>"
                            for key, value in sorted(bucket.objects.items()) if key.startswith(self.query.get("prefix", "")))
            return 200, {}, xml(f"<ListVersionsResult>{self.encoding()}<IsTruncated>false</IsTruncated>{found}</ListVersionsResult>")
        return self.listing(bucket)

    def there(self) -> Bucket:
        if self.bucket_name not in self.server_.buckets:
            raise Refused(404, "NoSuchBucket")
        return self.server_.buckets[self.bucket_name]

    def setting(self, bucket: Bucket, name: str):
        if name in ("versioning", "lifecycle") and self.server_.has("no-settings"):
            raise Refused(501, "NotImplemented")
        if self.command == "PUT":
            self.md5_wanted()
            bucket.settings[name] = self.data
            return 200, {}, b""
        if self.command == "DELETE":
            bucket.settings.pop(name, None)
            return 204, {}, b""
        missing = {"lifecycle": "NoSuchLifecycleConfiguration", "object-lock": "ObjectLockConfigurationNotFoundError",
                   "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration", "encryption": "ServerSideEncryptionConfigurationNotFoundError"}
        if name in bucket.settings:
            return 200, {"Content-Type": "application/xml"}, bucket.settings[name]
        if name in missing:
            raise Refused(404, missing[name])
        root = {"versioning": "VersioningConfiguration", "location": "LocationConstraint"}.get(name, "Nothing")
        return 200, {"Content-Type": "application/xml"}, xml(f"<{root}/>")

    def md5_wanted(self) -> None:
        if "md5-wanted" in self.server_.quirks:
            self.server_.shown["md5-wanted"] += 1
            if not self.headers.get("Content-MD5") or self.checksums():
                raise Refused(400, "InvalidRequest", "Missing required header for this request: Content-MD5")

    def delete_many(self, bucket: Bucket):
        if self.server_.has("no-bulk-delete"):
            raise Refused(501, "NotImplemented")
        self.md5_wanted()
        keys = [plain(key) for key in re.findall(r"<Key>(.*?)</Key>", self.data.decode(), re.S)]
        for key in keys:
            bucket.objects.pop(key, None)
        return 200, {}, xml("<DeleteResult>" + "".join(f"<Deleted><Key>{escaped(key)}</Key></Deleted>" for key in keys) + "</DeleteResult>")

    def shown(self, key: str) -> str:
        return quote_plus(key) if self.query.get("encoding-type") == "url" else escaped(key)

    def encoding(self) -> str:
        return "<EncodingType>url</EncodingType>" if self.query.get("encoding-type") == "url" else ""

    def listed(self, key: str, value) -> str:
        content, tag, at = value
        return (f"<Key>{self.shown(key)}</Key><LastModified>{stamp(at)}</LastModified><ETag>&quot;{tag}&quot;</ETag>"
                f"<Size>{len(content)}</Size><StorageClass>STANDARD</StorageClass>")

    def listing(self, bucket: Bucket):
        prefix, after = self.query.get("prefix", ""), self.query.get("continuation-token") or self.query.get("start-after", "")
        most = min(int(self.query.get("max-keys", 1000)), 1000)
        keys = sorted((key for key in bucket.objects if key.startswith(prefix) and key > after), key=lambda key: key.encode())
        page, more = keys[:most], len(keys) > most
        found = "".join(f"<Contents>{self.listed(key, bucket.objects[key])}</Contents>" for key in page)
        token = f"<NextContinuationToken>{escaped(page[-1])}</NextContinuationToken>" if more else ""
        return 200, {"Content-Type": "application/xml"}, xml(
            f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{self.bucket_name}</Name>{self.encoding()}'
            f"<KeyCount>{len(page)}</KeyCount><MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{found}</ListBucketResult>")

    # --- objects ---

    def object(self):
        bucket = self.there()
        if self.command in ("GET", "HEAD"):
            return self.read(bucket)
        if self.command == "POST" and "uploads" in self.query:
            upload = uuid.uuid4().hex
            bucket.uploads[upload] = (self.key, {})
            if self.headers.get("x-amz-checksum-algorithm") == "SHA256":
                bucket.summed.add(upload)
            return 200, {}, xml(f"<InitiateMultipartUploadResult><Bucket>{self.bucket_name}</Bucket><Key>{escaped(self.key)}</Key>"
                                f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        if "uploadId" in self.query:
            return self.upload(bucket)
        if self.command == "DELETE":
            bucket.objects.pop(self.key, None)
            return 204, {}, b""
        return self.put(bucket)

    def tag(self, content: bytes) -> str:
        return hashlib.md5(content + (uuid.uuid4().bytes if self.server_.has("kms-tags") else b"")).hexdigest()

    def read(self, bucket: Bucket):
        if self.key not in bucket.objects:
            raise Refused(404, "NoSuchKey")
        content, tag, at = bucket.objects[self.key]
        if self.command == "GET" and self.server_.has("garbage"):
            content = bytes(byte ^ 1 for byte in content)
        headers = {"ETag": f'"{tag}"', "Last-Modified": email.utils.formatdate(at, usegmt=True), "Content-Type": "application/octet-stream"}
        wanted = self.headers.get("If-Match")
        if wanted and wanted.strip('"') != tag:
            raise Refused(412, "PreconditionFailed")
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if self.command == "HEAD" or not asked or self.server_.has("whole"):
            return 200, {**headers, "Content-Length": str(len(content))}, content
        first = int(asked[1]) if asked[1] else max(0, len(content) - int(asked[2]))
        last = min(int(asked[2]), len(content) - 1) if asked[1] and asked[2] else len(content) - 1
        if first >= len(content):
            raise Refused(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return 200 if self.server_.has("unmarked") else 206, headers, content[first:last + 1]

    def conditions(self, bucket: Bucket, *quirks: str) -> None:
        has, there = self.server_.has, bucket.objects.get(self.key)
        creates, replaces = self.headers.get("If-None-Match"), self.headers.get("If-Match")
        for quirk in quirks if creates or replaces else ():
            if has(f"{quirk}-501"):
                raise Refused(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
            if has(f"{quirk}-400"):
                raise Refused(400, "InvalidArgument", "The header is not allowed")
        if creates and "create-conflict" in self.server_.quirks:
            bucket.creates[self.key] += 1
            if bucket.creates[self.key] <= 2:
                has("create-conflict")
                raise Refused(409, "ConditionalRequestConflict", "The conditional request cannot succeed now")
        if creates and there or replaces and (not there or there[1] != replaces.strip('"')):
            raise Refused(412, "PreconditionFailed")

    def put(self, bucket: Bucket):
        source = self.headers.get("x-amz-copy-source")
        self.conditions(bucket, "no-conditions", *(["no-copy-conditions"] if source else []))
        if source:
            content = self.copied(source)
            tag = self.tag(content)
            bucket.objects[self.key] = (content, tag, self.server_.now())
            return 200, {}, xml(f"<CopyObjectResult><ETag>&quot;{tag}&quot;</ETag><LastModified>{stamp(self.server_.now())}</LastModified></CopyObjectResult>")
        self.checked()
        tag = self.tag(self.data)
        bucket.objects[self.key] = (self.data, tag, self.server_.now())
        return 200, {"ETag": f'"{tag}"'}, b""

    def checked(self) -> None:
        given = self.headers.get("x-amz-checksum-sha256")
        if given and given != sha256(self.data):
            raise Refused(400, "BadDigest", "The SHA-256 is not that of the body")

    def copied(self, source: str) -> bytes:
        if self.server_.has("no-copy"):
            raise Refused(501, "NotImplemented")
        name, _, key = unquote(source).lstrip("/").partition("/")
        found = self.server_.buckets.get(name, Bucket()).objects.get(key)
        if not found:
            raise Refused(404, "NoSuchKey")
        wanted = self.headers.get("x-amz-copy-source-if-match")
        if wanted and wanted.strip('"') != found[1]:
            raise Refused(412, "PreconditionFailed")
        return found[0]

    def stretch(self, content: bytes) -> bytes:
        """The bytes of an object that a part is to be copied of."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("x-amz-copy-source-range") or f"bytes=0-{len(content) - 1}")
        if not wanted or int(wanted[2]) >= len(content):
            raise Refused(400, "InvalidRange", "The x-amz-copy-source-range value must be within the source object")
        return content[int(wanted[1]):int(wanted[2]) + 1]

    def named(self, parts: dict[int, bytes], summed: bool) -> None:
        """The parts that the end of an upload names are those that arrived: with their tags and, if asked for, checksums."""
        found = re.findall(r"<Part>(.*?)</Part>", self.data.decode(), re.DOTALL)
        for part in found:
            get = {name: plain(value).strip('"') for name, value in re.findall(r"<(\w+)>([^<]*)</", part)}
            content = parts.get(int(get["PartNumber"]))
            if content is None or get["ETag"] != hashlib.md5(content).hexdigest():
                raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found")
            if summed and get.get("ChecksumSHA256") != sha256(content):
                raise Refused(400, "InvalidRequest", "The upload was created using a sha256 checksum, which each part must have")
        if len(found) != len(parts):
            raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found")

    def upload(self, bucket: Bucket):
        if self.query["uploadId"] not in bucket.uploads:
            raise Refused(404, "NoSuchUpload")
        key, parts = bucket.uploads[self.query["uploadId"]]
        if self.command == "DELETE":
            del bucket.uploads[self.query["uploadId"]]
            return 204, {}, b""
        if self.command == "PUT":
            self.checked()
            has, source = self.server_.has, self.headers.get("x-amz-copy-source")
            if source and has("part-copies-ignored"):
                source = None
            content = self.copied(source) if source else self.data
            if source and not has("part-copies-whole"):
                content = self.stretch(content)
            parts[int(self.query["partNumber"])] = content
            tag = hashlib.md5(content).hexdigest()
            if not source:
                given = self.headers.get("x-amz-checksum-sha256")
                return 200, {"ETag": f'"{tag}"', **({"x-amz-checksum-sha256": given} if given else {})}, b""
            made = f"<ETag>&quot;{tag}&quot;</ETag><LastModified>{stamp(self.server_.now())}</LastModified>"
            if self.query["uploadId"] in bucket.summed:
                made += f"<ChecksumSHA256>{sha256(content)}</ChecksumSHA256>"
            return 200, {}, xml(f"<CopyPartResult>{made}</CopyPartResult>")
        self.named(parts, self.query["uploadId"] in bucket.summed)
        sizes = [len(parts[number]) for number in sorted(parts)]
        if len(set(sizes[:-1])) > 1 and self.server_.has("equal-parts"):
            raise Refused(400, "InvalidPart", "All non-trailing parts must have the same length.")
        self.conditions(bucket, "no-end-conditions")
        content = b"".join(parts[number] for number in sorted(parts))
        tag = f"{self.tag(content)}-{len(parts)}"
        kept = hashlib.md5(content).hexdigest() if self.server_.has("part-tags") else tag
        bucket.objects[key] = (content, kept, self.server_.now())
        del bucket.uploads[self.query["uploadId"]]
        return 200, {}, xml(f"<CompleteMultipartUploadResult><ETag>&quot;{tag}&quot;</ETag></CompleteMultipartUploadResult>")
