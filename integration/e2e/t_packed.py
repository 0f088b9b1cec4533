"""Packed destinations: a life of one on every kind of store, a kill, a job, and a mirror beside one."""
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import t_gcs
from registry import Wrong, check, same, test
from trees import alike, big, kinds, many, odd_names, write

PACK = 16 << 20


def place(case, name: str = "d") -> str:
    if case.server is None:
        return str(case.dir / name)
    return t_gcs.url(case, name) if case.server.make == "gcs" else case.url(name)


def objects(case, name: str = "d") -> list[str] | None:
    """The keys of a destination, where they can be had with another tool than offsite."""
    if case.server is None or case.server.make == "openssh":
        top = case.dir / name if case.server is None else case.server.directory / case.prefix(name)
        return [str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()]
    if case.server.make == "gcs":
        return t_gcs.keys(case, name, case.server.bucket)
    if case.server.make == "b2":
        prefix = case.prefix(name) + "/"
        return [found["fileName"][len(prefix):] for found in case.server.listed(prefix)]
    return list(case.keys(name))


def packs(case, name: str = "d") -> set[str]:
    return {key for key in objects(case, name) if key.startswith(".offsite/packs/")}


def clean(case, url: str) -> None:
    """Every pack is as it was written, and there is none that no snapshot names."""
    checked = case.json("check", url, "--read-data")
    same((checked["missing"], checked["changed"], checked["damaged"], checked["foreign"]), (0, 0, 0, 0), f"check: {checked}")


def comes_back(case, url: str, name: str, *args, like: Path | None = None, times: bool = True) -> None:
    """On a machine that knows nothing."""
    case.pull(url, name, *args, env={"OFFSITE_CACHE_DIR": str(case.dir / f"cache-{name}")})
    alike(like or case.source, case.dir / name, times=times)
    shutil.rmtree(case.dir / name)


@test("seaweedfs", "moto", "openssh", "b2", "gcs")
def packed_a_life(case):
    life(case)


@test(local=True)
def packed_a_life_in_a_directory(case):
    life(case)


def life(case):
    url = place(case)
    odd_names(case.source)
    kinds(case.source)
    many(case.source / "many", 400)
    big(case.source / "big.bin", 24 << 20)
    os.utime(case.source / "empty-dir", (5, 5))
    first = case.sync(url, "--packed")
    check(sum(first["requests"].values()) <= 60, f"requests of a first run: {first['requests']}")
    same([key for key in objects(case) if not key.startswith(".offsite/")], [], "names of the source are keys")
    comes_back(case, url, "fresh")
    subprocess.run(["cp", "-a", case.source, case.dir / "was-1"], check=True)
    before = packs(case)

    write(case.source, "many/dir-000/file-00003.txt", b"changed")
    (case.source / "many/dir-001/file-00060.txt").unlink()
    os.rename(case.source / "many/dir-002", case.source / "moved")
    shutil.copy(case.source / "big.bin", case.source / "copied.bin")
    with open(case.source / "big.bin", "r+b") as file:
        file.seek(11 << 20)
        file.write(b"x" * 4096)
    outcome = case.sync(url)
    changes = outcome["changes"]
    check(changes["changed"] >= 2 and changes["renamed"] == 50 and changes["removed"] >= 1, changes)
    check(outcome["bytes"]["sent"] <= 3 << 20, f"sent: {outcome['bytes']}")
    check(before < packs(case), "a pack was replaced or deleted")
    comes_back(case, url, "second")
    comes_back(case, url, "then", "--at", "1", like=case.dir / "was-1")
    same(case.run("cat", url, "many/dir-000/file-00003.txt").raw, b"changed", "cat")
    was = (case.dir / "was-1/many/dir-001/file-00060.txt").read_bytes()
    same(case.run("cat", url, "many/dir-001/file-00060.txt", "--at", "1").raw, was, "cat --at 1")
    clean(case, url)

    case.sync(url)
    outcome = case.sync(url)
    quiet = {kind: count for kind, count in outcome["requests"].items() if count}
    check(outcome["bytes"]["sent"] == 0 and sum(quiet.values()) <= 5 and quiet["put"] == 1, f"no change: {outcome}")
    shutil.rmtree(case.source / "many")
    (case.source / "copied.bin").unlink()
    (case.source / "big.bin").unlink()
    write(case.source, "last", b"last")
    case.sync(url)
    case.json("prune", url, "--keep-last", "1")
    check(len(packs(case)) < len(before) + 2, "a prune left all packs")
    clean(case, url)
    comes_back(case, url, "after")
    case.run("sync", case.source, url, "--adopt", code=2)


