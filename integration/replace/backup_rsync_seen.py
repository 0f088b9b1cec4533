"""What backup-rsync could do, row by row, and its known defects: looked for in what offsite does with the imported config.

Owns the list of features. Invariant: a tick rests on something that this run did or left behind.
"""
import json
import shutil
import subprocess
from pathlib import Path

from story import Story
from trees import write


def one(outcome: dict, job: str) -> dict:
    """What became of a job."""
    return next(found for found in outcome["jobs"] if found["job"] == job)


def said(ran: subprocess.CompletedProcess) -> str:
    return (ran.stdout + ran.stderr).decode(errors="replace")


def features(s: Story, b, old: dict[str, str], first: dict[str, dict]) -> None:
    s.chapter("the features of backup-rsync")
    verbs(s, b, first)
    hooks(s, b)
    values(s, b)
    around(s, b)
    s.chapter("its known defects")
    defects(s, b, old, first)
    s.chapter("what it was for, and what it left to others")
    purposes(s, b)


def verbs(s: Story, b, first: dict[str, dict]) -> None:
    names = [found["job"] for found in first["vdrupal"]["jobs"]]
    s.feature("backups-job: every backup in the order of the file", names == list(json.loads(b.json.read_text())), "offsite run")
    (b.files("vdrupal") / "new.txt").write_bytes(b"new")
    place = b.local / "files/acme" / b.files("vdrupal").relative_to(b.volumes / "acme")
    before = b.old("backups-status", "vdrupal", code=None)
    dry = one(b.go("vdrupal", "--dry-run"), "local-files")
    text = said(s.offsite("run", "--dry-run", *b.of("vdrupal")))
    s.feature("backups-status: a dry run with figures", "Number of files" in before and not (place / "new.txt").exists() and "added 1" in text and not dry["hooks"],
              "offsite run --dry-run; also for gsutil's, whose `--stats` there never was" if "gcloud-files" in text else "")
    b.go("vdrupal")
    counted = said(s.offsite("report", *b.of("vdrupal")))
    s.feature("backups-report: the destinations' own command", f"{place}" in counted and "gs://" in counted, "offsite report; a destination without one is counted from its manifest")
    s.feature("a source that is not there is skipped", one(s.document("run", *b.of("vsite"), "--set", f"BACKUP_SOURCE={s.dir}/nothing"), "local-files")["result"] == "skipped", "and said, by the `\"missing\": \"skip\"` that the import writes; without it that is a failure")
    s.gap("any other COMMAND is executed in the container", "docker run --entrypoint COMMAND; offsite runs its own verbs only")


def hooks(s: Story, b) -> None:
    run = b.go("vsite")
    ignored = one(run, "local-code")
    s.feature("`ignore` leaves out a backup for a type", ignored["result"] == "ignored" and not ignored["hooks"], "its initialize does not run either")
    report = said(s.offsite("report", *b.of("vsite"), quiet=True))
    status = said(s.offsite("status", "--max-age", "26h", *b.of("vsite")))
    s.feature("`ignore` also for report and status", "code/shop" not in report + status and "files/shop" in report)
    shutil.rmtree(b.local / "files" / "shop")
    odd = b.go("vsite", "local-files", code=None)
    made = one(odd, "local-files")["hooks"]
    s.feature("initialize runs before every run", made and made[0]["hook"] == "initialize" and made[0]["code"] == 0, "a directory that is gone is made again by it; the command now gets words, not a split line")
    broken = b.go("vdrupal", "--set", "REMOTESERVER=nowhere.invalid", code=1)
    results = {found["job"]: found["result"] for found in broken["jobs"]}
    s.feature("initialize that fails", results["remote-files"] == "failed" and "`initialize` command failed" in one(broken, "remote-files")["destinations"][0]["error"], "nothing is sent there now; the old script ran on")
    others = {name: result for name, result in results.items() if name != "remote-files"}
    s.feature("a backup that fails does not stop the others, and is seen", broken["exit"] == 1 and set(others.values()) == {"done"}, "mended: the old exit code was that of the last")


