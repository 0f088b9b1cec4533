"""Trouble on this machine: a wrong clock, full disks, no rights, files that change while they are read."""
import contextlib
import os
import shutil
import subprocess
import threading
import time

from clock import moved
from registry import check, same, test
from servers import by_sftp
from t_refusals import broken
from trees import alike, big, many, write

NOBODY = 65534


def clock(shift: str) -> dict:
    """What to put before the program, so that its clock is off."""
    before, env = moved(shift)
    return {"before": before, "env": env}


@test(local=True)
def clock_wrong_in_a_directory(case):
    url = str(case.dir / "copy")
    many(case.source, 30)
    for index, shift in enumerate(("+365d", "-365d", "+0d", "-730d")):
        write(case.source, "changes.txt", b"run %d" % index)
        case.sync(url, **clock(shift))
        same(case.run("cat", url, "changes.txt", "--at", str(index + 1), **clock(shift)).raw, b"run %d" % index, "cat")
    for number in range(4):
        same(case.run("cat", url, "changes.txt", "--at", str(number + 1)).raw, b"run %d" % number, "nothing is let go by a wrong clock")
    case.pull(url)
    alike(case.source, case.dir / "out")


@test()
def clock_wrong_on_s3(case):
    """A server that checks the clock refuses; one that does not takes everything, and nothing old is let go."""
    many(case.source, 20)
    case.sync(case.url())
    write(case.source, "changes.txt", b"changed")
    (case.source / "dir-000/file-00003.txt").unlink()
    for shift in ("+365d", "-365d"):
        ran = case.run("sync", case.source, case.url(), code=None, **clock(shift))
        if ran.code != 0:
            ran.says("clock of this machine")
        write(case.source, "changes.txt", b"changed " + shift.encode())
    case.sync(case.url())
    kept = case.run("cat", case.url(), "dir-000/file-00003.txt", "--at", "1").raw
    check(kept, "a removed file was let go")
    case.pull(case.url())
    alike(case.source, case.dir / "out")


def small_disk(case, name: str, size: str):
    place = case.dir / name
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(place)], check=True)
    case.closing.append(lambda: subprocess.run(["umount", "-l", str(place)], check=True))
    return place


@test(local=True)
def a_full_destination(case):
    disk = small_disk(case, "disk", "2m")
    for index in range(6):
        big(case.source / f"{index}.bin", 600_000, seed=index)
    case.run("sync", case.source, disk / "copy", code=1).says("disk", "space")
    for path in (disk / "copy").glob("*.bin"):
        same(path.read_bytes(), (case.source / path.name).read_bytes(), "a file under its own name")
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    outcome = case.sync(str(disk / "copy"))
    check(outcome["resumed"] > 0, f"nothing was taken over: {outcome}")
    case.pull(str(disk / "copy"))
    alike(case.source, case.dir / "out")


@test(local=True)
def a_prune_on_a_full_disk(case):
    """It is what makes room, so it needs none."""
    for name in ("here", "far"):
        disk = small_disk(case, name, "20m")
        url = str(disk / "copy") if name == "here" else by_sftp(case, disk, "copy")
        for turn in range(3):
            for index in range(3):
                big(case.source / f"{index}.bin", 1_000_000, seed=turn * 10 + index)
            case.sync(url, "--max-rewrites", "100%")
        with (disk / "others").open("wb", buffering=0) as others, contextlib.suppress(OSError):
            while True:
                others.write(bytes(4096))
        same(shutil.disk_usage(disk).free, 0, "free space")
        case.run("prune", url, "--keep-last", "1")
        check(shutil.disk_usage(disk).free > 5_000_000, "the prune made no room")
        case.pull(url)
        alike(case.source, case.dir / "out")


@test(local=True)
def a_full_target_of_a_pull(case):
    disk = small_disk(case, "disk", "2m")
    for index in range(6):
        big(case.source / f"{index}.bin", 600_000, seed=index)
    case.sync(str(case.dir / "copy"))
    ran = case.run("pull", case.dir / "copy", disk / "out", code=None)
    check(ran.code != 0 and "the restore needs 3600000 more bytes" in ran.err, f"it is not seen beforehand that there is no room: {ran}")
    same(list((disk / "out").glob("*")), [], "what was written to a disk that is too small")
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    case.run("pull", case.dir / "copy", disk / "out")
    alike(case.source, disk / "out")


@test("seaweedfs")
def a_full_cache(case):
    disk = small_disk(case, "disk", "256k")
    for index in range(2500):
        write(case.source, f"tree-{index % 20}/{'name-' * 20}{index}", b"%d" % index)
    small = {"OFFSITE_CACHE_DIR": str(disk / "cache")}
    case.run("sync", case.source, case.url(), env=small, code=1).says("make room on the disk of the cache", "OFFSITE_CACHE_DIR")
    subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
    case.sync(case.url(), env=small)
    case.pull(case.url())
    alike(case.source, case.dir / "out")


