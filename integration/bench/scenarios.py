"""The scenarios of mirrors, what is wanted of each, and the list of all: data, and nothing that runs.

Sizes are the full ones; --quick divides them by twenty. marks.py says what the words mean.
"""
from __future__ import annotations

from collections.abc import Callable

from marks import MIB, RSS, Around, Mark, Scenario, at_most, exactly, faster, half_cpu
from packed import PACKED


def floor(around: Around) -> float | None:
    find = around.median("find", "wall")
    return None if find is None else find + 2 * around.rtt


def changed(plus: int) -> Callable[[Around], float | None]:
    def limit(around: Around) -> float | None:
        number = around.median("offsite", "changed")
        return None if number is None else number + plus
    return limit


def overhead(around: Around) -> float | None:
    """A first sync asks the store once what it does to keys and whether it gives back what it took; then listings, lease,
    pages, snapshot."""
    wall = around.median("offsite", "wall")
    return None if wall is None else 21 + wall // 30


def slowest_alone(around: Around) -> float | None:
    walls = [around.median(f"offsite-{number}", "wall") for number in (1, 2, 3)]
    return None if None in walls else 1.3 * max(walls)


def quiet_by_sftp(around: Around) -> float | None:
    rsync = around.median("rsync", "wall")
    return None if rsync is None else rsync / (4 if around.rtt else 3)


NO_HISTORY = ("--keep-within", "0")