def values(s: Story, b) -> None:
    config = json.loads((s.dir / "offsite.json").read_text())
    s.feature("TYPE selects options and subdirectories", (b.local / "code/acme/web/index.php").is_file() and (b.local / "files/blog/html/wp-content/uploads/2026/photo.jpg").is_file(), "--type")
    s.feature("prefix: ssh for rsync, a bare path for initialize", config["destinations"]["remote-files"]["url"].startswith("sftp://$REMOTESERVER/") and config["destinations"]["remote-files"]["initialize"][-1].endswith("/$VOLUME/$SUBDIRECTORY"), "one sftp:// URL")
    bucket = s.env.pop("GCLOUD_BUCKET")
    unset = said(s.offsite("run", *b.of("vdrupal"), code=2))
    s.env["GCLOUD_BUCKET"] = bucket
    s.feature("$NAME is filled in everywhere", "GCLOUD_BUCKET" in unset, "mended: one that is not set stops the run; it was an empty text. ${NAME:-default} is new")
    write(b.volumes / "two words", "files/a b.txt", b"blank")
    run = s.document("run", "local-files", "--type", "vsite", "--set", "VOLUME=two words", "--set", f"BACKUP_SOURCE={b.volumes / 'two words'}")
    s.feature("words are split as they are meant", run["exit"] == 0 and (b.local / "files/two words/files/a b.txt").is_file(), "mended: a path with a blank was two arguments")
    text = json.dumps({"x": {"process": "rsync -a", "destination": str(b.local / "x"), "subdirectories": {"v-site.2": "files"}, "options": {"v-site.2": "--exclude=*.bak"},
                             "initialize": "echo $backup $type $subdir $source $destination"}})
    s.write("odd.json", text)
    s.offsite("config", "import", "odd.json", "--out", "odd-offsite.json", quiet=True)
    odd = s.document("run", "--config", "odd-offsite.json", "--type", "v-site.2", "--set", f"BACKUP_SOURCE={b.volumes / 'shop'}")
    told = odd["jobs"][0]["hooks"][0]["output"].split()
    s.feature("backup, type, subdir, source, destination in commands", told == ["x", "v-site.2", "files", f"{b.volumes}/shop/files", f"{b.local}/x/files"], "the old script gave backup, destination and prefix only")
    s.feature("a type with `-` or `.`", odd["exit"] == 0, "mended: it was a jq error, and no options")
    only = b.go("vdrupal", "local-files")
    s.feature("one backup by its name", [found["job"] for found in only["jobs"]] == ["local-files"], "offsite run NAME; the old script always ran all")


def around(s: Story, b) -> None:
    key = f"gs://{b.bucket}/docker-volume/acme/web/sites/default/files?credentials={b.key}"
    stranger = key.replace("admin.json", "stranger.json")
    found = s.document("report", key)["exit"] == 0 and s.offsite("report", stranger, code=1, quiet=True).returncode == 1
    s.feature("KEY_FILE: a service account's key", found, "credentials=FILE in the URL, or $GOOGLE_APPLICATION_CREDENTIALS")
    s.elsewhere("images for Docker", "one image for all stores in container/; its files are checked by integration/container-files, no engine runs them here")


