"""Servers that refuse: wrong keys, no bucket, no right to write; what is said, and that no secret is in it."""
import os
import time

from faulty import Answer, Faulty
from registry import check, same, test
from trees import many, write

VERBS = ("ls", "snapshots")


def broken(case) -> Faulty:
    proxy = Faulty(case.server.port)
    case.closing.append(proxy.stop)
    return proxy


@test()
def wrong_credentials(case):
    many(case.source, 5)
    case.sync(case.url())
    for profile in ("offsite-wrong-key", "offsite-wrong-secret"):
        url = case.url(profile=profile)
        ran = case.run("sync", case.source, url, code=1).says("AWS_PROFILE")
        check("s3://" in ran.err and "key" in ran.err, ran)
        for verb in VERBS:
            case.run(verb, url, code=1).says("AWS_PROFILE")
        document = case.json("sync", case.source, url, code=1)
        check(document["destinations"][0]["error"], document)
        case.json("ls", url, code=1)
    none = {name: "" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE")}
    ran = case.run("sync", case.source, case.url(), env=none, code=1).says("no AWS credentials", "AWS_PROFILE")
    check("\\n" not in ran.err, f"a line break is printed as two characters: {ran.err}")
    ran = case.run("sync", case.source, case.url(profile="nobody"), code=1)
    check("nobody" in ran.err, f"the profile is not named: {ran}")


@test()
def no_such_bucket(case):
    many(case.source, 5)
    url = case.url(bucket="no-such-bucket-here")
    case.run("sync", case.source, url, code=1).says("no-such-bucket-here", "no such bucket", "create it")
    for verb in VERBS:
        case.run(verb, url, code=1).says("no-such-bucket-here", "no such bucket")
    case.run("pull", url, case.dir / "out", code=1).says("no such bucket")
    check(not (case.dir / "out").exists(), "a failed pull made its directory")
    case.run("ls", case.url("nothing-here"), code=2).says("no snapshot")


@test()
def denied_on_write_only(case):
    many(case.source, 20)
    case.sync(case.url())
    write(case.source, "new.txt", b"new")
    before = case.keys()
    proxy = broken(case)
    denied = Answer.error(403, "AccessDenied", "Access Denied")
    proxy.refuse = lambda r: denied if r.method in ("PUT", "POST", "DELETE") else None
    url = case.url(port=proxy.port)
    started = time.monotonic()
    case.run("sync", case.source, url, code=1).says("does not allow", "policies")
    check(time.monotonic() - started < 5, "a refusal was tried again and again")
    same(case.keys(), before, "the bucket after a refusal")
    case.pull(url, "out")
    case.run("plan", case.source, url)
    # One content may not be written: it is listed, and the rest is committed.
    proxy.refuse = lambda r: denied if r.content else None
    case.run("sync", case.source, url, code=3).says("new.txt")
    # Contents may be written, the snapshot may not: the run fails, the last one stands.
    proxy.refuse = lambda r: denied if r.method == "PUT" and "/snapshots/" in r.path else None
    case.run("sync", case.source, url, code=1).says("snapshots")
    same(len(case.json("snapshots", case.url())["snapshots"]), 2, "snapshots")
    proxy.refuse = None
    same(case.sync(url)["changes"]["added"], 1, "added in the end")


@test()
def denied_on_delete_only(case):
    many(case.source, 20)
    case.sync(case.url())
    (case.source / "dir-000/file-00001.txt").unlink()
    proxy = broken(case)
    proxy.refuse = lambda r: Answer.error(403, "AccessDenied", "Access Denied") if r.method in ("DELETE", "POST") else None
    url = case.url(port=proxy.port)
    ran = case.run("sync", case.source, url, code=None)
    check("does not allow" in ran.err + ran.out, f"nothing is said of a refused delete: {ran}")
    proxy.refuse = None
    case.sync(url)
    check("dir-000/file-00001.txt" not in case.content_keys(), "what could not be deleted stays for ever")


@test()
def no_secret_in_the_process_list(case):
    many(case.source, 30)
    proxy = broken(case)
    proxy.change = lambda r, a: time.sleep(0.05)
    process = case.start("sync", case.source, case.url(port=proxy.port))
    time.sleep(0.3)
    case.no_secret(open(f"/proc/{process.pid}/cmdline", "rb").read(), "the process list")
    same(case.end(process).code, 0, "exit code")


@test(local=True)
def an_unreachable_server(case):
    many(case.source, 5)
    keys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "hush-hush-hush", "AWS_EC2_METADATA_DISABLED": "true"}
    case.secret = keys["AWS_SECRET_ACCESS_KEY"]
    for endpoint, word in (("http://127.0.0.1:1", "refused"), ("http://no-such-host.invalid", "no-such-host.invalid")):
        url = f"s3://some-bucket/x?endpoint={endpoint}"
        ran = case.run("sync", case.source, url, env=keys, code=1, timeout=60).says("cannot talk to", endpoint, word)
        check(ran.seconds < 30, f"it took {ran.seconds:.0f} s to say so")
        case.run("ls", url, env=keys, code=1, timeout=60).says("cannot talk to")
    os.makedirs(case.dir / "copy")
    results = case.json("sync", case.source, url, str(case.dir / "copy"), env=keys, code=1)["destinations"]
    same([r["exit"] for r in results], [1, 0], "exit codes")
