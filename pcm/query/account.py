"""What a result rests on: rung, couplings, how each site was abducted, where the parameters came from.

>>> Account(rung=3, sites={"x": SiteAccount("Normal", "monotone", "exact")}).sites["x"].abduction
'exact'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pcm.notebook import lines_to_html

__all__ = ["Account", "SiteAccount"]


class _Text:
    """A field that holds a text, or a function that makes it when it is first read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> str:
        if instance is None:
            return ""  # the field's default
        found = instance.__dict__[self.name]
        if not isinstance(found, str):
            found = instance.__dict__[self.name] = found()
        return found

    def __set__(self, instance: Any, value: str | Callable[[], str]) -> None:
        instance.__dict__[self.name] = value


@dataclass(frozen=True)
class SiteAccount:
    """How one site's noise was treated.

    Attributes
    ----------
    family : str
    coupling : str
        Structural equation assumed behind the distribution.
    abduction : str
        ``"exact"`` (the value determines the noise), ``"law"`` (the noise's law given the value, in closed form),
        ``"fresh"`` (rung 2: noise not carried over), or ``"not needed"``; before it, for sites that some units lack,
        how their values were inferred: ``"posterior (…)"``, or ``"its mechanism"`` where nothing seen depends on it.
    """

    family: str
    coupling: str
    abduction: str


@dataclass(frozen=True)
class Account:
    """What a result rests on.

    Attributes
    ----------
    rung : int
        3 for counterfactuals; 2 where some needed site's noise is not carried over, and for averages of fresh units.
    sites : dict of str to SiteAccount
    identification : str
        Whether the graph alone fixes the answer and by which formula, or what stands in the way: then the couplings and
        distributions of the program do. Of an effect it is worked out when it is first read.
    positivity : str
        Of an effect over given units: how many of them have no comparable ones. Worked out when it is first read.
    parameters : str
        ``"none"``, ``"given"``, or the method and number of draws of the fit.
    worlds : dict of str to str
        How each world's open variables were averaged: exactly over assignments, or by draws.
    ess, khat : float or None
        Effective sample size and Pareto k-hat of the parameter draws.
    notes : tuple of str

    Examples
    --------
    >>> Account(rung=2, parameters="given").parameters
    'given'
    """

    rung: int
    sites: dict[str, SiteAccount] = field(default_factory=dict)
    identification: _Text = _Text()
    parameters: str = "none"
    worlds: dict[str, str] = field(default_factory=dict)
    ess: float | None = None
    khat: float | None = None
    notes: tuple[str, ...] = ()
    positivity: _Text = _Text()

    def to_dataframe(self) -> pd.DataFrame:
        """A row a site."""
        rows = {name: (site.family, site.coupling, site.abduction) for name, site in self.sites.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["family", "coupling", "abduction"])

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dict__}

    def _lines(self) -> list[tuple[str, str]]:
        lines = [
            ("rung", str(self.rung)),
            ("identification", str(self.identification)),
            ("positivity", str(self.positivity)),
            ("parameters", self.parameters),
        ]
        if self.khat is not None:
            lines.append(("Pareto k-hat", f"{self.khat:.2f}"))
        if self.ess is not None:
            lines.append(("effective sample size", f"{self.ess:.0f}"))
        lines += [(f"world {world}", words) for world, words in self.worlds.items()]
        return lines + [("note", note) for note in self.notes]

    def __repr__(self) -> str:
        head = "\n".join(f"{key}: {value}" for key, value in self._lines() if value)
        return f"Account\n{head}\n{self.to_dataframe().to_string()}"

    def _repr_html_(self) -> str:
        return lines_to_html(line for line in self._lines() if line[1]) + self.to_dataframe().to_html()
