"""Compares a copy with its tree: names and sizes of all files, contents of a sample or of every file.

It answers a text that starts with the number of files that are wrong, or an empty text. What offsite keeps for
itself below `.offsite/` is not part of a copy. Nothing here is measured.
"""
from __future__ import annotations

import os
import random
from pathlib import Path

from s3 import S3

OWN = ".offsite/"
SAMPLE = 200


def sizes(tree: Path) -> dict[str, int]:
    """Regular files with their sizes, relative; links are not followed."""
    found: dict[str, int] = {}
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(os.path.join(tree, directory)) as entries:
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if path + "/" != OWN:
                        waiting.append(path)
                elif entry.is_file(follow_symlinks=False):
                    found[path] = entry.stat(follow_symlinks=False).st_size
    return found


def links(tree: Path) -> dict[str, str]:
    found = {}
    for directory, names, files in os.walk(tree):
        for name in names + files:
            path = os.path.join(directory, name)
            if os.path.islink(path):
                found[os.path.relpath(path, tree)] = os.readlink(path)
    return found


def differences(wanted: dict[str, int], there: dict[str, int], extra: bool) -> list[str]:
    wrong = [f"{path} missing" if path not in there else f"{path} has {there[path]} bytes, not {size}"
             for path, size in wanted.items() if there.get(path) != size]
    if extra:
        wrong += [f"{path} should not be there" for path in there.keys() - wanted.keys()]
    return wrong


def told(wrong: list[str]) -> str:
    return f"{len(wrong)} files, such as {wrong[0]!r}" if wrong else ""


def sample_of(paths: dict[str, int]) -> list[str]:
    names = sorted(paths)
    return random.Random(len(names)).sample(names, min(SAMPLE, len(names)))


def same_content(one: Path, other: Path) -> bool:
    with open(one, "rb") as left, open(other, "rb") as right:
        while True:
            block = left.read(1 << 20)
            if block != right.read(1 << 20):
                return False
            if not block:
                return True


def compare_trees(tree: Path, wanted: dict[str, int], copy: Path, links: bool, every: bool = False) -> str:
    wrong = differences(wanted, sizes(copy), extra=True)
    if not wrong:
        wrong = [f"{path} has other content" for path in (wanted if every else sample_of(wanted))
                 if not same_content(tree / path, copy / path)]
    if not wrong and links and compare_links(tree, copy):
        wrong = ["links differ"]
    return told(wrong)


def compare_links(tree: Path, copy: Path) -> bool:
    return links(tree) != links(copy)


def compare_bucket(tree: Path, wanted: dict[str, int], s3: S3, prefix: str) -> str:
    """Links may be there as copies of what they point at: some peers follow them."""
    there = {path: size for path, size in s3.list(prefix).items() if not path.startswith(OWN)}
    linked = links(tree) if len(there) > len(wanted) else {}
    there = {path: size for path, size in there.items() if path not in linked and not path.endswith("/")}
    wrong = differences(wanted, there, extra=True)
    if not wrong:
        small = {path: size for path, size in wanted.items() if size < 8 << 20}
        wrong = [f"{path} has other content" for path in sample_of(small)
                 if s3.get(prefix + path) != (tree / path).read_bytes()]
    return told(wrong)
