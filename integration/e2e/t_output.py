"""What is seen: progress on a terminal and elsewhere, --quiet, --json, help."""
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time

from proxy import Proxy
from registry import check, same, test
from t_refusals import broken
from t_requests import through_proxy
from trees import big, many, write

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(case, columns: int, *args, stop_after: float | None = None) -> tuple[int, str]:
    """Runs with standard error on a terminal of that width: exit code, and all that was written."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = case.start(*args, stdout=subprocess.DEVNULL, stderr=slave, env={"TERM": "xterm-256color"})
    os.close(slave)
    seen, begin = b"", time.monotonic()
    while True:
        if stop_after and time.monotonic() - begin > stop_after:
            process.send_signal(signal.SIGINT)
            stop_after = None
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(master)
    code = process.wait(timeout=30)
    case.no_secret(seen, "the terminal")
    return code, seen.decode(errors="replace")


def slow(case) -> Proxy:
    proxy = through_proxy(case)
    proxy.set_rate(8 << 20)
    return proxy


@test("seaweedfs")
def bars_on_a_terminal(case):
    many(case.source, 40)
    big(case.source / ("a-rather-long-name-" * 6 + ".bin"), 14 << 20)
    proxy = slow(case)
    for columns in (60, 80, 120, 200):
        code, seen = on_a_terminal(case, columns, "sync", case.source, case.url(f"w{columns}", port=proxy.port))
        same(code, 0, f"exit code: {seen[-400:]}")
        lines = [ESCAPES.sub("", line) for line in re.split(r"[\r\n]|\x1b\[[0-9]*[AGK]|\x1b\[2K", seen)]
        widest = max(lines, key=len)
        check(len(widest) <= columns, f"{len(widest)} of {columns} columns: {widest!r}")
        for word in ("ETA", "MiB", f"w{columns}"):
            check(word in seen, f"no `{word}` in the bars at {columns} columns: {lines[-5:]}")
        if "\x1b[?25l" in seen:
            check(seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l"), "the cursor stays hidden")


@test("seaweedfs")
def ctrl_c_on_a_terminal(case):
    many(case.source, 40)
    big(case.source / "big.bin", 40 << 20)
    proxy = slow(case)
    code, seen = on_a_terminal(case, 100, "sync", case.source, case.url(port=proxy.port), stop_after=1.5)
    same(code, 130, "exit code")
    check("press again" in seen and "run the same command again" in seen, f"not told what goes on: {seen[-600:]!r}")
    if "\x1b[?25l" in seen:
        check(seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l"), "the cursor stays hidden")


@test("seaweedfs")
def lines_elsewhere_and_quiet(case):
    big(case.source / "big.bin", 2_500_000)
    proxy = broken(case)
    proxy.refuse = lambda r: time.sleep(11) if r.content else None
    line = case.start("sync", case.source, case.url("lines", port=proxy.port))
    quiet = case.start("sync", case.source, case.url("quiet", port=proxy.port), "--quiet")
    document = case.start("sync", case.source, case.url("json", port=proxy.port), "--json")
    ran = case.end(line)
    said = [l for l in ran.err.splitlines() if l.startswith("offsite: s3://")]
    check(said and "MiB" in said[0] and "\x1b" not in ran.err and "\r" not in ran.err, f"plain lines: {ran}")
    ran = case.end(quiet)
    same((ran.code, ran.out, ran.err), (0, "", ""), "--quiet")
    ran = case.end(document)
    same((ran.code, ran.err), (0, ""), "standard error with --json")
    check(ran.document["exit"] == 0, ran)


@test("moto")
def every_document_fits_its_schema(case):
    many(case.source, 20)
    write(case.source, "odd\n\"name", b"x")
    os.symlink("x", case.source / "link")
    os.mkfifo(case.source / "fifo")
    url = case.url()
    case.json("plan", case.source, url)
    case.json("sync", case.source, url)
    case.json("plan", case.source, url, "--out", case.dir / "p")
    case.json("apply", case.dir / "p")
    write(case.source, "odd\n\"name", b"y")
    case.json("sync", case.source, url)
    for verb, args in (("snapshots", ()), ("ls", ()), ("ls", ("--recursive",)), ("ls", ("--at", "1")), ("diff", ("1",)), ("history", ("link",)),
                       ("cat", ("dir-000/file-00001.txt",)), ("prune", ("--keep-last", "1", "--dry-run")), ("prune", ("--keep-last", "1"))):
        case.json(verb, url, *args)
    case.json("pull", url, case.dir / "out", "--dry-run")
    case.json("pull", url, case.dir / "out")
    for verb, args in (("ls", ("--at", "99")), ("cat", ("nope",)), ("history", ("nope",)), ("diff", ("7", "8")), ("prune", ())):
        case.json(verb, url, *args, code=2)
    case.json("sync", code=2)
    case.json("apply", case.dir / "nothing-here", code=None)
