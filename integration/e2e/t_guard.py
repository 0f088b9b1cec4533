"""The guard: what looks like an accident is refused with exit code 4, and nothing is written."""
import os
import shutil

from registry import check, same, test
from trees import alike, many, write


def prepared(case, count: int = 60) -> str:
    many(case.source, count)
    url = case.url()
    case.sync(url)
    return url


def refused(case, url: str, flag: str | None, *args) -> None:
    before = case.keys()
    ran = case.run("sync", case.source, url, *args, code=4)
    check(flag is None or flag in ran.err, f"{flag} is not named: {ran}")
    same(case.keys(), before, f"the bucket after a refusal that names {flag}")
    document = case.json("sync", case.source, url, *args, code=4)
    check(document["destinations"][0]["snapshot"] is None, document)
    same(case.run("plan", case.source, url, *args, code=4).code, 4)


@test()
def guard_of_an_empty_or_missing_source(case):
    url = prepared(case)
    os.rename(case.source, case.dir / "away")
    refused(case, url, None)
    case.source.mkdir()
    refused(case, url, "--allow-empty")
    case.sync(url, "--allow-empty")
    same(case.content_keys(), set(), "contents after --allow-empty")
    case.pull(url, "back", "--at", "1")
    alike(case.dir / "away", case.dir / "back")


@test()
def guard_of_many_removals(case):
    url = prepared(case)
    for path in sorted(case.source.rglob("*.txt"))[:20]:
        path.unlink()
    refused(case, url, "--max-removals")
    refused(case, url, "--max-removals", "--max-removals", "30%")
    case.sync(url, "--max-removals", "40%")
    same(len(case.content_keys()), 40, "contents")


@test()
def guard_of_many_rewrites(case):
    url = prepared(case, 150)
    for path in sorted(case.source.rglob("*.txt"))[:120]:
        path.write_bytes(b"encrypted " + os.urandom(20))
    refused(case, url, "--max-rewrites")
    case.sync(url, "--max-rewrites", "0.9")


@test()
def guard_of_budgets(case):
    url = prepared(case)
    write(case.source, "new.bin", bytes(5000))
    refused(case, url, "--max-bytes", "--max-bytes", "4K")
    refused(case, url, "--max-cost", "--max-cost", "0.000001", "--price", "aws/s3-standard")
    case.sync(url, "--max-bytes", "5K", "--max-cost", "1", "--price", "aws/s3-standard")


@test()
def guard_of_pull(case):
    url = prepared(case)
    target = case.dir / "target"
    shutil.copytree(case.source, target / "mine")
    before = sorted(target.rglob("*"))
    case.run("pull", url, target, "--delete", code=4).says("--max-removals")
    same(sorted(target.rglob("*")), before, "the target after a refusal")
    case.run("pull", url, target)
    check((target / "mine").exists(), "a pull without --delete removed something")
    case.run("pull", url, target, "--delete", "--max-removals", "100%")
    alike(case.source, target)
