"""A year of nights at one destination, in which old snapshots expire: how much is stored in the end.

    year.py PROGRAM TREE DESTINATION NIGHTS [FLAGS OF THE SYNCS]

It works on a copy of the tree, DESTINATION-tree. Each night 1 % of it is modified, then a sync and a prune follow, with
the clock moved. A new destination of the last state, DESTINATION-new, says how much lives. Prints a JSON document.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path += [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "e2e")]

import check  # noqa: E402
import trees  # noqa: E402
from clock import moved  # noqa: E402

DAY = 86_400
KEEP = ("--keep-daily", "7", "--keep-weekly", "4")


def ask(night: int, *command: str) -> dict:
    """offsite that many nights from now."""
    before, env = moved(f"+{night * DAY}")
    done = subprocess.run([*before, *command, "--json"], env=os.environ | env, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"night {night}: {command[1]} ended with exit code {done.returncode}: {done.stdout.decode(errors='replace')[-300:]}")
    return json.loads(done.stdout)


def stored(directory: str) -> int:
    return sum(file.stat().st_size for file in Path(directory, ".offsite").rglob("*") if file.is_file())


def main() -> int:
    program, source, destination, nights, *flags = sys.argv[1:]
    tree = Path(f"{destination}-tree")
    subprocess.run(["cp", "-a", source, str(tree)], check=True)
    ask(0, program, "sync", str(tree), destination, "--quiet", *flags)
    most = 0
    for night in range(1, int(nights) + 1):
        trees.mutate("modify", tree, night)
        ask(night, program, "sync", str(tree), destination, "--quiet")
        ask(night, program, "prune", destination, *KEEP)
        most = max(most, stored(destination))
    last = int(nights) + 1
    kept = len(ask(last, program, "snapshots", destination)["snapshots"])
    ask(last, program, "sync", str(tree), f"{destination}-new", "--quiet", *flags)
    end, new = stored(destination), stored(f"{destination}-new")
    print(json.dumps({"facts": {
        "nights": int(nights), "snapshots": kept, "tree": sum(check.sizes(tree).values()), "stored": end, "stored_new": new,
        "times_stored": end / new, "times_stored_at_most": most / new}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
