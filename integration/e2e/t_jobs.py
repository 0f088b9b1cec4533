"""Jobs on real servers: a dump that is streamed in parts, cut off and begun anew, and the word that is left of it."""
import json
import os
import signal
import time

from registry import check, same, test
from trees import alike, many, write

SIZE = 40 << 20


def config(case, **job) -> str:
    job = {"destinations": [case.url()], **job}
    path = case.dir / "offsite.json"
    path.write_text(json.dumps({"hook_timeout": "1m", "jobs": {"job": job}}))
    return str(path)


@test("seaweedfs", "moto", "b2", "openssh")
def jobs_a_dump_is_streamed(case):
    many(case.source, 50)
    big = case.dir / "big"
    big.write_bytes(os.urandom(SIZE))
    small = case.dir / "small"
    small.write_text("-- small\n")
    good = {"big.sql": {"command": ["cat", str(big)], "max_shrink": "50%"}, "small.sql": f"cat {small}"}
    file = config(case, source=str(case.source), dumps=good)
    outcome = case.json("run", "--config", file)["jobs"][0]
    same([d["bytes"] for d in outcome["destinations"][0]["dumps"]], [SIZE, 9], "bytes of the dumps")
    out = case.dir / "out"
    case.run("pull", case.url(), out)
    same((out / "big.sql").read_bytes() == big.read_bytes(), True, "the dump comes back")
    for name in ("big.sql", "small.sql"):
        (out / name).unlink()
    alike(case.source, out)
    case.run("check", case.url(), "--read-data")
    # One that dies in the middle: the last good one stays, nothing unfinished is left, and whoever asks is told.
    broken = config(case, source=str(case.source), dumps={
        "big.sql": f"head -c 30000000 {big}; echo it broke >&2; exit 1", "small.sql": f"cat {small}"})
    ran = case.run("run", "--config", broken, code=1).says("the last good one stays", "it broke")
    check("big.sql" in str(ran), ran)
    case.run("pull", case.url(), case.dir / "again")
    same((case.dir / "again" / "big.sql").read_bytes() == big.read_bytes(), True, "the last good dump is there")
    case.run("status", case.url(), code=1).says("the last run failed")
    case.json("run", "--config", config(case, source=str(case.source), dumps=good))
    case.run("status", case.url(), "--max-age", "1h")
    case.run("check", case.url())


@test("seaweedfs", "b2", "openssh")
def jobs_a_dump_that_was_killed(case):
    write(case.source, "a.txt", b"a")
    begun = case.dir / "begun"
    slow = config(case, source=str(case.source), dumps={
        "big.sql": f"head -c 25000000 /dev/zero; touch {begun}; sleep 60; echo never"})
    for _ in range(2):  # twice: what each of them began is to go
        process = case.start("run", "--config", slow)
        until = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        begun.unlink()
    good = config(case, source=str(case.source), dumps={"big.sql": "head -c 20000000 /dev/zero"})
    case.json("run", "--config", good)
    case.run("pull", case.url(), case.dir / "out")
    same((case.dir / "out" / "big.sql").stat().st_size, 20_000_000, "bytes of the dump")
    if case.server.make == "seaweedfs":
        same(case.uploads(), [], "unfinished uploads")
    case.run("check", case.url())


@test("seaweedfs")
def jobs_interrupted_by_the_user(case):
    write(case.source, "a.txt", b"a")
    done = case.dir / "done"
    file = config(case, source=str(case.source), dumps={"x.sql": "echo begun; sleep 60"},
                  **{"finally": [f"echo $OFFSITE_RESULT > {done}"]})
    process = case.start("run", "--config", file)
    time.sleep(2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    ran = case.end(process)
    same(ran.code, 130, ran)
    check(time.monotonic() - began < 20, "it took too long to end")
    same(done.read_text(), "interrupted\n", "what `finally` was told")
    good = config(case, source=str(case.source), dumps={"x.sql": "echo whole"})
    case.json("run", "--config", good)
    case.run("status", case.url())
