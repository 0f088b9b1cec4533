"""--adopt: what another tool put there is taken over, and only the rest is sent."""
import subprocess

from boto3.s3.transfer import TransferConfig
from install import VENV
from proxy import Proxy
from registry import check, same, test
from trees import alike, big, many, write


def adopted(case, url: str, sent: int, taken: int, **how):
    outcome = case.sync(url, "--adopt", **how)
    same((outcome["adopted"], outcome["bytes"]["sent"]), (taken, sent), "objects adopted, bytes sent")
    same(case.sync(url)["bytes"]["sent"], 0, "bytes sent by the next run")
    case.pull(url)
    alike(case.source, case.dir / "out")


@test()
def adopt_of_aws_s3_sync(case):
    many(case.source, 50)
    write(case.source, "odd + name #1.txt", b"odd")
    big(case.source / "big.bin", (9 << 20) + 17)  # two parts for aws
    target = f"s3://{case.server.bucket}/{case.prefix()}/"
    command = [str(VENV / "bin" / "aws"), "--endpoint-url", case.server.endpoint, "s3", "sync", "--only-show-errors", str(case.source), target]
    ran = subprocess.run(command, env=case.env, capture_output=True, text=True)
    same(ran.returncode, 0, f"aws s3 sync: {ran.stderr}")
    write(case.source, "newer.txt", b"not there yet")
    write(case.source, "dir-000/file-00000.txt", b"changed since")
    with Proxy(case.server.port) as proxy:
        adopted(case, case.url(port=proxy.port), len(b"not there yet" + b"changed since"), 51)


@test()
def adopt_of_boto3_uploads(case):
    many(case.source, 10)
    big(case.source / "big.bin", 12 << 20)
    big(case.source / "same-size.bin", 6 << 20, seed=2)
    s3, bucket, prefix = case.server.s3, case.server.bucket, case.prefix()
    for path in case.source.rglob("*"):
        if path.is_file():
            parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
            s3.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(case.source)}", Config=parts)
    case.put("foreign.txt", b"nobody asked for this")
    big(case.source / "same-size.bin", 6 << 20, seed=3)  # as long as the object, and another content
    adopted(case, case.url(), 6 << 20, 11)
    check("foreign.txt" in case.keys(), "a foreign object was removed")


@test(local=True)
def adopt_of_rsync(case):
    many(case.source, 50)
    copy = case.dir / "copy"
    subprocess.run(["rsync", "-a", f"{case.source}/", f"{copy}/"], check=True)
    write(case.source, "newer.txt", b"new")
    adopted(case, str(copy), 3, 50)


@test(local=True)
def adopt_of_cp(case):
    many(case.source, 20)
    copy = case.dir / "copy"
    subprocess.run(["cp", "-r", str(case.source), str(copy)], check=True)  # times are those of the copy
    write(copy, "dir-000/file-00004.txt", b"other")
    wanted = (case.source / "dir-000/file-00004.txt").stat().st_size
    adopted(case, str(copy), wanted, 19)


@test()
def without_adopt_nothing_is_written_over(case):
    many(case.source, 10)
    case.put("dir-000/file-00000.txt", b"somebody's")
    refused = case.sync(case.url(), code=4)
    check("--adopt" in refused["error"] and "`dir-000`" in refused["error"], f"it says what is there and what to do: {refused['error']}")
    same(case.object("dir-000/file-00000.txt"), b"somebody's", "what was there")
    case.sync(case.url(), "--adopt")
    case.pull(case.url())
    alike(case.source, case.dir / "out")
