"""The command lines: how offsite and each peer is asked to do the same piece of work.

It owns: argument lists and environments. It does not run anything. Flags of the peers are the best ones known for
the case (see README.md), not the defaults, so that a ratio is against the peer at its best.
"""
from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PASSWORD = "bench"
YEAR = Path(__file__).with_name("year.py")
RCLONE_WIDE = ["--transfers", "32", "--checkers", "32"]


@dataclass(frozen=True)
class Ssh:
    """How to log in to the SFTP server, which sees the same directories as this machine."""

    user: str
    port: int  # of the proxy before it
    config: str  # settings for `ssh`; its keys lie beside it

    def command(self) -> str:
        return f"ssh -F {self.config} -p {self.port}"

    def host(self) -> str:
        return f"{self.user}@127.0.0.1"


@dataclass
class Place:
    """Where one tool keeps its copies: prefixes behind proxies, or a directory; with a cache of its own."""

    cache: Path
    directory: Path | None = None
    bucket: str = ""
    region: str = ""
    prefixes: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()  # of the proxy before each prefix
    ssh: Ssh | None = None  # the directory is reached through it
    layout: str = ""  # packed, sealed; else a mirror
    keys: Path | None = None  # two identities and `recipients`, of a sealed one

    def endpoint(self, number: int = 0) -> str:
        return f"http://127.0.0.1:{self.ports[number]}"

    def urls(self) -> list[str]:
        """The destinations as offsite wants them."""
        if self.ssh:
            return [f"sftp://{self.ssh.host()}:{self.ssh.port}{quote(str(self.directory))}?ssh_config={quote(self.ssh.config)}"]
        if self.directory:
            return [str(self.directory)]
        return [f"s3://{self.bucket}/{quote(prefix)}?endpoint={self.endpoint(number)}&region={self.region}"
                for number, prefix in enumerate(self.prefixes)]


@dataclass
class Work:
    """One piece of work: the verb, the tree or the target, the place, and whether the place is fresh."""

    verb: str  # sync, pull, year
    local: Path  # the tree to sync, or the directory to pull into
    place: Place
    fresh: bool
    flags: tuple[str, ...] = ()  # for offsite only


def offsite(program: str, work: Work) -> list[str]:
    place = work.place
    layout = {"packed": ["--packed"], "sealed": ["--seal-to", f"{place.keys}/recipients"]}.get(place.layout, [])
    if work.verb == "sync":
        return [program, "sync", str(work.local), *place.urls(), "--json", "--quiet", *(layout if work.fresh else ()), *work.flags]
    if work.verb == "year":
        return [sys.executable, str(YEAR), program, str(work.local), str(place.directory), *work.flags, *layout]
    identity = ["--identity", f"{place.keys}/identity-1"] if place.keys else []
    return [program, "pull", place.urls()[0], str(work.local), "--json", *identity, *work.flags]


def make_keys(place: Place) -> list[str]:
    """Two identities, as `age-keygen` makes them, and a file of their recipients."""
    line = 'for n in 1 2; do age-keygen -o "$1/identity-$n" 2>/dev/null && age-keygen -y "$1/identity-$n" >> "$1/recipients" || exit 1; done'
    return ["sh", "-c", line, "sh", str(place.keys)]


def rclone(program: str, work: Work) -> list[str]:
    place = work.place
    if place.ssh:
        # Without that flag it runs a command on the server for each file.
        ends = [str(work.local), f"bench:{place.directory}"]
        flags = [*RCLONE_WIDE, "--sftp-disable-hashcheck"]
    elif place.directory:
        ends = [str(work.local), str(place.directory)]
        flags: list[str] = []
    else:
        ends = [str(work.local), f"bench:{place.bucket}/{place.prefixes[0]}"]
        flags = list(RCLONE_WIDE)
    if work.verb == "pull":
        ends.reverse()
        flags += [] if place.directory else ["--fast-list"]
        flags += [] if place.directory or work.fresh else ["--checksum"]
    elif not place.directory and not work.fresh:
        flags += ["--fast-list", "--update", "--use-server-modtime"]
    return [program, "sync", *ends, *flags, "--quiet"]


def s5cmd(program: str, work: Work) -> list[str]:
    start = [program, "--endpoint-url", work.place.endpoint(), "--log", "error"]
    remote = f"s3://{work.place.bucket}/{work.place.prefixes[0]}/"
    if work.verb == "sync":
        return [*start, "sync", "--delete", f"{work.local}/", remote]
    return [*start, "cp", f"{remote}*", f"{work.local}/"]


def aws(program: str, work: Work) -> list[str]:
    remote = f"s3://{work.place.bucket}/{work.place.prefixes[0]}/"
    ends = [str(work.local), remote] if work.verb == "sync" else [remote, str(work.local)]
    return [program, "--endpoint-url", work.place.endpoint(), "s3", "sync", "--delete", "--only-show-errors", *ends]


def restic(program: str, work: Work) -> list[str]:
    """Run inside the tree, so that a restore needs no path of this machine."""
    ask = [program, "--quiet", "--repo", repository(work.place)]
    if work.verb == "sync":
        return ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(work.local), *ask, "backup", "."]
    return [*ask, "restore", "latest", "--target", str(work.local)]


