"""Contents that a lifecycle rule has moved to Glacier: a pull lists them, asks for them, and brings them later."""
from registry import check, same, test
from trees import alike, many, write


def freeze(case, path: str) -> None:
    """As a rule of the bucket does it: the same bytes under the same key, in another storage class."""
    key = f"{case.prefix()}/{path}"
    where = {"Bucket": case.server.bucket, "Key": key}
    case.server.s3.copy_object(**where, CopySource=where, StorageClass="GLACIER", MetadataDirective="COPY")


@test("moto")
def archived_contents(case):
    url = case.url()
    many(case.source, 20)
    write(case.source, "old/one.txt", b"archived")
    write(case.source, "old/two.txt", b"archived, too")
    case.sync(url)
    freeze(case, "old/one.txt")
    freeze(case, "old/two.txt")
    out = str(case.dir / "out")
    listed = case.json("pull", url, out, code=3)
    same((listed["archived"], len(listed["problems"])), (2, 2), "what lies in the archive")
    check(listed["files"] >= 20, listed)
    check("--restore-archived" in listed["notes"][0], listed["notes"])
    case.run("cat", url, "old/one.txt", code=1)
    asked = case.json("pull", url, out, "--restore-archived", "--restore-tier", "bulk", "--restore-days", "2", code=3)
    check("12 hours" in asked["notes"][0], asked["notes"])
    # moto brings it back at once.
    case.json("pull", url, out)
    alike(case.source, case.dir / "out", times=False)
