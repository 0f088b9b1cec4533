"""What a script in this directory tells with: a machine of its own, the old system's commands, offsite, and the list of features.

Owns the printing. `[x]` is a feature of the old set-up that was just seen to work, `[>]` one that another test of this
project shows, `[-]` one that has no counterpart, with what to do instead, `[ ]` one that should work and did not.
Invariant: a script with a `[ ]`, or whose story breaks off, ends with code 1.
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "bench")]

from install import WORK, enter  # noqa: E402

enter(sys.argv[0])

import jsonschema  # noqa: E402
from registry import Wrong  # noqa: E402
from servers import open_server  # noqa: E402

PROGRAM = os.environ.get("OFFSITE_BIN") or str(ROOT / "target" / "release" / "offsite")
PATIENCE = 180
SHOWN = 12


class Ended(Exception):
    """Something that the rest of the story needs did not come about."""


class Story:
    """One replaced system, from its own config to a restore onto an empty machine."""

    def __init__(self, system: str, *servers: str) -> None:
        self.system = system
        self.old_files = HERE / "old" / system
        self.dir = Path(tempfile.mkdtemp(prefix=f"offsite-{system}-"))
        self.servers = {}
        self.seen, self.missing, self.failed = 0, 0, 0
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "GOOGLE_", "OFFSITE_", "XDG_", "RUST_"))}
        self.env = {**clean, "HOME": str(self.dir / "home"), "LC_ALL": "C.UTF-8", "TZ": "UTC", "OFFSITE_CACHE_DIR": str(self.dir / "cache"),
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        (self.dir / "home").mkdir()
        for make in servers:
            self.servers[make] = server = open_server(make)
            self.env.update({k: v for k, v in server.environment().items() if k.startswith(("AWS_", "GOOGLE_"))})

    # --- what is told ---
    def chapter(self, title: str) -> None:
        print(f"\n-- {title}", flush=True)

    def feature(self, name: str, holds, how: str = "") -> None:
        """A feature of the old set-up: whether it was seen to hold, and how it is had now."""
        self.seen += bool(holds)
        self.failed += not holds
        print(f"[{'x' if holds else ' '}] {name}{': ' + how if how else ''}", flush=True)

    def elsewhere(self, name: str, where: str) -> None:
        """A feature that this run cannot show, and the test that does."""
        print(f"[>] {name}: {where}", flush=True)

    def gap(self, name: str, instead: str) -> None:
        """A feature that has no counterpart."""
        self.missing += 1
        print(f"[-] {name}: {instead}", flush=True)

    # --- what is done ---
    def run(self, *args, code: int | None = 0, env=None, cwd=None, stdin: bytes | None = None, shown: str = "old$") -> subprocess.CompletedProcess:
        """A command of the old set-up, or of its user. Output is bytes."""
        words = [os.fspath(a) if isinstance(a, Path) else str(a) for a in args]
        print(f"{shown} {self.short(shlex.join(words))}", flush=True)
        how = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        ran = subprocess.run(words, capture_output=True, timeout=PATIENCE, cwd=cwd or self.dir, env={**self.env, **(env or {})}, **how)
        if code is not None and ran.returncode != code:
            raise Ended(f"ended with {ran.returncode}, not {code}\n{ran.stdout.decode(errors='replace')[-2000:]}\n{ran.stderr.decode(errors='replace')[-3000:]}")
        return ran

    def offsite(self, *args, code: int | None = 0, quiet: bool = False, **how) -> subprocess.CompletedProcess:
        """The program, with what it says."""
        ran = self.run(PROGRAM, *args, code=code, shown="$", **how)
        lines = [] if quiet else (ran.stderr + ran.stdout).decode(errors="replace").splitlines()
        for line in lines[:SHOWN] + [f"… and {len(lines) - SHOWN} more lines"] * (len(lines) > SHOWN):
            print(f"    {self.short(line)}", flush=True)
        return ran

    def document(self, *args, code: int | None = 0, schema: str | None = None, **how):
        """The document of `--json`, held against the schema of its verb."""
        found = json.loads(self.offsite(*args, "--json", code=code, quiet=True, **how).stdout)
        file = ROOT / "docs" / "schema" / f"{schema or args[0]}.json"
        jsonschema.Draft202012Validator(json.loads(file.read_text())).validate(found)
        return found

    def short(self, text: str) -> str:
        """Without this machine's directories; those of a URL stay recognizable."""
        text = re.sub(rf"(?<=[\w.]){re.escape(str(self.dir))}/", "/…/", text.replace(PROGRAM, "offsite"))
        return text.replace(f"{self.dir}/", "").replace(str(self.dir), ".").replace(f"{WORK}/", "").replace(f"{ROOT}/", "")

    def write(self, name: str, content: str | bytes, mode: int = 0o644) -> Path:
        """A file below this story's directory."""
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def placed(self, name: str, places: dict[str, str] | None = None, mode: int = 0o644) -> Path:
        """A file of the old set-up in this story's directory; absolute paths of its machine become places of this story."""
        text = (self.old_files / name).read_text()
        for path, place in (places or {}).items():
            text = text.replace(path, str(place))
        return self.write(name, text, mode)

    def empty_machine(self, name: str = "new-machine") -> dict[str, str]:
        """Variables of a machine that knows nothing of the old one: an empty home and no cache."""
        home = self.dir / name
        home.mkdir()
        return {"HOME": str(home), "OFFSITE_CACHE_DIR": str(home / "cache")}

    def close(self) -> None:
        for server in self.servers.values():
            server.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def sent(outcome: dict) -> int:
    """Bytes that a run of jobs sent as content, all destinations together."""
    return sum(d["bytes"]["sent"] for job in outcome["jobs"] for d in job["destinations"])


def installed(name: str, *packages: str) -> Path:
    """The directory of programs of an old system that comes from PyPI, in an environment of its own; done once."""
    venv = WORK / f"venv-{name}"
    stamp, wanted = venv / "installed", "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, stdout=sys.stderr)
        subprocess.run([str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", *packages], check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return venv / "bin"


def tell(system: str, servers: tuple[str, ...], story) -> None:
    """Runs a story, prints how it went and exits."""
    print(f"== {system}", flush=True)
    one = Story(system, *servers)
    try:
        story(one)
    except (Ended, Wrong, OSError, subprocess.SubprocessError, jsonschema.ValidationError) as ended:
        print(f"[ ] the story goes on: {ended}", flush=True)
        one.failed += 1
    finally:
        one.close()
    print(f"\n{system}: {one.seen} features seen to work, {one.missing} without a counterpart, {one.failed} failed", flush=True)
    sys.exit(1 if one.failed else 0)
