#!/usr/bin/env python3
"""Deterministic trees for the benchmarks, and the mutations of them.

    trees.py many DIR --files 100000      lognormal sizes around 2 KiB, a tenth as many directories
    trees.py big DIR --bytes 536870912    four random files of that size
    trees.py million DIR --files 1000000  empty files, every sixteenth with a few bytes
    trees.py site DIR --files 40000       like a real web site: odd names, links, most of them dangling

Same arguments, same tree: names, contents, links. A stamp file beside the tree says it is whole and
unchanged, so a second call does nothing; a mutation takes the stamp away. Invariant: a mutation never
writes into a file in place (new file, then rename), so hard-linked or half-read copies stay what they were.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
from pathlib import Path

TOPS = 20  # top directories of `many`: one holds a twentieth of the files, 5,000 of 100,000
LINKS, DANGLING = 189, 113  # as counted on the real site
WORDS = ("the of and to in is that for it as was with be by on not he his but at are this have from or had an they "
         "which one you were all her she there would their we him been has when who will no more if out so up said "
         "what its about than into them can only other time new some could these two may first then do").split()


def stamp(tree: Path) -> Path:
    return tree.with_name(tree.name + ".stamp")


def make(kind: str, tree: Path, size: int) -> Path:
    """Makes the tree unless its stamp says that it is there. `size`: files, or bytes of one file of `big`."""
    tree = Path(tree)
    mark = json.dumps({"kind": kind, "size": size, "format": 1})
    if stamp(tree).exists() and stamp(tree).read_text() == mark and tree.is_dir():
        return tree
    stamp(tree).unlink(missing_ok=True)
    if tree.exists():
        shutil.rmtree(tree)
    tree.mkdir(parents=True)
    KINDS[kind](tree, size)
    stamp(tree).write_text(mark)
    return tree


class Text:
    """Compressible text, cut out of one block at random places."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.block = " ".join(rng.choices(WORDS, k=1_200_000)).encode()

    def cut(self, size: int, head: bytes = b"") -> bytes:
        body = max(0, size - len(head))
        start = self.rng.randrange(len(self.block) - body) if body < len(self.block) else 0
        return (head + self.block[start:start + body])[:size]