@test(local=True)
def a_destination_that_is_read_only(case):
    many(case.source, 10)
    disk = small_disk(case, "disk", "4m")
    case.sync(str(disk / "copy"))
    write(case.source, "new", b"new")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    case.run("sync", case.source, disk / "copy", code=1).says(str(disk), "ead-only")
    case.run("sync", case.source, disk / "other", code=1).says("ead-only")
    case.pull(str(disk / "copy"), "out")
    check(not (case.dir / "out/new").exists(), "what was never synced came back")


@test(local=True)
def a_destination_without_rights(case):
    many(case.source, 10)
    place = case.dir / "closed"
    place.mkdir(mode=0o755)
    ran = case.run("sync", case.source, place / "copy", code=1, **as_nobody(case))
    ran.says("closed", "ermission denied")


def as_nobody(case) -> dict:
    """Runs as a user who is not root, with a cache of its own."""
    cache = case.dir / "cache-of-nobody"
    cache.mkdir(exist_ok=True)
    os.chown(cache, NOBODY, NOBODY)
    for place in (case.dir, case.dir.parent):
        os.chmod(place, 0o755)
    return {"before": ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"], "env": {"OFFSITE_CACHE_DIR": str(cache)}}


@test("seaweedfs")
def what_cannot_be_read(case):
    many(case.source, 20)
    for path in [case.source, *case.source.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    user, url = as_nobody(case), case.url()
    case.sync(url, **user)
    os.chmod(case.source / "dir-000/file-00002.txt", 0)
    write(case.source, "closed/in", b"in")
    os.chmod(case.source / "closed", 0)
    outcome = case.sync(url, code=3, **user)
    same(sorted(p["path"] for p in outcome["unread"]), ["closed/", "dir-000/file-00002.txt"], "what is listed as unread")
    ran = case.run("sync", case.source, url, code=3, **user)
    ran.says("could not be read", "dir-000/file-00002.txt", "closed")
    check("dir-000/file-00002.txt" in case.content_keys(), "the old copy was removed")
    os.chmod(case.source / "dir-000", 0)
    case.sync(url, code=3, **user)
    same(len(case.content_keys()), 20, "contents below a directory that cannot be read")
    for path in ("dir-000", "closed"):
        os.chmod(case.source / path, 0o755)
    os.chmod(case.source / "dir-000/file-00002.txt", 0o644)
    case.sync(url, **user)
    case.pull(url)
    alike(case.source, case.dir / "out")


@test("seaweedfs")
def files_that_change_while_they_are_read(case):
    """One grows all the time, one goes, one becomes a directory; the rest must be right."""
    many(case.source, 60)
    write(case.source, "zz/grows.log", b"start\n")
    big(case.source / "zz/rewritten.bin", 20 << 20)
    write(case.source, "zz/vanishes", b"x")
    write(case.source, "zz/turns", b"x")
    proxy = broken(case)
    proxy.change = lambda r, a: time.sleep(0.03)
    ends = threading.Event()

    def disturb():
        while not ends.is_set():
            with open(case.source / "zz/grows.log", "ab") as file:
                file.write(b"more\n" * 100)
            with open(case.source / "zz/rewritten.bin", "r+b") as file:
                file.write(os.urandom(64))
            time.sleep(0.002)

    worker = threading.Thread(target=disturb)
    worker.start()
    process = case.start("sync", case.source, case.url(port=proxy.port), "--transfers", "2", "--json")
    time.sleep(0.25)
    (case.source / "zz/vanishes").unlink()
    (case.source / "zz/turns").unlink()
    write(case.source, "zz/turns/in", b"in")
    ran = case.end(process)
    ends.set()
    worker.join()
    check(ran.code in (0, 3), ran)
    case.pull(case.url(), "first")
    alike(case.source, case.dir / "first", leave_out=lambda p: p.startswith(b"zz"))
    case.sync(case.url())
    case.pull(case.url())
    alike(case.source, case.dir / "out")


@test("seaweedfs")
def a_source_that_vanishes(case):
    many(case.source, 200)
    case.sync(case.url())
    for path in case.source.rglob("*.txt"):
        path.write_bytes(b"changed " + path.read_bytes())
    proxy = broken(case)
    proxy.change = lambda r, a: time.sleep(0.02)
    process = case.start("sync", case.source, case.url(port=proxy.port), "--transfers", "2", "--max-rewrites", "100%")
    while len(proxy.seen) < 30 and process.poll() is None:
        time.sleep(0.005)
    shutil.move(case.source, case.dir / "away")
    shutil.rmtree(case.dir / "away")
    ran = case.end(process)
    check(ran.code != 0, f"a source that vanished is a success: {ran}")
    same(len(case.content_keys()), 200, "contents after the source vanished")
    case.pull(case.url(), "one", "--at", "1")
    same(sum(p.is_file() for p in (case.dir / "one").rglob("*")), 200, "files of the first snapshot")
