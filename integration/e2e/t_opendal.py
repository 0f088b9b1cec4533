"""WebDAV and Azure Blob Storage, through OpenDAL: the whole program on WsgiDAV and on Azurite."""
import os
import shutil
import signal
import subprocess
import time

from proxy import Proxy
from registry import Wrong, check, same, test
from trees import NAMES, alike, kinds, many, odd_names, write

BOTH = ("webdav", "azure")


def url(case, name: str = "d", port: int | None = None, **settings: str) -> str:
    query = {**case.server.query, **settings}
    if port:
        query["endpoint"] = query["endpoint"].replace(str(case.server.port), str(port))
    return f"{case.server.place}/{case.prefix(name)}?" + "&".join(f"{k}={v}" for k, v in query.items())


def keys(case, name: str = "d") -> dict[str, int]:
    return case.server.keys(case.prefix(name))


def contents(case, name: str = "d") -> set[str]:
    return {key for key in keys(case, name) if not key.startswith(".offsite/")}


@test(*BOTH)
def opendal_a_life(case):
    to = url(case)
    kinds(case.source)
    write(case.source, "docs/a.txt", b"first")
    many(case.source / "more", 60)
    case.sync(to)
    subprocess.run(["cp", "-a", case.source, case.dir / "was-1"], check=True)
    same(case.server.object(case.prefix(), "docs/a.txt"), b"first", "what another client reads")
    write(case.source, "docs/a.txt", b"second, longer")
    (case.source / "more/dir-000/file-00003.txt").unlink()
    os.rename(case.source / "more/dir-001", case.source / "moved")
    changes = case.sync(to)["changes"]
    check(changes["changed"] == 1 and changes["renamed"] == 10 and changes["removed"] >= 1, changes)
    there = contents(case)
    check("more/dir-000/file-00003.txt" not in there and "moved/file-00055.txt" in there, sorted(there)[:20])
    same(sum(key.startswith(".offsite/kept/") for key in keys(case)), 12, "contents that were kept")
    same(case.run("cat", to, "docs/a.txt", "--at", "1").raw, b"first", "cat --at 1")
    same(case.run("cat", to, "docs/a.txt").raw, b"second, longer", "cat")
    events = [(e["snapshot"], e["change"]) for e in case.json("history", to, "docs/a.txt")["history"]]
    same(sorted(events), [(1, "added"), (2, "changed")], "history")
    case.pull(to, "one", "--at", "1")
    alike(case.dir / "was-1", case.dir / "one")
    case.pull(to)
    alike(case.source, case.dir / "out")
    case.run("check", to, "--read-data")
    report = case.json("report", to)
    check(str(len(case.json("snapshots", to)["snapshots"])) == "2" and report, report)
    case.json("prune", to, "--keep-last", "1")
    same(sum(key.startswith(".offsite/kept/") for key in keys(case)), 0, "kept contents after a prune")
    shutil.rmtree(case.dir / "out")
    shutil.rmtree(case.dir / "cache")
    case.pull(to)
    alike(case.source, case.dir / "out")


@test(*BOTH)
def opendal_requests(case):
    many(case.source, 120)
    proxy = Proxy(case.server.port).start()
    case.closing.append(proxy.stop)
    to = url(case, port=proxy.port)

    def step():
        proxy.reset()
        outcome = case.sync(to)
        same(proxy.counts()["total"], sum(outcome["requests"].values()), f"requests seen and said: {outcome['requests']}")
        return {k: v for k, v in outcome["requests"].items() if v}

    first = step()
    check(first["put"] <= 120 + 40, f"a first sync: {first}")
    step()
    tree = case.server.is_tree
    # WebDAV: a record is written beside and moved there, and without create-only looked for before and after.
    same(step(), {"put": 1, "get": 2, "head": 5, "list": 1, "copy": 1} if tree else {"put": 1, "list": 1}, "no change")
    write(case.source, "dir-000/file-00001.txt", b"other")
    one = step()
    check(sum(one.values()) <= (60 if tree else 14), f"one change: {one}")


@test(*BOTH)
def opendal_names(case):
    to = url(case)
    odd_names(case.source)
    case.sync(to)
    case.pull(to)
    alike(case.source, case.dir / "out")
    there = contents(case)
    plain = {"#", "a#b", "100%", "%41", "%2F", "a?b=c&d", "*", "[x]", "+plus+", ".hidden", "..x", ":", "ä", "\U0001f600", "CON"}
    check(plain <= there, f"not under their own names: {plain - there}")
    for name in (b" lead", b"tail ", b"x.", b"...", b"back\\slash"):
        check(name in NAMES and name.decode() not in there, f"{name!r} is there under its own name")
    check("lead" not in there and "tail" not in there and "x" not in there, "a name was changed on the way")


