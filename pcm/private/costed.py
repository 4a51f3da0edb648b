"""What a ledger pays for: a loss stated in closed form, checked against OpenDP's map, and noise drawn after the debit.

Mechanisms (an answer a unit) and statistics (sums over a table) share it.

>>> from pcm import private
>>> response = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
>>> isinstance(response, Costed), response.record()["epsilon"]
(True, 1.0)
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pcm.errors import ArgumentError, PCMError, listed, suggestion

if TYPE_CHECKING:
    from pcm.private.ledger import Ledger

__all__ = ["TOLERANCE", "Costed"]

#: How far OpenDP's map, which rounds up, may lie from the closed form, relatively.
TOLERANCE = 1e-9


class Costed(ABC):
    """Something whose noise costs privacy; frozen, compared by its constants."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _refusing(cls.__init__)

    @property
    @abstractmethod
    def event(self) -> Any:
        """The loss of one row replaced, as a dp-accounting ``DpEvent`` or a promise."""

    @property
    @abstractmethod
    def measurement(self) -> Any:
        """OpenDP's measurement."""

    @abstractmethod
    def _losses(self) -> tuple[float, float]:
        """The loss of one row replaced: as OpenDP's map has it, and as stated in closed form."""

    def cost(self) -> float:
        """What OpenDP's map says one row replaced costs: ε, or ρ where the loss is zero-concentrated.

        Raises
        ------
        PCMError
            Where it lies above the closed form by more than rounding.
        """
        found, stated = self._losses()
        if not abs(found - stated) <= TOLERANCE * max(1.0, stated):
            raise PCMError(f"{self!r} states a loss of {stated!r}, and OpenDP's map says {found!r}.")
        return found

    def record(self) -> dict[str, Any]:
        """Constants by name, for the ledger."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}  # pyright: ignore
        return {"mechanism": type(self).__name__, **fields}

    def _fix(self, **constants: Any) -> None:
        """The constants of a frozen object, once they are checked."""
        for name, value in constants.items():
            object.__setattr__(self, name, value)

    def _paid(self, ledger: Ledger, name: str, rows: int, draw: Callable[[Any], Any]) -> tuple[Any, int]:
        """What ``draw`` makes of the measurement, and the number of its entry.

        The debit is on disk before any noise is drawn: a process that dies in between has spent, not released.
        """
        measurement = self.measurement
        self.cost()
        entry = ledger.debit(name, self, rows=rows)
        answers = draw(measurement)
        ledger.settle(entry)
        return answers, entry


def _refusing(made: Callable[..., None]) -> Callable[..., None]:
    """The constructor; arguments that do not fit it are named under the public class, not the one it is written in."""
    signature = inspect.signature(made)
    _, *names = signature.parameters
    form = [name for name in names if signature.parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    form += ["*", *names[len(form) :]] if len(form) < len(names) else []

    @functools.wraps(made)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            signature.bind(self, *args, **kwargs)
        except TypeError as error:
            near = "".join(suggestion(name, names) for name in kwargs if name not in names)
            raise ArgumentError(
                f"{type(self).__name__}(…): {error}; it is written {type(self).__name__}({listed(form)}).{near}"
            ) from None
        made(self, *args, **kwargs)

    return init
