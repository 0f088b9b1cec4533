"""Google Cloud Storage: the whole program on the fake of `integration/servers/gcs`."""
import json
import re
import shutil
import time
from urllib.parse import quote

from registry import check, same, test
from t_history import looks_right, three_runs
from trees import alike, many, write


def url(case, name: str = "d", bucket: str | None = None, **settings: str) -> str:
    query = {"endpoint": case.server.endpoint, "control_endpoint": case.server.control, **settings}
    pairs = "&".join(f"{k}={v}" for k, v in query.items() if v)
    return f"gs://{bucket or case.server.bucket}/{case.prefix(name)}?{pairs}"


def keys(case, name: str, bucket: str) -> list[str]:
    prefix = case.prefix(name) + "/"
    page = case.server.ask(f"{bucket}?list-type=2&prefix={quote(prefix)}").decode()
    return [key.removeprefix(prefix) for key in re.findall("<Key>(.*?)</Key>", page)]


def kept(case, name: str, bucket: str) -> int:
    return sum(key.startswith(".offsite/kept/") for key in keys(case, name, bucket))


def seen(case, name: str) -> list[str]:
    """What the server saw of a destination, by its own count."""
    return [line for line in case.server.ask("_fake/seen").decode().splitlines() if case.prefix(name) in line]


@test("gcs")
def gcs_history(case):
    for kind, bucket in (("kept", case.server.bucket), ("versions", case.server.versioned)):
        to = url(case, kind, bucket)
        three_runs(case, to)
        same(kept(case, kind, bucket), 3 if kind == "kept" else 0, f"{kind}: objects in kept/")
        for at, content in (("1", b"first"), ("2", b"second, longer")):
            same(case.run("cat", to, "docs/a.txt", "--at", at).raw, content, f"{kind}: cat --at {at}")
        for number in (1, 2):
            case.pull(to, f"{kind}-{number}", "--at", str(number))
            alike(case.dir / f"was-{number}", case.dir / f"{kind}-{number}", times=False)
            shutil.rmtree(case.dir / f"was-{number}")
        case.pull(to, f"{kind}-now")
        alike(case.source, case.dir / f"{kind}-now")
        looks_right(case, to, kind)
        did = case.json("prune", to, "--keep-last", "1")
        same((sorted(did["removed"]), did["contents"]), ([1, 2], 3), f"{kind}: prune")
        same(kept(case, kind, bucket), 0, f"{kind}: kept/ after prune")
        case.run("cat", to, "docs/a.txt", "--at", "1", code=2).says("no snapshot 1")
        case.pull(to, f"{kind}-again")
        alike(case.source, case.dir / f"{kind}-again")


@test("gcs")
def gcs_no_change_is_two_requests(case):
    many(case.source, 300)
    for kind, bucket in (("kept", case.server.bucket), ("versions", case.server.versioned)):
        to = url(case, kind, bucket)
        first = case.sync(to)
        check(first["requests"]["put"] <= 320, f"{kind}: a first sync: {first['requests']}")
        case.sync(to)
        before = len(seen(case, kind))
        outcome = case.sync(to)
        asked = seen(case, kind)[before:]
        same(len(asked), 2, f"{kind}: no change, by the server's count: {asked}")
        same(sum(outcome["requests"].values()), 2, f"{kind}: no change, as offsite says: {outcome['requests']}")
        for path in sorted(case.source.rglob("*.txt"))[::30]:
            path.write_text(f"changed {kind}")
        outcome = case.sync(to)
        changed = outcome["changes"]["changed"]
        check(changed >= 10, f"{kind}: {outcome['changes']}")
        limit = changed * (2 if kind == "kept" else 1) + 7
        check(sum(outcome["requests"].values()) <= limit, f"{kind}: {changed} changed, over {limit}: {outcome['requests']}")
        same(outcome["requests"]["get"], 1, f"{kind}: the bucket is asked once whether it keeps versions")


