"""Sealed destinations: a life of one on every kind of store, with several ways to open it, other machines, and a kill."""
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from registry import NotHere, Wrong, check, same, test
from t_packed import PACK, acknowledged, objects, packs, place
from trees import alike, big, kinds, many, odd_names, write


def identity(case, name: str) -> tuple[str, Path]:
    """A new age identity: its recipient and its file."""
    if not shutil.which("age-keygen"):
        raise NotHere("age-keygen")
    file = case.dir / name
    subprocess.run(["age-keygen", "-o", file], check=True, capture_output=True)
    return subprocess.run(["age-keygen", "-y", file], check=True, capture_output=True, text=True).stdout.strip(), file


def ssh_identity(case, name: str) -> tuple[str, Path]:
    file = case.dir / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return str(file.with_suffix(".pub")), file


def elsewhere(case, name: str) -> dict[str, str]:
    """Another machine: without the cache and the keys of this one."""
    return {"OFFSITE_CACHE_DIR": str(case.dir / f"cache-{name}"), "OFFSITE_KEY_DIR": str(case.dir / f"keys-{name}")}


def comes_back(case, url: str, name: str, *args, like: Path | None = None) -> None:
    """On a machine that knows nothing."""
    case.pull(url, name, *args, env=elsewhere(case, name))
    alike(like or case.source, case.dir / name)
    shutil.rmtree(case.dir / name)


def sound(case, url: str, *args, **how) -> None:
    checked = case.json("check", url, "--read-data", *args, **how)
    same((checked["missing"], checked["changed"], checked["damaged"], checked["foreign"]), (0, 0, 0, 0), f"check: {checked}")


def nothing_in_the_clear(case) -> None:
    for key in objects(case):
        check(key == ".offsite/format.json" or key.startswith(".offsite/tmp/") or key.endswith(".age"), f"{key} is not sealed")


@test("seaweedfs", "moto", "openssh", "b2", "gcs")
def sealed_a_life(case):
    life(case)


@test(local=True)
def sealed_a_life_in_a_directory(case):
    life(case)


def life(case):
    url = place(case)
    (mine, mine_file), (ssh, ssh_file) = identity(case, "mine.txt"), ssh_identity(case, "backup-key")
    odd_names(case.source)
    kinds(case.source)
    many(case.source / "many", 200)
    big(case.source / "big.bin", 20 << 20)
    os.utime(case.source / "empty-dir", (5, 5))
    case.run("sync", case.source, url, "--seal-to", mine, code=2).says("one recipient alone")
    first = case.sync(url, "--seal-to", mine, "--seal-to", ssh)
    check(sum(first["requests"].values()) <= 60, f"requests of a first run: {first['requests']}")
    nothing_in_the_clear(case)
    comes_back(case, url, "by-age", "--identity", mine_file)
    comes_back(case, url, "by-ssh", "--identity", ssh_file)
    subprocess.run(["cp", "-a", case.source, case.dir / "was-1"], check=True)

    write(case.source, "many/dir-000/file-00003.txt", b"changed")
    (case.source / "many/dir-001/file-00060.txt").unlink()
    os.rename(case.source / "many/dir-002", case.source / "moved")
    outcome = case.sync(url)
    check(outcome["changes"]["renamed"] == 50 and outcome["bytes"]["sent"] <= 1 << 20, outcome)
    comes_back(case, url, "second", "--identity", mine_file)
    comes_back(case, url, "then", "--at", "1", "--identity", ssh_file, like=case.dir / "was-1")
    case.run("cat", url, "many/dir-000/file-00003.txt", code=2).says("--identity", "seal.passphrase_command")
    same(case.run("cat", url, "many/dir-000/file-00003.txt", "--identity", mine_file).raw, b"changed", "cat")
    case.sync(url)
    outcome = case.sync(url)
    quiet = sum(outcome["requests"].values())
    check(outcome["bytes"]["sent"] == 0 and quiet <= (6 if case.server and case.server.make == "b2" else 3), f"no change: {outcome}")

    case.json("prune", url, "--keep-last", "1")
    sound(case, url)
    sound(case, url, "--identity", mine_file, env=elsewhere(case, "checks"))
    case.run("check", url, env=elsewhere(case, "no-key"), code=2).says("--identity")
    case.run("pull", url, case.dir / "late", "--at-least", "99", "--identity", mine_file, env=elsewhere(case, "late"), code=4).says("--at-least")
    other_machines(case, url, mine_file, ssh_file)


def other_machines(case, url: str, mine_file: Path, ssh_file: Path) -> None:
    """A recipient is added, a second machine gets a writer key and writes, and the keys are rotated."""
    anna, anna_file = identity(case, "anna.txt")
    added = case.json("key", "add", url, "--seal-to", anna, "--identity", mine_file)
    same(added["added"], ["2.age"], f"key add: {added}")
    comes_back(case, url, "by-anna", "--identity", anna_file)
    second = elsewhere(case, "second")
    written = case.run("key", "writer", url, "--identity", ssh_file, env=second).raw
    number = written.decode().split("offsite writer key for ")[1].split(":")[0]
    keys = Path(second["OFFSITE_KEY_DIR"])
    keys.mkdir(mode=0o700)
    (keys / f"{number}.key").write_bytes(written)
    case.run("sync", case.source, url, env=elsewhere(case, "third"), code=2).says("writer key")
    write(case.source, "by-the-second", b"machine")
    case.sync(url, env=second)
    sound(case, url, env=second)
    check((keys / f"{number}.1.age").exists(), "the second machine has no copy of the key file after its check")
    comes_back(case, url, "of-two", "--identity", mine_file)

    rotated = case.json("key", "rotate", url, "--seal-to", anna, "--only-key", env=second)
    same(rotated["added"], ["3.age"], f"key rotate: {rotated}")
    write(case.source, "after the rotation", b"for anna")
    case.sync(url, env=second)
    comes_back(case, url, "anna-again", "--identity", anna_file)
    case.run("pull", url, case.dir / "no-more", "--identity", mine_file, env=elsewhere(case, "no-more"), code=None)
    check(not (case.dir / "no-more" / "after the rotation").exists(), "who was excluded reads what came after")
    check(case.run("sync", case.source, url, code=None).code != 0, "the first machine writes with the old keys")
    sound(case, url, env=second)


