"""Two writers at one destination: one wins, the other is told who; a dead one's lease runs out by the store's clock."""
import os
import shutil
import signal
import time

from faulty import shift_clock
from proxy import Proxy
from registry import check, same, test
from t_refusals import broken
from trees import alike, many, write


def held_up(case, url: str, proxy: Proxy, **how):
    """A sync that is under way: its lease is taken, contents are going."""
    process = case.start("sync", case.source, url, "--transfers", "2", **how)
    end = time.monotonic() + 30
    while proxy.counts()["requests"]["PUT"] - proxy.counts()["own"]["PUT"] < 4 and time.monotonic() < end:
        time.sleep(0.005)
    check(process.poll() is None, "the first writer has ended already")
    return process


@test()
def two_machines_at_once(case):
    many(case.source, 120)
    proxy = Proxy(case.server.port).start()
    case.closing.append(proxy.stop)
    proxy.set_latency(20)
    url = case.url(port=proxy.port)
    first = held_up(case, url, proxy)
    other = {"OFFSITE_CACHE_DIR": str(case.dir / "other")}
    ran = case.run("sync", case.source, case.url(), env=other, code=1)
    check(os.uname().nodename in ran.err and str(first.pid) in ran.err, f"who is writing is not said: {ran}")
    case.run("prune", case.url(), "--keep-last", "1", env=other, code=None)
    same(case.end(first).code, 0, "exit code of the first")
    write(case.source, "new.txt", b"new")
    case.run("sync", case.source, case.url(), env=other)
    case.pull(case.url())
    alike(case.source, case.dir / "out")


@test()
def two_runs_on_one_machine(case):
    many(case.source, 120)
    proxy = Proxy(case.server.port).start()
    case.closing.append(proxy.stop)
    proxy.set_latency(20)
    url = case.url(port=proxy.port)
    first = held_up(case, url, proxy)
    case.run("sync", case.source, url, code=1).says("another offsite")
    case.run("ls", url, code=2)
    same(case.end(first).code, 0, "exit code of the first")
    same([s["number"] for s in case.json("snapshots", url)["snapshots"]], [1], "snapshots")


@test()
def a_dead_writers_lease(case):
    """Another machine waits for it; by the store's clock, not by its own."""
    many(case.source, 120)
    slow = Proxy(case.server.port).start()
    case.closing.append(slow.stop)
    slow.set_latency(20)
    first = held_up(case, case.url(port=slow.port), slow)
    os.kill(first.pid, signal.SIGKILL)
    case.end(first)
    other = {"OFFSITE_CACHE_DIR": str(case.dir / "other")}
    case.run("sync", case.source, case.url(), env=other, code=1).says("has been writing there", "expires in")
    proxy = broken(case)
    proxy.change = shift_clock(60)
    case.run("sync", case.source, case.url(port=proxy.port), env=other, code=1)
    proxy.change = shift_clock(150)
    case.run("sync", case.source, case.url(port=proxy.port), env=other)
    case.pull(case.url(), env=other)
    alike(case.source, case.dir / "out")
    # The dead one comes back: it must not believe its journal any more.
    case.run("sync", case.source, case.url(port=slow.port))
    case.pull(case.url(), "back")
    alike(case.source, case.dir / "back")


@test()
def many_writers_race(case):
    many(case.source, 30)
    case.sync(case.url())
    sources = []
    for index in range(4):
        source = case.dir / f"source-{index}"
        shutil.copytree(case.source, source, symlinks=True)
        write(source, "who.txt", b"%d" % index)
        sources.append(source)
    runs = [(s, case.start("sync", s, case.url(), env={"OFFSITE_CACHE_DIR": str(case.dir / f"c{i}")})) for i, s in enumerate(sources)]
    ended = [(source, case.end(process)) for source, process in runs]
    won = [source for source, ran in ended if ran.code == 0]
    check(won, f"nobody won: {[str(r) for _, r in ended]}")
    for _, ran in ended:
        check(ran.code in (0, 1) and (ran.code == 0 or "again" in ran.err or "has been writing there" in ran.err), ran)
    case.pull(case.url())
    check((case.dir / "out/who.txt").read_bytes() in [b"%d" % sources.index(s) for s in won], "what came back is nobody's")
    numbers = [s["number"] for s in case.json("snapshots", case.url())["snapshots"]]
    same(len(numbers), 1 + len(won), "snapshots")