def rustic(program: str, work: Work) -> list[str]:
    """Run inside the tree, as restic is. It learns of the repository from the environment."""
    ask = [program, "--no-progress", "--log-level", "error"]
    if work.verb == "sync":
        return ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(work.local), *ask, "backup", "."]
    return [*ask, "restore", "latest", str(work.local), *(() if work.fresh else ("--delete",))]


def repository(place: Place) -> str:
    return str(place.directory) if place.directory else f"s3:{place.endpoint()}/{place.bucket}/{place.prefixes[0]}"


def rsync(program: str, work: Work) -> list[str]:
    ssh = work.place.ssh
    remote = f"{ssh.host()}:{work.place.directory}/" if ssh else f"{work.place.directory}/"
    ends = [f"{work.local}/", remote]
    if work.verb == "pull":
        ends.reverse()
    return [program, "-a", "--delete", *(["-e", ssh.command()] if ssh else []), *ends]


def sftp_and_sync(program: str, work: Work) -> list[str]:
    """The same with each file brought to the server's disk, as offsite does with large ones."""
    return sftp(program, work, "-rpf")


def sftp(program: str, work: Work, flags: str = "-rp") -> list[str]:
    """OpenSSH's own client: the whole tree with one command."""
    ssh, place = work.place.ssh, work.place
    line = f"put {flags} {work.local}/. {place.directory}" if work.verb == "sync" else f"get -rp {place.directory}/. {work.local}"
    talk = 'printf "%s\\n" "$1" | "$2" -q -b - -F "$3" -P "$4" "$5"'
    return ["sh", "-c", talk, "sh", line, program, ssh.config, str(ssh.port), ssh.host()]


def copy(program: str, work: Work) -> list[str]:
    return [program, "-r", f"{work.local}/.", str(work.place.directory)]


def copy_and_sync(program: str, work: Work) -> list[str]:
    line = '"$1" -r "$2" "$3" && sync -f "$3"'
    return ["sh", "-c", line, "sh", program, f"{work.local}/.", str(work.place.directory)]


def find(program: str, work: Work) -> list[str]:
    """The floor of every no-change run: one pass over the tree."""
    return [program, str(work.local), "-printf", "%s %T@ %p\\n"]


COMMANDS = {"offsite": offsite, "rclone": rclone, "s5cmd": s5cmd, "aws": aws, "restic": restic, "rustic": rustic, "rsync": rsync,
            "cp": copy, "cp+sync": copy_and_sync, "find": find, "sftp": sftp, "sftp+sync": sftp_and_sync}
ORDINARY = {"sftp": "sftp", "sftp+sync": "sftp", "cp": "cp", "cp+sync": "cp", "find": "find"}  # programs that are always there
LAYOUTS = {"offsite-packed", "offsite-sealed"}
KEEPS_TREE = {"offsite", "rclone", "s5cmd", "aws", "rsync", "cp", "cp+sync", "sftp", "sftp+sync"}  # the copy can be compared file by file


def command(tool: str, program: str, work: Work) -> list[str]:
    return COMMANDS[tool](program, work)


def prepare(tool: str, program: str, place: Place) -> list[str] | None:
    """What has to run once before the first sync of a place."""
    if tool == "restic":
        return [program, "--quiet", "--repo", repository(place), "init"]
    if tool == "rustic":
        return [program, "--no-progress", "--log-level", "error", "init"]
    if place.keys:
        return make_keys(place)
    return None


def environment(base: dict[str, str], place: Place) -> dict[str, str]:
    """A clean environment: no configuration of the user, a cache and a home of the place's own."""
    env = {name: base[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
           if name in base}
    env |= {"HOME": str(place.cache), "XDG_CACHE_HOME": str(place.cache / "xdg"), "OFFSITE_CACHE_DIR": str(place.cache),
            "RESTIC_CACHE_DIR": str(place.cache / "restic"), "RESTIC_PASSWORD": PASSWORD,
            "RUSTIC_PASSWORD": PASSWORD, "RUSTIC_REPOSITORY": str(place.directory) if place.directory else "opendal:s3",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": place.region, "AWS_DEFAULT_REGION": place.region,
            "RCLONE_CONFIG": str(place.cache / "rclone.conf"), "NO_PROXY": "127.0.0.1"}
    if place.ports:
        env |= {"RCLONE_CONFIG_BENCH_TYPE": "s3", "RCLONE_CONFIG_BENCH_PROVIDER": "SeaweedFS",
                "RCLONE_CONFIG_BENCH_ENV_AUTH": "true", "RCLONE_CONFIG_BENCH_ENDPOINT": place.endpoint(),
                "RCLONE_CONFIG_BENCH_REGION": place.region, "RCLONE_CONFIG_BENCH_NO_CHECK_BUCKET": "true",
                "OPENDAL_ENDPOINT": place.endpoint(), "OPENDAL_BUCKET": place.bucket, "OPENDAL_REGION": place.region,
                "OPENDAL_ROOT": f"/{place.prefixes[0]}"}
    if place.ssh:
        key = str(Path(place.ssh.config).parent / "user")
        env |= {"RCLONE_CONFIG_BENCH_TYPE": "sftp", "RCLONE_CONFIG_BENCH_HOST": "127.0.0.1", "RCLONE_CONFIG_BENCH_USER": place.ssh.user,
                "RCLONE_CONFIG_BENCH_PORT": str(place.ssh.port), "RCLONE_CONFIG_BENCH_KEY_FILE": key}
    return {name: value for name, value in env.items() if value}
