"""The S3 servers: started and stopped by `integration/servers`, named by what those print.

A server that runs already is used and left running. Invariant: one that cannot be started ends the
whole run with its reason; no test is ever skipped for it.
"""
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

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
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "OFFSITE_", "XDG_", "RUST_"))}
        return {**clean, **{k: v for k, v in self.env.items() if k.startswith("AWS_")}}

    def stop(self) -> None:
        if not self.ran_before:
            subprocess.run([self.script, "stop"], check=False)
