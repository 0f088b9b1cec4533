"""What one test works with: a directory, a cache, a place on a server, and the program.

Invariants: every document that `--json` prints is held against its schema; whatever the program prints or
leaves in its cache is searched for the secret key; no test sees another one's objects.
"""
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
from registry import Wrong, check
from servers import Sftp

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("OFFSITE_BIN") or str(ROOT / "target" / "release" / "offsite")
SCHEMAS = ROOT / "docs" / "schema"
RUN = secrets.token_hex(4)  # a server that ran before may hold what an earlier run left


class Ran:
    """A run of the program that has ended."""

    def __init__(self, args, code: int, out: bytes, err: bytes, seconds: float) -> None:
        self.args, self.code, self.raw, self.seconds = [str(a) for a in args], code, out, seconds
        self.out, self.err = out.decode(errors="replace"), err.decode(errors="replace")

    def __str__(self) -> str:
        return f"`{' '.join(self.args)}` ended with {self.code} after {self.seconds:.1f} s\n{self.out[-1500:]}\n{self.err[-2500:]}"

    @property
    def document(self):
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise Wrong(f"not one JSON document ({error}): {self}") from error

    def says(self, *words: str) -> "Ran":
        for word in words:
            check(word in self.err or word in self.out, f"`{word}` is not said: {self}")
        return self


class Case:
    def __init__(self, name: str, server, work: Path) -> None:
        self.server, self.name = server, name
        self.dir = work / f"{name}-{server.make if server else 'local'}"
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        self.source = self.dir / "source"
        self.source.mkdir()
        base = server.environment() if server else {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        self.env = {**base, "OFFSITE_CACHE_DIR": str(self.dir / "cache"), "HOME": str(self.dir), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.secret = server.secret if server else None
        self.closing: list = []  # called at the end, last first

    # --- places ---
    def url(self, name: str = "d", port: int | None = None, bucket: str | None = None, **settings: str) -> str:
        if isinstance(self.server, Sftp):
            return self.server.place(self.prefix(name), **settings)
        endpoint = f"http://127.0.0.1:{port}" if port else self.server.endpoint
        query = "&".join(f"{k}={v}" for k, v in {"endpoint": endpoint, **settings}.items())
        scheme = "b2" if self.server.make == "b2" else "s3"
        return f"{scheme}://{bucket or self.server.bucket}/{self.prefix(name)}?{query}"

    def prefix(self, name: str = "d") -> str:
        return f"{RUN}/{self.name}/{name}"

    def keys(self, name: str = "d", bucket: str | None = None) -> dict[str, int]:
        """Keys below a prefix, without it, and their sizes, as boto3 sees them."""
        prefix, found = self.prefix(name) + "/", {}
        pages = self.server.s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket or self.server.bucket, Prefix=prefix):
            found.update((o["Key"][len(prefix):], o["Size"]) for o in page.get("Contents", []))
        return found

    def content_keys(self, name: str = "d", bucket: str | None = None) -> set[str]:
        return {key for key in self.keys(name, bucket) if not key.startswith(".offsite/")}

    def object(self, key: str, name: str = "d", bucket: str | None = None) -> bytes:
        return self.server.s3.get_object(Bucket=bucket or self.server.bucket, Key=f"{self.prefix(name)}/{key}")["Body"].read()

    def put(self, key: str, body: bytes, name: str = "d", bucket: str | None = None) -> None:
        self.server.s3.put_object(Bucket=bucket or self.server.bucket, Key=f"{self.prefix(name)}/{key}", Body=body)

    def uploads(self, name: str = "d") -> list:
        """Uploads in parts that are not finished."""
        listed = self.server.s3.list_multipart_uploads(Bucket=self.server.bucket, Prefix=self.prefix(name))
        return listed.get("Uploads", [])

    # --- the program ---
    def start(self, *args, env=None, before=(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how) -> subprocess.Popen:
        command = [*map(str, before), PROGRAM, *map(os.fspath, args)]
        process = subprocess.Popen(command, cwd=self.dir, env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL,
                                   stdout=stdout, stderr=stderr, start_new_session=True, **how)
        process.started = time.monotonic()
        return process

    def end(self, process: subprocess.Popen, args=(), timeout: float = 90) -> Ran:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise Wrong(f"still running after {timeout} s: {Ran(args, -9, out, err, timeout)}") from None
        ran = Ran(args, process.returncode, out or b"", err or b"", time.monotonic() - process.started)
        self.no_secret(ran.raw + ran.err.encode(), f"the output of {ran.args}")
        check("panicked" not in ran.err, f"a panic: {ran}")
        return ran

    def run(self, *args, code: int | None = 0, timeout: float = 90, **how) -> Ran:
        ran = self.end(self.start(*args, **how), args, timeout)
        if code is not None and ran.code != code:
            raise Wrong(f"wanted exit code {code}: {ran}")
        return ran

    def json(self, verb: str, *args, code: int | None = 0, **how):
        """Runs with --json, and holds the document against the schema of its verb."""
        ran = self.run(verb, *args, "--json", code=code, **how)
        document = ran.document
        if isinstance(document, dict) and {"error", "exit"} <= set(document) <= {"error", "exit", "failure"}:
            verb = "error"
        schema = json.loads((SCHEMAS / f"{verb}.json").read_text())
        try:
            jsonschema.Draft202012Validator(schema).validate(document)
        except jsonschema.ValidationError as error:
            raise Wrong(f"the document of {verb} does not fit its schema: {error.message} at {list(error.path)}") from None
        return document

    def sync(self, url: str, *args, **how):
        """A sync to one destination: its outcome."""
        return self.json("sync", self.source, url, *args, **how)["destinations"][0]

    def pull(self, url: str, to: str = "out", *args, **how):
        return self.json("pull", url, self.dir / to, *args, **how)

    # --- secrets and ends ---
    def no_secret(self, data: bytes, where: str) -> None:
        if self.secret and self.secret.encode() in data:
            raise Wrong(f"the secret key is in {where}")

    def close(self, failed: bool) -> None:
        for end in reversed(self.closing):
            end()
        if not failed:
            for path in (self.dir / "cache").rglob("*"):
                if path.is_file() and not path.is_symlink():
                    self.no_secret(path.read_bytes(), str(path))
            shutil.rmtree(self.dir, ignore_errors=True)
