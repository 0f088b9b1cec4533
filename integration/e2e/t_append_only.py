"""Credentials that may not delete: their whole life, and the machine elsewhere that prunes what they left."""
import json
import os
import shutil
import signal
import time

import boto3
from faulty import Answer
from registry import Wrong, check, same, test
from t_gcs import keys as gcs_keys, url as gcs_url
from t_init import bucket_of
from t_refusals import broken
from trees import alike, many, write

FLAG = "--append-only"


def refuse_deletes(proxy) -> None:
    """The server takes everything but deletes, by whatever request, and aborts."""
    denied = Answer.error(403, "AccessDenied", "Access Denied")
    proxy.refuse = lambda r: denied if r.method == "DELETE" or r.method == "POST" and r.query.startswith("delete") else None


def deletes(proxy) -> list:
    return [(m, t) for m, t in proxy.seen if m == "DELETE" or m == "POST" and "?delete" in t]


def clean(outcome: dict) -> None:
    same((outcome["exit"], outcome["error"], outcome["warnings"]), (0, None, []), "outcome")


def remember(case, number: int) -> None:
    shutil.copytree(case.source, case.dir / f"was-{number}", symlinks=True)


def all_states(case, url: str, states) -> None:
    """Every state comes back on a machine that knows nothing."""
    same(sorted(row["number"] for row in case.json("snapshots", url)["snapshots"]), list(states), "snapshots")
    for state in states:
        case.pull(url, f"state-{state}", "--at", str(state), env={"OFFSITE_CACHE_DIR": str(case.dir / "fresh")})
        alike(case.dir / f"was-{state}", case.dir / f"state-{state}", times=False)
        shutil.rmtree(case.dir / f"state-{state}")


def life(case, url: str, *flags: str, env=None) -> None:
    """A first run, then changes, removals, renames, what comes back, and nothing: snapshots 1 to 5."""
    how = {"env": env} if env else {}
    many(case.source, 20)
    write(case.source, "changing.txt", b"state 1")
    write(case.source, "gone.txt", b"it goes")
    write(case.source, "kind", b"a file")
    for state in (1, 2, 3, 4):
        if state > 1:
            write(case.source, "changing.txt", f"state {state}".encode())
        if state == 2:
            (case.source / "gone.txt").unlink()
            (case.source / "dir-000").rename(case.source / "moved")
            (case.source / "kind").unlink()
            write(case.source, "kind/in it.txt", b"a directory")
        if state == 3:
            write(case.source, "gone.txt", b"another content under the old name")
        if state == 4:
            (case.source / "gone.txt").unlink()
        time.sleep(0.05)
        clean(case.sync(url, *flags, **how))
        remember(case, state)
    time.sleep(0.05)
    outcome = case.sync(url, *flags, **how)
    clean(outcome)
    check(not any(outcome["changes"][kind] for kind in ("added", "changed", "removed", "renamed")), outcome["changes"])
    remember(case, 5)


def killed(case, url: str, reached, *flags: str) -> None:
    """A run is killed while it sends, and the next one goes on; then there are 6 snapshots."""
    many(case.source / "more", 200)
    process = case.start("sync", case.source, url, *flags, "--transfers", "1")
    end = time.monotonic() + 60
    while not reached() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    if process.poll() is not None:
        raise Wrong(f"ended before it could be killed: {case.end(process)}")
    os.kill(process.pid, signal.SIGKILL)
    case.end(process)
    clean(case.sync(url, *flags))
    remember(case, 6)


