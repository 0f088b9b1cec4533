"""kill -9, Ctrl-C and SIGTERM: the last snapshot stays whole, and the next run goes on."""
import os
import signal
import time

from proxy import Proxy
from registry import Wrong, check, same, test
from t_requests import through_proxy
from trees import alike, big, many, write

# What may be under way, and what the journal had not passed to the kernel yet, when a run is killed.
FLIGHT = 64
UNWRITTEN = 64


def stopped_when(case, args, reached, number: int) -> int:
    """Starts a run, sends it a signal when `reached()`, and gives its exit code."""
    process = case.start(*args)
    end = time.monotonic() + 60
    while not reached() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    if process.poll() is not None:
        raise Wrong(f"ended before it could be stopped: {case.end(process, args)}")
    os.kill(process.pid, number)
    return case.end(process, args).code


def content_puts(proxy: Proxy) -> int:
    counts = proxy.counts()
    return counts["requests"]["PUT"] - counts["own"]["PUT"]


@test()
def killed_with_small_files(case):
    count = 300
    many(case.source, count)
    proxy = through_proxy(case)
    proxy.set_latency(8)
    url, sent, kills = case.url(port=proxy.port), 0, (1, 90, 200, 270)
    for after in kills:
        proxy.reset()
        goal = after - sent if after > sent else 1
        code = stopped_when(case, ("sync", case.source, url), lambda: content_puts(proxy) >= goal, signal.SIGKILL)
        same(code, -signal.SIGKILL, "exit code")
        sent = max(sent, after)
        case.run("ls", url, code=2).says("no snapshot")
    proxy.reset()
    outcome = case.sync(url)
    check(outcome["resumed"] > 0, f"nothing was taken over: {outcome}")
    again = content_puts(proxy)
    left = count - kills[-1]
    check(again <= left + FLIGHT + UNWRITTEN * len(kills), f"{again} files were sent after the last kill, {left} were left")
    whole(case, url)


@test()
def killed_before_and_after_the_commit(case):
    """At every kind of request of offsite's own, in a run that changes a whole snapshot."""
    many(case.source, 30)
    proxy = through_proxy(case)
    url = case.url(port=proxy.port)
    case.sync(url)
    first = case.dir / "first"
    os.system(f"cp -a {case.source} {first}")
    for round, own in enumerate((1, 2, 3, 4)):
        write(case.source, "dir-000/file-00003.txt", b"round %d" % round)
        (case.source / f"dir-000/file-{10 + round:05}.txt").unlink()
        proxy.set_latency(15)
        proxy.reset()
        process = case.start("sync", case.source, url)
        while proxy.counts()["own"]["PUT"] < own and process.poll() is None:
            time.sleep(0.001)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        case.end(process)
        proxy.set_latency(0)
        case.pull(url, f"first-{round}", "--at", "1")
        alike(first, case.dir / f"first-{round}")
        case.run("pull", url, case.dir / f"last-{round}")
        case.sync(url)
        whole(case, url, f"round-{round}")


def whole(case, url: str, name: str = "out"):
    case.pull(url, name, env={"OFFSITE_CACHE_DIR": str(case.dir / "fresh")})
    alike(case.source, case.dir / name)
    wanted = {str(p.relative_to(case.source)) for p in case.source.rglob("*") if p.is_file()}
    same(case.content_keys() ^ wanted, set(), "objects too many or missing")


@test()
def killed_within_large_files(case):
    part = 8 << 20
    for index in range(3):
        big(case.source / f"{index}.bin", 4 * part, seed=index)
    proxy = through_proxy(case)
    proxy.set_rate(60 << 20)
    url = case.url(port=proxy.port)
    total = 12 * part
    goal = 10 * part  # six are under way at a time
    same(stopped_when(case, ("sync", case.source, url), lambda: proxy.counts()["body_up"] >= goal, signal.SIGKILL), -9, "exit code")
    proxy.set_rate(0)
    proxy.reset()
    case.sync(url)
    again = proxy.counts()["body_up"]
    check(again <= total - part + (1 << 20), f"{again >> 20} MiB were sent again of {total >> 20}")
    same(case.uploads(), [], "uploads left over")
    whole(case, url)


@test()
def interrupted_and_gone_on_with(case):
    many(case.source, 200)
    big(case.source / "big.bin", 24 << 20)
    proxy = through_proxy(case)
    for number in (signal.SIGINT, signal.SIGTERM):
        url = case.url(number.name, port=proxy.port)
        proxy.set_latency(20)
        proxy.set_rate(6 << 20)
        proxy.reset()
        started = time.monotonic()
        code = stopped_when(case, ("sync", case.source, url), lambda: content_puts(proxy) >= 100, number)
        same(code, 130, f"exit code after {number.name}")
        check(time.monotonic() - started < 30, "it took too long to stop")
        proxy.set_latency(0)
        proxy.set_rate(0)
        proxy.reset()
        outcome = case.sync(url)
        left = 201 - outcome["resumed"]
        check(outcome["resumed"] >= 60, f"taken over: {outcome['resumed']}")
        check(content_puts(proxy) <= left, f"{content_puts(proxy)} were sent again, {left} were left")
        case.pull(url, number.name)
        alike(case.source, case.dir / number.name)


@test()
def a_pull_that_was_killed(case):
    many(case.source, 150)
    big(case.source / "big.bin", 4 << 20)
    proxy = through_proxy(case)
    url = case.url(port=proxy.port)
    case.sync(url)
    proxy.set_latency(20)
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        proxy.reset()
        got = stopped_when(case, ("pull", url, case.dir / "out"), lambda: proxy.counts()["requests"]["GET"] >= 40, number)
        same(got, code, "exit code")
        for path in (case.dir / "out").rglob("*.txt"):
            same(path.read_bytes(), (case.source / path.relative_to(case.dir / "out")).read_bytes(), "a file that was published")
    proxy.set_latency(0)
    case.pull(url)
    alike(case.source, case.dir / "out")


@test(local=True)
def a_directory_that_was_killed(case):
    many(case.source, 3000)
    copy = case.dir / "copy"
    for wait in (0.02, 0.05, 0.1):
        process = case.start("sync", case.source, copy)
        time.sleep(wait)
        process.kill()
        case.end(process)
        for path in copy.rglob("dir-*/*"):
            if path.is_file():
                same(path.read_bytes(), (case.source / path.relative_to(copy)).read_bytes(), "a file under its own name")
    case.sync(str(copy))
    case.pull(str(copy))
    alike(case.source, case.dir / "out")
    alike(case.source, copy, leave_out=lambda p: p.startswith(b".offsite"))
