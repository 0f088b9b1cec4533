"""Which tests there are, and how one says what is wrong."""
from dataclasses import dataclass
from typing import Callable

from servers import MAKES


class Wrong(Exception):
    """What was expected and is not so."""


class NotHere(Exception):
    """What the test needs and this machine does not have."""


def check(holds: object, text: object) -> None:
    if not holds:
        raise Wrong(str(text))


def same(got: object, want: object, text: str = "") -> None:
    if got != want:
        raise Wrong(f"{text}: got {got!r}, wanted {want!r}")


@dataclass(frozen=True)
class Test:
    name: str
    make: str | None  # the server; none: needs none
    body: Callable

    @property
    def title(self) -> str:
        return f"{self.name} [{self.make}]" if self.make else self.name


TESTS: list[Test] = []


def test(*makes: str, local: bool = False):
    """Registers a function as a test on these servers (none named: on every one; local: without one)."""

    def register(body: Callable) -> Callable:
        name = body.__name__.replace("_", "-")
        for make in (None,) if local else makes or MAKES:
            TESTS.append(Test(name, make, body))
        return body

    return register
