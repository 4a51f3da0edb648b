"""A program with what is fixed about it: interventions, parameter values, labels. Queries take one of these.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> def pair():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Normal(2 * x, 1.0))
>>> Model(Program(pair)).do({"x": 1.0}).interventions["x"].value
tensor(1., dtype=torch.float64)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.arguments import no_model
from pcm.errors import ArgumentError, ProgramError, QueryError, UnknownNameError, listed
from pcm.infer import Posterior
from pcm.infer.seeding import seeded
from pcm.program import Program, Structure
from pcm.worlds import Intervention, Target, choose_seed, read_interventions

__all__ = ["HasModel", "Model", "check_categories", "model_of", "read_categories"]


@dataclass(frozen=True)
class Model:
    """A program, its interventions and its parameters.

    Attributes
    ----------
    program : Program
    interventions : dict of target to intervention
        In force in every world of this model.
    posterior : Posterior or None
        Draws of the parameters from a fit.
    given : dict of name to tensor
        Parameters fixed by the user.
    categories : dict of name to tuple of labels
    plain : bool
        Whether a plain column may stand for private noise: of rows that the model drew itself, or whose releases have
        been read.
    """

    program: Program
    interventions: dict[Target, Intervention] = field(default_factory=dict)
    posterior: Posterior | None = None
    given: dict[str, Tensor] = field(default_factory=dict)
    categories: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    plain: bool = False

    @property
    def structure(self) -> Structure:
        """Sites, parameters and graph of the program."""
        return self.program.structure

    def do(self, interventions: Mapping[Any, Any]) -> Model:
        """The model under these interventions as well; the last on a target wins."""
        return replace(self, interventions=self.merged(interventions))

    def merged(self, interventions: Mapping[Any, Any]) -> dict[Target, Intervention]:
        """This model's interventions and these, which win."""
        made = read_interventions(interventions, self.structure, self.program.parameters, self.categories)
        kept = {
            target: action
            for target, action in self.interventions.items()
            if not (isinstance(target, tuple) and target[1] in made) and target not in made
        }
        return {**kept, **made}

    def fix(self, values: Mapping[str, Any]) -> Model:
        """The model with these parameters at these values."""
        fixed = dict(self.given)
        for name, value in values.items():
            if name not in self.structure.parameters:
                raise UnknownNameError(name, kind="parameter", known=list(self.structure.parameters))
            site = self.structure.parameters[name]
            try:
                tensor = torch.as_tensor(value, dtype=site.dtype)
                tensor = tensor.expand(site.event)
            except (TypeError, ValueError, RuntimeError):
                raise ArgumentError(
                    f"given({name}=…): {value!r} does not have the parameter's shape {site.event}."
                ) from None
            if not bool(torch.isfinite(tensor).all()):
                raise ArgumentError(f"given({name}=…): the value is not finite.")
            if site.support is not None and not bool(site.support.check(tensor).all()):
                raise ArgumentError(
                    f"given({name}=…): {tensor.tolist()} is outside the parameter's support {site.support}."
                )
            fixed[name] = tensor
        return replace(self, given=fixed)

    @property
    def free(self) -> tuple[str, ...]:
        """Parameters that are not given."""
        return tuple(name for name in self.program.parameters if name not in self.given)

    def parameters(self, draws: int, seed: int | None, *, prior: bool) -> dict[str, Tensor]:
        """Parameter draws ``(draw, *event)``; one draw where nothing about them is uncertain.

        Parameters
        ----------
        draws : int
            At most this many.
        seed : int
        prior : bool
            Whether the prior may stand in where nothing was fitted.

        Raises
        ------
        QueryError
            Where parameters are neither fitted nor given, and the prior will not do.
        """
        if not self.free:
            return {name: value[None] for name, value in self.given.items()}
        if self.posterior is not None:
            thinned = self.posterior.thin(draws, seed or 0)
            found = {name: thinned.draws[name] for name in self.free}
        elif prior:
            found = self._prior(draws, choose_seed(seed))
        else:
            raise QueryError(
                f"parameters {listed(self.free)} are neither fitted nor given, and evidence in a query does not update "
                f"them: call fit(data), or given({self.free[0]}=…)."
            )
        count = len(next(iter(found.values())))
        return {**found, **{name: value.expand(count, *value.shape) for name, value in self.given.items()}}

    def _prior(self, draws: int, seed: int) -> dict[str, Tensor]:
        found: dict[str, list[Tensor]] = {name: [] for name in self.program.parameters}
        structure = self.structure

        def act(msg: Any) -> Tensor:
            name = msg["name"]
            if name in found:
                value = self.given.get(name)
                value = msg["fn"].sample() if value is None else value
                found[name].append(value)
                return value
            if name in structure.sites:
                site = structure.sites[name]
                return msg["value"] if site.kind == "deterministic" else torch.zeros(site.shape(1), dtype=site.dtype)
            return msg["value"]

        blank = {name: torch.zeros(1, dtype=structure.sites[name].dtype) for name in structure.covariates}
        with self.program.sealed(), seeded(seed):
            for _ in range(draws):
                self.program.execute(act, 1, blank)
        return {name: torch.stack(found[name]) for name in self.free}


class HasModel:
    """What stands for one model before users: :class:`pcm.SCM`, which is a layer above."""

    _model: Model


def model_of(scm: Any) -> Model:
    """The model of an SCM.

    Raises
    ------
    ArgumentError
        Something else was given; the message says what, and what to do.
    """
    if not isinstance(scm, HasModel):
        raise no_model(scm)
    return scm._model


def read_categories(categories: Any) -> dict[str, tuple[Any, ...]]:
    """Labels by variable from what a user wrote."""
    if categories is None:
        return {}
    if not isinstance(categories, Mapping):
        raise ArgumentError(f"categories= is a dict of variable to its labels; found {categories!r}.")
    made = {}
    for name, labels in categories.items():
        if isinstance(labels, str) or not hasattr(labels, "__iter__"):
            raise ArgumentError(f"categories={{'{name}': …}} needs a list of labels; found {labels!r}.")
        plain = tuple(label.item() if isinstance(label, np.generic) else label for label in labels)
        odd = [label for label in plain if not isinstance(label, str | int | float) or label != label]
        if odd:
            raise ArgumentError(f"categories={{'{name}': …}}: {odd[0]!r} is no label; labels are texts or numbers.")
        made[name] = plain
    return made


def check_categories(categories: Mapping[str, tuple[Any, ...]], program: Program) -> dict[str, tuple[Any, ...]]:
    """Labels by variable, checked against the program."""
    made: dict[str, tuple[Any, ...]] = {}
    for name, labels in categories.items():
        if name not in program.structure.sites:
            raise UnknownNameError(name, known=list(program.structure.sites))
        site = program.structure.sites[name]
        if site.kind == "variable" and not site.discrete:
            raise ProgramError(f"categories={{'{name}': …}}: '{name}' is continuous ({site.family}).", site=name)
        count = program.structure.sites[name].cardinality
        if len(set(labels)) != len(labels):
            raise ArgumentError(f"categories of '{name}' repeat a label: {listed(labels)}.")
        if count is not None and count != len(labels):
            raise ProgramError(
                f"'{name}' takes {count} values, but categories names {len(labels)}: {listed(labels)}.", site=name
            )
        made[name] = labels
    return made
