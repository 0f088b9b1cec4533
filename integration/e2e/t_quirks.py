"""A whole life on an S3 that is unkind in one way at a time: set up, synced, read back in every way, checked, pruned."""
import json
import os
import sys
import time
from pathlib import Path

from registry import check, same, test
from trees import alike, big, many, write

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "servers"))
from quirky_s3 import QuirkyS3  # noqa: E402


def place(case, *quirks: str, query: str = "", setting: str = "--versioning", code: int = 0) -> tuple[QuirkyS3, str]:
    """A server with these quirks, and the URL of a bucket of it that `init` made."""
    server = QuirkyS3(*quirks)
    case.closing.append(server.close)
    case.env |= {"AWS_ACCESS_KEY_ID": "AKIDQUIRKS", "AWS_SECRET_ACCESS_KEY": "quirks", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    endpoint = f"http://127.0.0.1:{server.port}"
    if "virtual-hosts" in quirks:
        # A name that no resolver knows: the server is the proxy, too.
        case.env |= {"http_proxy": endpoint, "no_proxy": ""}
        endpoint, query = "http://s3.test", query + "&path_style=false"
    url = f"s3://quirks/life?endpoint={endpoint}{query}"
    if setting:
        case.json("init", url, setting, code=code)
    else:
        case.json("init", url)
    return server, url


def life(case, *quirks: str, lacks: tuple[str, ...] = (), parts: bool = False, **how) -> QuirkyS3:
    """Everything that a user does with a destination; the format says what the store lacks, and nothing else."""
    server, url = place(case, *quirks, **how)
    many(case.source, 12)
    write(case.source, "old.txt", b"first")
    write(case.source, "moved.txt", b"content that moves" * 100)
    if parts:
        big(case.source / "big.bin", 24 << 20)
    case.sync(url)
    objects = server.buckets["quirks"].objects
    same(tuple(json.loads(objects["life/.offsite/format.json"][0]).get("lacks", ())), lacks, "what format.json says")
    same([key for key in objects if "/probe/" in key], [], "probe objects left over")
    write(case.source, "old.txt", b"second")
    (case.source / "moved.txt").rename(case.source / "here.txt")
    if parts:
        big(case.source / "big.bin", 23 << 20)
    # What was written less than 20 ms before a scan is read again by the next run, which would not be a quiet one.
    time.sleep(0.05)
    case.sync(url)
    before = server.requests
    same(case.sync(url)["changes"]["added"], 0, "added by a run without changes")
    if not any(quirk.startswith("busy") for quirk in quirks):
        check(server.requests - before <= 4, f"{server.requests - before} requests of a run without changes")
    case.pull(url)
    alike(case.source, case.dir / "out")
    case.run("pull", url, case.dir / "fresh-out", env={"OFFSITE_CACHE_DIR": str(case.dir / "fresh")})
    alike(case.source, case.dir / "fresh-out")
    same(case.run("cat", url, "old.txt", "--at", "1").raw, b"first", "the old version")
    case.json("report", url)
    case.json("check", url, "--read-data")
    case.json("prune", url, "--keep-last", "1")
    same(case.run("cat", url, "old.txt").raw, b"second", "the new version after the prune")
    for quirk in quirks:
        check(server.shown[quirk], f"the quirk {quirk} never showed: the test itself is wrong")
    same(server.buckets["quirks"].uploads, {}, "uploads left over")
    return server


@test(local=True)
def quirk_none(case):
    life(case, parts=True)


@test(local=True)
def quirk_a_create_meets_another(case):
    life(case, "create-conflict")


@test(local=True)
def quirk_conditions_are_not_known(case):
    life(case, "no-conditions-501")


@test(local=True)
def quirk_conditions_are_no_valid_argument(case):
    life(case, "no-conditions-400")


@test(local=True)
def quirk_conditions_of_copies_are_not_known(case):
    life(case, "no-copy-conditions-501")


@test(local=True)
def quirk_conditions_of_copies_are_no_valid_argument(case):
    life(case, "no-copy-conditions-400")


@test(local=True)
def quirk_conditions_of_ends_are_not_known(case):
    life(case, "no-end-conditions-501", parts=True)


@test(local=True)
def quirk_conditions_of_ends_are_no_valid_argument(case):
    life(case, "no-end-conditions-400", parts=True)


@test(local=True)
def quirk_checksums_are_not_known(case):
    life(case, "no-checksums-501", lacks=("checksums", "bulk-delete"), parts=True)


@test(local=True)
def quirk_checksums_are_no_valid_argument(case):
    life(case, "no-checksums-400", lacks=("checksums", "bulk-delete"), parts=True)


@test(local=True)
def quirk_checksums_are_switched_off_in_the_url(case):
    life(case, "no-checksums-501", lacks=("bulk-delete",), query="&checksum=none")


@test(local=True)
def quirk_no_bulk_delete(case):
    life(case, "no-bulk-delete", lacks=("bulk-delete",))


@test(local=True)
def quirk_no_copies(case):
    life(case, "no-copy", lacks=("copies",), parts=True)


@test(local=True)
def quirk_content_md5_is_wanted(case):
    life(case, "md5-wanted", lacks=("bulk-delete",))


@test(local=True)
def quirk_too_many_requests(case):
    life(case, "busy")


@test(local=True)
def quirk_too_many_requests_and_no_word(case):
    begun = time.monotonic()
    server = life(case, "busy-bare")
    check(time.monotonic() - begun >= server.shown["busy-bare"] / 8, "Retry-After was not waited for")


@test(local=True)
def quirk_another_region(case):
    server = life(case, "other-region")
    check(server.shown["other-region"] < 40, f"{server.shown['other-region']} requests went to the wrong region")


@test(local=True)
def quirk_a_part_is_answered_whole(case):
    life(case, "whole", lacks=("ranges",), parts=True)


@test(local=True)
def quirk_a_part_does_not_say_so(case):
    life(case, "unmarked", lacks=("ranges",), parts=True)


@test(local=True)
def quirk_parts_and_their_tags(case):
    life(case, "unmarked", "part-tags", lacks=("ranges",), parts=True)


@test(local=True)
def quirk_tags_are_no_digests(case):
    life(case, "kms-tags")


@test(local=True)
def quirk_the_bucket_is_in_the_host(case):
    life(case, "virtual-hosts")


@test(local=True)
def quirk_who_asks_pays(case):
    life(case, "requester-pays", query="&requester_pays=1")


@test(local=True)
def quirk_no_listing_of_versions(case):
    server, url = place(case, "no-versions")
    many(case.source, 5)
    case.sync(url)
    report = case.json("report", url, "--list")
    check(server.shown["no-versions"] and report, "the quirk never showed")
    case.pull(url)
    alike(case.source, case.dir / "out")


@test(local=True)
def quirk_no_settings(case):
    life(case, "no-settings", code=1)


@test(local=True)
def quirk_parts_of_one_size(case):
    server, url = place(case, "equal-parts")
    big(case.source / "big.bin", 37 << 20)
    case.sync(url)
    case.pull(url)
    alike(case.source, case.dir / "out")
    same(server.shown["equal-parts"], 0, "uploads with parts of several sizes")


@test(local=True)
def quirk_what_is_read_is_not_what_was_put(case):
    server, url = place(case, "garbage")
    many(case.source, 5)
    case.run("sync", case.source, url, code=1).says("cannot be a destination", "nothing was sent")
    same([key for key in server.buckets["quirks"].objects if "/probe/" not in key], [], "contents that were sent")


@test(local=True)
def quirks_that_come_later(case):
    """An existing destination begins to refuse what it took: each is worked around without a new format."""
    server, url = place(case)
    many(case.source, 5)
    case.sync(url)
    for number, quirk in enumerate(("no-checksums-501", "no-bulk-delete", "no-copy", "whole", "unmarked", "other-region")):
        server.quirks = {quirk}
        write(case.source, "new.txt", quirk.encode())
        write(case.source, f"{number}.txt", b"moves" * 300)
        case.sync(url)
        (case.source / f"{number}.txt").rename(case.source / f"{number}.moved")
        case.sync(url)
        case.pull(url)
        alike(case.source, case.dir / "out")
        check(server.shown[quirk], f"{quirk} never showed")


@test(local=True)
def encryption_is_declared(case):
    """The default encryption of a bucket is made, found again, and its drift seen; by `run`, once a week."""
    server, url = place(case, "md5-wanted")
    wanted = ("--encryption", "store")
    rows = lambda *args, code=0: {row["setting"]: row["did"] for row in case.json("init", url, *args, code=code)["destinations"][0]["settings"]}
    same(rows(*wanted)["encryption"], "changed", "the first time")
    same(rows(*wanted)["encryption"], "nothing", "the second time")
    same(rows("--check", "--encryption", "kms:1234-ab", code=1)["encryption"], "would_change", "another wish")
    same(rows("--encryption", "kms:1234-ab")["encryption"], "changed", "a key")
    case.run("init", url, "--encryption", "rot13", code=2).says("rot13")
    many(case.source, 3)
    config = case.dir / "offsite.json"
    config.write_text(json.dumps({"destinations": {"far": {"url": url, "initialize": {"encryption": "store"}}},
                                  "jobs": {"docs": {"source": str(case.source), "destinations": "far"}}}))
    case.run("run", "--config", config)
    check(b"AES256" in server.buckets["quirks"].settings["encryption"], "what `run` declared")
    server.buckets["quirks"].settings.pop("encryption")
    case.run("run", "--config", config)
    old = time.time() - 8 * 86400
    for mark in (case.dir / "cache" / "jobs").glob("*.made"):
        os.utime(mark, (old, old))
    for _ in range(2):
        case.run("run", "--config", config).says("differs from `initialize`", "encryption is `off`, not `store`")
        case.run("status", "--config", config).says("differs from `initialize`", "encryption is `off`, not `store`")
    case.run("init", "--config", config)
    for verb in ("run", "status"):
        check("differs from `initialize`" not in str(case.run(verb, "--config", config)), f"{verb} tells of drift that was mended")


@test("rclone-s3")
def a_life_on_rclone_serve_s3(case):
    """A real server with several of these at once: parts answered whole, no conditions, no versions, other tags after an upload in parts."""
    url = case.url()
    many(case.source, 12)
    big(case.source / "big.bin", 24 << 20)
    write(case.source, "old.txt", b"first")
    write(case.source, "moved.txt", b"content that moves" * 100)
    case.sync(url)
    write(case.source, "old.txt", b"second")
    (case.source / "moved.txt").rename(case.source / "here.txt")
    big(case.source / "big.bin", 23 << 20)
    time.sleep(0.05)  # as in `life`
    case.sync(url)
    quiet = case.sync(url)
    same((quiet["changes"]["added"], quiet["bytes"]["sent"]), (0, 0), "added and sent by a run without changes")
    case.pull(url)
    alike(case.source, case.dir / "out")
    case.run("pull", url, case.dir / "fresh-out", env={"OFFSITE_CACHE_DIR": str(case.dir / "fresh")})
    alike(case.source, case.dir / "fresh-out")
    same(case.run("cat", url, "old.txt", "--at", "1").raw, b"first", "the old version")
    case.json("check", url)
    case.json("check", url, "--read-data")
    case.json("prune", url, "--keep-last", "1")
    same(case.run("cat", url, "old.txt").raw, b"second", "the new version after the prune")
    same([key for key in case.keys() if "/probe/" in key], [], "probe objects left over")
