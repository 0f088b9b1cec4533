"""Runs a command under measurement, and does the arithmetic on the samples.

It owns: one run (wall, CPU of the child tree, peak RSS, exit code, what the proxies counted) and medians. It does
not know what a command does. Invariant: everything in a sample belongs to that one command; counts are reset before.
"""
from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = str(Path(__file__).with_name("launch.py"))


@dataclass
class Sample:
    """One run. `problem` says why it does not count."""

    wall: float = 0.0
    cpu: float = 0.0
    rss: int = 0
    code: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    total_requests: int = 0
    content_puts: int = 0
    other_requests: int = 0  # all but those
    own_body_up: int = 0
    content_up: int = 0
    packs_up: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    failed_5xx: int = 0
    problem: str = ""
    facts: dict[str, float] = field(default_factory=dict)  # what a scenario adds: changed files, bytes read, …


def run(argv: list[str], env: dict[str, str], log: Path, proxies: list = (), seconds: float = 3600) -> Sample:
    """Runs the command; its output goes to `log`.out and `log`.err."""
    for proxy in proxies:
        proxy.reset()
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    with open(f"{log}.out", "wb") as out, open(f"{log}.err", "wb") as err, os.fdopen(reading, "rb") as report:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", LAUNCHER, str(writing), *argv], stdin=subprocess.DEVNULL,
            stdout=out, stderr=err, env=env, pass_fds=[writing], start_new_session=True)
        os.close(writing)
        late = not finished(process, seconds)
        text = report.read()
    sample = Sample(problem=f"stopped after {seconds:.0f} s" if late else "")
    if text:
        said = json.loads(text)
        sample.wall, sample.cpu = said["wall"], said["user"] + said["system"]
        sample.rss, sample.code = said["rss"], said["code"]
    add_counts(sample, proxies)
    if sample.code and not sample.problem:
        sample.problem = f"exit code {sample.code}: {last_line(log)}"
    return sample


def finished(process: subprocess.Popen, seconds: float) -> bool:
    """Waits; ends the whole group, which we started, when the time is over or we are interrupted."""
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        end_group(process)
        return False
    except BaseException:
        end_group(process)
        raise


def end_group(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def add_counts(sample: Sample, proxies: list) -> None:
    for proxy in proxies:
        counts = proxy.counts()
        for name, number in counts["requests"].items():
            sample.requests[name] = sample.requests.get(name, 0) + number
        sample.total_requests += counts["total"]
        puts = counts["requests"]["PUT"] - counts["own"]["PUT"]
        sample.content_puts += puts
        sample.other_requests += counts["total"] - puts
        for name in ("own_body_up", "content_up", "packs_up", "bytes_up", "bytes_down", "failed_5xx"):
            setattr(sample, name, getattr(sample, name) + counts[name])


def last_line(log: Path) -> str:
    for suffix in ("err", "out"):
        lines = Path(f"{log}.{suffix}").read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1][-200:]
    return "no output"


def median(samples: list[Sample], figure: str) -> float | None:
    """The median of a figure over the samples that count; None when there is none."""
    values = [value for sample in samples if not sample.problem and (value := read(sample, figure)) is not None]
    return statistics.median(values) if values else None


def read(sample: Sample, figure: str) -> float | None:
    """A field of a sample, a class of requests (`requests.PUT`) or a fact of the scenario."""
    if figure.startswith("requests."):
        return sample.requests.get(figure.partition(".")[2], 0)
    if figure in sample.facts:
        return sample.facts[figure]
    return getattr(sample, figure, None)


def spread(samples: list[Sample], figure: str) -> tuple[float, float] | None:
    values = [read(sample, figure) for sample in samples if not sample.problem]
    return (min(values), max(values)) if values else None