def acknowledged(case) -> int:
    """Packs that the destination has, by the journal."""
    return sum(path.read_text(errors="replace").count('{"packed":') for path in (case.dir / "cache").rglob("journal"))


@test("seaweedfs", "moto", "openssh", "b2", "gcs")
def packed_killed_in_the_first_run(case):
    killed(case)


@test(local=True)
def packed_killed_in_the_first_run_to_a_directory(case):
    killed(case)


def killed(case):
    url, size = place(case), 6 * PACK
    many(case.source / "many", 200)
    for number in range(6):
        big(case.source / f"{number}.bin", PACK, seed=number)
    args = ("sync", case.source, url, "--packed", "--limit-upload", "24MiB")
    for count in (1, 3):
        process = case.start(*args)
        end = time.monotonic() + 60
        while acknowledged(case) < count and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        if process.poll() is not None:
            raise Wrong(f"ended before it could be killed: {case.end(process, args)}")
        os.kill(process.pid, signal.SIGKILL)
        same(case.end(process, args).code, -9, "exit code")
        case.run("ls", url, code=2).says("no snapshot")
    arrived, there = acknowledged(case), packs(case)
    check(len(there) >= arrived >= 3, f"{len(there)} packs are there, {arrived} by the journal")
    outcome = case.sync(url, "--packed")
    left = size - arrived * PACK
    check(outcome["bytes"]["sent"] <= left + (4 << 20), f"sent again: {outcome['bytes']}, {left} were left")
    comes_back(case, url, "out")
    clean(case, url)


@test("seaweedfs", "openssh", "gcs")
def packed_by_a_job(case):
    many(case.source, 60)
    dump = case.dir / "dump"
    dump.write_bytes(os.urandom(20 << 20))
    mirror = str(case.dir / "mirror")
    job = {"source": str(case.source), "destinations": [mirror, {"url": place(case), "layout": "packed"}],
           "dumps": {"db.sql": {"command": ["cat", str(dump)]}}, "keep": {"last": 2}}
    file = case.dir / "offsite.json"
    file.write_text(json.dumps({"jobs": {"job": job}}))
    for round in range(3):
        write(case.source, "changes.txt", f"round {round}".encode())
        outcome = case.json("run", "--config", file)["jobs"][0]
        same([end["exit"] for end in outcome["destinations"]], [0, 0], f"round {round}: {outcome}")
        sent = {end["url"] == mirror: end["bytes"]["sent"] for end in outcome["destinations"]}
        check(round == 0 or sent[False] < 1 << 20, f"round {round}: a dump that is as it was is sent again: {sent}")
    for url in (mirror, place(case)):
        case.pull(url, "out")
        same((case.dir / "out/db.sql").read_bytes() == dump.read_bytes(), True, "the dump comes back")
        (case.dir / "out/db.sql").unlink()
        alike(case.source, case.dir / "out", times=False)
        shutil.rmtree(case.dir / "out")
        case.run("status", url, "--max-age", "1h")
        clean(case, url)
    # The layout of a destination never changes.
    job["destinations"][1]["layout"] = "mirror"
    file.write_text(json.dumps({"jobs": {"job": job}}))
    ran = case.run("run", "--config", file, code=None)
    check(ran.code != 0, ran)
    ran.says("this destination is packed")
    case.run("sync", case.source, mirror, "--packed", code=None).says("this destination is mirror")


@test("seaweedfs", "moto")
def packed_damage_is_found_and_repaired(case):
    url = place(case)
    many(case.source, 100)
    big(case.source / "big.bin", 20 << 20)
    case.sync(url, "--packed")
    all_packs = sorted(packs(case))
    body = bytearray(case.object(all_packs[0]))
    body[len(body) // 2] ^= 1
    case.put(all_packs[0], bytes(body))
    checked = case.json("check", url, "--read-data", code=1)
    check(checked["findings"] and all(all_packs[0] in finding["problem"] for finding in checked["findings"]), checked)
    pulled = case.json("pull", url, case.dir / "out", code=None)
    for path in (case.dir / "out").rglob("*"):
        if path.is_file():
            same(path.read_bytes(), (case.source / path.relative_to(case.dir / "out")).read_bytes(), f"{path}: {pulled['problems']}")
    case.json("repair", case.source, url)
    comes_back(case, url, "healed")
    again = case.json("check", url, "--read-data", code=None)
    newest = [finding for finding in again["findings"] if finding["last_snapshot"] == again["snapshot"]]
    same(newest, [], "what is still wrong with the newest snapshot")