@test("gcs")
def gcs_names_and_large_files(case):
    """By the metadata server's token, and with Google's own variable for the endpoint."""
    env = {"GOOGLE_APPLICATION_CREDENTIALS": "", "GCE_METADATA_HOST": f"127.0.0.1:{case.server.port}"}
    case.env = {k: v for k, v in {**case.env, **env}.items() if v}
    write(case.source, "new\nline.txt", b"a name that Google refuses")
    write(case.source, "a#b?c%20d&e+f", b"odd, and a key all the same")
    write(case.source, "ä/" + "/".join(["long" * 40] * 7), b"longer than a key can be")
    write(case.source, "large.bin", bytes(range(256)) * (20 << 12))
    write(case.source, "empty", b"")
    to = url(case)
    case.sync(to)
    there = keys(case, "d", case.server.bucket)
    same(sum(key.startswith(".offsite/odd/") for key in there), 2, "names that cannot be keys")
    case.pull(to)
    alike(case.source, case.dir / "out")
    # Renamed: copied on the server, the large one in steps.
    (case.source / "large.bin").rename(case.source / "renamed.bin")
    outcome = case.sync(to)
    check(outcome["requests"]["copy"] >= 2 and outcome["requests"]["multipart"] == 0, f"a rename: {outcome['requests']}")
    case.env["STORAGE_EMULATOR_HOST"] = f"127.0.0.1:{case.server.port}"
    case.pull(url(case, endpoint="", credentials=str(case.server.keys / "admin.json")), "by-variable")
    alike(case.source, case.dir / "by-variable")


@test("gcs")
def gcs_adopts_what_another_tool_put_there(case):
    many(case.source, 40)
    for path in case.source.rglob("*.txt"):
        name = f"{case.prefix()}/{path.relative_to(case.source)}"
        case.server.ask(f"{case.server.bucket}/{quote(name)}", "PUT", path.read_bytes())
    outcome = case.sync(url(case), "--adopt")
    check(outcome["requests"]["put"] < 20 and outcome["requests"]["get"] < 10, f"neither sent nor read back: {outcome['requests']}")
    case.pull(url(case))
    alike(case.source, case.dir / "out", times=False)


@test("gcs")
def gcs_refusals(case):
    write(case.source, "a", b"a")
    stranger = str(case.server.keys / "stranger.json")
    case.run("sync", case.source, url(case, credentials=stranger), code=1).says("gs://", "gcloud auth application-default login")
    case.run("sync", case.source, url(case, bucket="offsite-is-not-there"), code=1).says("no such bucket")
    looker = str(case.server.keys / "looker.json")
    case.run("sync", case.source, url(case, credentials=looker), code=1).says("storage.objects.create")
    case.run("sync", case.source, url(case, region="x"), code=2).says("no setting `region`")
    case.run("sync", case.source, "gs://Not_A_Bucket/x", code=2).says("lower-case")
    case.run("sync", case.source, "gs://acme/x?endpoint=http://storage.example", code=2).says("TLS")


@test("gcs")
def gcs_one_mutation_a_second_of_one_object(case):
    """Google refuses to make, replace and delete one object more than once a second: a run waits and goes on."""
    for versioned in (False, True):
        name = f"offsite-paced-{'versioned' if versioned else 'plain'}"
        case.server.ask("_fake/bucket", "POST", json.dumps({"name": name, "versioned": versioned, "pace": 1}).encode())
        before = int(case.server.ask("_fake/slowed"))
        to = url(case, "paced", name)
        many(case.source, 20)
        begun = time.monotonic()
        for turn in range(3):
            write(case.source, "changes.txt", f"turn {turn}".encode())
            case.sync(to)
        case.json("prune", to, "--keep-last", "1")
        took = time.monotonic() - begun
        check(int(case.server.ask("_fake/slowed")) > before, "the pace never showed")
        check(took < 30, f"three runs and a prune took {took:.0f} s")
        case.pull(to, f"out-{versioned}")
        alike(case.source, case.dir / f"out-{versioned}")


@test("gcs")
def gcs_tokens_of_a_user(case):
    """`gcloud auth application-default login` leaves a refresh token, which is exchanged for tokens."""
    refresh = case.server.ask("_fake/refresh").decode()
    many(case.source, 5)
    for name, token, code in (("good", refresh, 0), ("revoked", "1//revoked", 1)):
        file = case.dir / f"{name}.json"
        file.write_text(json.dumps({"type": "authorized_user", "client_id": "offsite.apps", "client_secret": "hush-hush", "refresh_token": token,
                                    "token_uri": f"{case.server.endpoint}/oauth/token"}))
        ran = case.run("sync", case.source, url(case, name), code=code, env={"GOOGLE_APPLICATION_CREDENTIALS": str(file)})
        check("hush-hush" not in ran.out + ran.err and token not in ran.out + ran.err, f"a secret is said: {ran}")
    check("refresh_token" in case.server.ask("_fake/exchanged").decode(), "no token was exchanged")
