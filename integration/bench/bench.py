"""Plays one scenario: makes its state, lets the tools take turns, checks what they did, collects samples.

It owns: trees, places (prefixes, directories, caches), the order of runs, the checks of correctness. It knows no
tool's flags (tools.py) and no wanted figure (scenarios.py). Invariants: everything but the one measured command
happens outside of the measured time; no prefix or directory is used twice; a peer that fails never ends the bench.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import check
import tools
import trees
from measure import Sample, median, run
from proxy import Proxy
from s3 import S3
from scenarios import Scenario
from tools import Place, Ssh, Work


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Setting:
    """What the command line and the machine give."""

    work: Path
    programs: dict[str, str]  # tool → program
    runs: int = 3
    latencies: tuple[int, ...] = (0, 20)
    divide: int = 1
    full: bool = False
    seconds: float = 3600
    env: dict[str, str] = field(default_factory=dict)
    s3: S3 | None = None
    upstream: int = 0
    ssh: Ssh | None = None  # the SFTP server, without a proxy
    tidy: bool = False  # the server stays: leave nothing on it


@dataclass
class Tree:
    """A generated tree. `version` grows with every mutation, so that stale places are noticed."""

    path: Path
    version: int = 0
    sizes: dict[str, int] = field(default_factory=dict)

    def refresh(self) -> None:
        self.sizes = check.sizes(self.path)


class Outcome:
    """The samples of one scenario at one latency; also what a mark may ask."""

    def __init__(self, scenario: Scenario, latency: int, tree: Tree) -> None:
        self.scenario, self.latency, self.rtt = scenario, latency, latency / 1000
        self.files, self.bytes = len(tree.sizes), sum(tree.sizes.values())
        self.samples: dict[str, list[Sample]] = {}

    def median(self, tool: str, figure: str) -> float | None:
        return median(self.samples.get(tool, []), figure)


class Bench:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.trees: dict[tuple[str, int], Tree] = {}
        self.kept: dict[tuple, tuple[Place, int]] = {}
        self.proxies: list[Proxy] = []
        self.ssh: Ssh | None = None  # behind a proxy
        self.number = 0
        self.prefix = f"bench-{time.time_ns() // 1000000}"
        shutil.rmtree(setting.work / "run", ignore_errors=True)
        (setting.work / "run").mkdir(parents=True)

    def __enter__(self) -> "Bench":
        if self.setting.s3:
            self.proxies = [Proxy(self.setting.upstream).start() for _ in range(3)]
        if self.setting.ssh:
            self.proxies.append(Proxy(self.setting.ssh.port).start())
            self.ssh = replace(self.setting.ssh, port=self.proxies[-1].port)
        return self

    def __exit__(self, *_: object) -> None:
        if self.setting.tidy and self.setting.s3:
            self.setting.s3.remove(self.prefix + "/")
        for proxy in self.proxies:
            proxy.stop()
        shutil.rmtree(self.setting.work / "run", ignore_errors=True)

    # Trees and places.

    def tree(self, kind: str, size: int) -> Tree:
        size = max(1, size // self.setting.divide)
        if (kind, size) not in self.trees:
            say(f"  tree {kind} {size:,}")
            self.trees[kind, size] = Tree(trees.make(kind, self.setting.work / "trees" / f"{kind}-{size}", size))
            self.trees[kind, size].refresh()
        return self.trees[kind, size]

    def fresh_path(self, label: str) -> Path:
        self.number += 1
        return self.setting.work / "run" / f"{self.number:04}-{label}"

    def place(self, scenario: Scenario, tool: str) -> Place:
        path = self.fresh_path(f"{scenario.name}-{tool.replace('+', '-')}")
        cache = path / "cache"
        cache.mkdir(parents=True)
        layout = tool.partition("-")[2] if tool in tools.LAYOUTS else ""
        keys = path / "keys" if layout == "sealed" else None
        if keys:
            keys.mkdir()
        if scenario.store in ("dir", "sftp"):
            directory = path / "copy"
            if not tool.startswith("offsite"):
                directory.mkdir()
            return Place(cache, directory, ssh=self.ssh if scenario.store == "sftp" else None, layout=layout, keys=keys)
        links = range(3) if scenario.links else range(1)
        if tool[-1].isdigit():  # offsite-2: only the second of several destinations
            links = range(int(tool[-1]) - 1, int(tool[-1]))
        assert self.setting.s3
        return Place(cache, None, self.setting.s3.bucket, self.setting.s3.region,
                     tuple(f"{self.prefix}/{path.name}/{link}" for link in links), tuple(self.proxies[link].port for link in links),
                     layout=layout, keys=keys)

    def drop(self, place: Place) -> None:
        shutil.rmtree(place.cache.parent, ignore_errors=True)
        if self.setting.divide == 1:  # small ones may lie until the end
            for prefix in place.prefixes:
                self.setting.s3.remove(prefix + "/")

    def program(self, tool: str) -> str | None:
        if tool == "offsite-sealed" and not shutil.which("age-keygen"):
            return None
        return self.setting.programs.get(tool.partition("-")[0] if tool.startswith("offsite") else tool)

    # Running.

    def execute(self, tool: str, work: Work, proxies: list[Proxy] = ()) -> Sample:
        argv = tools.command(tool.partition("-")[0], self.program(tool), work)
        env = tools.environment(self.setting.env, work.place)
        sample = run(argv, env, work.place.cache.parent / "last", list(proxies), self.setting.seconds)
        if tool.startswith("offsite"):
            add_said(sample, work.place.cache.parent / "last.out")
        return sample

    def set_up(self, scenario: Scenario, tool: str, tree: Tree) -> Place:
        """A place whose copy is that of the tree now. A mirror of offsite gets one per scenario, all others keep their own."""
        key = (tool, tree.path, scenario.store, scenario.name if tool == "offsite" else "")
        place, version = self.kept.get(key, (None, -1))
        if place and version == tree.version:
            return place
        for proxy in self.proxies:
            proxy.set_latency(0)
        fresh = place is None
        if fresh:
            place = self.place(scenario, tool)
            self.prepare(tool, place)
        say(f"  state of {tool}: {'first' if fresh else 'another'} sync")
        # The work it will be measured with, so that the state is that of its own habits.
        for _ in range(2 if tool.startswith("offsite") else 1):
            sample = self.execute(tool, Work("sync", tree.path, place, fresh, scenario.flags))
        problem = sample.problem or self.wrong_copy(tool, place, tree)
        if problem:
            raise Unready(f"{tool}: {problem}")
        self.kept[key] = (place, tree.version)
        return place

    def prepare(self, tool: str, place: Place) -> None:
        argv = tools.prepare(tool, self.program(tool) or "", place)
        if argv:
            subprocess.run(argv, env=tools.environment(self.setting.env, place), stdout=subprocess.DEVNULL, check=True)

    def play(self, scenario: Scenario, latency: int) -> Outcome:
        """All runs of a scenario at one latency, the tools taking turns."""
        say(f"{scenario.name}, {latency} ms")
        tree = self.tree(scenario.tree, scenario.size)
        outcome = Outcome(scenario, latency, tree)
        present = [tool for tool in scenario.tools if self.program(tool)]
        for number in range(self.setting.runs if present else 0):
            places = {} if scenario.fresh else self.states(scenario, present, tree, outcome)
            changed = self.mutate(scenario, tree, number)
            turn = number % len(present)
            for tool in present[turn:] + present[:turn]:
                if any(sample.problem for sample in outcome.samples.get(tool, [])):
                    continue  # it failed before: once is enough
                sample = self.one(scenario, tool, tree, places.get(tool), latency, number)
                sample.facts.setdefault("changed", changed)
                outcome.samples.setdefault(tool, []).append(sample)
                say(f"  {tool:12} {sample.wall:8.2f} s  {sample.total_requests:7} requests  {sample.problem}")
        outcome.files, outcome.bytes = len(tree.sizes), sum(tree.sizes.values())
        return outcome

    def states(self, scenario: Scenario, present: list[str], tree: Tree, outcome: Outcome) -> dict[str, Place]:
        places = {}
        for tool in present:
            if tool == "find" or any(sample.problem for sample in outcome.samples.get(tool, [])):
                continue
            if tool in ("rsync", "sftp") and scenario.verb == "pull":
                ssh = self.ssh if scenario.store == "sftp" else None
                places[tool] = Place(tree.path, tree.path, ssh=ssh)  # it reads the tree itself
                continue
            try:
                places[tool] = self.set_up(scenario, tool, tree)
            except (Unready, subprocess.CalledProcessError) as problem:
                outcome.samples.setdefault(tool, []).append(Sample(problem=f"not ready: {problem}"))
        return places

    def mutate(self, scenario: Scenario, tree: Tree, number: int) -> int:
        if not scenario.mutation:
            return 0
        paths = trees.mutate(scenario.mutation, tree.path, 1000 + tree.version)
        tree.version += 1
        tree.refresh()
        return len(paths)

    def one(self, scenario: Scenario, tool: str, tree: Tree, place: Place | None, latency: int, number: int) -> Sample:
        """One measured run, what has to be there before it, and the check after it."""
        own_place = place is None
        if own_place:
            place = self.place(scenario, tool)
            self.prepare(tool, place)
        local, changed = self.target(scenario, tool, tree, number)
        cache = self.fresh_path("cache") if tool in ("rsync", "sftp") and scenario.verb == "pull" else place.cache
        cache.mkdir(parents=True, exist_ok=True)
        work = Work(scenario.verb, local, Place(**{**vars(place), "cache": cache}),
                    scenario.fresh or scenario.target == "empty", self.flags(scenario, self.setting.divide))
        self.set_links(scenario, latency)
        sample = self.execute(tool, work, self.proxies)
        for proxy in self.proxies:
            proxy.set_latency(0)
            proxy.set_rate(0)
        if changed:
            sample.facts["changed"] = changed
        if tool != "find" and not sample.problem:
            self.judge(scenario, tool, tree, place, local, sample)
        if scenario.mutation and not sample.problem and not own_place:
            self.note_synced(place, tree)
        if own_place:
            self.drop(place)
        if scenario.target == "empty":
            shutil.rmtree(local, ignore_errors=True)
        return sample

    @staticmethod
    def flags(scenario: Scenario, divide: int) -> tuple[str, ...]:
        if scenario.verb == "year":
            return ("365" if divide == 1 else "60", *scenario.flags)
        return ("--delete", *scenario.flags) if scenario.target == "differs" else scenario.flags

    def note_synced(self, place: Place, tree: Tree) -> None:
        for key, (kept, _) in self.kept.items():
            if kept is place:
                self.kept[key] = (place, tree.version)

    def set_links(self, scenario: Scenario, latency: int) -> None:
        if self.setting.divide == 1:
            os.sync()  # what an earlier run left dirty is not charged to this one
        for number, proxy in enumerate(self.proxies):
            proxy.set_latency(latency)
            proxy.set_rate(scenario.links[number] if number < len(scenario.links) else 0)

    def target(self, scenario: Scenario, tool: str, tree: Tree, number: int) -> tuple[Path, int]:
        """What the command works on: the tree, an empty directory, or a copy of the tree with differences."""
        if scenario.verb != "pull":
            return tree.path, 0
        if scenario.target == "empty":
            path = self.fresh_path("target")
            path.mkdir()
            return path, 0
        path = self.setting.work / "run" / "differs"
        if "rsync" in self.setting.programs:
            path.mkdir(exist_ok=True)
            subprocess.run(["rsync", "-a", "--delete", f"{tree.path}/", f"{path}/"], check=True)
        else:
            shutil.rmtree(path, ignore_errors=True)
            subprocess.run(["cp", "-a", str(tree.path), str(path)], check=True)
        return path, len(trees.mutate("modify", path, sum(tool.encode()) * 100 + number))

    def close(self, scenario: Scenario) -> None:
        """Drops offsite's mirrors of this scenario; all other places are used again by later ones."""
        for key in [key for key in self.kept if key[3] == scenario.name]:
            self.drop(self.kept.pop(key)[0])

    # Correctness.

    def wrong_copy(self, tool: str, place: Place, tree: Tree) -> str:
        """What is wrong with the copy that a sync made; empty when nothing is."""
        if place.layout:
            return self.wrong_packed(tool, place, tree)
        if tool.partition("-")[0] not in tools.KEEPS_TREE:
            return ""
        if place.directory:
            return check.compare_trees(tree.path, tree.sizes, place.directory, links=tool == "offsite")
        for prefix in place.prefixes:
            problem = check.compare_bucket(tree.path, tree.sizes, self.setting.s3, prefix + "/")
            if problem:
                return problem
        return ""

    def wrong_packed(self, tool: str, place: Place, tree: Tree) -> str:
        """Brings the copy back, onto what the check before brought, with a cache of its own."""
        back = place.cache.parent / "back"
        apart = replace(place, cache=place.cache.parent / "check")
        apart.cache.mkdir(exist_ok=True)
        sample = self.execute(tool, Work("pull", back, apart, not back.exists(), ("--delete",)))
        return f"1 check failed: {sample.problem}" if sample.problem else check.compare_trees(tree.path, tree.sizes, back, links=True)

    def judge(self, scenario: Scenario, tool: str, tree: Tree, place: Place, local: Path, sample: Sample) -> None:
        if scenario.verb == "pull":
            wrong = check.compare_trees(tree.path, tree.sizes, local, links=tool.startswith("offsite"), every=scenario.target == "differs")
        elif scenario.verb == "year":  # it changed a copy of the tree
            last = Tree(place.directory.with_name("copy-tree"))
            last.refresh()
            wrong = self.wrong_copy(tool, place, last)
        else:
            wrong = self.wrong_copy(tool, place, tree)
        sample.facts["wrong"] = int(wrong.split(" ")[0]) if wrong else 0
        if wrong:
            sample.problem = f"wrong result: {wrong}"


class Unready(Exception):
    """A tool could not make the state that a scenario starts from."""


def add_said(sample: Sample, out: Path) -> None:
    """What offsite itself said: bytes read, and requests, to be held against what the proxy saw."""
    try:
        said = json.loads(out.read_text())
    except (OSError, ValueError):
        sample.problem = sample.problem or "no JSON document on stdout"
        return
    sample.facts |= said.get("facts") or {}  # of year.py
    destinations = [item for item in said.get("destinations") or () if isinstance(item, dict)]
    # What was read was read for all of them: each says the same figure.
    reads = [item["bytes"]["read"] for item in destinations if "read" in item.get("bytes", {})]
    if reads:
        sample.facts["bytes_read"] = max(reads)
    requests = [total(item.get("requests")) for item in destinations]
    if requests:
        sample.facts["requests_said"] = sum(requests)


def total(value: object) -> int:
    """A number, or the sum of the numbers of an object; a member called total is not added to the rest."""
    if isinstance(value, dict):
        return sum(total(item) for name, item in value.items() if name != "total")
    return value if isinstance(value, int) else 0
