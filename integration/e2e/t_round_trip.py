"""What was synced comes back the same: names, kinds, metadata; and other tools see plain keys."""
import os
import shutil
import socket
import subprocess

from install import VENV
from registry import check, same, test
from trees import alike, kinds, many, odd_names, write


def key_of(path: bytes, make: str) -> str | None:
    """The plain key of a path where the store keeps one; none where it may lie under odd/."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return None
    own = text == ".offsite" or text.startswith(".offsite/")
    long = len(path) > 900
    control = any(ord(c) < 32 or ord(c) == 127 for c in text)
    if own or long or control or make == "seaweedfs" and "\\" in text:
        return None
    return text


def is_own(path: bytes) -> bool:
    """A name that offsite keeps for itself: a pull leaves it out, so that its target is no destination."""
    return path.split(b"/")[0] == b".offsite"


def pulled(case, outcome: dict, url: str) -> None:
    """All came but files below `.offsite`, which are named, and which `cat` reads."""
    names = [problem["path"] for problem in outcome["problems"]]
    same(names, [".offsite/format.json", ".offsite/kept/x"], "left out")
    same(case.run("cat", url, ".offsite/format.json").raw, b"not yours", "cat")


@test()
def odd_names_come_back(case):
    odd_names(case.source, own=True)
    url = case.url()
    case.sync(url)
    pulled(case, case.pull(url, code=3), url)
    alike(case.source, case.dir / "out", leave_out=is_own)
    case.run("pull", url, case.dir / "fresh", code=3, env={"OFFSITE_CACHE_DIR": str(case.dir / "other-cache")})
    alike(case.source, case.dir / "fresh", leave_out=is_own)
    keys = case.keys()
    paths = [os.path.relpath(os.path.join(d, f), os.fsencode(case.source)) for d, _, files in os.walk(os.fsencode(case.source)) for f in files]
    plain = {key for path in paths if (key := key_of(path, case.server.make)) is not None}
    check(plain <= keys.keys(), f"not under their plain names: {sorted(plain - keys.keys())[:10]}")
    odd = [key for key in keys if key.startswith(".offsite/odd/")]
    same(len(odd), len(paths) - len(plain), "objects in odd/")
    case.sync(url)  # what was written in the moment of the first scan is looked at once more
    again = case.sync(url)
    same((again["changes"]["unchanged"] > 100, again["bytes"]["sent"], again["requests"]["put"]), (True, 0, 1), "a third sync")


@test()
def kinds_come_back(case):
    kinds(case.source)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(case.source / "socket"))
    os.mkfifo(case.source / "fifo")
    url = case.url()
    outcome = case.sync(url)
    same(outcome["changes"]["skipped"], 2, "sockets and pipes skipped")
    case.pull(url)
    alike(case.source, case.dir / "out", leave_out=lambda path: path in (b"socket", b"fifo"))
    holes = os.stat(case.dir / "out" / "sparse").st_blocks * 512
    check(holes < 1 << 20, f"a sparse file of 20 MiB takes {holes} bytes after the pull")


@test(local=True)
def a_directory_keeps_all(case):
    odd_names(case.source, own=True)
    kinds(case.source)
    case.sync(str(case.dir / "copy"))
    pulled(case, case.pull(str(case.dir / "copy"), code=3), str(case.dir / "copy"))
    alike(case.source, case.dir / "out", leave_out=is_own)

    # The mirror itself: a plain copy of what is not offsite's own; hard links are files of their own there.
    alike(case.source, case.dir / "copy", leave_out=lambda path: path.split(b"/")[0] == b".offsite" or is_linked(path))


def is_linked(path: bytes) -> bool:
    return path == b"plain" or path.startswith(b"hard/")


@test()
def file_and_directory_of_one_name(case):
    url = case.url()
    for run, shape in enumerate((["a", "a-b"], ["a/x", "a/y", "a-b"], ["a-b", "a"], ["a-b/x", "a/b/c"])):
        shutil.rmtree(case.source)
        for name in shape:
            write(case.source, name, f"{run} {name}".encode())
        case.sync(url, "--max-removals", "100%")
        same(case.content_keys(), set(shape), f"objects after run {run + 1}")
        case.pull(url, f"out{run}")
        alike(case.source, case.dir / f"out{run}")
    case.pull(url, "first", "--at", "1")
    same((case.dir / "first" / "a").read_bytes(), b"0 a", "the first a")


@test()
def other_tools_see_the_files(case):
    many(case.source, 60)
    write(case.source, "with space/a+b #1 100%.txt", b"read me")
    case.sync(case.url())
    same(case.object("with space/a+b #1 100%.txt"), b"read me", "through boto3")
    target = case.dir / "aws"
    command = [str(VENV / "bin" / "aws"), "--endpoint-url", case.server.endpoint, "s3", "sync", "--only-show-errors",
               f"s3://{case.server.bucket}/{case.prefix()}/", str(target), "--exclude", ".offsite/*"]
    ran = subprocess.run(command, env=case.env, capture_output=True, text=True)
    same(ran.returncode, 0, f"aws s3 sync: {ran.stderr}")
    alike(case.source, target, times=False)