def defects(s: Story, b, old: dict[str, str], first: dict[str, dict]) -> None:
    text = b.json.read_text()
    shipped = s.write("shipped.json", text.replace('"initialize": "mkdir -p $destination",', '"initialize": "mkdir -p $destination"').replace("  },\n  \"remote", "  }\n  \"remote"))
    refused = s.run("jq", ".", shipped, code=None)
    mended = s.offsite("config", "import", shipped, "--json", quiet=True)
    right = s.offsite("config", "import", b.json, "--json", quiet=True)
    s.feature("1. the shipped JSON lacks commas", refused.returncode and json.loads(mended.stdout)["config"] == json.loads(right.stdout)["config"], "it is imported, and the lines are named; the old script then did nothing, and ended with 0")
    s.feature("2. no prefix: `null/…` where sh is dash", not any("null" in found["url"] for run in first.values() for job in run["jobs"] for found in job["destinations"]), "goes to its destination")
    s.feature("3. no options for a type: `null` as a source", "null" in old["vsite"] and one(first["vsite"], "local-files")["result"] == "done", "rsync ended with 23 every night, and then removes nothing; it is an ordinary run now")
    untyped = said(s.offsite("run", "--set", "VOLUME=acme", "--set", f"BACKUP_SOURCE={b.volumes}/acme", code=2))
    s.feature("4. no TYPE", "--type" in untyped, "refused before anything runs; it ran with `//` in paths")
    cached = [key for key in b.in_bucket() if "/shop/" in key]
    s.feature("5. rsync's flags for gsutil", "Incorrect option" in old["vsite"] and cached == ["docker-volume/shop/files/logo.svg"], "they mean what they mean to rsync; the volume was never in the bucket before")
    page = "".join((Path(__file__).parents[2] / "docs" / name).read_text() for name in ("jobs.md", "hooks.md", "dumps.md", "schedule.md", "containers.md"))
    schema = json.loads(s.offsite("config", "schema", quiet=True).stdout)
    keys = sorted({key for part in ("JobShape", "DestinationShape", "KeepShape", "NotifyShape") for key in schema.get("$defs", {}).get(part, {}).get("properties", {})} | set(schema["properties"]) - {"$schema"})
    silent = [key for key in keys if f"`{key}`" not in page and f'"{key}"' not in page]
    s.feature("6. half of it is not documented", len(keys) > 5 and not silent, f"the pages about jobs have each of the {len(keys)} keys of the schema" if not silent else f"no page has {silent}")
    code = b.local / "code/acme/web"
    s.feature("quotes reached the program", (code / "tmp").is_dir() and not (code / "tmp/session").exists(), "/tmp is left out now; the directory that came over by mistake stays, foreign")
    s.feature("`rsync -d` took the top only", (code / "core/lib/a.php").is_file(), "everything below is there")
    s.feature("an include below an excluded directory took no effect", (code / "sites/default/files/civicrm/ext/mod/ext.php").is_file() and not (code / "sites/default/files/film.mp4").exists(), "files/civicrm/ext is there, other files are not")
    half = b.local / "files/acme/web/sites/default/files/half.part"
    listed = said(s.offsite("ls", half.parent, quiet=True))
    s.feature("variables in options were not filled in", "half.part" not in listed and half.is_file(), "*.part is left out now; the one that came over by mistake stays, foreign")


def purposes(s: Story, b) -> None:
    place = b.local / "files/acme/web/sites/default/files"
    first = s.offsite("cat", place, "report 2026.pdf", "--at", "1", quiet=True).stdout
    s.feature("human error: yesterday's file", first == b"report 2026.pdf" * 50 and b"notes.bak" in s.offsite("ls", place, "--at", "1", quiet=True).stdout, "offsite cat --at, pull --at: 30 days, or as `keep` says; there was the last state only")
    s.offsite("pull", "local-code", "staging", *b.of("vdrupal"))
    s.offsite("pull", "local-files", "staging-files", *b.of("vdrupal"), "--profile", "staging")
    code = (s.dir / "staging/core/lib/a.php").is_file() and not (s.dir / "staging/sites/default/files/film.mp4").exists()
    s.feature("a staging copy without 90 GB of files", code and not (s.dir / "staging-files/film.mp4").exists() and (s.dir / "staging-files/WHERE").is_file(), "offsite pull JOB; --profile with max_size and commands")
    s.offsite("prune", place, "--keep-last", "2")
    s.feature("retention: none before", len(s.document("snapshots", place)["snapshots"]) == 2, "`keep` in a job, offsite prune")
    s.feature("verify: none before", s.document("check", place, "--read-data")["exit"] == 0, "offsite check --read-data")
    s.offsite("schedule", "install", "--daily", "03:00", "--jitter", "30m", *b.of("vdrupal"), "--units", "units", "--config", "offsite.json",
              # What a run by hand had from the environment, the timer's has to have from its own.
              *(word for name in ("REMOTESERVER", "GCLOUD_BUCKET", "SCRATCH", "SSH_CONFIG") for word in ("--set", f"{name}={s.env[name]}")))
    units = {path.suffix for path in (s.dir / "units").iterdir()}
    s.feature("schedule: cron and a script of the host", units == {".service", ".timer"}, "offsite schedule install")
    s.feature("is it running? none before", s.offsite("status", "--max-age", "26h", *b.of("vdrupal")).returncode == 0, "offsite status, from any host")
    s.gap("encryption: none before, none now", "encrypt the store or the disk; what lies there are plain files")
