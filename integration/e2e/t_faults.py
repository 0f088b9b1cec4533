"""Servers and links that fail for a while or for good: tried again where that helps, never half believed."""
from faulty import Answer, truncate_listing
from proxy import Proxy
from registry import check, same, test
from t_refusals import broken
from trees import alike, big, many, write


def unharmed(case, number: int, source=None) -> None:
    """Snapshot `number` is there and pulls whole, past every proxy."""
    case.json("pull", case.url(), case.dir / f"whole-{number}", "--at", str(number), env={"OFFSITE_CACHE_DIR": str(case.dir / "fresh")})
    if source:
        alike(source, case.dir / f"whole-{number}")


@test()
def errors_for_a_while(case):
    many(case.source, 40)
    proxy = broken(case)
    url = case.url(port=proxy.port)
    for status, code in ((500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable"), (429, "TooManyRequests")):
        write(case.source, f"{code}.txt", code.encode())
        proxy.refuse = proxy.first(6, lambda r: True, Answer.error(status, code))
        case.sync(url)
        proxy.refuse = proxy.first(3, lambda r: r.method == "GET", Answer.error(status, code))
        case.pull(url, f"out-{code}")
        alike(case.source, case.dir / f"out-{code}")


@test()
def errors_for_good(case):
    many(case.source, 20)
    case.sync(case.url())
    write(case.source, "new.txt", b"new")
    proxy = broken(case)
    url = case.url(port=proxy.port)
    proxy.refuse = lambda r: Answer.error(503, "SlowDown", "Please reduce your request rate") if r.content else None
    ran = case.run("sync", case.source, url, code=1, timeout=80).says("new.txt", "SlowDown")
    tries = sum(m == "PUT" and t.partition("?")[0].endswith("new.txt") for m, t in proxy.seen)
    check(3 <= tries <= 30, f"tried {tries} times")
    check(ran.seconds < 60, f"it took {ran.seconds:.0f} s")
    unharmed(case, 1)
    proxy.refuse = None
    same(case.sync(url)["changes"]["added"], 1, "added in the end")


@test()
def a_connection_cut_within_a_part(case):
    big(case.source / "big.bin", 40 << 20)
    many(case.source, 20)
    with Proxy(case.server.port) as proxy:
        proxy.set_cut(5 << 20, 2)
        case.sync(case.url(port=proxy.port), timeout=120)
        check(proxy.counts()["cuts"] > 0, "no connection was cut")
        proxy.set_cut(3 << 20, 2)
        case.pull(case.url(port=proxy.port))
    alike(case.source, case.dir / "out")


@test()
def an_upload_goes_on_from_its_parts(case):
    big(case.source / "big.bin", 48 << 20)
    proxy = broken(case)
    url = case.url(port=proxy.port)
    proxy.refuse = lambda r: Answer.error(400, "QuotaExceeded") if "partNumber=" in r.query and int(part(r)) > 3 else None
    case.run("sync", case.source, url, code=1).says("big.bin")
    same(len(case.uploads()), 1, "uploads that wait")
    proxy.refuse, proxy.seen = None, []
    case.sync(url)
    sent = [t for m, t in proxy.seen if m == "PUT" and "partNumber=" in t]
    same(len(sent), 3, f"parts sent by the second run: {sent}")
    same(case.uploads(), [], "uploads left over")
    case.pull(url)
    alike(case.source, case.dir / "out")


def part(request) -> str:
    return next(p.partition("=")[2] for p in request.query.split("&") if p.startswith("partNumber="))


@test()
def stale_uploads_are_aborted(case):
    for name in ("changes.bin", "goes.bin"):
        big(case.source / name, 24 << 20)
    many(case.source, 30)
    foreign = case.server.s3.create_multipart_upload(Bucket=case.server.bucket, Key=case.prefix() + "/foreign")["UploadId"]
    proxy = broken(case)
    url = case.url(port=proxy.port)
    proxy.refuse = lambda r: Answer.error(400, "QuotaExceeded") if "partNumber=" in r.query and int(part(r)) > 1 else None
    case.run("sync", case.source, url, code=1)
    check(len(case.uploads()) >= 2, f"uploads that wait: {case.uploads()}")
    proxy.refuse = None
    big(case.source / "changes.bin", 17 << 20, seed=5)
    (case.source / "goes.bin").unlink()
    case.sync(url)
    same([u["UploadId"] for u in case.uploads()], [foreign], "uploads left over, the foreign one aside")
    case.pull(url)
    alike(case.source, case.dir / "out")


@test()
def a_listing_cut_short(case):
    """The answer to a listing breaks off, or is short and says it is whole."""
    many(case.source, 30)
    for index in range(4):
        write(case.source, "dir-000/file-00000.txt", b"run %d" % index)
        case.sync(case.url())
    proxy = broken(case)
    url = case.url(port=proxy.port)

    def cut(request, answer):
        if request.listing:
            answer.cut_after = len(answer.body) // 2

    proxy.change = cut
    write(case.source, "new.txt", b"new")
    before = case.keys()
    case.run("sync", case.source, url, code=1, timeout=80)
    case.run("prune", url, "--keep-last", "1", code=1, timeout=80)
    same(case.keys(), before, "the bucket after listings that broke off")
    proxy.change = truncate_listing(lambda r: True)
    ran = case.run("sync", case.source, url, code=None)
    check(before.items() <= case.keys().items(), f"something is gone after a listing that was short: {ran}")
    ran = case.run("prune", url, "--keep-last", "1", code=None)
    proxy.change = None
    newest = max(s["number"] for s in case.json("snapshots", case.url())["snapshots"])
    check(newest >= 4, f"the newest snapshot is {newest} after a short listing: {ran}")
    unharmed(case, newest)
    case.sync(url)
    case.pull(url)
    alike(case.source, case.dir / "out")


@test()
def a_listing_that_is_empty(case):
    """A server that lists nothing has not lost everything: refused, and nothing is written over."""
    many(case.source, 30)
    proxy = broken(case)
    url = case.url(port=proxy.port)
    case.sync(url)
    for half in (False, True):

        def short(request, answer):
            if request.listing:
                for _ in range(1 if half else 8):
                    truncate_listing(lambda r: True)(request, answer)

        proxy.change = short
        before = {key: case.object(key) for key in case.content_keys()}
        write(case.source, "dir-000/file-00001.txt", b"changed since, half: %d" % half)
        if not half:
            case.run("sync", case.source, url, code=4).says("--start-over")
        other = {"OFFSITE_CACHE_DIR": str(case.dir / f"other-{half}")}
        ran = case.run("sync", case.source, url, code=1, env=other)
        wrong = [key for key, body in before.items() if case.object(key) != body]
        same(wrong, [], f"contents written over after a short listing, half {half}, and {ran}")
        proxy.change = None
        case.sync(url)
    case.pull(url)
    alike(case.source, case.dir / "out")


@test()
def answers_cut_while_pulling(case):
    many(case.source, 40)
    big(case.source / "big.bin", 3 << 20)
    case.sync(case.url())
    proxy = broken(case)
    count = [0]

    def cut(request, answer):
        if request.method == "GET" and "/.offsite/" not in request.path and not request.query:
            count[0] += 1
            if count[0] % 3 == 0 and len(answer.body) > 1:
                answer.cut_after = len(answer.body) // 2

    proxy.change = cut
    case.pull(case.url(port=proxy.port))
    alike(case.source, case.dir / "out")

    def flip(request, answer):
        if request.path.endswith("file-00007.txt"):
            answer.body = bytes([answer.body[0] ^ 1]) + answer.body[1:]

    proxy.change = flip
    document = case.pull(case.url(port=proxy.port), "flipped", code=3)
    check("file-00007.txt" in str(document["problems"]), document)
    check(not (case.dir / "flipped/dir-000/file-00007.txt").exists(), "a damaged file was published")
    alike(case.source, case.dir / "flipped", leave_out=lambda p: p.endswith(b"file-00007.txt") or p == b"dir-000")
