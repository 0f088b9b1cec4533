"""Turns samples into the table, the ratios and the verdicts. Prints nothing; gives lines and plain data."""
from __future__ import annotations

from dataclasses import asdict

from bench import Outcome
from measure import median, spread
from scenarios import Mark

PASS, SHORT, UNKNOWN = "PASS", "FALLS SHORT", "not measured"
MIB = 1 << 20


def verdict(mark: Mark, outcome: Outcome) -> dict:
    """Holds one mark against the medians: the wanted figure, the one found, and the word for it."""
    ours = outcome.median(mark.tool, mark.figure)
    if mark.kind in ("faster", "share"):
        theirs = [value for tool in mark.than if (value := outcome.median(tool, mark.figure)) is not None]
        if ours is None or not theirs:
            return entry(mark, outcome, mark.limit, None, UNKNOWN)
        best = min(theirs)
        found = best / max(ours, 1e-9) if mark.kind == "faster" else ours / max(best, 1e-9)
        good = found >= mark.limit if mark.kind == "faster" else found <= mark.limit
        partial = len(theirs) < len(mark.than)
        return entry(mark, outcome, mark.limit, found, (PASS if good else SHORT) + (" (a peer is missing)" if partial else ""))
    limit = mark.limit(outcome) if callable(mark.limit) else mark.limit
    if ours is None or limit is None:
        return entry(mark, outcome, limit, ours, UNKNOWN)
    good = ours == limit if mark.kind == "exactly" else ours <= limit
    return entry(mark, outcome, limit, ours, PASS if good else SHORT)


def entry(mark: Mark, outcome: Outcome, wanted: float | None, found: float | None, word: str) -> dict:
    return {"scenario": outcome.scenario.name, "latency_ms": outcome.latency, "mark": mark.text, "figure": mark.figure,
            "wanted": wanted, "found": found, "verdict": word, "counted": mark.counted}


def verdicts(outcome: Outcome) -> list[dict]:
    return [verdict(mark, outcome) for mark in outcome.scenario.marks]


def number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.{digits}f}"


def ratio(ours: float | None, theirs: float | None) -> str:
    return f"{ours / theirs:.2f}" if ours is not None and theirs else "-"


HEADS = ("tool", "wall s", "(min-max)", "CPU s", "RSS MiB", "requests", "sent MB", "recv MB", "wall", "CPU", "RSS", "req")


def row(tool: str, outcome: Outcome) -> list[str]:
    """The medians of one tool, then the figures of the scenario's subject divided by its own."""
    figures = {name: outcome.median(tool, name)
               for name in ("wall", "cpu", "rss", "total_requests", "bytes_up", "bytes_down")}
    if figures["wall"] is None:
        return [tool, "failed", *[""] * (len(HEADS) - 2)]
    low, high = spread(outcome.samples[tool], "wall") or (0, 0)
    shown = [tool, number(figures["wall"]), f"({low:.2f}-{high:.2f})", number(figures["cpu"]),
             number(figures["rss"] / MIB, 0), number(figures["total_requests"], 0), number(figures["bytes_up"] / 1e6, 1),
             number(figures["bytes_down"] / 1e6, 1)]
    subject = outcome.scenario.subject
    if tool == subject:
        return [*shown, "", "", "", ""]
    return shown + [ratio(outcome.median(subject, name), figures[name]) for name in ("wall", "cpu", "rss", "total_requests")]


def classes(tool: str, outcome: Outcome) -> str:
    names = sorted({name for sample in outcome.samples[tool] for name in sample.requests})
    parts = [(name, median(outcome.samples[tool], f"requests.{name}") or 0) for name in names]
    return ", ".join(f"{name} {number(count, 0)}" for name, count in parts if count)


def aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                             for column, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in rows]


def lines(outcome: Outcome) -> list[str]:
    """The block of one scenario at one latency."""
    scenario = outcome.scenario
    text = [f"\n## {scenario.name}, {outcome.latency} ms: {scenario.about}",
            f"   {outcome.files:,} files, {outcome.bytes / 1e6:,.1f} MB; the last four columns are {scenario.subject} / tool"]
    tools = [tool for tool in scenario.tools if outcome.samples.get(tool)]
    if tools:
        text += aligned([list(HEADS), *(row(tool, outcome) for tool in tools)])
    for tool in tools:
        if counted := classes(tool, outcome):
            text.append(f"  {tool}: {counted}")
        text += [f"  {tool} FAILED: {sample.problem}" for sample in outcome.samples[tool][:3] if sample.problem]
    text += told(outcome)
    for item in verdicts(outcome):
        text.append(f"  {item['verdict']:<12} {item['mark']}: {number(item['found'])} (wanted {number(item['wanted'])})")
    return text


def told(outcome: Outcome) -> list[str]:
    """offsite counts its requests itself; a difference to what the proxy saw is worth a line."""
    notes = []
    for tool in outcome.samples if outcome.scenario.store == "s3" else ():
        said, seen = outcome.median(tool, "requests_said"), outcome.median(tool, "total_requests")
        if said is not None and said != seen:
            notes.append(f"  note: {tool} says {number(said, 0)} requests, the proxy saw {number(seen, 0)}")
    return notes


def data(outcome: Outcome) -> dict:
    return {"scenario": outcome.scenario.name, "latency_ms": outcome.latency, "files": outcome.files,
            "bytes": outcome.bytes, "verdicts": verdicts(outcome),
            "samples": {tool: [asdict(sample) for sample in samples] for tool, samples in outcome.samples.items()}}


def failures(outcomes: list[Outcome], quick: bool, strict: bool) -> list[str]:
    """What makes the exit code 1: a wrong or failed offsite run, a counted mark; with strict, any shortfall."""
    bad = []
    for outcome in outcomes:
        where = f"{outcome.scenario.name}, {outcome.latency} ms"
        ours = [tool for tool in outcome.samples if tool.startswith("offsite")]
        bad += [f"{where}: {tool}: {sample.problem}" for tool in ours for sample in outcome.samples[tool] if sample.problem]
        bad += [f"{where}: {item['mark']}: {number(item['found'])}, wanted {number(item['wanted'])}"
                for item in verdicts(outcome)
                if item["verdict"].startswith(SHORT) and (item["counted"] or strict and not quick)]
    return bad
