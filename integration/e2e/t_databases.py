"""Dumps of real databases: a PostgreSQL and a MariaDB are started, dumped by a job, and restored from what it kept."""
import glob
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from registry import Wrong, check, same, test

ROWS = 20_000


def as_user(user: str) -> list[str]:
    """Neither server runs as root."""
    return ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []


def quiet(*args, **how) -> str:
    done = subprocess.run([*map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **how)
    if done.returncode:
        raise Wrong(f"{args}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def place(user: str):
    directory = Path(tempfile.mkdtemp(prefix="offsite-db-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, user)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def until(ready, what: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            ready()
            return
        except Wrong as wrong:
            if time.monotonic() > end:
                raise Wrong(f"{what} did not come up: {wrong}") from None
            time.sleep(0.2)


@contextmanager
def postgres():
    """A cluster of its own, reached by a socket in its directory alone."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    check(found, "no PostgreSQL is installed")
    with place("postgres") as directory:
        run = [*as_user("postgres"), f"{found[-1]}/pg_ctl", "-D", f"{directory}/data", "-l", f"{directory}/log", "-w"]
        quiet(*as_user("postgres"), f"{found[-1]}/initdb", "-D", f"{directory}/data", "-A", "trust", "-U", "me", "-E", "UTF8", cwd="/")
        quiet(*run, "-o", f"-k {directory} -c listen_addresses='' -c fsync=off", "start", cwd="/")
        try:
            yield str(directory)
        finally:
            subprocess.run([*run, "-m", "immediate", "stop"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", timeout=60)


@contextmanager
def mariadb():
    program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    check(program, "no MariaDB is installed")
    with place("mysql") as directory:
        quiet(*as_user("mysql"), "mariadb-install-db", "--no-defaults", f"--datadir={directory}/data", "--auth-root-authentication-method=normal", "--skip-test-db", cwd="/")
        socket = f"{directory}/socket"
        server = subprocess.Popen([*as_user("mysql"), program, "--no-defaults", f"--datadir={directory}/data", f"--socket={socket}", "--skip-networking",
                                   f"--pid-file={directory}/pid", f"--log-error={directory}/log"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        try:
            until(lambda: quiet("mariadb", "--no-defaults", f"--socket={socket}", "-u", "root", "-e", "select 1"), "MariaDB")
            yield socket
        finally:
            server.terminate()
            server.wait(timeout=60)


def job(case, dumps: dict, to: Path) -> str:
    import json

    path = case.dir / "offsite.json"
    path.write_text(json.dumps({"jobs": {"db": {"destinations": [str(to)], "dumps": dumps}}}))
    return str(path)


@test(local=True)
def databases_postgresql(case):
    with postgres() as host:
        psql = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", host, "-U", "me"]
        quiet(*psql, "-d", "postgres", "-c", "create database shop")
        quiet(*psql, "-d", "shop", "-c", f"create table orders as select n, md5(n::text) as what, 'ä''\\' || n as odd from generate_series(1, {ROWS}) n")
        count = "select count(*), md5(string_agg(what || odd, ',' order by n)) from orders"
        before = quiet(*psql, "-d", "shop", "-c", count)
        to = case.dir / "kept"
        # The address comes through the environment, as a password would.
        file = job(case, {"shop.sql": "pg_dump --dbname=\"$DATABASE_URL\"", "shop.dump": {
            "command": "pg_dump -Fc -Z0 --dbname=\"$DATABASE_URL\"", "compress": "zstd", "min_size": "1K"}}, to)
        env = {"DATABASE_URL": f"postgresql:///shop?host={host}&user=me"}
        case.json("run", "--config", file, env=env)
        # A server that is gone leaves the last good dump.
        broken = case.run("run", "--config", file, env={"DATABASE_URL": f"postgresql:///nothing?host={host}&user=me"}, code=1)
        broken.says("the last good one stays", "does not exist")
        case.run("pull", to, case.dir / "back")
        quiet(*psql, "-d", "postgres", "-c", "create database again")
        quiet(*psql, "-d", "again", "-f", case.dir / "back" / "shop.sql")
        same(quiet(*psql, "-d", "again", "-c", count), before, "rows of the restored database")


@test(local=True)
def databases_mariadb(case):
    with mariadb() as socket:
        client = ["mariadb", "--no-defaults", f"--socket={socket}", "-u", "root", "-N", "-B"]
        quiet(*client, "-e", f"create database shop; use shop; create table orders as select seq as n, md5(seq) as what, concat('ä''\\\\', seq) as odd from seq_1_to_{ROWS}")
        count = "select count(*), md5(group_concat(md5(concat(what, odd)) order by n)) from orders"
        sum_up = [*client, "-e", f"set group_concat_max_len = 100000000; {count}"]
        before = quiet(*sum_up, "shop")
        to = case.dir / "kept"
        file = job(case, {"shop.sql.zst": {
            "command": ["mariadb-dump", "--no-defaults", "--single-transaction", f"--socket={socket}", "-u", "root", "$DATABASE"],
            "compress": "zstd:19", "max_shrink": "20%"}}, to)
        case.json("run", "--config", file, env={"DATABASE": "shop"})
        case.run("run", "--config", file, env={"DATABASE": "nothing"}, code=1).says("the last good one stays", "Unknown database")
        case.run("pull", to, case.dir / "back")
        quiet(*client, "-e", "create database again")
        packed = case.dir / "back" / "shop.sql.zst"
        quiet("sh", "-c", 'zstd -dc "$1" | mariadb --no-defaults --socket="$2" -u root again', "sh", packed, socket)
        same(quiet(*sum_up, "again"), before, "rows of the restored database")
