"""Backblaze B2: a life of a destination, and Backblaze's own command line beside offsite on one bucket."""
import os
import shutil
import signal
import time

from registry import check, same, test
from trees import alike, big, many, odd_names, write


def listed(case, name: str = "d") -> set[str]:
    prefix = case.prefix(name) + "/"
    return {found["fileName"][len(prefix):] for found in case.server.listed(prefix)}


@test("b2")
def b2_a_life(case):
    url = case.url()
    odd_names(case.source)
    write(case.source, "docs/a.txt", b"first")
    case.sync(url)
    shutil.copytree(case.source, case.dir / "was-1", symlinks=True)
    write(case.source, "docs/a.txt", b"second, longer")
    (case.source / "a-b").unlink()
    os.rename(case.source / "order", case.source / "moved")
    changes = case.sync(url)["changes"]
    check(changes["changed"] == 1 and changes["renamed"] >= 4 and changes["removed"] >= 1, changes)
    check("a-b" not in listed(case) and "moved/p/x" in listed(case), "what b2 lists")
    check(not [key for key in listed(case) if key.startswith(".offsite/kept/")], "something was copied although B2 keeps versions")
    same(case.run("cat", url, "docs/a.txt", "--at", "1").raw, b"first", "cat --at 1")
    same(case.run("cat", url, "docs/a.txt").raw, b"second, longer", "cat")
    events = [(e["snapshot"], e["change"]) for e in case.json("history", url, "docs/a.txt")["history"]]
    same(sorted(events), [(1, "added"), (2, "changed")], "history")
    case.pull(url, "one", "--at", "1")
    alike(case.dir / "was-1", case.dir / "one", times=False)
    case.pull(url)
    alike(case.source, case.dir / "out")
    case.json("prune", url, "--keep-last", "1")
    versions = [v for v in case.server.listed(case.prefix() + "/docs/", versions=True) if v["action"] == "upload"]
    same(len(versions), 1, "versions of a content after prune")
    shutil.rmtree(case.dir / "out")
    shutil.rmtree(case.dir / "cache")
    case.pull(url)
    alike(case.source, case.dir / "out")


@test("b2")
def b2_requests(case):
    key = case.server.limited()
    case.env.update(key)
    url = case.url()
    many(case.source, 120)

    def step():
        case.server.control(key=key["B2_APPLICATION_KEY_ID"], forget_counts=True)
        outcome = case.sync(url)
        counts = case.server.counts(key["B2_APPLICATION_KEY_ID"])
        same(sum(counts.values()), sum(outcome["requests"].values()), f"requests seen and said: {counts} {outcome['requests']}")
        return counts

    counts = step()
    check(counts["b2_upload_file"] <= 120 + 12 and counts["b2_get_upload_url"] <= 40, f"a first sync: {counts}")
    step()
    wanted = {"b2_authorize_account": 1, "b2_list_file_versions": 2, "b2_get_upload_url": 1, "b2_upload_file": 1}
    same(step(), wanted, "no change")
    write(case.source, "dir-000/file-00001.txt", b"other")
    counts = step()
    # The content, the pages, the lease and the snapshot; each of the last two is looked at once it is there.
    same((counts["b2_upload_file"], counts["b2_list_file_versions"], counts["b2_hide_file"]), (4, 4, 1), f"one change: {counts}")


@test("b2")
def b2_a_key_for_one_prefix(case):
    case.env.update(case.server.limited(case.prefix("mine") + "/"))
    many(case.source, 20)
    case.sync(case.url("mine"))
    case.pull(case.url("mine"))
    alike(case.source, case.dir / "out")
    case.run("sync", case.source, case.url("others"), code=1).says("limited to names that begin with", case.prefix("mine"))


