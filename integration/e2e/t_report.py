"""report: from the manifest and by listing, against what boto3 counts; the requests it takes."""
import os

from proxy import Proxy
from registry import check, same, test
from trees import many, write


@test()
def a_report_agrees_with_the_bucket(case):
    for bucket in (case.server.versioned, case.server.bucket):
        versioned = bucket == case.server.versioned
        urls = {name: case.url(name, bucket=bucket) for name in ("all/one", "all/teams/two")}
        for name, url in urls.items():
            many(case.source, 30)
            write(case.source, f"{os.path.basename(name)}.txt", b"a name of its own")
            case.sync(url)
            write(case.source, "dir-000/file-00001.txt", f"changed for {name} and a little longer".encode())
            case.sync(url)
        case.put("stray.bin", bytes(777), "all", bucket)
        case.server.s3.create_multipart_upload(Bucket=bucket, Key=f"{case.prefix('all')}/one/never-ended.bin")

        seen = case.json("report", case.url("all", bucket=bucket), "--by-directory", "--price", "aws/s3-standard")["destinations"][0]
        same((seen["counted"], seen["exit"]), ("listing", 0), "a place with several destinations")
        rows = {row["url"].split("/all")[-1].lstrip("/"): row for row in seen["rows"]}
        same(sorted(rows), ["", "one", "teams/two"], "rows")
        same((rows[""]["nobodys"], rows[""]["content"]), (True, {"objects": 1, "bytes": 777}), "what is not offsite's")
        for name in ("one", "teams/two"):
            keys, row = case.keys(f"all/{name}", bucket), rows[name]
            content = {k: v for k, v in keys.items() if not k.startswith(".offsite/")}
            kept = {k: v for k, v in keys.items() if k.startswith(".offsite/kept/")}
            same(row["content"], {"objects": len(content), "bytes": sum(content.values())}, f"contents of {name}")
            same(row["kept"], {"objects": len(kept), "bytes": sum(kept.values())}, f"kept versions of {name}")
            same(row["content"]["bytes"] + row["kept"]["bytes"] + row["manifest"]["bytes"], sum(keys.values()), f"all of {name}")
            same(row["snapshot"], 2, f"the newest snapshot of {name}")
            check(row["old_versions"]["objects"] >= 1 if versioned else row["old_versions"]["objects"] == 0, row)
            manifest = case.json("report", urls[f"all/{name}"], "--by-directory")["destinations"][0]
            same((manifest["counted"], manifest["rows"][0]["content"]), ("manifest", row["content"]), "manifest and listing")
            same(len(manifest["rows"][0]["trend"]), 2, "points of the trend")
        same(rows["one"]["unfinished_uploads"]["objects"], 1, "unfinished uploads")
        check(rows["one"]["cost"]["month"] > 0, rows["one"]["cost"])
        case.run("report", case.url("all", bucket=bucket), urls["all/one"], "--list").says("not offsite's", "unfinished")


@test("seaweedfs")  # moto drops a connection now and then, and a retry counts
def a_report_takes_few_requests(case):
    proxy = Proxy(case.server.port).start()
    case.closing.append(proxy.stop)
    many(case.source, 1100)
    url = case.url(port=proxy.port)
    case.sync(url)
    proxy.reset()
    case.json("report", url, "--list")
    seen = {k: v for k, v in proxy.counts()["requests"].items() if v}
    check(seen == {"LIST": 3}, f"a listing is one LIST a page and nothing else: {seen}")
    proxy.reset()
    case.json("report", url)
    check(proxy.counts()["total"] <= 4, f"from the manifest: {proxy.counts()['requests']}")


@test("seaweedfs")
def a_plan_costs_what_it_says(case):
    """The figure of a plan, and the requests of the run that applies it, at the same prices."""
    many(case.source, 200)

    def applied(what):
        plan = case.json("plan", case.source, case.url(), "--price", "aws/s3-standard", "--out", case.dir / "a.plan")["destinations"][0]
        spent = case.json("apply", case.dir / "a.plan")["destinations"][0]["requests"]
        paid = (spent["put"] + spent["list"] + spent["copy"] + spent["multipart"]) * 0.005e-3 + (spent["get"] + spent["head"]) * 0.0004e-3
        check(abs(plan["cost"] - paid) <= 0.05 * paid, f"{what}: planned {plan['cost']}, paid {paid}: {plan['requests']}, {spent}")

    applied("a first sync")
    for number in (1, 2):
        write(case.source, f"dir-000/file-{number:05}.txt", b"changed and longer than it was before, so that nobody has to read it")
    applied("1 % changed")
    os.rename(case.source / "dir-000", case.source / "dir-zzz")
    applied("a renamed directory")
    applied("no change")
