"""What cron, pg_dump and `aws s3 sync` could do, row by row, with its gaps: looked for in what offsite does with the imported config.

Owns the list of features. Invariant: a tick rests on something that this run did or left behind.
"""
import json
import os
import subprocess
import time

from story import Story
from trees import alike, big, write

# Flags of `aws s3 sync` that say what offsite says elsewhere, by itself, or not at all; all of them must be named by the import.
NEEDLESS = ["--quiet", "--only-show-errors", "--no-progress", "--page-size 500", "--checksum-algorithm CRC32", "--size-only", "--exact-timestamps"]
BY_BUCKET = {"--storage-class STANDARD_IA": "a lifecycle rule of the bucket", "--sse aws:kms": "the bucket's default encryption", "--sse-kms-key-id k": "the same"}
NOT_HAD = {
    "--acl private, --grants": "a policy of the bucket; `initialize` can block public access",
    "--metadata, --content-type and its like, --cache-control, --expires": "nothing: the copy is no website",
    "--sse-c": "nothing; the bucket's own encryption",
    "--request-payer, --source-region, --force-glacier-transfer": "nothing: they are about reading other buckets",
    "--case-conflict": "nothing: names are bytes",
}
LEFT_OUT = ["--acl private", "--grants read=x", "--metadata a=b", "--content-type text/plain", "--cache-control no-store", "--expires 1", "--sse-c AES256",
            "--request-payer requester", "--source-region eu-west-1", "--force-glacier-transfer", "--ignore-glacier-warnings", "--case-conflict warn", "--checksum-mode ENABLED"]


def one(outcome: dict, job: str) -> dict:
    """What became of a job."""
    return next(found for found in outcome["jobs"] if found["job"] == job)


def said(ran: subprocess.CompletedProcess) -> str:
    return (ran.stdout + ran.stderr).decode(errors="replace")


def features(s: Story, shop, notes: str, first: dict) -> None:
    s.chapter("the features of the nightly script")
    steps(s, shop, notes, first)
    s.chapter("its gaps")
    gaps(s, shop)
    s.chapter("aws s3 sync")
    rules(s, shop)
    flags(s)
    around(s, shop)


def steps(s: Story, shop, notes: str, first: dict) -> None:
    s.elsewhere("a container of its own, beside the database's", "container/compose.yaml, checked by integration/container-files; no engine runs it here")
    s.offsite("schedule", "install", "--daily", "03:00", "--config", "offsite.json", "--units", "units")
    timer = (s.dir / "units/offsite.timer").read_text()
    s.feature("/etc/cron.d: 0 3 * * *", "--daily 03:00" in notes and "03:00" in timer, "offsite schedule install; the import names the time")
    s.feature("pg_dump | gzip", one(first, "backups")["destinations"][0]["dumps"][0]["bytes"] > 0, "`dumps` with \"compress\": \"zstd\"; never a file on this disk")
    for _ in range(4):
        shop.go("backups")
    s.offsite("prune", shop.place("backup"), "--keep-last", "5")
    kept = s.document("snapshots", shop.place("backup"))["snapshots"]
    s.feature("five dumps stay", [found["number"] for found in kept] == [3, 4, 5, 6, 7], "offsite prune, at once: of 7 runs 5 stay; `keep` of the job over sixty nights: integration/replace/nights")
    s.feature("aws s3 sync", s.run("aws", "s3", "cp", "--endpoint-url", shop.server.endpoint, f"s3://{shop.bucket}/uploads/photo.jpg", "-").stdout == b"PHOTO" * 40, "each file is an object of its name, for any S3 tool")
    text = (s.dir / "offsite.json").read_text() + notes
    s.feature("DATABASE_URL and keys in the script", not any(secret in text for secret in (shop.secret, shop.server.secret, shop.server.key)), "none in the config; they come through the environment")
    s.feature("AWS_DEFAULT_REGION", "AWS_DEFAULT_REGION=us-east-1" in notes, "as before, or region=… in the URL")
    s.feature(">> log 2>&1", s.offsite("run", "uploads", "--quiet").stdout == b"", "the journal has it; with --quiet only what went wrong")


def gaps(s: Story, shop) -> None:
    nowhere = shop.url.replace("/shop?", "/gone?")
    s.run("sh", "-c", "pg_dump $DATABASE_URL | gzip > empty.gz", env={"DATABASE_URL": nowhere})
    good = s.offsite("cat", shop.place("backup"), "database.sql.zst", quiet=True).stdout
    failed = shop.go(code=1, env={"DATABASE_URL": nowhere})
    after = s.offsite("cat", shop.place("backup"), "database.sql.zst", quiet=True).stdout
    s.feature("no pipefail: an empty dump in place of a good one, exit code 0", (s.dir / "empty.gz").stat().st_size < 50 and good == after and failed["exit"] == 1, "the job fails, and the last good dump stays")
    s.feature("a step that fails does not stop the others", one(failed, "uploads")["result"] == "done")
    status = s.offsite("status", "--max-age", "26h", code=1)
    s.feature("the log is the only signal", b"failed" in status.stdout, "exit codes, offsite status from any host, notify (ping, webhook, mail)")
    s.offsite("run", "--metrics", "offsite.prom")
    s.feature("figures: none before", "offsite_" in (s.dir / "offsite.prom").read_text() and s.offsite("status", "--max-age", "26h").returncode == 0, "run --metrics FILE, for Prometheus")
    write(shop.backups, "by-hand.txt", b"by hand")
    os.utime(shop.backups / "by-hand.txt", (1, 1))
    shop.go("backups")
    lost = not (shop.backups / "before-upgrade.txt").exists()
    s.feature("rotation by time, of whatever lies there", lost and (shop.backups / "by-hand.txt").exists() and "backup/by-hand.txt" in shop.objects(), "nothing is ever removed at the source; the old line had removed a file that was put there by hand")
    (shop.uploads / "2026/invoice 1.pdf").unlink()
    shop.go("uploads")
    gone = "uploads/2026/invoice 1.pdf" not in shop.objects()
    old = s.offsite("cat", shop.place("uploads"), "2026/invoice 1.pdf", "--at", "1", quiet=True).stdout
    s.feature("no --delete: the bucket grows for ever", gone and old == b"invoice" * 40, "removed from the mirror, had for 30 days more (`keep`)")
    (s.dir / "nothing").mkdir()
    emptied = json.loads((s.dir / "offsite.json").read_text())
    emptied["jobs"]["uploads"]["source"] = str(s.dir / "nothing")
    s.write("emptied.json", json.dumps(emptied))
    s.feature("--delete without a limit", shop.go("uploads", "--config", "emptied.json", code=4)["jobs"][0]["result"] == "refused" and "uploads/photo.jpg" in shop.objects(), "a disk that is not mounted is no reason to remove everything")
    s.feature("no restore", (s.dir / "new-machine/uploads/film.mp4").is_file(), "offsite pull, seen above")
    s.feature("nobody looks whether it is whole", s.document("check", shop.place("uploads"), "--read-data")["exit"] == 0, "offsite check --read-data")
    s.gap("encryption: none before, none now", "the bucket's own, on the server")


