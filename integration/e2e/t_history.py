"""History: old contents by --at, history, diff, ls, cat; retention and prune. By versions and by kept/."""
import shutil

from faulty import shift_clock
from registry import check, same, test
from t_refusals import broken
from trees import alike, many, write

BOTH = ("versions", "kept")


def bucket_of(case, kind: str) -> str:
    return case.server.versioned if kind == "versions" else case.server.bucket


def three_runs(case, url: str, **how):
    shutil.rmtree(case.source)
    write(case.source, "docs/a.txt", b"first")
    write(case.source, "docs/same.txt", b"same")
    many(case.source / "more", 30)
    case.sync(url, **how)
    shutil.copytree(case.source, case.dir / "was-1", symlinks=True)
    write(case.source, "docs/a.txt", b"second, longer")
    (case.source / "more/dir-000/file-00003.txt").unlink()
    case.sync(url, **how)
    shutil.copytree(case.source, case.dir / "was-2", symlinks=True)
    (case.source / "docs/a.txt").unlink()
    write(case.source, "docs/new\n.txt", b"new")
    case.sync(url, **how)


@test()
def old_contents_are_reached(case):
    for kind in BOTH:
        url = case.url(kind, bucket=bucket_of(case, kind))
        three_runs(case, url)
        kept = [k for k in case.keys(kind, bucket_of(case, kind)) if k.startswith(".offsite/kept/")]
        same(len(kept), 0 if kind == "versions" else 3, f"{kind}: objects in kept/")
        for at, content in (("1", b"first"), ("2", b"second, longer")):
            same(case.run("cat", url, "docs/a.txt", "--at", at).raw, content, f"{kind}: cat --at {at}")
        case.run("cat", url, "docs/a.txt", code=2).says("not in snapshot 3")
        for number in (1, 2):
            case.pull(url, f"{kind}-{number}", "--at", str(number))
            alike(case.dir / f"was-{number}", case.dir / f"{kind}-{number}", times=False)
            shutil.rmtree(case.dir / f"was-{number}")
        case.pull(url, f"{kind}-now")
        alike(case.source, case.dir / f"{kind}-now")
        looks_right(case, url, kind)


def looks_right(case, url: str, kind: str):
    events = [(e["snapshot"], e["change"]) for e in case.json("history", url, "docs/a.txt")["history"]]
    same(sorted(events), [(1, "added"), (2, "changed"), (3, "removed")], f"{kind}: history")
    text = case.run("diff", url, "1", "3").out
    check("docs/a.txt" in text and "same.txt" not in text, f"{kind}: diff 1 3: {text}")
    case.json("diff", url, "1", "3")
    listed = case.json("ls", url, "docs", "--at", "1")
    check("a.txt" in str(listed) and "new" not in str(listed), f"{kind}: ls --at 1: {listed}")
    case.json("snapshots", url)
    case.json("cat", url, "docs/same.txt")


@test()
def prune_lets_go(case):
    for kind in BOTH:
        bucket = bucket_of(case, kind)
        url = case.url(kind, bucket=bucket)
        three_runs(case, url)
        for name in ("was-1", "was-2"):
            shutil.rmtree(case.dir / name)
        would = case.json("prune", url, "--keep-last", "1", "--dry-run")
        same((sorted(would["removed"]), would["kept"]), ([1, 2], [3]), f"{kind}: prune --dry-run")
        case.run("cat", url, "docs/a.txt", "--at", "1")
        did = case.json("prune", url, "--keep-last", "1")
        same((sorted(did["removed"]), did["contents"]), ([1, 2], 3), f"{kind}: prune")
        check(not [k for k in case.keys(kind, bucket) if k.startswith(".offsite/kept/")], f"{kind}: kept/ is not empty")
        case.run("cat", url, "docs/a.txt", "--at", "1", code=2).says("no snapshot 1")
        case.pull(url, f"{kind}-out")
        alike(case.source, case.dir / f"{kind}-out")
        if kind == "versions":
            same(old_versions(case, kind, bucket), 0, "old versions of contents after prune")
        case.sync(url)


def old_versions(case, name: str, bucket: str) -> int:
    """Versions of contents that are not the current ones, delete markers left out."""
    pages = case.server.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=case.prefix(name) + "/")
    versions = [v for page in pages for v in page.get("Versions", [])]
    return sum(not v["IsLatest"] and "/.offsite/" not in v["Key"] for v in versions)


@test()
def nothing_is_kept_for_zero(case):
    for kind in BOTH:
        bucket = bucket_of(case, kind)
        url = case.url(kind, bucket=bucket)
        shutil.rmtree(case.source)
        many(case.source, 20)
        case.sync(url, "--keep-within", "0")
        write(case.source, "dir-000/file-00001.txt", b"other")
        (case.source / "dir-000/file-00002.txt").unlink()
        case.sync(url, "--keep-within", "0")
        check(not [k for k in case.keys(kind, bucket) if k.startswith(".offsite/kept/")], f"{kind}: something was kept")
        case.pull(url, f"{kind}-out")
        alike(case.source, case.dir / f"{kind}-out")


@test()
def old_history_is_let_go(case):
    """After 30 days by the store's clock, without being asked for; and not a day earlier."""
    proxy = broken(case)
    for kind in BOTH:
        bucket = bucket_of(case, kind)
        url = case.url(kind, bucket=bucket, port=proxy.port)
        three_runs(case, url)
        for name in ("was-1", "was-2"):
            shutil.rmtree(case.dir / name)
        for days, pruned in ((29, 0), (31, 4)):
            proxy.change = shift_clock(days * 86400)
            write(case.source, "docs/a.txt", b"after %d days" % days)
            done = case.sync(url)
            same(done["pruned"], pruned, f"{kind}: snapshots let go after {days} days ({done['warnings']})")
        proxy.change = None
        case.run("cat", url, "more/dir-000/file-00003.txt", "--at", "1", code=2)
        check(not [k for k in case.keys(kind, bucket) if k.endswith("file-00003.txt")], f"{kind}: a removed file is still kept")
        case.pull(url, f"{kind}-out")
        alike(case.source, case.dir / f"{kind}-out")


@test(local=True)
def a_directory_has_history_too(case):
    url = str(case.dir / "copy")
    three_runs(case, url)
    same(case.run("cat", url, "docs/a.txt", "--at", "1").raw, b"first", "cat --at 1")
    case.pull(url, "two", "--at", "2")
    alike(case.dir / "was-2", case.dir / "two", times=False)
    case.json("prune", url, "--keep-last", "1")
    check(not (case.dir / "copy/.offsite/kept").exists(), "kept/ is still there after prune")
