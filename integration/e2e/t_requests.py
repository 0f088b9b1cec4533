"""How many requests each kind of run costs, counted on the wire and compared with what offsite says."""
import os

from proxy import Proxy
from registry import check, same, test
from trees import alike, many, write

COUNT = 400
FEW = 6


def through_proxy(case) -> Proxy:
    proxy = Proxy(case.server.port).start()
    case.closing.append(proxy.stop)
    return proxy


def counted(case, proxy: Proxy, outcome) -> dict:
    """What the proxy saw, after making sure that offsite's own figures agree."""
    seen = proxy.counts()
    said = {k.upper(): v for k, v in outcome["requests"].items()}
    same({k: v for k, v in seen["requests"].items() if v}, {k: v for k, v in said.items() if v}, "requests seen and said")
    return seen


def touch(case, step: int, salt: str) -> int:
    """Rewrites every `step`-th file of a tree made by `many`; their number."""
    paths = sorted(p for p in case.source.rglob("*.txt"))[::step]
    for path in paths:
        path.write_text(f"{salt} {path.name}")
    return len(paths)


@test()
def requests_of_a_life(case):
    proxy = through_proxy(case)
    for bucket in (case.server.versioned, case.server.bucket):
        versioned = bucket == case.server.versioned
        url = case.url(port=proxy.port, bucket=bucket)
        if not versioned:
            many(case.source, COUNT, seed=9)
        else:
            many(case.source, COUNT)

        def step(*args):
            proxy.reset()
            outcome = case.sync(url, *args)
            return outcome, counted(case, proxy, outcome)

        _, seen = step()
        puts = seen["requests"]["PUT"] - seen["own"]["PUT"]
        same(puts, COUNT, "one PUT a file in a first sync")
        check(seen["total"] <= COUNT + 23, f"a first sync: {seen['requests']}")
        step()  # files younger than the last scan are looked at once more
        _, seen = step()
        same(seen["total"], 2, f"no change: {seen['requests']}")

        changed = touch(case, 100, f"one {bucket}")
        outcome, seen = step()
        same(outcome["changes"]["changed"], changed, "changed files")
        limit = changed + FEW + (0 if versioned else changed)
        check(seen["total"] <= limit, f"1 % changed ({changed} files), over {limit}: {seen['requests']}")

        proxy.reset()
        fetched = case.pull(url, "staging")
        check(counted(case, proxy, fetched)["total"] <= COUNT + FEW, f"pull of all: {fetched['requests']}")
        differ = sorted((case.dir / "staging").rglob("*.txt"))[::100]
        for path in differ:
            path.write_text("differs")
        proxy.reset()
        fetched = case.pull(url, "staging")
        same(fetched["files"], len(differ), "files fetched")
        check(counted(case, proxy, fetched)["total"] <= len(differ) + FEW, f"pull of what differs: {fetched['requests']}")
        alike(case.source, case.dir / "staging")
        os.rename(case.dir / "staging", case.dir / f"staging-{bucket}")


@test()
def a_renamed_directory_is_not_sent(case):
    proxy = through_proxy(case)
    write(case.source, "stays/x", b"x")
    many(case.source / "before", 120)
    url = case.url(port=proxy.port)
    case.sync(url)
    os.rename(case.source / "before", case.source / "after")
    proxy.reset()
    outcome = case.sync(url)
    seen = counted(case, proxy, outcome)
    same((outcome["changes"]["renamed"] >= 120, outcome["bytes"]["sent"], seen["content_up"]), (True, 0, 0), "a renamed directory")
    check(all(k.startswith(("after/", "stays/")) for k in case.content_keys()), "old names are still there")
    case.pull(url)
    alike(case.source, case.dir / "out")


@test("seaweedfs")  # moto drops a connection now and then, and a retry counts
def looking_costs_little(case):
    proxy = through_proxy(case)
    many(case.source, 50)
    url = case.url(port=proxy.port)
    case.sync(url)
    for verb, args, limit in (("ls", (), 4), ("snapshots", (), 3), ("cat", ("dir-000/file-00000.txt",), 5)):
        proxy.reset()
        case.run(verb, url, *args)
        check(proxy.counts()["total"] <= limit, f"{verb}: {proxy.counts()['requests']}")