def rules(s: Story, shop) -> None:
    back = s.dir / "new-machine/uploads"
    s.offsite("pull", shop.place("uploads"), back, "--delete")
    was = (back / "photo.jpg").stat()
    (back / "photo.jpg").write_bytes(b"fotos" * 40)
    os.utime(back / "photo.jpg", ns=(was.st_atime_ns, was.st_mtime_ns + 10**9))
    s.offsite("pull", shop.place("uploads"), back)
    s.feature("download: by size and time alone", (back / "photo.jpg").read_bytes() == b"PHOTO" * 40, "a file whose time differs is hashed, and what is fetched is checked by its hash")
    kept = {key for key in shop.objects() if key.startswith("uploads/")}
    s.feature("--exclude and --include in their order", "uploads/keep/audit.log" in kept and not kept & {"uploads/debug.log", "uploads/tmp/half"}, "exclude, include")
    text = said(s.offsite("run", "uploads", "--dry-run"))
    s.feature("--dryrun", "to send 0 B" in text, "offsite run --dry-run, with requests and cost")
    s.feature("symlinks were followed", (back / "current.jpg").is_symlink() and "uploads/current.jpg" in kept, "kept as symlinks; the object of the one that was followed stays, foreign")
    alike(shop.uploads, back, leave_out=lambda path: path.startswith(b"tmp/") or path == b"debug.log")
    s.feature("no mode, owner, empty directory", (back / "empty").is_dir() and (back / "photo.jpg").stat().st_mode & 0o777 == 0o640, "all of it comes back")


def flags(s: Story) -> None:
    line = " ".join(["aws s3 sync /srv/x s3://acme/x --delete --no-follow-symlinks --endpoint-url https://s3.example --region eu-west-1 --profile p", *NEEDLESS, *BY_BUCKET, *LEFT_OUT])
    found = json.loads(s.offsite("config", "import", "-", "--json", stdin=line.encode(), quiet=True).stdout)
    notes = {kind: " ".join(note["text"] for note in found["notes"] if note["kind"] == kind) for kind in ("different", "to_do", "left_out")}
    url = found["config"]["destinations"]["x"]["url"]
    s.feature("--endpoint-url, --region, --profile", url == "s3://acme/x?endpoint=https://s3.example&region=eu-west-1&profile=p", "in the URL")
    s.feature("--delete, --no-follow-symlinks", "without --delete" not in notes["different"] and "followed symlinks" not in notes["different"], "what offsite always does")
    s.feature("flags that offsite needs none for", all(flag.split()[0] in notes["different"] for flag in NEEDLESS), ", ".join(flag.split()[0] for flag in NEEDLESS))
    s.feature("every other flag is named by the import", all(flag.split()[0] in notes["left_out"] + notes["to_do"] for flag in [*BY_BUCKET, *LEFT_OUT]), f"{len(BY_BUCKET) + len(LEFT_OUT)} of them")
    for flag, instead in {**BY_BUCKET, **NOT_HAD}.items():
        s.gap(flag.split(" ")[0] if flag in BY_BUCKET else flag, instead)


def around(s: Story, shop) -> None:
    times = []
    for name, limit in (("fast", []), ("slow", ["--limit-upload", "1M"])):
        big(s.dir / name / "file.bin", 2 << 20, seed=9)
        began = time.monotonic()
        done = s.document("sync", *limit, "--transfers", "2", name, shop.place(name))
        times.append(time.monotonic() - began)
        s.feature(f"{name}: all of it arrived", done["destinations"][0]["bytes"]["sent"] == 2 << 20)
    s.feature("~/.aws/config: max_bandwidth, max_concurrent_requests", times[1] > 0.9, f"limit_upload, transfers: 2 MiB at 1 MiB a second took {times[1]:.1f} s, without it {times[0]:.1f} s; the size of parts follows the file's")
    exits = [s.offsite("run", "nobody", code=None).returncode]
    s.feature("exit codes", exits == [2], "0, 1, 2, 4 seen here; 3 for files that could not be read, 130 when interrupted")
    report = s.document("report", shop.place("uploads"))["destinations"][0]
    asked = sum(report["requests"].values())
    s.feature("aws s3 ls --recursive --summarize", report["rows"][0]["content"]["objects"] == 3, f"offsite report: {asked} requests, none of them for a file; --list counts all that is there")
