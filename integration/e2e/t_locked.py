"""Buckets that lock what is written: runs go on, nothing locked is asked to go, and it goes when its lock has ended."""
import shutil
import time
from datetime import datetime, timedelta, timezone

from registry import check, same, test
from trees import alike, many, write
from t_init import bucket_of

DAY = timedelta(days=1)


def three_states(case, url: str) -> None:
    many(case.source, 20)
    for state in (1, 2, 3):
        write(case.source, "changing.txt", f"state {state}".encode())
        write(case.source, f"only-{state}.txt", b"for one state")
        (case.source / f"only-{state - 1}.txt").unlink(missing_ok=True)
        if state == 2:
            (case.source / "dir-000").rename(case.source / "moved")
        outcome = case.sync(url)
        same(outcome["warnings"], [], "warnings")
        same(outcome["locked"], None, "nothing is due yet")
        shutil.copytree(case.source, case.dir / f"was-{state}", symlinks=True)


def all_states(case, url: str, states=(1, 2, 3)) -> None:
    for state in states:
        case.pull(url, f"state-{state}", "--at", str(state))
        alike(case.dir / f"was-{state}", case.dir / f"state-{state}", times=False)
        shutil.rmtree(case.dir / f"state-{state}")


def locked(case, url: str, prune: bool = True) -> dict:
    """What is said of what is due and locked: it is locked for a day."""
    said = case.json("prune", url, "--keep-last", "1") if prune else case.sync(url, "--keep-last", "1")
    found = said["locked"]
    until = datetime.fromisoformat(found["until"])
    check(abs(until - datetime.now(timezone.utc) - DAY) < timedelta(minutes=10), f"the lock ends at {until}")
    same(found["hold"], False, "a hold")
    return found


def stays_as_long_as_locked(case, url: str) -> None:
    three_states(case, url)
    found = locked(case, url)
    same((found["snapshots"], found["contents"]), (2, 0), "what is locked")
    case.run("prune", url, "--keep-last", "1", "--dry-run").says("expired, but locked by the store", "snapshots 2")
    all_states(case, url)
    # A run that loses nothing by it: it says the same, and is no failure.
    write(case.source, "changing.txt", b"state 4")
    case.sync(url)
    case.run("check", url, "--read-data")


# Not moto, which wants `x-amz-sdk-checksum-algorithm` at every put; Amazon wants a checksum or an MD5, and gets the checksum.
@test("seaweedfs")
def locked_at_s3(case):
    bucket, s3 = bucket_of(case), case.server.s3
    url = case.url(bucket=bucket)
    case.run("init", url, "--lock", "governance:1d")
    stays_as_long_as_locked(case, url)
    # Somebody with the right to it lets the first snapshot's lock end, not that of the content it named.
    key = f"{case.prefix()}/.offsite/snapshots/000000000001.json"
    soon = datetime.now(timezone.utc) + timedelta(seconds=2)
    s3.put_object_retention(Bucket=bucket, Key=key, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon}, BypassGovernanceRetention=True)
    time.sleep(3.5)
    document = case.json("prune", url, "--keep-last", "1")
    same((document["removed"], document["contents"]), ([1], 0), "what went")
    # `changing.txt`, `only-1.txt` and what was renamed then.
    check(document["locked"]["snapshots"] == 2 and document["locked"]["contents"] >= 2, document["locked"])
    found = s3.list_object_versions(Bucket=bucket, Prefix=f"{case.prefix()}/changing.txt")["Versions"]
    same(len(found), 4, "versions of a content")
    all_states(case, url, (2, 3))
    # What is left over is looked at again, and is still no failure.
    document = case.json("prune", url, "--keep-last", "1")
    check(document["removed"] == [] and document["locked"]["contents"] >= 2, document)


@test("b2")
def locked_at_b2(case):
    bucket = bucket_of(case)
    url = case.url(bucket=bucket)
    case.run("init", url, "--lock", "governance:1d")
    stays_as_long_as_locked(case, url)
