"""What an effect is asked about: the treatment, the outcome, and the options that all effects share.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> def trial():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
>>> Question.of(Model(Program(trial)), "t", "y", {"scale": "ratio"}).units
10000
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pcm.arguments import check_count, check_names
from pcm.errors import ArgumentError, DataError, QueryError, UnknownNameError, listed, suggestion
from pcm.query.missing import check_method_name
from pcm.query.model import Model
from pcm.worlds import Target, choose_seed

__all__ = ["Question"]

SCALES = ("difference", "ratio", "odds")


@dataclass(frozen=True)
class Question:
    """A treatment's effect on an outcome, and over whom.

    Attributes
    ----------
    model : Model
    treatment, outcome : str
    treated, control : any
        What the two arms set the treatment to; anything that ``do`` takes.
    data : DataFrame or dict, optional
        Units to average over, with their own noise.
    scale : {"difference", "ratio", "odds"}
    units : int
        Fresh units, where there is no data and the answer is not exact.
    draws : int
        Parameter draws of a fitted model.
    seed : int, optional
    latent : collection of str
        Variables of the program that nobody observes, besides those that ``data`` lacks; identification reads it.
    method : str
        How what ``data`` lacks is inferred.
    """

    model: Model
    treatment: str
    outcome: str
    treated: Any = 1
    control: Any = 0
    data: Any = None
    scale: str = "difference"
    units: int = 10_000
    draws: int = 500
    seed: Any = None
    latent: Collection[str] = ()
    method: str = "auto"

    @classmethod
    def of(cls, model: Model, treatment: str, outcome: str, options: Mapping[str, Any], **defaults: Any) -> Question:
        """The question with these options, checked."""
        known = [field.name for field in fields(cls)][3:]
        for name in options:
            if name not in known:
                raise ArgumentError(
                    f"'{name}' is no option of an effect; options: {listed(known)}.{suggestion(name, known)}"
                )
        chosen = {**defaults, **options}
        # numpy's numbers are shown, and compared, as plain ones
        chosen = {name: value.item() if isinstance(value, np.generic) else value for name, value in chosen.items()}
        made = cls(model, treatment, outcome, **{**chosen, "seed": choose_seed(chosen.get("seed"))})
        made._check()
        return made

    def sets(self, value: Any, **others: Any) -> dict[Target, Any]:
        """Interventions that give the treatment this value, and other variables theirs."""
        made = self.model.do({self.treatment: value, **others}).interventions
        return {name: made[name] for name in (self.treatment, *others)}

    @property
    def told(self) -> str:
        """The treatment in words; with the two levels compared, where codes alone would not say which they are.

        >>> import pyro, pyro.distributions as dist, torch
        >>> from pcm.program import Program
        >>> def trial():
        ...     t = pyro.sample("t", dist.Categorical(torch.ones(3) / 3))
        ...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
        >>> model = Model(Program(trial), categories={"t": ["none", "basic", "full"]})
        >>> Question.of(model, "t", "y", {}).told, Question.of(model, "t", "y", {"treated": "full"}).told
        ('t (basic against none)', 't (full against none)')
        """
        labels, site = self.model.categories.get(self.treatment), self.model.structure.sites[self.treatment]
        if labels is None and not (site.discrete and not site.ordered and site.cardinality != 2):
            return self.treatment
        found = [_level(value, labels) for value in (self.treated, self.control)]
        return self.treatment if None in found else f"{self.treatment} ({found[0]} against {found[1]})"

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Variables of the program that the data have; None without data."""
        if self.data is None:
            return None
        if not hasattr(self.data, "column_names") and not hasattr(self.data, "keys"):
            raise DataError(
                f"data= is a DataFrame, a dict of columns or an Arrow table; found {type(self.data).__name__}."
            )
        names = self.data.column_names if hasattr(self.data, "column_names") else list(self.data.keys())
        return tuple(name for name in names if name in self.model.structure.sites)

    @property
    def given(self) -> bool:
        """Whether the data have any modelled variable (and not covariates alone)."""
        return any(self.model.structure.sites[name].kind != "covariate" for name in self.columns or ())

    @property
    def unseen(self) -> tuple[str, ...]:
        """Variables that nobody observes: declared latent, or without a column in the data that have any other."""
        sites, seen = self.model.structure.sites, set(self.columns or ())
        found: set[str] = set(self.latent)
        for name, site in sites.items():
            if not self.given or name in seen or name in (self.treatment, self.outcome):
                continue
            parents = set(self.model.structure.graph.predecessors(name))
            if site.kind == "variable" or (site.kind == "deterministic" and parents & found):
                found.add(name)
        return tuple(name for name in sites if name in found)

    def _check(self) -> None:
        sites, treatment, outcome = self.model.structure.sites, self.treatment, self.outcome
        for name in (treatment, outcome):
            if not isinstance(name, str) or name not in sites:
                raise UnknownNameError(name, known=list(sites))
        check_names(self.latent, "latent", sites)
        check_method_name(self.method)
        if self.method != "auto" and not self.given:
            raise ArgumentError(
                f"method='{self.method}' is how missing values of data= are inferred; fresh units have none."
            )
        if treatment == outcome:
            raise ArgumentError(f"treatment and outcome are both '{treatment}'; an effect is on another variable.")
        for name in (treatment, outcome):
            if name in self.latent:
                raise ArgumentError(f"latent={list(self.latent)!r}: the effect is of '{treatment}' on '{outcome}'.")
        if self.scale not in SCALES:
            raise ArgumentError(f"scale='{self.scale}' is none of {listed(SCALES)}.")
        if not sites[outcome].scalar:
            raise QueryError(
                f"outcome '{outcome}' has several values a unit {sites[outcome].event}; an effect is on one number."
            )
        if not sites[outcome].ordered and sites[outcome].cardinality != 2:
            raise QueryError(
                f"outcome '{outcome}' is categorical and has no mean; make it a 0/1 variable of one category."
            )
        check_count(self.units, "units")
        check_count(self.draws, "draws")


def _level(value: Any, labels: Sequence[Any] | None) -> Any:
    """A level as its label, or its code where there are none; None of what is no single level."""
    if labels is not None and isinstance(value, str):
        return value
    if not isinstance(value, bool | int | float) or not float(value).is_integer():
        return None
    code = int(value)
    if labels is None or value in labels:
        return code
    return labels[code] if 0 <= code < len(labels) else None