def pruned_elsewhere(case, url: str, keys) -> None:
    """Another machine with all rights: it cleans up what was left, and no snapshot loses anything."""
    admin = {"OFFSITE_CACHE_DIR": str(case.dir / "admin")}
    case.json("prune", url, "--keep-last", "20", env=admin)
    files = {str(path.relative_to(case.source)) for path in case.source.rglob("*") if path.is_file()}
    same({key for key in keys() if not key.startswith(".offsite/")}, files, "objects under their own names")
    own = {key.split("/")[1] for key in keys() if key.startswith(".offsite/")}
    check(own <= {"format.json", "snapshots", "pages", "kept", "check.json"}, f"offsite's own objects: {own}")
    all_states(case, url, range(1, 7))
    said = case.json("check", url, env=admin)
    same((said["exit"], said["foreign"]), (0, 0), "a check afterwards")
    same(case.json("prune", url, "--keep-last", "2", env=admin)["removed"], [1, 2, 3, 4], "pruned")
    all_states(case, url, (5, 6))


@test()
def append_only_life(case):
    for kind in ("copies", "versions"):
        bucket = case.server.bucket if kind == "copies" else case.server.versioned
        case.source = case.dir / f"source-{kind}"
        case.source.mkdir()
        case.env["OFFSITE_CACHE_DIR"] = str(case.dir / f"cache-{kind}")
        proxy = broken(case)
        refuse_deletes(proxy)
        url, direct = case.url(kind, port=proxy.port, bucket=bucket), case.url(kind, bucket=bucket)
        life(case, url, FLAG)
        same(deletes(proxy), [], "requests that delete")
        proxy.seen = []
        time.sleep(0.05)
        clean(case.sync(url, FLAG))
        same(sorted(method for method, _ in proxy.seen), ["GET", "PUT"], f"no change: {proxy.seen}")
        remember(case, 6)
        all_states(case, direct, range(1, 7))
        said = case.json("check", url, "--no-record")
        same((said["exit"], said["foreign"], said["notes"]), (0, 0, []), "a check: what was left is not foreign")
        for number in range(1, 7):
            shutil.rmtree(case.dir / f"was-{number}")


@test()
def append_only_killed_and_pruned_elsewhere(case):
    proxy = broken(case)
    refuse_deletes(proxy)
    url = case.url(port=proxy.port)
    life(case, url, FLAG)
    killed(case, url, lambda: sum("/more/" in target for method, target in proxy.seen if method == "PUT") > 20, FLAG)
    same(deletes(proxy), [], "requests that delete")
    all_states(case, case.url(), range(1, 7))
    ran = case.run("prune", url, "--keep-last", "1", code=1)
    check("--append-only" in ran.err and "may not delete" in ran.err, f"what a prune says that may not delete: {ran}")
    # That prune holds nobody up.
    time.sleep(0.05)
    pruned_elsewhere(case, case.url(), case.keys)


@test()
def append_only_packed(case):
    proxy = broken(case)
    refuse_deletes(proxy)
    life(case, case.url(port=proxy.port), FLAG, "--packed")
    same(deletes(proxy), [], "requests that delete")
    all_states(case, case.url(), range(1, 6))
    admin = {"OFFSITE_CACHE_DIR": str(case.dir / "admin")}
    same(case.json("prune", case.url(), "--keep-last", "2", env=admin)["removed"], [1, 2, 3], "pruned")
    own = {key.split("/")[1] for key in case.keys()}
    check(own <= {"format.json", "snapshots", "pages", "packs", "check.json"}, f"offsite's own objects: {own}")
    all_states(case, case.url(), (4, 5))
    said = case.json("check", case.url(), env=admin)
    same((said["exit"], said["foreign"]), (0, 0), "a check afterwards")


@test()
def append_only_without_the_flag(case):
    many(case.source, 3)
    proxy = broken(case)
    refuse_deletes(proxy)
    case.run("sync", case.source, case.url(port=proxy.port), code=1).says("--append-only")
    document = case.json("sync", case.source, case.url(port=proxy.port), code=1)
    same(document["destinations"][0]["failure"]["hint"], "append_only", "the hint")
    clean(case.sync(case.url(port=proxy.port), FLAG))
    case.run("sync", case.source, case.dir / "copy", FLAG, code=2).says("a directory cannot be append-only")