MIRRORS = (
    Scenario(
        "no-change-s3", "nothing changed, on S3", "many", 100_000, "s3",
        ("offsite", "find", "rclone", "s5cmd", "aws", "restic"), latencies=(0, 20),
        marks=(exactly("requests = 2", "total_requests", 2),
               Mark("wall <= find + 2 RTT", "wall", "at-most", floor),
               faster(15, "rclone", "s5cmd", "aws"), faster(8, "restic"), RSS)),
    Scenario(
        "no-change-dir", "nothing changed, in a directory", "many", 100_000, "dir",
        ("offsite", "find", "rsync", "rclone"), marks=(faster(4, "rsync", "rclone"), RSS)),
    Scenario(
        "million", "nothing changed among a million files, in a directory", "million", 1_000_000, "dir",
        ("offsite", "find"), marks=(RSS,)),
    Scenario(
        "million-s3", "one file of a million changed, on S3", "million", 1_000_000, "s3", ("offsite",),
        mutation="modify-one", full=True,
        marks=(at_most("requests <= 8", "total_requests", 8),
               at_most("manifest bytes sent < 1 MiB", "own_body_up", MIB - 1),
               at_most("bytes received < 1 MiB", "bytes_down", MIB - 1), RSS)),
    Scenario(
        "one-percent-s3", "1 % modified, on S3", "many", 100_000, "s3", ("offsite", "rclone", "restic"),
        mutation="modify", flags=NO_HISTORY, latencies=(0, 20),
        marks=(at_most("requests <= changed files + 6", "total_requests", changed(6)), RSS)),
    Scenario(
        "first-many-s3", "first sync of many small files, to S3", "many", 100_000, "s3",
        ("offsite", "rclone", "s5cmd"), fresh=True,
        marks=(exactly("one PUT a file", "content_puts", lambda around: around.files),
               at_most("other requests <= 21 and a renewal of the lease every 30 s", "other_requests", overhead),
               faster(1.5, "rclone", "s5cmd"), half_cpu("rclone", "s5cmd"), RSS)),
    Scenario(
        "first-big-s3", "first sync of four big files, to S3", "big", 512 * MIB, "s3",
        ("offsite", "rclone", "s5cmd"), fresh=True, marks=(faster(1.0, "rclone", "s5cmd"), RSS)),
    Scenario(
        "first-big-dir", "first sync of four big files, to a directory", "big", 512 * MIB, "dir",
        ("offsite", "cp+sync", "cp"), fresh=True, marks=(faster(1.0, "cp+sync"), RSS)),
    Scenario(
        "three-destinations", "three S3 prefixes at once, each behind its own limited link of 20 ms", "big", 64 * MIB, "s3",
        ("offsite", "offsite-1", "offsite-2", "offsite-3"), fresh=True, latencies=(20,), links=(24 * MIB, 16 * MIB, 12 * MIB),
        marks=(exactly("source read once", "bytes_read", lambda around: around.bytes),
               Mark("wall <= 1.3 x the slowest alone", "wall", "at-most", slowest_alone), RSS)),
    Scenario(
        "pull-all-s3", "everything back, from S3", "many", 100_000, "s3", ("offsite", "rclone", "s5cmd"), verb="pull",
        target="empty", marks=(faster(1.2, "rclone", "s5cmd"), half_cpu("rclone", "s5cmd"), RSS)),
    Scenario(
        "pull-all-dir", "everything back, from a directory", "many", 100_000, "dir", ("offsite", "rsync"), verb="pull",
        target="empty", marks=(faster(1.0, "rsync"), RSS)),
    Scenario(
        "pull-one-percent-s3", "back onto a tree that differs in 1 %, from S3", "many", 100_000, "s3",
        ("offsite", "rclone", "restic"), verb="pull", target="differs",
        marks=(at_most("requests <= differing files + 6", "total_requests", changed(6)),
               faster(5, "rclone"), faster(5, "restic"), RSS)),
    Scenario(
        "rename-s3", "a directory of a twentieth of the files renamed, on S3", "many", 100_000, "s3", ("offsite", "rclone"),
        mutation="rename", flags=NO_HISTORY,
        marks=(exactly("content bytes sent = 0", "content_up", 0),
               exactly("COPY = files renamed", "requests.COPY", changed(0)), RSS)),
    Scenario(
        # Of 512 MiB at least, and with --quick still of a size at which blocks count.
        "block-s3", "4 KiB of a file of 2 GiB overwritten in place, on S3", "one", 2048 * MIB, "s3", ("offsite", "rclone", "restic"),
        mutation="block", flags=NO_HISTORY, latencies=(0, 20),
        marks=(at_most("content bytes sent <= 16 MiB", "content_up", 16 * MIB), faster(1.0, "rclone"), RSS)),
    Scenario(
        "block-sftp", "4 KiB of a file of 512 MiB overwritten in place, by SFTP", "one", 512 * MIB, "sftp", ("offsite", "rsync"),
        mutation="block", flags=NO_HISTORY, latencies=(0, 20), quick=False,
        # Not counted: offsite sends blocks to S3 and B2 only.
        marks=(at_most("sent <= 16 MiB", "bytes_up", 16 * MIB, counted=False), faster(1.0, "rsync"), RSS)),
    Scenario(
        "first-many-sftp", "first sync of many small files, by SFTP", "many", 20_000, "sftp",
        ("offsite", "rsync", "rclone"), fresh=True, marks=(faster(1.0, "rsync"), faster(3, "rclone"), RSS)),
    Scenario(
        "first-one-sftp", "first sync of one file of 1 GiB, by SFTP", "one", 1024 * MIB, "sftp",
        ("offsite", "sftp", "sftp+sync", "rsync"), fresh=True, marks=(faster(0.9, "sftp"), RSS)),
    Scenario(
        "pull-one-sftp", "one file of 1 GiB back, by SFTP", "one", 1024 * MIB, "sftp",
        ("offsite", "sftp", "rsync"), verb="pull", target="empty", marks=(faster(0.9, "sftp"), RSS)),
    Scenario(
        "no-change-sftp", "nothing changed, by SFTP", "many", 100_000, "sftp",
        ("offsite", "find", "rsync"), latencies=(0, 20),
        marks=(Mark(">= 3 x the speed of rsync at 0 ms, 4 x at 20 ms", "wall", "at-most", quiet_by_sftp),
               # The third asks whether the disk folds names: a destination may have been copied to one.
               exactly("requests said = 3", "requests_said", 3), RSS)),
    Scenario(
        "site", "first sync of a web site with odd names and dangling links, to S3", "site", 40_000, "s3",
        ("offsite", "rclone", "s5cmd"), fresh=True,
        marks=(exactly("files missing or wrong = 0", "wrong", 0), exactly("exit code 0", "code", 0), RSS)),
)

SCENARIOS = MIRRORS + PACKED
