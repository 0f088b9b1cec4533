"""One entry that a destination does not take must not keep the rest from being committed."""
import os
import subprocess
from pathlib import Path

from registry import NotHere, check, same, test
from servers import by_sftp
from t_here import NOBODY, as_nobody
from trees import alike, write


def mounted(case, name: str, size: str, make: list[str], mount: list[str]) -> Path:
    """A file system of its own in a file."""
    image, place = case.dir / f"{name}.img", case.dir / name
    place.mkdir()
    subprocess.run(["truncate", "-s", size, image], check=True)
    subprocess.run([*make, image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = subprocess.run(["losetup", "-f", "--show", image], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    try:
        subprocess.run([*mount, loop, place], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        subprocess.run(["losetup", "-d", loop], check=False)  # Goes with the mount.
    case.closing.append(lambda: subprocess.run(["umount", "-l", str(place)], check=True))
    return place


def ext4(case, name: str) -> Path:
    return mounted(case, name, "32M", ["mkfs.ext4", "-q"], ["mount"])


def refused(outcome: dict) -> list[str]:
    return sorted(problem["path"] for problem in outcome["unread"] if "the destination refused it" in problem["problem"])


@test(local=True)
def an_immutable_file_keeps_only_itself_out(case):
    place = ext4(case, "disk")
    for name in ("a", "b", "c"):
        write(case.source, name, b"one")
    for url in (str(place / "d"), by_sftp(case, place, "s")):
        case.sync(url)
    for copy in ("d", "s"):
        subprocess.run(["chattr", "+i", place / copy / "b"], check=True)
    for name in ("a", "b", "c"):
        write(case.source, name, b"two, longer")
    for url in (str(place / "d"), by_sftp(case, place, "s")):
        for _ in range(2):
            outcome = case.sync(url, code=3)
            same(refused(outcome), ["b"], "what is listed")
        same(case.run("cat", url, "a").raw, b"two, longer", "a")
        same(case.run("cat", url, "b").raw, b"one", "b")
    for copy, url in (("d", str(place / "d")), ("s", by_sftp(case, place, "s"))):
        subprocess.run(["chattr", "-i", place / copy / "b"], check=True)
        case.sync(url)
        case.pull(url, "out-" + copy)
        alike(case.source, case.dir / ("out-" + copy), times=copy == "d")


@test(local=True)
def a_file_that_is_mounted_and_a_directory_of_somebody_else(case):
    user = as_nobody(case)
    write(case.source, "d/a", b"one")
    write(case.source, "e/b", b"one")
    write(case.source, "m", b"one")
    own = case.dir / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    url = str(own / "copy")
    case.sync(url, **user)
    other = case.dir / "other"
    other.write_bytes(b"mounted")
    subprocess.run(["mount", "--bind", other, own / "copy/m"], check=True)
    case.closing.append(lambda: subprocess.run(["umount", "-l", str(own / "copy/m")], check=True))
    os.chown(own / "copy/d", 0, 0)
    os.chmod(own / "copy/d", 0o755)
    for name in ("d/a", "e/b", "m"):
        write(case.source, name, b"two, longer")
    outcome = case.sync(url, code=3, **user)
    check({"d/a", "m"} <= set(refused(outcome)), outcome["unread"])
    same((own / "copy/e/b").read_bytes(), b"two, longer", "the rest")


@test(local=True)
def what_changes_in_a_read_only_directory(case):
    """As an ordinary user: mirrors, SFTP and pulls open it for the moment."""
    user = as_nobody(case)
    own = case.dir / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    write(case.source, "ro/f", b"one")
    write(case.source, "ro/goes", b"goes")

    def shut(mode: int) -> None:
        subprocess.run(["chown", "-R", str(NOBODY), case.source], check=True)
        os.chmod(case.source / "ro", mode)

    shut(0o555)
    urls = [str(own / "copy"), by_sftp(case, own, "far")]
    for url in urls:
        case.sync(url, **user)
    case.run("pull", urls[0], own / "back", **user)
    os.chmod(case.source / "ro", 0o755)
    write(case.source, "ro/f", b"two, longer")
    write(case.source, "ro/new/in", b"new")
    (case.source / "ro/goes").unlink()
    shut(0o555)
    for url in urls:
        case.sync(url, **user)
    case.run("pull", urls[0], own / "back", "--delete", "--max-removals", "100%", **user)
    for place in (own / "copy", own / "far", own / "back"):
        same((place / "ro/f").read_bytes(), b"two, longer", place)
        same((place / "ro/new/in").read_bytes(), b"new", place)
        check(not (place / "ro/goes").exists(), place)
        same(os.stat(place / "ro").st_mode & 0o7777, 0o555, place)


@test(local=True)
def an_attribute_that_is_too_large(case):
    """ext4 holds 4 KiB of attributes a file; the file is kept, and a pull to where there is room brings them back."""
    source = case.dir / "tmpfs"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source], check=True)
    case.closing.append(lambda: subprocess.run(["umount", "-l", str(source)], check=True))
    for name in ("a", "b"):
        write(source, name, name.encode())
    try:
        os.setxattr(source / "b", "user.big", b"x" * 20000)
    except OSError as error:
        raise NotHere(f"this kernel's tmpfs has no such attributes: {error}") from error
    place = ext4(case, "disk")
    case.run("sync", source, place / "copy").says("without an attribute", "user.big")
    same((place / "copy/b").read_bytes(), b"b", "the file itself")
    case.run("pull", place / "copy", place / "back", code=3).says("user.big")
    same((place / "back/b").read_bytes(), b"b", "pulled to where there is no room")
    case.run("pull", place / "copy", source / "back")
    same(len(os.getxattr(source / "back/b", "user.big")), 20000, "the attribute from the manifest")
