"""Disks that take two names for one, refuse some names, and have no links: exFAT, here and behind SFTP."""
import json
import os
import shutil
import signal
import time
from pathlib import Path

from registry import NotHere, check, same, test
from servers import by_sftp
from t_entries import mounted
from trees import alike, big, describe, write


def exfat(case, name: str) -> Path:
    missing = [tool for tool in ("mount.exfat-fuse", "mkfs.exfat", "losetup") if not shutil.which(tool)]
    missing += [device for device in ("/dev/fuse", "/dev/loop-control") if not os.path.exists(device)]
    if missing:
        raise NotHere(f"no exFAT on this machine: {', '.join(missing)} is not there")
    return mounted(case, name, "64M", ["mkfs.exfat"], ["mount.exfat-fuse"])


def came_back(case, url: str, history: bool = True) -> None:
    """Syncs, finds nothing to do after that, checks every content, and pulls on a machine that knows nothing."""
    case.sync(url, "--max-removals", "100%", "--max-rewrites", "100%")
    same(case.sync(url)["changes"]["unchanged"] > 0, True, "a quiet run")
    case.run("check", url, "--read-data", *([] if history else ["--at", str(case.sync(url)["snapshot"])]))
    out = case.dir / "out"
    shutil.rmtree(out, ignore_errors=True)
    case.run("pull", url, out, env={"OFFSITE_CACHE_DIR": str(case.dir / "cache-of-another")})
    same(describe(out, times=False).keys(), describe(case.source, times=False).keys(), "names that came back")
    alike(case.source, out)


def awkward(source: Path) -> None:
    write(source, "a", b"one")
    write(source, "A", b"two, longer")
    write(source, "Dir/f", b"1")
    write(source, "dir/f", b"22")
    write(source, "dir/only here", b"333")
    write(source, "caf\u00e9", b"composed")
    write(source, "CAF\u00c9", b"capitals")
    write(source, "co:lon", b"colon")
    write(source, "q?", b"question")
    write(source, "end.", b"dot")
    write(source, ".Offsite/x", b"as offsite's own")
    write(source, b"bytes-\xff", b"bytes")
    os.symlink("a", source / "link")
    os.utime(source / "a", (5, 5))


@test(local=True)
def a_disk_that_takes_two_names_for_one(case):
    place = exfat(case, "usb")
    for url in (str(place / "here"), by_sftp(case, place, "far")):
        shutil.rmtree(case.source)
        case.source.mkdir()
        awkward(case.source)
        came_back(case, url)
        # One of two goes, its twin changes, and a third comes.
        (case.source / "A").unlink()
        write(case.source, "a", b"changed")
        shutil.rmtree(case.source / "Dir")
        write(case.source, "DIR/f", b"4444")
        came_back(case, url)
        # Only the case of a name changes; and two swap theirs.
        write(case.source, "IMG.JPG", b"picture")
        write(case.source, "sub/Deep/f", b"deep")
        came_back(case, url)
        os.rename(case.source / "IMG.JPG", case.source / "img.jpg")
        os.rename(case.source / "sub/Deep", case.source / "sub/deep")
        os.rename(case.source / "dir", case.source / "new")
        os.rename(case.source / "DIR", case.source / "dir")
        came_back(case, url)
        folder = place / url.split("?")[0].rsplit("/", 1)[1]
        same([name for name in os.listdir(folder) if name.lower() == "img.jpg"], ["img.jpg"], "the picture's name there")
        same(os.listdir(folder / "sub"), ["deep"], "the directory's name there")
        same(case.run("cat", url, "IMG.JPG", "--at", "5").raw, b"picture", "the history")
        same((folder / ".offsite/probe").exists(), False, "what the probe left")


@test(local=True)
def a_disk_that_was_in_use_before_is_mended(case):
    """A destination of an earlier version, where one of two names had written over the other."""
    place = exfat(case, "usb")
    write(case.source, "plain", b"plain")
    write(case.source, "A", b"first")
    write(case.source, "a", b"second, longer")
    write(case.source, "d/x", b"x")
    write(case.source, "D/x", b"capital")
    write(case.source, "D/y", b"y")
    # Made where names are kept apart, by a version that asked nobody; the copy lost one of each two.
    made = case.dir / "made"
    case.sync(str(made))
    for record in (made / ".offsite/format.json", made / ".offsite/snapshots/000000000001.json"):
        document = json.loads(record.read_text())
        check(document["keys"].pop("disk", None) is not None, f"{record} says nothing of the disk")
        record.write_text(json.dumps(document))
    for path in sorted(made.rglob("*")):
        if path.is_file():
            write(place / "copy", str(path.relative_to(made)), path.read_bytes())
    same(len(list((place / "copy").glob("[aA]"))), 1, "one of two on the disk")
    # What was written over before is lost for the old snapshot, which a check says.
    came_back(case, str(place / "copy"), history=False)
    case.run("check", str(place / "copy"), code=1)


