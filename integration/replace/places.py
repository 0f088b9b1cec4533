"""What the stories need besides: a host `nas`, a web server that listens, comparisons of what lies somewhere.

Everything it makes is gone when the story ends.
"""
import hashlib
import os
import secrets
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from story import Story  # first: it puts the other directories on the path
from registry import Wrong
from trees import alike


def old(one: Story, name: str, to: str, mode: int = 0o644, **moved) -> Path:
    """A file of the old set-up, put where it belongs; `@NAME@` in it stands for a place of this run."""
    text = (one.old_files / name).read_text()
    for mark, value in {"ROOT": one.dir, **moved}.items():
        text = text.replace(f"@{mark}@", str(value))
    return one.write(to, text, mode)


@contextmanager
def nas(one: Story):
    """A host `nas` for whoever runs `ssh` here: a directory on it. (OpenSSH takes the home of the account for its
    settings, whatever $HOME is: hence the wrapper.)"""
    server = one.servers["openssh"]
    folder = Path(server.env["OFFSITE_TEST_SFTP_CONFIG"]).parent
    port = server.env["OFFSITE_TEST_SFTP_URL"].split("://")[1].split("/")[0].rsplit(":", 1)[1]
    host_key = (folder / "known").read_text().split(" ", 1)[1]
    one.write("home/.ssh/known_hosts", f"[127.0.0.1]:{port} {host_key}nas {host_key}", 0o600)
    one.write("home/.ssh/id", (folder / "user").read_bytes(), 0o600)
    one.write("home/.ssh/config", f"Host nas\n  HostName 127.0.0.1\n  Port {port}\n  IdentitiesOnly yes\n  IdentityFile ~/.ssh/id\n", 0o600)
    one.write("bin/ssh", f'#!/bin/sh\nexec {shutil.which("ssh")} -F "$HOME/.ssh/config" -o IdentityFile="$HOME/.ssh/id" '
                         '-o UserKnownHostsFile="$HOME/.ssh/known_hosts" -o GlobalKnownHostsFile=/dev/null "$@"\n', 0o755)
    one.env["PATH"] = f"{one.dir}/bin:{one.env['PATH']}"
    place = server.directory / f"{one.system}-{secrets.token_hex(4)}"
    place.mkdir(parents=True)
    short = one.short
    one.short = lambda text: short(text.replace(str(place), "/srv/nas"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def listener():
    """A web server of this machine that takes whatever is posted: its address, and the list of (path, body) so far."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, self.rfile.read(int(self.headers.get("Content-Length") or 0))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_args) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()


def bring(one: Story, env: dict[str, str], *names: str) -> None:
    """Files of the first machine's home that its user brings along to an empty one."""
    for name in names:
        source, copy = one.dir / "home" / name, Path(env["HOME"]) / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy)


def owner(one: Story, *names: str) -> list[str]:
    """Makes age identities on the owner's machine and gives their recipients to the one that is backed up, as $RECIPIENTS. Returns
    the flags that restore with the first identity."""
    (one.dir / "owner").mkdir()
    to = []
    for name in names:
        file = one.dir / f"owner/{name}.txt"
        one.run("age-keygen", "-o", file, shown="owner$")
        to.append(one.run("age-keygen", "-y", file, shown="owner$").stdout.decode())
    one.env["RECIPIENTS"] = str(one.write("etc/recipients.txt", "".join(to)))
    return ["--identity", str(one.dir / f"owner/{names[0]}.txt")]


def files_below(root: Path) -> dict[str, bytes]:
    """Every file below a directory, by its name there."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def unreadable(objects: dict[str, bytes], *known: str) -> bool:
    """Whether all objects of a destination are sealed, and show none of these texts and names, in their bytes or their names; says
    which does."""
    # In a directory, the others are a lock and room for offsite's own records.
    clear = (".offsite/format.json", ".offsite/tmp/lock", ".offsite/tmp/reserve")
    wrong = [key for key, body in objects.items() if not body.startswith(b"age-encryption.org/v1\n") and key not in clear]
    wrong += [key for key, body in objects.items() for text in known if text.encode() in body or text in key]
    if wrong:
        print(f"    in the clear: {', '.join(sorted(set(wrong)))}", flush=True)
    return bool(objects) and not wrong


def said(one: Story, *args, **how) -> str:
    """All that the program says."""
    ran = one.offsite(*args, **how)
    return (ran.stderr + ran.stdout).decode(errors="replace")


def same(one: Story, left: Path, right: Path, *besides: str) -> bool:
    """Whether two trees have the same names, bytes, modes, times, links and attributes, besides those that begin so; says what differs."""
    try:
        alike(left, right, lambda path: path.startswith(tuple(map(os.fsencode, besides))))
    except Wrong as wrong:
        print(f"    {one.short(str(wrong))}", flush=True)
        return False
    return True


def stamps(root: Path) -> dict[str, tuple[str, int]]:
    """Every file below a directory, with its digest and its time."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}
