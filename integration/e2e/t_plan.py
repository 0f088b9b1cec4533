"""plan --out, apply, and the refusal to apply what no longer fits."""
from registry import check, same, test
from trees import alike, many, write


def planned(case, name: str = "a.plan") -> str:
    case.json("plan", case.source, case.url(), "--out", case.dir / name)
    case.no_secret((case.dir / name).read_bytes(), "the plan file")
    return str(case.dir / name)


@test()
def a_plan_is_applied(case):
    many(case.source, 30)
    first = planned(case)
    same(case.keys(), {}, "the bucket after a plan")
    outcome = case.json("apply", first)["destinations"][0]
    same((outcome["snapshot"], len(case.content_keys())), (1, 30), "snapshot and contents")
    write(case.source, "dir-000/file-00001.txt", b"changed")
    (case.source / "dir-000/file-00002.txt").rename(case.source / "renamed.txt")
    (case.source / "dir-000/file-00003.txt").unlink()
    text = case.run("plan", case.source, case.url(), "--out", case.dir / "b.plan", "--verbose").out
    for word in ("file-00001.txt", "renamed.txt", "file-00003.txt"):
        check(word in text, f"{word} is not in the plan: {text}")
    case.json("apply", case.dir / "b.plan")
    case.pull(case.url())
    alike(case.source, case.dir / "out")
    case.run("apply", case.dir / "b.plan", code=1).says("snapshot")


@test()
def a_plan_that_moved_is_refused(case):
    many(case.source, 30)
    plan = planned(case)
    write(case.source, "dir-000/file-00001.txt", b"changed after the plan")
    (case.source / "dir-000/file-00002.txt").unlink()
    case.run("apply", plan, code=1).says("file-00001.txt", "file-00002.txt")
    same(case.content_keys(), set(), "contents after a refusal")
    case.sync(case.url())
    write(case.source, "another.txt", b"x")
    plan = planned(case, "c.plan")
    case.sync(case.url())
    before = case.keys()
    case.run("apply", plan, code=1).says("snapshot 2", "snapshot 1")
    same(case.keys(), before, "the bucket after a refusal")


@test()
def apply_keeps_the_guard(case):
    many(case.source, 40)
    case.sync(case.url())
    for path in sorted(case.source.rglob("*.txt"))[:20]:
        path.unlink()
    case.run("plan", case.source, case.url(), "--out", case.dir / "a.plan", code=4)
    case.run("apply", case.dir / "a.plan", code=4).says("--max-removals")
    case.run("apply", case.dir / "a.plan", "--max-removals", "60%")
    write(case.source, "more.bin", bytes(9000))
    case.run("plan", case.source, case.url(), "--out", case.dir / "b.plan", "--price", "aws/s3-standard")
    case.run("apply", case.dir / "b.plan", "--max-bytes", "8K", code=4).says("--max-bytes")
    case.run("apply", case.dir / "b.plan", "--max-cost", "0.000001", code=4).says("--max-cost")
    case.run("apply", case.dir / "b.plan")
    case.run("apply", case.source / "more.bin", code=2).says("not a plan")
