"""check and repair against real listings: what is gone, changed and foreign; versions; damage sent again."""
from registry import check, same, test
from trees import alike, big, many, odd_names, write


def found(document) -> list[tuple[str, str]]:
    return [(one["flaw"], one["path"]) for one in document["findings"]]


@test()
def a_check_finds_and_a_repair_mends(case):
    many(case.source, 60)
    odd_names(case.source)
    big(case.source / "big", 20 << 20)
    url = case.url()
    case.sync(url)
    write(case.source, "dir-000/file-00001.txt", b"the second state")
    case.sync(url)
    document = case.json("check", url, "--read-data")
    same((document["exit"], document["foreign"], document["findings"]), (0, 0, []), str(document))
    case.server.s3.delete_object(Bucket=case.server.bucket, Key=f"{case.prefix()}/dir-000/file-00003.txt")
    case.server.s3.delete_object(Bucket=case.server.bucket, Key=f"{case.prefix()}/big")
    case.put("dir-000/file-00005.txt", b"cut")
    case.put("foreign", b"not ours")
    document = case.json("check", url, code=1)
    want = [("missing", "big"), ("missing", "dir-000/file-00003.txt"), ("changed", "dir-000/file-00005.txt")]
    same(found(document), want, "findings")
    same((document["foreign"], document["recorded"]), (1, True), "foreign objects, record")
    document = case.json("repair", case.source, url)
    same((document["repaired"], document["lost"]), (3, []), "repaired")
    document = case.json("check", url, "--read-data")
    same((document["exit"], document["foreign"]), (0, 1), "after the repair")
    case.pull(url)
    alike(case.source, case.dir / "out")
    check("foreign" in case.keys(), "a foreign object was deleted")


@test()
def a_check_of_a_bucket_with_versions(case):
    s3, bucket = case.server.s3, case.server.versioned
    url = case.url(bucket=bucket)
    many(case.source, 40)
    case.sync(url)
    name = "dir-000/file-00001.txt"
    write(case.source, name, b"the second state")
    case.sync(url)
    document = case.json("check", url, "--read-data")
    same((document["exit"], document["contents"], document["foreign"]), (0, 41, 0), str(document))
    versions = s3.list_object_versions(Bucket=bucket, Prefix=f"{case.prefix()}/{name}")["Versions"]
    old = next(v["VersionId"] for v in versions if not v["IsLatest"])
    s3.delete_object(Bucket=bucket, Key=f"{case.prefix()}/{name}", VersionId=old)
    s3.delete_object(Bucket=bucket, Key=f"{case.prefix()}/dir-000/file-00002.txt")
    document = case.json("check", url, code=1)
    same(found(document), [("missing", name), ("missing", "dir-000/file-00002.txt")], "findings")
    same(document["findings"][0]["last_snapshot"], 1, "the snapshot that is hurt")
    document = case.json("repair", case.source, url, code=1)
    same((document["repaired"], [one["path"] for one in document["lost"]]), (1, [name]), "repaired and lost")
    same(case.json("check", url, "--at", "3")["exit"], 0, "the newest snapshot")
    case.pull(url)
    alike(case.source, case.dir / "out")
