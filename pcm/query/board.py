"""Several worlds asked at once: runs that differ in their world alone are one run, and share its factual world.

Each world's question is asked twice. The first time it stops at the run it needs (:class:`Later`); runs of one kind
are then made together, and the second time each finds its own done.

>>> runs = []
>>> def run(asked):
...     runs.append([each.world for each in asked])
...     return [each.world.upper() for each in asked]
>>> board = Board(run)
>>> question = lambda world: board.answer(Asked(world, payload=None, lanes=1, inputs=None, kind="letter"))
>>> board.gather(["a", "b"], question), runs
(['A', 'B'], [['a', 'b']])
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pcm.errors import PCMError
from pcm.query.lanes import Lanes
from pcm.worlds import Factual, Replayed

__all__ = ["Asked", "Board", "Fold", "Payload"]

#: What is wanted of a world's run.
Payload = Callable[[Replayed, Factual], dict[str, Tensor]]

#: Takes what it returned before (None at first), the outputs of a chunk of lanes, and its slice.
Fold = Callable[[Any, dict[str, Tensor], slice], Any]


@dataclass(frozen=True)
class Asked:
    """A run that a world's question needs; those of equal ``kind`` have equal lanes, inputs and ``within``.

    ``within`` are finite random sites whose assignments are summed over inside each lane.
    """

    world: str
    payload: Payload
    lanes: int
    inputs: Callable[[slice], dict[str, Any]]
    kind: Hashable = None
    fold: Fold | None = None
    states: Lanes | None = None
    within: Mapping[str, int] = field(default_factory=dict)


class Later(Exception):
    """Stops a question at the run it needs."""


class Board:
    """Runs that wait for one another.

    Parameters
    ----------
    run : callable
        Makes runs of one kind together, to their outputs.
    """

    def __init__(self, run: Callable[[Sequence[Asked]], list[Any]]) -> None:
        self._run = run
        self._waiting: list[Asked] = []
        self._done: dict[tuple[str, Hashable], Any] = {}
        self._open = False

    def answer(self, asked: Asked) -> Any:
        """The outputs of a run: done by now, or to wait for, or (where a question needs another one) its own."""
        key = asked.world, asked.kind
        if key in self._done:
            return self._done.pop(key)
        if self._open and asked.kind is not None:
            self._waiting.append(asked)
            raise Later
        return self._run([asked])[0]

    def gather(self, worlds: Sequence[str], question: Callable[[str], Any]) -> list[Any]:
        """The answers to every world's question."""
        answers: dict[str, Any] = {}
        self._open = True
        for world in worlds:
            try:
                answers[world] = question(world)
            except Later:
                continue
        self._open = False
        kinds: dict[Hashable, list[Asked]] = {}
        for asked in self._waiting:
            kinds.setdefault(asked.kind, []).append(asked)
        self._waiting.clear()
        for same in kinds.values():
            try:
                outs = self._run(same)
            except (RuntimeError, TypeError, ValueError, NotImplementedError, PCMError):
                continue  # each question asks again alone, and knows what to do or fails for good
            for asked, out in zip(same, outs, strict=True):
                self._done[asked.world, asked.kind] = out
        found = [answers[world] if world in answers else question(world) for world in worlds]
        self._done.clear()
        return found