@test("moto")
def append_only_with_the_printed_policy(case):
    """moto checks each request against the policy that `init --writer-policy` prints."""
    bucket = bucket_of(case)
    case.run("init", case.url(bucket=bucket))
    policy = case.run("init", "--writer-policy", f"s3://{bucket}/{case.prefix()}").out
    printed = case.json("init", "--writer-policy", f"s3://{bucket}/{case.prefix()}")
    same(json.loads(printed["destinations"][0]["policy"]), json.loads(policy), "the policy as a document")
    iam = boto3.session.Session(case.server.key, case.server.secret, region_name="us-east-1").client("iam", endpoint_url=case.server.endpoint)
    iam.create_user(UserName="writer")
    iam.put_user_policy(UserName="writer", PolicyName="writer", PolicyDocument=policy)
    made = iam.create_access_key(UserName="writer")["AccessKey"]
    writer = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
    url = case.url(bucket=bucket)
    life(case, url, FLAG, env=writer)
    all_states(case, url, range(1, 6))
    case.run("prune", url, "--keep-last", "1", env=writer, code=1).says("--append-only")
    case.run("sync", case.source, case.url("elsewhere", bucket=bucket), FLAG, env=writer, code=1)


@test("b2")
def append_only_at_b2(case):
    key = case.server.limited(case.prefix() + "/", without=("deleteFiles", "listBuckets"))
    url = case.url()
    own = dict(case.env)
    case.env.update(key)
    case.run("sync", case.source, url, code=1).says("lacks the capability `deleteFiles`", "--append-only")
    life(case, url, FLAG)
    counts = lambda: case.server.counts(key["B2_APPLICATION_KEY_ID"])
    sent = counts().get("b2_upload_file", 0)
    killed(case, url, lambda: counts().get("b2_upload_file", 0) > sent + 20, FLAG)
    same(counts().get("b2_delete_file_version", 0), 0, "deletes of versions")
    said = case.json("check", url, "--no-record")
    same((said["exit"], said["foreign"]), (0, 0), "a check")
    case.run("prune", url, "--keep-last", "1", code=1).says("deleteFiles")
    text = case.run("init", "--writer-policy", url).out
    check("deleteFiles" not in text and f"--name-prefix '{case.prefix()}/'" in text, text)
    case.env.clear()
    case.env.update(own)
    prefix = case.prefix() + "/"
    pruned_elsewhere(case, url, lambda: {found["fileName"][len(prefix):] for found in case.server.listed(prefix)})


@test("gcs")
def append_only_at_gcs(case):
    """Google has one right for deleting and replacing, so this server refuses the requests that delete."""
    for kind, bucket in (("kept", case.server.bucket), ("versions", case.server.versioned)):
        case.source = case.dir / f"source-{kind}"
        case.source.mkdir()
        proxy = broken(case)
        refuse_deletes(proxy)
        url = gcs_url(case, kind, bucket, endpoint=f"http://127.0.0.1:{proxy.port}")
        life(case, url, FLAG)
        same(deletes(proxy), [], "requests that delete")
        all_states(case, gcs_url(case, kind, bucket), range(1, 6))
        case.json("prune", gcs_url(case, kind, bucket), "--keep-last", "20", env={"OFFSITE_CACHE_DIR": str(case.dir / f"admin-{kind}")})
        files = {str(path.relative_to(case.source)) for path in case.source.rglob("*") if path.is_file()}
        same({key for key in gcs_keys(case, kind, bucket) if not key.startswith(".offsite/")}, files, "objects under their own names")
        all_states(case, gcs_url(case, kind, bucket), range(1, 6))
        for number in range(1, 6):
            shutil.rmtree(case.dir / f"was-{number}")
    text = case.run("init", "--writer-policy", f"gs://{case.server.bucket}/site").out
    same(text.count("storage.objects.delete"), 1, "where the right to delete is given")