def write(path: str, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    if data:
        os.write(handle, data)
    os.close(handle)


def content(rng: random.Random, text: Text, number: int) -> bytes:
    """A file of `many`: median 2 KiB, mean 4.8 KiB, seven of ten text."""
    size = min(int(rng.lognormvariate(7.62, 1.3)) + 1, 1 << 20)
    if rng.random() < 0.7:
        return text.cut(size, b"%08d " % number)
    return rng.randbytes(size)


def make_many(tree: Path, files: int) -> None:
    rng = random.Random(20261121)
    text = Text(rng)
    leaves = max(TOPS, files // 20)
    for leaf in range(leaves):
        directory = f"{tree}/t{leaf % TOPS:02}/m{leaf // TOPS:04}/leaf"
        os.makedirs(directory)
        for number in range(leaf, files, leaves):
            suffix = "txt" if number % 10 < 7 else "bin"
            write(f"{directory}/f{number:07}.{suffix}", content(rng, text, number))


def make_big(tree: Path, size: int) -> None:
    rng = random.Random(512)
    for number in range(4):
        with open(tree / f"big{number}.bin", "wb") as file:
            left = size
            while left:
                left -= file.write(rng.randbytes(min(left, 8 << 20)))


def make_million(tree: Path, files: int) -> None:
    width = 1000
    for number in range(files):
        if number % width == 0:
            directory = f"{tree}/d{number // width // 32:03}/e{number // width:04}"
            os.makedirs(directory)
        write(f"{directory}/f{number:07}", b"%d\n" % number if number % 16 == 0 else b"")


# suffix, median bytes, compressible, share
SITE_KINDS = (("php", 3000, True, 34), ("html", 6000, True, 8), ("css", 4000, True, 9), ("js", 6000, True, 17),
              ("json", 1500, True, 4), ("svg", 1200, True, 6), ("po", 5000, True, 2), ("woff2", 22000, False, 3),
              ("jpg", 20000, False, 11), ("png", 7000, False, 6))
SITE_STEMS = ("index", "class-wp-{n}", "functions", "admin-{n}", "style.min", "block-editor.{n}", "readme", "template",
              "image-{n}-300x200", "font-{n}", "IMG_{n}", "view", "Über uns", "Größe {n}", "日本語 {n}", "naïve café",
              "100% sure", "C# notes {n}", "#anchor", "a+b={n}", "50%25", "copy of file ({n})", "two  spaces", " leading",
              "it's", "semi;colon", "q&a", "[brackets]", "tilde~{n}", "ключ-{n}", "😀 smile", "dash-", "comma,{n}")
SITE_PLACES = ("wp-admin", "wp-admin/includes", "wp-admin/css/colors", "wp-includes", "wp-includes/js/dist",
               "wp-includes/blocks/{a}", "wp-content/plugins/plugin-{a}", "wp-content/plugins/plugin-{a}/src/lib{b}",
               "wp-content/plugins/plugin-{a}/languages", "wp-content/themes/theme-{b}/assets/{a}",
               "wp-content/uploads/20{y}/{m}", "wp-content/uploads/20{y}/{m}/My Photos #{b}",
               "mediawiki/extensions/Ext{a}/i18n", "mediawiki/resources/lib/{a}", "pt", "pt-br", "pt.d",
               "handbook/{b}/Kapitel {a} – Übersicht", "static/100%/{b}", "fonts/{a}")


def make_site(tree: Path, files: int) -> None:
    rng = random.Random(40000)
    text = Text(rng)
    shares = [kind[3] for kind in SITE_KINDS]
    made: list[str] = []
    earlier: list[bytes] = []
    directories: set[str] = set()
    while len(made) < files:
        place = rng.choice(SITE_PLACES).format(a=rng.randrange(60), b=rng.randrange(12), y=rng.randrange(15, 27),
                                               m=f"{rng.randrange(1, 13):02}")
        if place not in directories:
            os.makedirs(tree / place, exist_ok=True)
            directories.add(place)
        suffix, median, soft, _ = rng.choices(SITE_KINDS, shares)[0]
        name = rng.choice(SITE_STEMS).format(n=rng.randrange(4000))
        path = f"{place}/{name}.{suffix}"
        if os.path.lexists(tree / path):
            path = f"{place}/{name}-{len(made)}.{suffix}"
        data = site_content(rng, text, median, soft, len(made), earlier)
        write(f"{tree}/{path}", data)
        made.append(path)
    for number in range(3):
        os.makedirs(tree / f"wp-content/cache/empty-{number}")
    site_links(tree, rng, made, max(3, LINKS * files // 40000), max(2, DANGLING * files // 40000))


def site_content(rng: random.Random, text: Text, median: int, soft: bool, number: int, earlier: list[bytes]) -> bytes:
    """One file in seven repeats an earlier one; one in two hundred is empty."""
    draw = rng.random()
    if draw < 0.15 and earlier:
        return rng.choice(earlier)
    if draw > 0.995:
        return b""
    size = min(int(median * rng.lognormvariate(0, 0.9)) + 1, 4 << 20)
    data = text.cut(size, b"<?php // %d\n" % number) if soft else rng.randbytes(size)
    if number % 40 == 0:
        earlier.append(data)
    return data


def site_links(tree: Path, rng: random.Random, made: list[str], links: int, dangling: int) -> None:
    os.makedirs(tree / "links", exist_ok=True)
    for number in range(links):
        target = f"../missing/{number}" if number < dangling else "../" + rng.choice(made)
        os.symlink(target, tree / "links" / f"link-{number:03}")


def make_one(tree: Path, size: int) -> None:
    """One file that nothing can compress."""
    rng = random.Random(5)
    with open(tree / "one.bin", "wb") as file:
        for _ in range(size >> 20):
            file.write(rng.randbytes(1 << 20))


KINDS = {"many": make_many, "one": make_one, "big": make_big, "million": make_million, "site": make_site}


# Mutations: each changes the tree in place, and returns the paths it touched.


def files_of(tree: Path) -> list[str]:
    """Regular files below the tree, relative, sorted: the same list on each machine."""
    found: list[str] = []
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(os.path.join(tree, directory)) as entries:
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif entry.is_file(follow_symlinks=False):
                    found.append(path)
    found.sort()
    return found


def replace(tree: Path, path: str, data: bytes) -> None:
    fresh = tree / (path + ".fresh")
    write(str(fresh), data)
    os.rename(fresh, tree / path)


def chosen(tree: Path, seed: int, share: float) -> tuple[random.Random, list[str]]:
    rng = random.Random(seed)
    paths = files_of(tree)
    return rng, sorted(rng.sample(paths, max(1, int(len(paths) * share))))


def touch(tree: Path, seed: int, share: float = 0.01) -> list[str]:
    """New modification time, same content."""
    _, paths = chosen(tree, seed, share)
    for path in paths:
        os.utime(tree / path)
    return paths


def modify(tree: Path, seed: int, share: float = 0.01) -> list[str]:
    """New content of another length."""
    rng, paths = chosen(tree, seed, share)
    for path in paths:
        size = (tree / path).stat().st_size
        replace(tree, path, rng.randbytes(max(1, size + rng.randrange(1, 64))))
    return paths


def churn(tree: Path, seed: int, share: float = 0.01) -> list[str]:
    """As many files added as removed."""
    rng, paths = chosen(tree, seed, share)
    added = [f"{os.path.dirname(path) or '.'}/new-{seed}-{number}.bin" for number, path in enumerate(paths)]
    for path, new in zip(paths, added):
        write(str(tree / new), rng.randbytes(1 + rng.randrange(4096)))
        os.unlink(tree / path)
    return paths + added


def modify_one(tree: Path, seed: int, share: float = 0) -> list[str]:
    rng, paths = chosen(tree, seed, 0)
    replace(tree, paths[0], b"changed by run %d %d\n" % (seed, rng.randrange(1 << 30)))
    return paths


def modify_block(tree: Path, seed: int, share: float = 0) -> list[str]:
    """4 KiB of one file overwritten in place, as a database or a virtual machine does."""
    rng, paths = chosen(tree, seed, 0)
    with open(tree / paths[0], "r+b") as file:
        file.seek(rng.randrange(os.fstat(file.fileno()).st_size - 4096))
        file.write(rng.randbytes(4096))
    return paths


def rename_directory(tree: Path, seed: int, share: float = 0) -> list[str]:
    """Renames one top directory of `many`, a twentieth of its files; returns the new paths of the files."""
    names = sorted(name for name in os.listdir(tree) if (tree / name).is_dir())
    old = names[seed % len(names)]
    new = old.removesuffix("-renamed") if old.endswith("-renamed") else old + "-renamed"
    os.rename(tree / old, tree / new)
    return [f"{new}/{path}" for path in files_of(tree / new)]


MUTATIONS = {"touch": touch, "modify": modify, "churn": churn, "modify-one": modify_one, "block": modify_block, "rename": rename_directory}


def mutate(kind: str, tree: Path, seed: int) -> list[str]:
    stamp(Path(tree)).unlink(missing_ok=True)
    return MUTATIONS[kind](Path(tree), seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*KINDS, *MUTATIONS])
    parser.add_argument("tree", type=Path)
    parser.add_argument("--files", type=int)
    parser.add_argument("--bytes", type=int, default=512 << 20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.what in MUTATIONS:
        print(len(mutate(options.what, options.tree, options.seed)))
        return 0
    default = {"many": 100_000, "million": 1_000_000, "site": 40_000}
    make(options.what, options.tree, options.bytes if options.what == "big" else options.files or default[options.what])
    return 0


if __name__ == "__main__":
    sys.exit(main())
