"""The servers, S3, Google's, SFTP, WebDAV and Azure's: started and stopped by `integration/servers`, named by what those print.

A server that runs already is used and left running. Invariant: one that cannot be started ends the
whole run with its reason; no test is ever skipped for it.
"""
import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import boto3
from botocore.config import Config

SCRIPTS = Path(__file__).resolve().parent.parent / "servers"
MAKES = ("seaweedfs", "moto")


class Server:
    def __init__(self, make: str) -> None:
        self.make = make
        self.script = str(SCRIPTS / make)
        self.ran_before = subprocess.run([self.script, "status"], stdout=subprocess.DEVNULL).returncode == 0
        started = subprocess.run([self.script, "start"], stdout=subprocess.PIPE, text=True)
        if started.returncode != 0:
            sys.exit(f"{make}: cannot be started")
        words = [shlex.split(line)[1] for line in started.stdout.splitlines() if line.startswith("export ")]
        self.env = dict(word.split("=", 1) for word in words)
        self.known()

    def known(self) -> None:
        self.endpoint = self.env["OFFSITE_TEST_S3_ENDPOINT"]
        self.port = urlsplit(self.endpoint).port
        self.bucket = self.env["OFFSITE_TEST_S3_BUCKET"]
        self.versioned = self.env["OFFSITE_TEST_S3_VERSIONED_BUCKET"]
        self.key = self.env["AWS_ACCESS_KEY_ID"]
        self.secret = self.env["AWS_SECRET_ACCESS_KEY"]
        self._local = threading.local()

    @property
    def s3(self):
        """A boto3 client of this thread."""
        if not hasattr(self._local, "s3"):
            session = boto3.session.Session(self.key, self.secret, region_name="us-east-1")
            how = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 5})
            self._local.s3 = session.client("s3", endpoint_url=self.endpoint, config=how)
        return self._local.s3

    def environment(self) -> dict[str, str]:
        """The variables a user of this server would have set, and none of the user who runs the tests."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "GOOGLE_", "OFFSITE_", "XDG_", "RUST_"))}
        return {**clean, **{k: v for k, v in self.env.items() if k.startswith(("AWS_", "GOOGLE_"))}}

    def stop(self) -> None:
        if not self.ran_before:
            subprocess.run([self.script, "stop"], check=False)


class Gcs(Server):
    """The fake Google Cloud Storage."""

    def known(self) -> None:
        self.endpoint, self.control = self.env["OFFSITE_TEST_GCS_ENDPOINT"], self.env["OFFSITE_TEST_GCS_CONTROL"]
        self.port = urlsplit(self.endpoint).port
        self.bucket, self.versioned = self.env["OFFSITE_TEST_GCS_BUCKET"], self.env["OFFSITE_TEST_GCS_VERSIONED_BUCKET"]
        self.keys = Path(self.env["OFFSITE_TEST_GCS_KEYS"])
        key = json.loads((self.keys / "admin.json").read_text())["private_key"]
        self.secret = key.splitlines()[2]
        self.token = json.loads(self.ask("computeMetadata/v1/instance/service-accounts/default/token"))["access_token"]

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> bytes:
        """A request of somebody who is not offsite."""
        headers = {"Metadata-Flavor": "Google", **({"Authorization": f"Bearer {self.token}"} if hasattr(self, "token") else {})}
        with urlopen(Request(f"{self.endpoint}/{path}", body, headers, method=method), timeout=30) as answer:
            return answer.read()


class Sftp:
    """The OpenSSH server, as a test sees it."""

    make, secret = "openssh", None

    def __init__(self) -> None:
        self.script = str(SCRIPTS / self.make)
        self.ran_before = subprocess.run([self.script, "status"], stdout=subprocess.DEVNULL).returncode == 0
        started = subprocess.run([self.script, "start"], stdout=subprocess.PIPE, text=True)
        if started.returncode != 0:
            sys.exit(f"{self.make}: cannot be started")
        words = [shlex.split(line)[1] for line in started.stdout.splitlines() if line.startswith("export ")]
        self.env = dict(word.split("=", 1) for word in words)
        self.directory = Path(self.env["OFFSITE_TEST_SFTP_DIR"])

    def place(self, path: str, config: str = "") -> str:
        """The URL of a directory; another settings file for `ssh` where one is named."""
        settings = self.env["OFFSITE_TEST_SFTP_CONFIG"] + (config and f"-{config}")
        return f"{self.env['OFFSITE_TEST_SFTP_URL']}/{path}?ssh_config={settings}"

    def confined(self, path: str) -> str:
        return f"{self.env['OFFSITE_TEST_SFTP_CONFINED_URL']}/{path}?ssh_config={self.env['OFFSITE_TEST_SFTP_CONFIG']}"

    def environment(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "OFFSITE_", "XDG_", "RUST_", "SSH_"))}

    def stop(self) -> None:
        if not self.ran_before:
            subprocess.run([self.script, "stop"], check=False)


class Opendal(Server):
    """A server that offsite speaks with through OpenDAL: WsgiDAV or Azurite. Tests look at it past offsite."""

    def __init__(self, make: str) -> None:
        super().__init__("azurite" if make == "azure" else make)
        self.make = make

    def known(self) -> None:
        self.is_tree = "OFFSITE_TEST_WEBDAV_URL" in self.env
        self.place, query = self.env["OFFSITE_TEST_WEBDAV_URL" if self.is_tree else "OFFSITE_TEST_AZURE_URL"].split("?")
        self.query = dict(pair.split("=", 1) for pair in query.split("&"))
        self.endpoint = self.query["endpoint"]
        self.port = urlsplit(self.endpoint).port
        self.secret = self.env["OFFSITE_WEBDAV_PASSWORD" if self.is_tree else "OFFSITE_AZBLOB_ACCOUNT_KEY"]

    def keys(self, prefix: str) -> dict[str, int]:
        """Files below a prefix and their sizes, without the prefix."""
        if self.is_tree:
            root = Path(self.env["OFFSITE_TEST_WEBDAV_DIR"]) / "offsite-test" / prefix
            return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*") if p.is_file()}
        whole, marker, found = f"offsite-test/{prefix}/", "", {}
        while True:
            query = urlencode({"restype": "container", "comp": "list", "prefix": whole, "marker": marker})
            page = ElementTree.fromstring(self.ask(f"offsite-test?{query}"))
            found.update((b.findtext("Name")[len(whole):], int(b.findtext("Properties/Content-Length"))) for b in page.iter("Blob"))
            marker = page.findtext("NextMarker")
            if not marker:
                return found

    def object(self, prefix: str, key: str) -> bytes:
        if self.is_tree:
            return (Path(self.env["OFFSITE_TEST_WEBDAV_DIR"]) / "offsite-test" / prefix / key).read_bytes()
        return self.ask(f"offsite-test/offsite-test/{quote(prefix)}/{quote(key)}")

    def ask(self, path: str) -> bytes:
        with urlopen(Request(f"{self.endpoint}/{path}", headers={"x-ms-version": "2022-11-02"}), timeout=30) as answer:
            return answer.read()

    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "AZURE_", "OFFSITE_", "XDG_", "RUST_"))}
        return {**clean, **{k: v for k, v in self.env.items() if k.startswith(("OFFSITE_WEBDAV_", "OFFSITE_AZBLOB_"))}}


def open_server(make: str) -> Server | Sftp:
    if make == Sftp.make:
        return Sftp()
    if make in ("webdav", "azure"):
        return Opendal(make)
    return Gcs(make) if make == "gcs" else Server(make)


def by_sftp(case, place: Path, name: str) -> str:
    """A directory of this machine through an SFTP server."""
    shell = case.dir / "sftp-shell"
    shell.write_text("#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n")
    shell.chmod(0o755)
    return f"sftp://here{place}/{name}?ssh={shlex.quote(str(shell))}"
