"""Several destinations at once: each has its own result, and one that fails stops no other."""
from registry import check, same, test
from trees import alike, big, many, write


@test()
def three_destinations_and_one_fails(case):
    many(case.source, 40)
    big(case.source / "big.bin", 10 << 20)
    urls = [case.url("one"), case.url("two", bucket="no-such-bucket-here"), str(case.dir / "copy"), case.url("three", bucket=case.server.versioned)]
    document = case.json("sync", case.source, *urls, code=1)
    results = document["destinations"]
    same([r["exit"] for r in results], [0, 1, 0, 0], "exit codes")
    same((results[0]["snapshot"], results[1]["snapshot"], document["exit"]), (1, None, 1), "snapshots, exit")
    check("no-such-bucket-here" in results[1]["error"] and "bucket" in results[1]["error"], results[1]["error"])
    size = sum(p.stat().st_size for p in case.source.rglob("*") if p.is_file())
    same(results[0]["bytes"]["read"], size, "the source is read once")
    for name, url in (("a", urls[0]), ("b", urls[2]), ("c", urls[3])):
        case.pull(url, name)
        alike(case.source, case.dir / name)
    write(case.source, "dir-000/file-00000.txt", b"changed")
    ran = case.run("sync", case.source, *urls, code=1)
    check(ran.out.count("snapshot 2") == 3 and "no-such-bucket-here" in ran.err, ran)


@test()
def destinations_at_different_states(case):
    many(case.source, 20)
    first, second = case.url("one"), case.url("two", bucket=case.server.versioned)
    case.sync(first)
    write(case.source, "new.txt", b"new")
    results = case.json("sync", case.source, first, second)["destinations"]
    same([(r["base"], r["snapshot"], r["changes"]["added"]) for r in results], [(1, 2, 1), (None, 1, 22)], "bases, snapshots, added")
    case.run("sync", case.source, first, first, code=None)
    for name, url in (("a", first), ("b", second)):
        case.pull(url, name)
        alike(case.source, case.dir / name)