@test(*BOTH)
def opendal_large_and_killed(case):
    write(case.source, "big.bin", os.urandom(40 << 20))
    many(case.source, 200)
    to = url(case)
    # At the beginning, and when some of it has arrived: on a busy machine that takes its time.
    for arrived in (0, 0, 20):
        process = case.start("sync", case.source, to, "--limit-upload", "12MiB")
        until = time.monotonic() + 60
        time.sleep(0.6)
        while sum(name.startswith("dir-") for name in contents(case)) < arrived and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(0.6)
        if process.poll() is not None:
            raise Wrong(f"ended before it was killed: {case.end(process)}")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    outcome = case.sync(to)
    check(outcome["resumed"] > 0, f"nothing was taken over: {outcome}")
    case.pull(to)
    alike(case.source, case.dir / "out")
    same(contents(case), {str(p.relative_to(case.source)) for p in case.source.rglob("*") if p.is_file()}, "what lies there")
    case.run("check", to, "--read-data")


@test(*BOTH)
def opendal_refusals(case):
    write(case.source, "a", b"a")
    variable = "OFFSITE_WEBDAV_PASSWORD" if case.server.is_tree else "OFFSITE_AZBLOB_ACCOUNT_KEY"
    case.run("sync", case.source, url(case), code=1, env={variable: "bm90IHRoZSBrZXk="}).says(variable)
    secret = variable.rsplit("_", 1)[-1].lower() if case.server.is_tree else "account_key"
    ran = case.run("sync", case.source, url(case, **{secret: "hush"}), code=2).says(variable)
    check("hush" not in ran.err, f"the secret is repeated: {ran}")
    case.run("sync", case.source, url(case, region="x"), code=2).says("no setting `region`")
    case.run("sync", case.source, url(case, endpoint="http://storage.example"), code=2).says("without TLS", "plain_http=true")
    case.run("ls", url(case, "not-there"), code=2).says("no snapshot")
    if not case.server.is_tree:
        place = url(case).replace("azblob://offsite-test/", "azblob://offsite-is-not-there/")
        case.run("sync", case.source, place, code=1).says("no such container", "az storage container create")


@test(*BOTH)
def opendal_init_says_what_it_cannot(case):
    to = url(case)
    wishes = ("--versioning", "on", "--abort-uploads-after", "7d")
    rows = case.run("init", to, *wishes, code=None)
    check(rows.code in (0, 1, 3, 4), rows)
    rows.says("versioning", "abort unfinished uploads", "its own tools")
    if case.server.is_tree:
        rows.says("directory")
        case.run("init", to).says("directory")


@test("webdav")
def webdav_a_file_where_a_directory_was(case):
    """Both ways: refused with the way out, which works."""
    to = url(case)
    write(case.source, "x", b"a file")
    write(case.source, "y/below", b"a directory")
    case.sync(to)
    os.remove(case.source / "x")
    write(case.source, "x/below", b"a directory now")
    case.run("sync", case.source, to, code=1).says("`x` is a file there", "--exclude")
    case.sync(to, "--exclude", "x")
    shutil.rmtree(case.source / "y")
    write(case.source, "y", b"a file now")
    case.run("sync", case.source, to, code=1).says("--exclude")
    case.sync(to, "--exclude", "y")
    case.sync(to)
    case.pull(to)
    alike(case.source, case.dir / "out")
    same(contents(case), {"x/below", "y"}, "what lies there")


@test("webdav")
def webdav_a_directory_of_somebody_else_stays(case):
    to = url(case)
    write(case.source, "a", b"a")
    write(case.source, "b", b"b")
    case.sync(to)
    root = case.server.env["OFFSITE_TEST_WEBDAV_DIR"] + "/offsite-test/" + case.prefix()
    os.remove(f"{root}/a")
    write(f"{root}/a", "theirs", b"not offsite's")
    os.remove(case.source / "a")
    case.run("sync", case.source, to, "--force", code=None)
    check("a/theirs" in keys(case), "a directory that somebody made in the place of a file was deleted")


@test("azure")
def azure_by_a_token(case):
    """A token for one container, with the least rights that docs/opendal.md names, and no key of the account."""
    env = {"OFFSITE_AZBLOB_ACCOUNT_KEY": "", "OFFSITE_AZBLOB_SAS_TOKEN": case.server.env["OFFSITE_TEST_AZURE_TOKEN"]}
    case.env.update(env)
    case.secret = env["OFFSITE_AZBLOB_SAS_TOKEN"].rsplit("sig=", 1)[1].split("&")[0]
    place, query = case.server.env["OFFSITE_TEST_AZURE_TOKEN_URL"].split("?")
    to = f"{place}/{case.prefix()}?{query}"
    write(case.source, "a.txt", b"first")
    write(case.source, "big.bin", os.urandom(20 << 20))
    case.sync(to)
    write(case.source, "a.txt", b"second, longer")
    os.rename(case.source / "big.bin", case.source / "moved.bin")
    case.sync(to)
    same(case.run("cat", to, "a.txt", "--at", "1").raw, b"first", "a content that was kept, by way of this machine")
    case.pull(to)
    alike(case.source, case.dir / "out")
    case.run("prune", to, "--keep-last", "1")
    case.run("sync", case.source, url(case), code=1).says("OFFSITE_AZBLOB_SAS_TOKEN")
    case.run("sync", case.source, to, code=1, env={"OFFSITE_AZBLOB_SAS_TOKEN": ""}).says("azblob://")
