"""Damaged objects of offsite's own in the bucket: named in the error, never believed, and the rest comes back."""
import shutil

from registry import check, same, test
from trees import alike, many, write


def prepared(case) -> tuple[str, dict]:
    """Two snapshots, with a manifest of several pages; no cache, so that everything is read."""
    for index in range(600):
        write(case.source, f"tree/{'long-name-' * 24}{index:05}/f", b"%d" % index)
    url = case.url()
    case.sync(url)
    write(case.source, "later", b"later")
    case.sync(url)
    forget(case)
    return url, {key: case.object(key) for key in case.keys() if key.startswith(".offsite/")}


def forget(case) -> None:
    shutil.rmtree(case.dir / "cache", ignore_errors=True)


def harms(body: bytes):
    middle = len(body) // 2
    yield "cut", body[:middle]
    yield "flipped", body[:middle] + bytes([body[middle] ^ 0x10]) + body[middle + 1:]
    yield "empty", b""
    yield "missing", None


def harm(case, key: str, body: bytes | None) -> None:
    if body is None:
        case.server.s3.delete_object(Bucket=case.server.bucket, Key=f"{case.prefix()}/{key}")
    else:
        case.put(key, body)


@test()
def damaged_pages(case):
    url, own = prepared(case)
    pages = [key for key in own if "/pages/" in key]
    largest = max(pages, key=lambda k: len(own[k]))
    for name, body in harms(own[largest]):
        harm(case, largest, body)
        forget(case)
        case.run("sync", case.source, url, code=1).says(largest.rpartition("/")[2], "damaged")
        case.run("diff", url, "1", "2", code=None)
        if name in ("cut", "empty"):
            continue
        document = case.json("pull", url, case.dir / name, code=3)
        check(largest in str(document["problems"]), f"{name}: the page is not named: {document['problems'][:3]}")
        for path in (case.dir / name).rglob("*"):
            if path.is_file():
                same(path.read_bytes(), (case.source / path.relative_to(case.dir / name)).read_bytes(), f"{name}: a file")
        got = sum(p.is_file() for p in (case.dir / name).rglob("*"))
        if name == "flipped":
            check(got > 20, f"{name}: only {got} files came back")
        check(case.keys().keys() >= own.keys() - {largest}, f"{name}: something was deleted")
    case.put(largest, own[largest])
    forget(case)
    case.pull(url, "whole")
    alike(case.source, case.dir / "whole")


@test()
def damaged_records(case):
    many(case.source, 20)
    url = case.url()
    case.sync(url)
    write(case.source, "later", b"later")
    case.sync(url)
    first, newest, form = (f".offsite/{k}" for k in ("snapshots/000000000001.json", "snapshots/000000000002.json", "format.json"))
    for key in (newest, form):
        body = case.object(key)
        for name, bad in harms(body):
            harm(case, key, bad)
            forget(case)
            ran = case.run("sync", case.source, url, code=None)
            if name == "flipped" and ran.code == 0:
                continue  # one flipped bit in a text may leave it a text
            if key == newest and name == "missing":
                # The snapshot before it is the newest now; its tree comes back whole.
                same(ran.code, 0, f"sync without its newest snapshot: {ran}")
                case.server.s3.delete_object(Bucket=case.server.bucket, Key=f"{case.prefix()}/.offsite/snapshots/000000000002.json")
            else:
                check(ran.code == 1 and key in ran.err and "damaged" in ran.err, f"{name} {key}: {ran}")
            case.run("pull", url, case.dir / "one", "--at", "1")
        case.put(key, body)
        forget(case)
    case.put(first, b"{}")
    forget(case)
    case.pull(url, "now")
    alike(case.source, case.dir / "now")
    case.run("pull", url, case.dir / "none", "--at", "1", code=None).says(first)


@test()
def a_damaged_lease(case):
    many(case.source, 20)
    url = case.url()
    case.sync(url)
    write(case.source, "new", b"new")
    for body in (b"", b"{", b"\x00" * 100, b"[]"):
        case.put(".offsite/lease.json", body)
        case.run("sync", case.source, url, code=1).says(".offsite/lease.json", "damaged", "delete that object")
    harm(case, ".offsite/lease.json", None)
    case.sync(url)


@test()
def damaged_contents(case):
    many(case.source, 30)
    url = case.url()
    case.sync(url)
    whole = (case.source / "dir-000/file-00003.txt").read_bytes()
    for name, body in harms(whole):
        harm(case, "dir-000/file-00003.txt", body)
        document = case.pull(url, name, code=3)
        check("dir-000/file-00003.txt" in str(document["problems"]), document)
        check(not (case.dir / name / "dir-000/file-00003.txt").exists(), f"{name}: a damaged file was published")
        same(sum(p.is_file() for p in (case.dir / name).rglob("*")), 29, "files that came back")
        ran = case.run("cat", url, "dir-000/file-00003.txt", code=None)
        check(ran.code != 0, f"cat gives out a damaged file as good: {ran}")
