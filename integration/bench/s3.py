"""A very small S3 client (signature version 4), so that the bench can check and clean without a tool under test.

It owns: list, get, delete many, make a bucket. It speaks to one server on loopback, past the proxy. Answers other
than 2xx are errors. The order of a listing means nothing here: some servers list directory by directory.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import time
import xml.etree.ElementTree as xml
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape


class Refused(Exception):
    """An answer that is not 2xx."""


class S3:
    def __init__(self, endpoint: str, key: str, secret: str, region: str, bucket: str) -> None:
        self.netloc = urlsplit(endpoint).netloc
        self.key, self.secret, self.region, self.bucket = key, secret, region, bucket
        self.connection = http.client.HTTPConnection(self.netloc, timeout=600)

    def call(self, method: str, key: str = "", query: dict[str, str] | None = None, body: bytes = b"",
             headers: dict[str, str] | None = None) -> bytes:
        path = "/" + quote(f"{self.bucket}/{key}" if key else self.bucket, safe="/-_.~")
        pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in (query or {}).items())
        line = "&".join(f"{k}={v}" for k, v in pairs)
        signed = self.sign(method, path, line, body)
        target = path + (f"?{line}" if line else "")
        try:
            answer, data = self.ask(method, target, body, {**signed, **(headers or {})})
        except (http.client.HTTPException, ConnectionError):  # kept open for longer than the server likes
            self.connection.close()
            answer, data = self.ask(method, target, body, {**signed, **(headers or {})})
        if answer.status // 100 != 2:
            raise Refused(f"{method} {path}: {answer.status} {data[:300]!r}")
        return data

    def ask(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request(method, target, body, headers)
        answer = self.connection.getresponse()
        return answer, answer.read()

    def sign(self, method: str, path: str, query: str, body: bytes) -> dict[str, str]:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": self.netloc, "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(headers)
        canonical = "\n".join([method, path, query, *(f"{k}:{v}" for k, v in headers.items()), "", names, digest])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = b"AWS4" + self.secret.encode()
        for part in (now[:8], self.region, "s3", "aws4_request", text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, "
                                    f"Signature={key.hex()}")
        return headers

    def make_bucket(self) -> None:
        try:
            self.call("PUT")
        except Refused as problem:
            if " 409 " not in str(problem):
                raise

    def list(self, prefix: str) -> dict[str, int]:
        """Every key below the prefix, without the prefix, with its size."""
        found: dict[str, int] = {}
        query = {"list-type": "2", "prefix": prefix, "max-keys": "1000"}
        while True:
            root = xml.fromstring(self.call("GET", query=query))
            space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
            for item in root.iter(f"{space}Contents"):
                key = item.findtext(f"{space}Key") or ""
                found[key[len(prefix):]] = int(item.findtext(f"{space}Size") or 0)
            token = root.findtext(f"{space}NextContinuationToken")
            if not token:
                return found
            query["continuation-token"] = token

    def get(self, key: str) -> bytes:
        return self.call("GET", key)

    def remove(self, prefix: str) -> int:
        """Deletes all keys below the prefix; a prefix is never used twice, so what stays does no harm."""
        keys = [prefix + key for key in self.list(prefix)]
        for start in range(0, len(keys), 1000):
            items = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys[start:start + 1000])
            body = f"<Delete><Quiet>true</Quiet>{items}</Delete>".encode()
            md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            self.call("POST", query={"delete": ""}, body=body, headers={"content-md5": md5})
        return len(keys)