@test("seaweedfs")
def sealed_with_a_passphrase(case):
    passphrase(case)


@test(local=True)
def sealed_with_a_passphrase_in_a_directory(case):
    passphrase(case)


def passphrase(case):
    url, secret = place(case), case.dir / "secret"
    many(case.source, 60)
    secret.write_text("correct horse battery staple\n")
    job = {"source": str(case.source), "destinations": ["vault"], "profiles": {"all": {"only": ["dir-000/"]}}}
    seal = {"passphrase_command": ["cat", str(secret)]}
    config = {"destinations": {"vault": {"url": url, "seal": seal}}, "jobs": {"job": job}}
    file = case.dir / "offsite.json"
    file.write_text(json.dumps(config))
    for number in range(2):
        write(case.source, "changes.txt", f"round {number}".encode())
        ran = case.json("run", "--config", file)["jobs"][0]
        same([end["exit"] for end in ran["destinations"]], [0], f"round {number}: {ran}")
    nothing_in_the_clear(case)
    same(sorted(key for key in objects(case) if "/keys/" in key), [".offsite/keys/1.passphrase.age"], "key files")
    new = elsewhere(case, "new")
    case.run("pull", "job@vault", case.dir / "out", "--config", file, env=new)
    alike(case.source, case.dir / "out")
    case.run("pull", "job@vault", case.dir / "part", "--config", file, "--profile", "all", env=new)
    same(case.run("cat", "job", "changes.txt", "--config", file, env=new).raw, b"round 1", "cat")
    same(case.run("cat", "job", "changes.txt", "--config", file).raw, b"round 1", "cat where the writer key is")
    # Nothing is known: the error says what to do, and nobody is asked without a terminal.
    case.run("cat", url, "changes.txt", env=new, code=2).says("seal.passphrase_command", "--identity")
    secret.write_text("wrong\n")
    case.run("cat", "job", "changes.txt", "--config", file, env=new, code=2).says("the passphrase is wrong")
    secret.write_text("\n")
    case.run("cat", "job", "changes.txt", "--config", file, env=new, code=2).says("empty line")
    seal["passphrase_command"] = "exit 3"
    file.write_text(json.dumps(config))
    case.run("cat", "job", "changes.txt", "--config", file, env=new, code=2).says("`seal.passphrase_command` failed", "3")
    case.run("sync", case.source, case.dir / "other", "--seal", code=2).says("terminal", "seal.passphrase_command")
    check(not (case.dir / "other" / ".offsite" / "format.json").exists(), "a destination without its passphrase was made")
    # The key files are looked at by a check, and put back by a repair.
    if case.server is None:
        secret.write_text("correct horse battery staple\n")
        (Path(url) / ".offsite/keys/1.passphrase.age").unlink()
        found = case.json("check", url, code=1)
        same([(one["flaw"], one["path"]) for one in found["findings"]], [("missing", ".offsite/keys/1.passphrase.age")], str(found))
        case.json("repair", case.source, url)
        case.json("check", url)


@test("seaweedfs", "moto", "openssh", "b2", "gcs")
def sealed_killed_in_the_first_run(case):
    killed(case)


@test(local=True)
def sealed_killed_in_the_first_run_to_a_directory(case):
    killed(case)


def killed(case):
    url, size = place(case), 4 * PACK
    (mine, mine_file), (ssh, ssh_file) = identity(case, "mine.txt"), ssh_identity(case, "backup-key")
    many(case.source / "many", 200)
    for number in range(4):
        big(case.source / f"{number}.bin", PACK, seed=number)
    to = ("--seal-to", mine, "--seal-to", ssh)
    args = ("sync", case.source, url, *to, "--limit-upload", "24MiB")
    for count in (1, 2):
        process = case.start(*args)
        end = time.monotonic() + 90
        while acknowledged(case) < count and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        if process.poll() is not None:
            raise Wrong(f"ended before it could be killed: {case.end(process, args)}")
        os.kill(process.pid, signal.SIGKILL)
        same(case.end(process, args).code, -9, "exit code")
    arrived, there = acknowledged(case), packs(case)
    check(len(there) >= arrived >= 2, f"{len(there)} packs are there, {arrived} by the journal")
    outcome = case.sync(url, *to)
    left = size - arrived * PACK
    check(outcome["bytes"]["sent"] <= left + (4 << 20), f"sent again: {outcome['bytes']}, {left} were left")
    comes_back(case, url, "out", "--identity", mine_file)
    comes_back(case, url, "out-ssh", "--identity", ssh_file)
    sound(case, url)
    nothing_in_the_clear(case)
