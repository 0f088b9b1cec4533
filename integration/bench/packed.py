"""The scenarios of packed and sealed destinations, and what is wanted of them: data, and nothing that runs.

`offsite-packed` and `offsite-sealed` are offsite with that layout, `offsite` is the mirror, and the peers are
repositories of the same kind. Marks in seconds are for two cores, and are not counted.
"""
from __future__ import annotations

from marks import MIB, RSS, Mark, Scenario, at_most, exactly, faster, for_each

BOTH = ("offsite-packed", "offsite-sealed")
PEERS = ("restic", "rustic")


def both(*marks: Mark) -> tuple[Mark, ...]:
    return for_each(BOTH, *marks)


def seconds(wall: float) -> Mark:
    return at_most(f"wall <= {wall:g} s", "wall", wall, counted=False)


def cpu(limit: float) -> Mark:
    return at_most(f"CPU <= {limit:g} s", "cpu", limit, counted=False)


def requests(limit: int) -> Mark:
    return at_most(f"requests <= {limit}", "total_requests", limit)


BEST = faster(1.0, *PEERS)
NO_CONTENT = exactly("bytes of packs sent = 0", "packs_up", 0)
AS_MIRROR = Mark("wall <= 1.1 x the mirror's", "wall", "share", 1.1, ("offsite",))

PACKED = (
    Scenario(
        "packed-no-change", "nothing changed, on S3", "many", 100_000, "s3", (*BOTH, "offsite", "find", *PEERS),
        latencies=(0, 20), marks=both(exactly("requests = 2", "total_requests", 2), AS_MIRROR, faster(8, *PEERS), RSS)),
    Scenario(
        "packed-first-many", "first sync of many small files, to S3", "many", 100_000, "s3", (*BOTH, *PEERS), fresh=True,
        marks=both(requests(40), seconds(11), cpu(10), BEST, RSS)),
    Scenario(
        "packed-first-site", "first sync of a web site with odd names and dangling links, to S3", "site", 40_000, "s3",
        (*BOTH, *PEERS), fresh=True,
        marks=both(exactly("files missing or wrong = 0", "wrong", 0), exactly("exit code 0", "code", 0),
                   Mark("sent <= 1.05 x the least of restic, rustic", "bytes_up", "share", 1.05, PEERS), BEST, RSS)),
    Scenario(
        "packed-one-percent", "1 % modified, on S3", "many", 100_000, "s3", (*BOTH, *PEERS),
        mutation="modify", latencies=(0, 20), marks=both(requests(12), seconds(1.2), BEST, RSS)),
    Scenario(
        "packed-rename", "a directory of a twentieth of the files renamed, on S3", "many", 100_000, "s3",
        (*BOTH, *PEERS), mutation="rename", marks=both(NO_CONTENT, seconds(0.8), BEST, RSS)),
    Scenario(
        "packed-touch", "1 % touched, on S3", "many", 100_000, "s3", (*BOTH, *PEERS),
        mutation="touch", marks=both(NO_CONTENT, seconds(0.5), BEST, RSS)),
    Scenario(
        # Which pieces a run meets is chance: two can be of the greatest length, and then come lists and pages.
        "packed-block", "4 KiB of a file of 512 MiB overwritten in place, on S3", "one", 512 * MIB, "s3",
        (*BOTH, *PEERS), mutation="block", latencies=(0, 20),
        marks=both(at_most("sent <= 2 MiB", "bytes_up", 2 * MIB, counted=False), at_most("sent <= 5 MiB", "bytes_up", 5 * MIB), BEST, RSS)),
    Scenario(
        # 128 MiB is wanted, and not met by programs that are built quickly, which are 30 MB larger themselves.
        "packed-first-big", "first sync of four big files, to S3", "big", 512 * MIB, "s3", (*BOTH, *PEERS), fresh=True,
        marks=both(BEST, cpu(15), at_most("peak RSS <= 128 MiB", "rss", 128 * MIB, counted=False),
                   at_most("peak RSS <= 192 MiB", "rss", 192 * MIB))),
    Scenario(
        "packed-pull-all", "everything back, from S3", "many", 100_000, "s3", (*BOTH, *PEERS), verb="pull",
        target="empty", marks=both(at_most("GET <= 40", "requests.GET", 40), seconds(25), cpu(15), BEST, RSS)),
    Scenario(
        "packed-pull-one-percent", "back onto a tree that differs in 1 %, from S3", "many", 100_000, "s3",
        (*BOTH, *PEERS), verb="pull", target="differs",
        # Of each pack only a few frames are wanted: a request for each stretch costs less than the bytes between them.
        marks=both(seconds(1.0), BEST, RSS)),
    Scenario(
        "packed-first-million", "first sync of a million files, to a directory", "million", 1_000_000, "dir", BOTH,
        fresh=True, quick=False, marks=both(RSS)),
    Scenario(
        "packed-million", "nothing changed among a million files, in a directory", "million", 1_000_000, "dir",
        (*BOTH, "find"), quick=False, marks=both(RSS)),
    Scenario(
        "packed-year", "a year of nights, 1 % modified each, 7 daily and 4 weekly snapshots kept", "many", 20_000, "dir",
        BOTH, verb="year", fresh=True,
        marks=both(at_most("stored <= 2 x a new destination's", "times_stored", 2.0))),
)
