"""Block delta: of a large file that changed, only the changed blocks are sent, and what comes back is right."""
import hashlib
import os
import shutil
from pathlib import Path

from registry import check, same, test
from t_quirks import place
from trees import alike, big, write

MIB = 1 << 20
SIZE = 96 * MIB


def patch(file: Path, at: int, salt: bytes) -> None:
    with open(file, "r+b") as out:
        out.seek(at)
        out.write(hashlib.sha256(salt).digest() * 128)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def changes(case, url: str) -> tuple[str, dict]:
    """A large file, and its second version; the digest of the first and the outcome of the second run."""
    file = case.source / "disk.img"
    big(file, SIZE)
    write(case.source, "beside.txt", b"beside")
    case.sync(url)
    first = digest(file.read_bytes())
    patch(file, 40 * MIB + 5, b"second")
    return first, case.sync(url)


def comes_back(case, url: str, first: str) -> None:
    case.pull(url)
    alike(case.source, case.dir / "out")
    same(digest(case.run("cat", url, "disk.img", "--at", "1").raw), first, "the old version")
    checked = case.json("check", url, "--read-data")
    same(checked["exit"], 0, "check --read-data")


@test("seaweedfs", "moto", "b2")
def only_a_changed_block_is_sent(case):
    url = case.url()
    first, outcome = changes(case, url)
    same((outcome["bytes"]["sent"], outcome["bytes"]["copied"]), (8 * MIB, SIZE - 8 * MIB), "sent and copied")
    comes_back(case, url, first)
    # It grows, and shrinks: what is before the end is not sent again.
    file = case.source / "disk.img"
    with open(file, "ab") as out:
        out.write(b"more" * 1000)
    check(case.sync(url)["bytes"]["sent"] <= 8 * MIB, "an append sends its end alone")
    os.truncate(file, 70 * MIB)
    check(case.sync(url)["bytes"]["sent"] <= 8 * MIB, "a cut sends its end alone")
    case.pull(url, "again")
    alike(case.source, case.dir / "again")


@test("moto")
def a_lost_cache_sends_it_whole_once(case):
    url = case.url()
    changes(case, url)
    for blocks in (case.dir / "cache").glob("*/blocks/*"):
        blocks.unlink()
    for sent in (SIZE, 8 * MIB):
        patch(case.source / "disk.img", 60 * MIB, b"%d" % sent)
        same(case.sync(url)["bytes"]["sent"], sent, "sent")
    case.pull(url)
    alike(case.source, case.dir / "out")


@test(local=True)
def parts_that_are_copied_have_the_checksum_of_the_upload(case):
    server, url = place(case)
    first, outcome = changes(case, url)
    same(outcome["bytes"]["sent"], 8 * MIB, "sent")
    check(server.buckets["quirks"].summed, "no upload asked for checksums: the test itself is wrong")
    comes_back(case, url, first)


@test(local=True)
def what_a_server_copies_wrongly_is_sent(case):
    for quirk in ("part-copies-ignored", "part-copies-whole"):
        server, url = place(case, quirk)
        url = url.replace("/life?", f"/{quirk}?")
        first, outcome = changes(case, url)
        same((outcome["bytes"]["sent"], outcome["bytes"]["copied"]), (SIZE, 0), "sent and copied")
        check(server.shown[quirk], f"the quirk {quirk} never showed: the test itself is wrong")
        comes_back(case, url, first)
        shutil.rmtree(case.dir / "out")


@test(local=True)
def a_server_that_cannot_copy_parts_gets_the_file_whole(case):
    server, url = place(case, "no-copy", setting="")
    first, outcome = changes(case, url)
    same((outcome["bytes"]["sent"], outcome["bytes"]["copied"]), (SIZE, 0), "sent and copied")
    comes_back(case, url, first)
    same(server.buckets["quirks"].uploads, {}, "uploads left over")