@test(local=True)
def a_run_that_is_killed_on_such_a_disk(case):
    """Between the old name's move to kept/ and the new one's arrival the last snapshot stays whole."""
    place = exfat(case, "usb")
    url = str(place / "copy")
    for number in range(40):
        write(case.source, f"Dir/File {number}", b"content %d" % number * 50)
    big(case.source / "Large", 3 << 20)
    case.sync(url)
    before = case.dir / "before"
    shutil.copytree(case.source, before, symlinks=True)
    for number in range(40):
        os.rename(case.source / f"Dir/File {number}", case.source / f"Dir/file {number}")
    os.rename(case.source / "Dir", case.source / "dir")
    os.rename(case.source / "Large", case.source / "large")
    for turn in range(12):
        process = case.start("sync", case.source, url, "--max-removals", "100%")
        time.sleep(0.02 * (turn + 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        out = case.dir / f"killed-{turn}"
        case.run("pull", url, out, env={"OFFSITE_CACHE_DIR": str(case.dir / "cache-of-another")})
        pulled = describe(out, times=False)
        check(pulled in (describe(before, times=False), describe(case.source, times=False)), f"neither old nor new after kill {turn}")
        shutil.rmtree(out)
    came_back(case, url)


@test(local=True)
def a_directory_that_went_by_its_other_name(case):
    """The kernel remembers for a second what a FUSE program said: that `dir` is there, when `Dir` was removed."""
    place = exfat(case, "usb")
    write(case.source, "Dir/f", b"1")
    case.sync(str(place / "copy"))
    os.rename(case.source / "Dir", case.source / "dir")
    write(case.source, "dir/g", b"2")
    os.mkdir(case.source / "empty")
    # As a run leaves it that is killed behind the removals.
    for name in ("copy/Dir", "copy/EMPTY"):
        (place / name).mkdir(exist_ok=True)
        os.stat(place / name.lower())
        shutil.rmtree(place / name)
    case.sync(str(place / "copy"), "--max-removals", "100%")
    same((place / "copy/dir/g").read_bytes(), b"2", "what came into the directory")
    same((place / "copy/empty").is_dir(), True, "the empty directory")


@test(local=True)
def a_pull_onto_such_a_disk(case):
    place = exfat(case, "usb")
    url = str(case.dir / "copy")
    awkward(case.source)
    case.sync(url)
    pulled = case.pull(url, str(place / "out"), code=3)
    said = {problem["path"] for problem in pulled["problems"] if isinstance(problem["path"], str)}
    check({"a", "dir/", "dir/f", "dir/only here", "caf\u00e9", "co:lon", "q?"} <= said, said)
    same((place / "out/A").read_bytes(), b"two, longer", "the first of two")
    same((place / "out/Dir/f").read_bytes(), b"1", "below the first of two")
    same(sorted(os.listdir(place / "out/Dir")), ["f"], "nothing of the second")
    # Only the case of a name changed since, and what is superfluous goes.
    shutil.rmtree(case.source)
    write(case.source, "Img", b"picture")
    case.sync(url, "--max-removals", "100%")
    case.pull(url, str(place / "two"))
    os.rename(case.source / "Img", case.source / "iMG")
    case.sync(url, "--max-removals", "100%")
    case.pull(url, str(place / "two"), "--delete", "--max-removals", "100%")
    same(os.listdir(place / "two"), ["iMG"], "the new name alone")
    same((place / "two/iMG").read_bytes(), b"picture", "its content")


@test(local=True)
def a_destination_that_was_moved_to_such_a_disk(case):
    """Made where names are kept apart, then copied by hand to a disk that folds them; the next run finds that out."""
    place = exfat(case, "usb")
    write(case.source, "plain", b"plain")
    write(case.source, "A", b"one")
    for name in ("here", "far"):
        made, folder = case.dir / f"made-{name}", place / name
        case.sync(str(made) if name == "here" else by_sftp(case, case.dir, made.name))
        shutil.copytree(made, folder)
        url = str(folder) if name == "here" else by_sftp(case, place, name)
        write(case.source, "a", b"its twin")
        came_back(case, url)
        (case.source / "a").unlink()
