"""The exception tree. Every error derives from :class:`PCMError`, also inherits the builtin it specialises,
and says what was asked, what was found and what to do; the same facts are fields of the exception.

>>> try:
...     raise UnknownNameError("incme", kind="variable", known=["income", "age"])
... except KeyError as error:
...     print(error)
'incme' is not a variable of the program; variables: income, age. Did you mean 'income'?
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "ArgumentError",
    "BudgetError",
    "ClaimError",
    "CouplingError",
    "DataError",
    "EvidenceError",
    "FitError",
    "FitWarning",
    "GraphError",
    "InterventionError",
    "LedgerError",
    "MissingExtraError",
    "PCMError",
    "ProgramError",
    "QueryError",
    "StoreError",
    "SupportError",
    "UnitMixingError",
    "UnknownNameError",
    "listed",
    "suggestion",
]


def listed(names: Iterable[Any], limit: int = 12) -> str:
    """Names joined for a message, cut after ``limit``."""
    names = [str(name) for name in names]
    more = f", … ({len(names) - limit} more)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "(none)"


def suggestion(name: object, known: Iterable[object]) -> str:
    """``" Did you mean 'x'?"`` for the nearest known name, or nothing: a number is near to no other.

    >>> suggestion("1", [0, 1]), suggestion(7, [71, 72])
    (' Did you mean 1?', '')
    """
    if not isinstance(name, str):
        return ""
    by_word = {str(k): k for k in known}
    close = difflib.get_close_matches(name, by_word, n=1, cutoff=0.6)
    return f" Did you mean {_told(by_word[close[0]])}?" if close else ""


def _told(name: object) -> str:
    """A name in quotes; what is none as it is."""
    return f"'{name}'" if isinstance(name, str) else str(name)


class PCMError(Exception):
    """Root of every error raised by pcm. Keyword fields given to it become attributes."""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        for key, value in fields.items():
            setattr(self, key, value)

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return self.message


class ArgumentError(PCMError, ValueError):
    """An argument of a pcm call cannot be right (a bad scale, a negative number of draws, …)."""


class UnknownNameError(PCMError, KeyError):
    """A name that is not there. Fields: ``name``, ``kind``, ``known``."""

    def __init__(
        self,
        name: object,
        *,
        kind: str = "variable",
        known: Sequence[object] = (),
        where: str = "the program",
        advice: str = "",
    ) -> None:
        plural = kind[:-1] + "ies" if kind.endswith("y") else kind + ("es" if kind.endswith("s") else "s")
        article = "an" if kind[:1] in "aeiou" else "a"
        said = f" {advice}" if advice else suggestion(name, known)
        super().__init__(
            f"{_told(name)} is not {article} {kind} of {where}; {plural}: {listed(known)}.{said}",
            name=name,
            kind=kind,
            known=list(known),
        )


class ProgramError(PCMError, TypeError):
    """The program cannot be read as a structural causal model. Field: ``site`` where one is to blame."""

    def __init__(self, message: str, *, site: str | None = None, **fields: Any) -> None:
        super().__init__(message, site=site, **fields)


class UnitMixingError(ProgramError):
    """A unit's mechanism reads another unit, or Python control flow reads a unit's value. Field: ``site``."""


class CouplingError(PCMError, TypeError):
    """A distribution has no structural equation, or not the one asked for. Fields: ``site``, ``family``."""

    def __init__(self, message: str, *, site: str | None = None, family: str | None = None, **fields: Any) -> None:
        super().__init__(message, site=site, family=family, **fields)


class InterventionError(PCMError, ValueError):
    """An intervention that cannot be carried out. Field: ``site``."""

    def __init__(self, message: str, *, site: object = None, **fields: Any) -> None:
        super().__init__(message, site=site, **fields)


class SupportError(PCMError, ValueError):
    """A value outside what its variable can take. Fields: ``site``, ``value``, ``support``, ``rows``."""

    def __init__(self, message: str, *, site: str | None = None, **fields: Any) -> None:
        super().__init__(message, site=site, **fields)


class DataError(PCMError, ValueError):
    """A frame or dict of data that cannot be read. Fields: ``column``, ``rows`` where they apply."""

    def __init__(self, message: str, *, column: object = None, rows: Any = None, **fields: Any) -> None:
        super().__init__(message, column=column, rows=rows, **fields)


class EvidenceError(DataError):
    """Data that is readable but cannot be evidence for this program (missing columns, missing cells, …)."""


class QueryError(PCMError, ValueError):
    """A question that the result or the model cannot answer as asked."""


class GraphError(PCMError, ValueError):
    """A graph that is no DAG, or a path or edge that is not in it."""


class ClaimError(PCMError, ValueError):
    """A privacy claim that cannot be made: it contradicts the program, or itself."""


class FitError(PCMError, RuntimeError):
    """Inference failed: no posterior could be had, with the reason."""


class FitWarning(UserWarning):
    """Inference finished, but its diagnostics say not to trust it as it is."""


class StoreError(PCMError, OSError):
    """A saved file that cannot be read as what it should be. Field: ``path``."""


class LedgerError(StoreError):
    """A privacy ledger that is damaged, or is another one than was asked for. Field: ``path``."""


class BudgetError(PCMError, ValueError):
    """A release that a privacy ledger cannot pay. Fields: ``asked``, ``spent``, ``remaining``, ``budget``."""


class MissingExtraError(PCMError, ImportError):
    """An optional dependency is not installed. Fields: ``package``, ``extra``."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed: pip install 'pcm-causal[{extra}]'.",
            package=package,
            extra=extra,
        )