@test("b2")
def b2_own_command_line(case):
    """What offsite writes, `b2` lists and reads; what `b2` writes, offsite takes over."""
    b2 = case.server
    write(case.source, "a b+c%2B/ü #1.txt", b"from offsite")
    write(case.source, "big.bin", os.urandom(9 << 20))
    many(case.source / "more", 10)
    url = case.url()
    case.sync(url)
    place = f"b2://{b2.bucket}/{case.prefix()}"
    names = b2.command(case.dir, "ls", "-r", place).splitlines()
    wanted = {str(p.relative_to(case.source)) for p in case.source.rglob("*") if p.is_file()}
    same({n[len(case.prefix()) + 1:] for n in names if "/.offsite/" not in n}, wanted, "what `b2 ls` lists")
    b2.command(case.dir, "sync", "--no-progress", place, case.dir / "by-b2")
    shutil.rmtree(case.dir / "by-b2/.offsite")
    alike(case.source, case.dir / "by-b2", times=False)

    b2.command(case.dir, "sync", "--no-progress", case.source, f"b2://{b2.bucket}/{case.prefix('theirs')}")
    taken = case.sync(case.url("theirs"), "--adopt")
    same((taken["bytes"]["sent"], taken["adopted"] if "adopted" in taken else 12), (0, 12), "what was taken over is not sent again")
    case.pull(case.url("theirs"), "theirs")
    alike(case.source, case.dir / "theirs")

    # A file that `b2` replaced: what offsite wrote is still its version.
    (case.dir / "new").write_bytes(b"from b2")
    b2.command(case.dir, "file", "upload", "--no-progress", b2.bucket, case.dir / "new", f"{case.prefix()}/a b+c%2B/ü #1.txt")
    same(case.run("cat", url, "a b+c%2B/ü #1.txt").raw, b"from offsite", "the version that the snapshot names")


@test("b2")
def b2_a_killed_upload_goes_on(case):
    key = case.server.limited()
    case.env.update(key)
    write(case.source, "big.bin", os.urandom(40 << 20))
    url = case.url()
    process = case.start("sync", case.source, url, "--limit-upload", "8M")
    end = time.monotonic() + 60
    while case.server.counts(key["B2_APPLICATION_KEY_ID"]).get("b2_upload_part", 0) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    unfinished = [v for v in case.server.listed(case.prefix(), versions=True) if v["action"] == "start"]
    same(len(unfinished), 1, "large files that are not finished")
    case.server.control(key=key["B2_APPLICATION_KEY_ID"], forget_counts=True)
    case.sync(url)
    counts = case.server.counts(key["B2_APPLICATION_KEY_ID"])
    check("b2_start_large_file" not in counts and 0 < counts["b2_upload_part"] < 5, f"it began anew: {counts}")
    case.pull(url)
    alike(case.source, case.dir / "out")


@test("b2")
def b2_two_writers(case):
    many(case.source, 30)
    url = case.url()
    case.sync(url)
    runs = []
    for n in range(3):
        source = case.dir / f"source-{n}"
        shutil.copytree(case.source, source)
        write(source, f"own-{n}", os.urandom(2 << 20))
        env = {"OFFSITE_CACHE_DIR": str(case.dir / f"cache-{n}")}
        runs.append((n, case.start("sync", source, url, env=env)))
    codes = {n: case.end(process, ("sync",)).code for n, process in runs}
    won = [n for n, code in codes.items() if code == 0]
    check(won, f"nobody won: {codes}")
    newest = case.json("snapshots", url)["snapshots"]
    same(len(newest), 1 + len(won), f"snapshots, with {codes}")
    case.pull(url)
    held = {p.name for p in (case.dir / "out").glob("own-*")}
    check(held <= {f"own-{n}" for n in won} and len(held) == 1, f"{held} of {codes}")


@test("b2")
def b2_in_its_moods(case):
    """503 and 429 that come by themselves, from every host: nothing is lost, and no run takes for ever."""
    for seed in (1, 2, 3):
        key = case.server.limited()
        case.server.control(key=key["B2_APPLICATION_KEY_ID"], moods=seed)
        case.env.update(key)
        to = case.url(f"moods-{seed}")
        many(case.source, 60, seed=seed)
        big(case.source / "big.bin", 24 << 20, seed=seed)
        case.sync(to, timeout=180)
        write(case.source, "changed.txt", f"seed {seed}".encode())
        case.sync(to, timeout=180)
        case.pull(to, f"out-{seed}", timeout=180)
        alike(case.source, case.dir / f"out-{seed}")
        case.json("prune", to, "--keep-last", "1", timeout=180)
        case.json("check", to, "--read-data", timeout=180)
