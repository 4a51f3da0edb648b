"""One progress bar a fit, on standard error, absent where that is no terminal.

>>> with progress_bar("laplace", total=2, show=False) as bar:
...     bar.update()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.std import tqdm

__all__ = ["Bar", "progress_bar"]


class Bar:
    """What a method tells of its progress: steps done, and a few words."""

    def __init__(self, bar: tqdm) -> None:
        self._bar = bar

    def update(self, steps: int = 1) -> None:
        """Count steps."""
        if not self._bar.disable:
            self._bar.update(steps)

    def say(self, words: str) -> None:
        """Show words beside the bar, such as the stage or the log density."""
        if not self._bar.disable:
            self._bar.set_postfix_str(words, refresh=False)

    def climbed(self, log_density: float) -> None:
        """Count a step of an optimiser that has reached ``log_density``."""
        if not self._bar.disable:
            self._bar.set_postfix_str(f"log density {log_density:.6g}", refresh=False)
            self._bar.update()


@contextmanager
def progress_bar(title: str, *, total: int | None = None, show: bool = True) -> Iterator[Bar]:
    """A tqdm bar for a block; ``show=False``, or a standard error that is no terminal, silences it."""
    with tqdm(total=total, desc=title, disable=None if show else True, leave=False, dynamic_ncols=True) as bar:
        yield Bar(bar)
