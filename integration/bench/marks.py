"""What a scenario and a mark are, and short ways to write marks. Nothing here runs.

A scenario says which tree, which kind of store, which verb, from what state, and who takes part. A mark says which
figure of offsite is held against what. `counted` marks do not depend on the machine: a shortfall there is a failure,
in quick runs too.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

MIB = 1 << 20


class Around:
    """What a mark may ask: sizes, the round trip, medians of everybody."""

    files: int
    bytes: int
    rtt: float

    def median(self, tool: str, figure: str) -> float | None: ...


@dataclass(frozen=True)
class Mark:
    """`limit` is a number or a function; None from it means that a peer it needs was not measured.

    kind: at-most, exactly: `figure` against the limit. faster: the best wall of `than` divided by ours, at least the
    limit. share: our figure, at most the limit times the least of `than`.
    """

    text: str
    figure: str
    kind: str
    limit: float | Callable[[Around], float | None]
    than: tuple[str, ...] = ()
    counted: bool = False
    tool: str = "offsite"  # whose figure


@dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    tree: str
    size: int
    store: str  # s3, dir, sftp
    tools: tuple[str, ...]
    marks: tuple[Mark, ...]
    verb: str = "sync"
    fresh: bool = False  # each run into a new place; else into one that was synced before
    target: str = ""  # pull: empty, differs
    mutation: str = ""
    flags: tuple[str, ...] = ()
    latencies: tuple[int, ...] = (0,)  # those of --latency that make sense here
    links: tuple[int, ...] = ()  # several destinations: the rate of each one's own link
    full: bool = False  # only with --full
    quick: bool = True  # with --quick, too: it says something about small sizes

    @property
    def subject(self) -> str:
        """The tool that the ratios of the report are about."""
        return self.tools[0]


def faster(times: float, *than: str) -> Mark:
    return Mark(f">= {times:g} x the speed of the best of {', '.join(than)}", "wall", "faster", times, than)


def at_most(text: str, figure: str, limit: float | Callable, counted: bool = True) -> Mark:
    return Mark(text, figure, "at-most", limit, (), counted)


def exactly(text: str, figure: str, limit: float | Callable) -> Mark:
    return Mark(text, figure, "exactly", limit, (), True)


def half_cpu(*of: str) -> Mark:
    return Mark(f"CPU <= half of {', '.join(of)}", "cpu", "share", 0.5, of)


def for_each(tools: tuple[str, ...], *marks: Mark) -> tuple[Mark, ...]:
    """The same marks for several ways of offsite to keep contents."""
    return tuple(replace(mark, text=f"{tool.partition('-')[2]}: {mark.text}", tool=tool) for tool in tools for mark in marks)


RSS = at_most("peak RSS <= 128 MiB", "rss", 128 * MIB)
