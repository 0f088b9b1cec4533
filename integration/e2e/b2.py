"""The B2 emulator for the tests, with Backblaze's own command line beside it as another client.

Owns what tests ask of it: keys, what a bucket holds, and the `b2` command. Invariant: an emulator that
cannot be started ends the whole run with its reason.
"""
import base64
import json
import os
import secrets
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

SCRIPT = str(Path(__file__).resolve().parent.parent / "servers" / "b2")
ENOUGH = ["listBuckets", "listFiles", "readFiles", "writeFiles", "deleteFiles"]


class B2:
    make = "b2"

    def __init__(self) -> None:
        self.ran_before = subprocess.run([SCRIPT, "status"], stdout=subprocess.DEVNULL).returncode == 0
        started = subprocess.run([SCRIPT, "start"], stdout=subprocess.PIPE, text=True)
        if started.returncode != 0:
            sys.exit("b2: cannot be started")
        words = [shlex.split(line)[1] for line in started.stdout.splitlines() if line.startswith("export ")]
        env = dict(word.split("=", 1) for word in words)
        self.endpoint, self.bucket, self.cli = env["OFFSITE_TEST_B2_ENDPOINT"], env["OFFSITE_TEST_B2_BUCKET"], env["OFFSITE_TEST_B2_CLI"]
        self.key, self.secret = env["B2_APPLICATION_KEY_ID"], env["B2_APPLICATION_KEY"]
        pair = base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()
        self.token = self.request("/b2api/v4/b2_authorize_account", None, f"Basic {pair}")["authorizationToken"]
        self.bucket_id = self.call("b2_list_buckets", bucketName=self.bucket)["buckets"][0]["bucketId"]

    def request(self, path: str, body, token: str):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.endpoint + path, data, {"Authorization": token}), timeout=20) as answer:
            return json.load(answer)

    def call(self, name: str, **body):
        return self.request(f"/b2api/v4/{name}", body, self.token)

    def control(self, **wish):
        return self.request("/control", wish, "")

    def counts(self, key: str) -> dict[str, int]:
        return self.request(f"/control?key={key}", None, "")

    def limited(self, prefix: str | None = None, without: tuple[str, ...] = ()) -> dict[str, str]:
        """The variables of a new key for the bucket, or for some of its names."""
        made = self.call("b2_create_key", capabilities=[one for one in ENOUGH if one not in without], bucketIds=[self.bucket_id], namePrefix=prefix, keyName="e2e")
        return {"B2_APPLICATION_KEY_ID": made["applicationKeyId"], "B2_APPLICATION_KEY": made["applicationKey"]}

    def listed(self, prefix: str, versions: bool = False) -> list[dict]:
        name = "b2_list_file_versions" if versions else "b2_list_file_names"
        return self.call(name, bucketId=self.bucket_id, prefix=prefix, maxFileCount=10_000)["files"]

    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "B2_", "OFFSITE_", "XDG_", "RUST_"))}
        return {**clean, "B2_APPLICATION_KEY_ID": self.key, "B2_APPLICATION_KEY": self.secret}

    def command(self, home: Path, *args, check: bool = True) -> str:
        """Backblaze's own command; its account file lies in the test's directory."""
        env = {**self.environment(), "B2_ENVIRONMENT": self.endpoint, "B2_ACCOUNT_INFO": str(home / f"b2-account-{secrets.token_hex(3)}"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run([self.cli, *map(str, args)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=90)
        if check and done.returncode != 0:
            raise RuntimeError(f"b2 {args}: {done.stderr.decode()[-800:]}")
        return done.stdout.decode()

    def stop(self) -> None:
        if not self.ran_before:
            subprocess.run([SCRIPT, "stop"], check=False)
