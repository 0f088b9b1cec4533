"""Trees for the tests: odd names, every kind of file, and an exact comparison of two trees."""
import hashlib
import os
import random
import stat
from pathlib import Path

from registry import check

NAMES = [
    b" lead", b"tail ", b" ", b"new\nline", b"#", b"a#b", b"100%", b"%41", b"%2F", b"back\\slash", b"?", b"a?b=c&d", b"*", b"[x]",
    b"'", b'"', b"both'\"", b"<tag>", b"&amp;", b"a;b", b"$(x)", b"`x`", b"~", b"-rf", b"--", b"+plus+", b"a=b", b"@", b":", b"|", b"!",
    b"...", b".hidden", b"..x", b"x.", b"tab\t", b"\x01", b"\x7f", "ä".encode(), "a\u0308".encode(), "\u202e".encode(), "\U0001f600".encode(),
    b"\xff\xfe", b"caf\xe9", b"n" * 255, b"a", b"a-b", b"a.b", b"a0", b"A", b"CON", b".offsite.", b"OFFSITE", b".offsite-x",
]


def write(root: Path | bytes, name: str | bytes, content: bytes) -> None:
    path = os.path.join(os.fsencode(root), os.fsencode(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def odd_names(root: Path, own: bool = False) -> None:
    """Names of all kinds; with `own` also those that offsite keeps for itself, which a pull leaves out."""
    for index, name in enumerate(NAMES):
        write(root, name, b"%d " % index + name)
        write(root, b"below/" + name[:253] + b".d/" + name[:200], b"below %d" % index)
    deep = b"/".join([b"d" * 240] * 5)
    write(root, deep + b"/over-1024", b"deep")
    if own:
        write(root, b".offsite/format.json", b"not yours")
        write(root, b".offsite/kept/x", b"nor this")
    write(root, b"nested/.offsite/lease.json", b"nor that")
    for pair in (b"p", b"p-q", b"p.q"):
        write(root, b"order/" + pair + b"/x", pair)
    write(root, b"order/p0", b"p0")


def kinds(root: Path) -> None:
    """Modes, links, times, attributes, holes, and what cannot be kept."""
    write(root, "plain", b"plain")
    write(root, "empty", b"")
    for mode in (0o400, 0o444, 0o600, 0o755, 0o4755, 0o2750, 0o1777):
        write(root, f"modes/{mode:o}", b"%o" % mode)
        os.chmod(root / "modes" / f"{mode:o}", mode)
    for name in ("empty-dir", "empty-dirs/a/b/c", "closed"):
        os.makedirs(root / name)
    write(root, "closed/in", b"in")
    os.chmod(root / "closed", 0o500)
    os.symlink("plain", root / "link")
    os.symlink("nowhere at all\n", root / "dangling")
    os.symlink("empty-dir", root / "link-to-dir")
    os.symlink("/etc/hostname", root / "absolute-link")
    os.symlink(b"\xff\xfe", os.fsencode(root) + b"/odd-link")
    os.makedirs(root / "hard")
    os.link(root / "plain", root / "hard" / "one")
    os.link(root / "plain", root / "hard" / "two")
    os.setxattr(root / "plain", "user.note", b"kept \x00\xff")
    os.setxattr(root / "empty-dir", "user.on-a-directory", b"too")
    with open(root / "sparse", "wb") as file:
        file.truncate(20 << 20)
        file.seek(5 << 20)
        file.write(b"island")
    if os.geteuid() == 0:
        os.chown(root / "plain", 1234, 2345)
        os.lchown(root / "link", 1234, 2345)
    moments = {"plain": 1_234_567_890_123_456_789, "empty": 1, "link": 1_000_000_000_000_000_001, "empty-dir": -1_000_000_001,
               "modes/600": 4_102_444_800_000_000_007}
    for name, ns in moments.items():
        os.utime(root / name, ns=(ns, ns), follow_symlinks=False)


def many(root: Path, count: int, size: int = 300, seed: int = 1, per_dir: int = 50) -> None:
    rng = random.Random(seed)
    for index in range(count):
        write(root, f"dir-{index // per_dir:03}/file-{index:05}.txt", rng.randbytes(rng.randrange(1, 2 * size)))


def big(path: Path, size: int, seed: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(rng.randbytes(1 << 20))
        file.write(rng.randbytes(size & ((1 << 20) - 1)))


def describe(root: Path | bytes, times: bool = True) -> dict[bytes, tuple]:
    """Everything a user could see of a tree, by path."""
    root = os.fsencode(root)
    found, groups = {}, {}
    for folder, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            kind = stat.S_IFMT(info.st_mode)
            shown = [kind, info.st_mode & 0o7777 if kind != stat.S_IFLNK else None, info.st_uid, info.st_gid]
            if times:
                shown.append(info.st_mtime_ns)
            if kind == stat.S_IFLNK:
                shown.append(os.readlink(path))
            else:
                shown.append(sorted((x, os.getxattr(path, x)) for x in os.listxattr(path) if x.startswith("user.")))
            relative = os.path.relpath(path, root)
            if kind == stat.S_IFREG:
                with open(path, "rb") as file:
                    shown += [info.st_size, hashlib.sha256(file.read()).hexdigest()]
                if info.st_nlink > 1:
                    groups.setdefault(info.st_ino, []).append(relative)
            found[relative] = tuple(shown)
    for group in groups.values():
        for path in group:
            found[path] += (tuple(sorted(group)),)
    return found


def alike(left: Path, right: Path, leave_out=lambda path: False, times: bool = True) -> None:
    a, b = describe(left, times), describe(right, times)
    a, b = ({k: v for k, v in side.items() if not leave_out(k)} for side in (a, b))
    wrong = [f"only in {left.name}: {k!r}" for k in a.keys() - b.keys()]
    wrong += [f"only in {right.name}: {k!r}" for k in b.keys() - a.keys()]
    wrong += [f"{k!r}: {a[k]} became {b[k]}" for k in a.keys() & b.keys() if a[k] != b[k]]
    check(not wrong, f"{len(wrong)} entries differ:\n" + "\n".join(sorted(wrong)[:12]))
