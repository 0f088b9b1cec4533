"""A server behind SFTP: a real tree there, few packets, nothing to find for a second run, and a confined login."""
import os
import signal
import subprocess
import time
from pathlib import Path

from registry import check, same, test
from trees import alike, kinds, many, odd_names, write


def there(case, name="d") -> Path:
    return case.server.directory / case.prefix(name)


@test("openssh")
def sftp_a_round_trip(case):
    odd_names(case.source)
    kinds(case.source)
    os.utime(case.source / "empty-dir", (5, 5))  # no copy there can be older than 1970
    many(case.source / "many", 300)
    url = case.url()
    case.sync(url)
    case.pull(url)
    alike(case.source, case.dir / "out")
    case.run("pull", url, case.dir / "fresh", env={"OFFSITE_CACHE_DIR": str(case.dir / "other-cache")})
    alike(case.source, case.dir / "fresh")
    # What lies there is a copy as rsync would make it.
    told = ["rsync", "-an", "--delete", "--modify-window=1", "--out-format=%i %n", "--exclude=/.offsite", f"{case.source}/", f"{there(case)}/"]
    differs = subprocess.run(told, stdout=subprocess.PIPE, check=True).stdout
    same(differs, b"", "what rsync finds to do")
    check("many/" in case.run("ls", url).out, "ls does not show the directory")


@test("openssh")
def sftp_quiet_runs_list_nothing(case):
    many(case.source, 2000)
    url = case.url()
    case.sync(url)
    time.sleep(0.1)
    case.sync(url)
    outcome = case.sync(url)
    same({k: v for k, v in outcome["requests"].items() if v}, {"list": 1, "head": 1, "put": 1}, "no change")
    same(outcome["bytes"]["read"], 0, "bytes read")
    os.utime(case.source / "dir-000", (1, 1))
    case.pull(url)
    fetched = case.pull(url)
    same(fetched["files"], 0, "a second pull fetches")


@test("openssh")
def sftp_changes_and_history(case):
    many(case.source, 120)
    url = case.url()
    case.sync(url)
    first = sorted(case.source.rglob("*.txt"))
    before = first[0].read_bytes()
    first[0].write_text("replaced")
    first[1].unlink()
    os.rename(case.source / "dir-001", case.source / "moved") if (case.source / "dir-001").exists() else None
    outcome = case.sync(url)
    check(outcome["changes"]["changed"] >= 1 and outcome["changes"]["removed"] >= 1, outcome["changes"])
    case.pull(url, "now")
    alike(case.source, case.dir / "now")
    case.pull(url, "then", "--at", "1")
    same((case.dir / "then" / first[0].relative_to(case.source)).read_bytes(), before, "the content before")
    case.run("prune", url, "--keep-last", "1")
    same(len(case.json("snapshots", url)["snapshots"]), 1, "snapshots after a prune")
    kept = [p for p in (there(case) / ".offsite" / "kept").rglob("*") if p.is_file()] if (there(case) / ".offsite" / "kept").exists() else []
    same(kept, [], "kept contents after a prune")


@test("openssh")
def sftp_goes_on_after_a_kill(case):
    many(case.source, 400)
    write(case.source, "big", os.urandom(48 << 20))
    url = case.url()
    process = case.start("sync", case.source, url, "--limit-upload", "16MiB")
    time.sleep(2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    case.sync(url)
    case.pull(url)
    alike(case.source, case.dir / "out")


@test("openssh")
def sftp_refusals(case):
    write(case.source, "a", b"a")
    for name, words in (("unknown", "ssh-keyscan"), ("changed", "ssh-keygen"), ("wrong-key", "publickey")):
        case.run("sync", case.source, case.url(config=name), code=1).says(words)
    case.run("sync", case.source, "sftp://root:hush@127.0.0.1/x", code=2).says("password")
    case.run("ls", case.url("not-there"), code=2).says("no snapshot")


@test("openssh")
def sftp_confined_without_a_shell(case):
    many(case.source, 60)
    url = case.server.confined(case.prefix())
    case.sync(url)
    case.pull(url)
    alike(case.source, case.dir / "out")
