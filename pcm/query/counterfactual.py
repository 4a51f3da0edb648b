"""Counterfactuals: what these very units would have been, had something been otherwise.

Abduction, action, prediction (Pearl, *Causality*, 7.1): each unit's noise is pulled back from what was observed, and
replayed in worlds where some sites or edges are set.

>>> import pyro, pyro.distributions as dist, pcm
>>> def encouragement():
...     x = pyro.sample("X", dist.Normal(0.0, 1.0))
...     h = pyro.sample("H", dist.Normal(0.5 * x, 1.0))
...     pyro.sample("Y", dist.Normal(0.7 * x + 0.4 * h, 1.0))
>>> cf = pcm.SCM(encouragement).counterfactual({"X": 0.5, "H": 1.0, "Y": 1.5}, do={"H": 2.0})
>>> cf.mean("Y").round(12).tolist()
[1.9]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from pcm.arguments import check_count, check_probability
from pcm.errors import QueryError, UnknownNameError, listed, suggestion
from pcm.io.arviz import to_arviz
from pcm.notebook import table_to_html, words_to_html
from pcm.program import Site
from pcm.query.account import Account
from pcm.query.accounting import account_of
from pcm.query.diagnostics import diagnostics_of
from pcm.query.effect import Effect
from pcm.query.evaluate import Evaluation
from pcm.query.evidence import read_units
from pcm.query.exports import to_dataframe, tree
from pcm.query.memory import check_fits, read_limit
from pcm.query.missing import check_method_name
from pcm.query.model import Model
from pcm.query.moments import Moments
from pcm.query.named_worlds import FACTUAL, read_outcome, read_worlds
from pcm.query.quantile import weighted_quantile
from pcm.query.scenarios import in_parts, means, table
from pcm.worlds import choose_seed

__all__ = ["Counterfactual", "counterfactual"]


def counterfactual(
    model: Model,
    data: Any,
    *,
    do: Mapping[Any, Any] | None = None,
    worlds: Mapping[str, Mapping[Any, Any]] | None = None,
    outcome: str | Sequence[str] | None = None,
    memory_limit: int | str | None = None,
    draws: int = 256,
    seed: int | None = None,
    method: str = "auto",
) -> Counterfactual:
    """Answer a counterfactual query; see :meth:`pcm.SCM.counterfactual`."""
    check_count(draws, "draws")
    check_method_name(method)
    named = read_worlds(model, do, worlds)
    asked, limit = read_outcome(model, outcome), read_limit(memory_limit)
    units = read_units(model, data)
    seed = choose_seed(seed)
    parameters = model.parameters(draws, seed, prior=False)
    run = Evaluation(
        model,
        units.values,
        units.index,
        named,
        parameters,
        draws=draws,
        seed=seed,
        missing=units.missing,
        outcome=asked,
        limit=limit,
        bounds=units.bounds,
        solved=units.solved,
        holes=units.holes,
        method=method,
    )
    return Counterfactual(run, units.seen - (model.structure.parametric - units.solved.keys()), units.ignored)


class Counterfactual:
    """Units in several worlds; made by :meth:`pcm.SCM.counterfactual`.

    Means and probabilities are computed, not drawn, wherever ``.account`` says so. Arrays start with the unit dim,
    inner plates and event dims follow.

    Examples
    --------
    >>> import pyro, pyro.distributions as dist, pcm
    >>> def clinic():
    ...     labs = pyro.sample("labs", dist.Normal(0.0, 1.0))
    ...     pyro.sample("readmit", dist.Bernoulli(logits=labs))
    >>> patients = {"labs": [1.0, -1.0], "readmit": [1.0, 0.0]}
    >>> cf = pcm.SCM(clinic).counterfactual(patients, worlds={"low": {"labs": 0.0}, "high": {"labs": 2.0}})
    >>> cf.probability("readmit", 1, world="low").round(3).tolist()
    [0.684, 0.316]
    >>> cf.worlds
    ('factual', 'low', 'high')
    """

    def __init__(self, evaluation: Evaluation, observed: frozenset[str], ignored: tuple[str, ...] = ()) -> None:
        self._run, self._observed, self._ignored = evaluation, observed, ignored

    # -- what is in it -----------------------------------------------------------------------------------------------

    @property
    def worlds(self) -> tuple[str, ...]:
        """Names of the worlds, the factual one first."""
        return (FACTUAL, *self._run.plans)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables (those of ``outcome=`` where it was given), in program order."""
        return self._run.asked

    @property
    def index(self) -> pd.Index:
        """Names of the units."""
        return self._run.index

    def __len__(self) -> int:
        return self._run.units

    def labels(self, name: str) -> tuple[Any, ...] | None:
        """Labels of a variable's codes, where it has any."""
        self._site(name)
        return self._run.model.categories.get(name)

    def is_numeric(self, name: str) -> bool:
        """Whether the variable's values have a mean (those of an unordered categorical have none)."""
        return not self._unordered(name)

    def is_binary(self, name: str) -> bool:
        """Whether the variable takes the values 0 and 1."""
        return self._site(name).cardinality == 2

    @cached_property
    def account(self) -> Account:
        """What the answers rest on."""
        return account_of(self._run, self._ignored)

    @cached_property
    def diagnostics(self) -> pd.DataFrame:
        """How well each unit's missing values were inferred, a row a unit.

        ``missing`` counts its missing sites (``intervals`` of which are known to lie in one; a noise that a column was
        solved for is not missing); ``method`` is how what is missing was inferred (``"none"`` where it is drawn from
        its mechanism alone, or nothing is); ``ess`` and ``khat`` are of its importance weights (infinite and 0 where
        there are none); ``flagged`` units are not to be trusted.
        """
        return diagnostics_of(self._run)

    # -- answers -----------------------------------------------------------------------------------------------------

    def mean(self, name: str, world: str | None = None) -> np.ndarray:
        """Expected value given the evidence, numpy ``[unit, …]``.

        Raises
        ------
        QueryError
            For a categorical variable whose categories have no order: ask :meth:`probability`.
        """
        world = self._named(name, world)
        self._numeric(name, "mean")
        found = in_parts(self, name, world, lambda part: part.mean(name, world))
        if found is not None:
            return found
        return self._out(self._run.average(world, name), name)

    def sd(self, name: str, world: str | None = None) -> np.ndarray:
        """Standard deviation given the evidence, over parameters and open noise, numpy ``[unit, …]``."""
        world = self._named(name, world)
        self._numeric(name, "sd")
        found = in_parts(self, name, world, lambda part: part.sd(name, world))
        if found is not None:
            return found
        if self._finite_law(world, name):
            chances = self._run.chances(world, name).mean(0)
            codes = torch.arange(chances.shape[-1], dtype=chances.dtype)
            mean = chances @ codes
            return self._out(((chances * (codes - mean[..., None]) ** 2).sum(-1)).clamp(min=0).sqrt(), name)
        analytic = self._run.moments(world, name)
        if analytic is not None:
            return self._out(self._covered(analytic, analytic.sd, world, name, lambda draws: draws.std(0)), name)
        draws = self._run.drawn(world, name).to(torch.float64)
        if len(draws) == 1 or not self._uncertain(world, name):
            return np.zeros(self._out(draws[0], name).shape)
        return self._out(draws.std(0), name)

    def probability(self, name: str, outcome: Any, world: str | None = None) -> np.ndarray:
        """Probability that the variable has this value (a label or a code), numpy ``[unit, …]``.

        For a discrete variable it is computed in closed form from the coupling, per unit, and averaged over what the
        evidence leaves open.
        """
        world = self._named(name, world)
        site = self._run.structure.sites[name]
        if not site.discrete and site.kind == "variable":
            raise QueryError(f"'{name}' is continuous: no single value has a probability. Ask interval() or draws().")
        code = self._code(name, outcome)
        if site.discrete and float(code) != int(code):
            raise QueryError(f"'{name}' takes whole numbers; {outcome!r} has no probability.")
        found = in_parts(self, name, world, lambda part: part.probability(name, outcome, world))
        if found is not None:
            return found
        return self._out(_averaged(self._run.probability(world, name, torch.as_tensor(code))), name)

    def interval(self, name: str, prob: float = 0.9, world: str | None = None) -> np.ndarray:
        """Central interval given the evidence, numpy ``[unit, …, 2]``; a point where nothing is uncertain."""
        check_probability(prob)
        world = self._named(name, world)
        self._numeric(name, "interval")
        ends = in_parts(self, name, world, lambda part: part.interval(name, prob, world))
        if ends is not None:
            return ends
        levels = [(1 - prob) / 2, (1 + prob) / 2]
        if self._finite_law(world, name):
            chances = self._run.chances(world, name).mean(0).cumsum(-1)
            ends = [(chances < level - 1e-12).sum(-1).clamp(max=chances.shape[-1] - 1) for level in levels]
            return np.stack([self._out(end.to(torch.float64), name) for end in ends], -1)
        analytic = self._run.moments(world, name)
        if analytic is not None:
            ends = [
                self._covered(analytic, analytic.quantile(level), world, name, partial(torch.quantile, q=level, dim=0))
                for level in levels
            ]
            return np.stack([self._out(end, name) for end in ends], -1)
        atoms = self._run.atoms(world, name)
        if atoms is not None:
            ends = [weighted_quantile(*atoms, level) for level in levels]
            return np.stack([self._out(end, name) for end in ends], -1)
        found = self._run.drawn(world, name) if self._run.random(world, name) else self._run.value(world, name)
        array = self._out(found.to(torch.float64), name, lanes=True)
        low, high = np.quantile(array, levels, axis=0) if len(array) > 1 else (array[0], array[0])
        return np.stack([low, high], -1)

    def draws(self, name: str, world: str | None = None) -> np.ndarray:
        """Draws of the variable given the evidence, numpy ``[draw, unit, …]`` (codes of a labelled one)."""
        world = self._named(name, world)
        run, site = self._run, self._run.structure.sites[name]
        check_fits(
            run.draws * len(self) * math.prod((*site.inner, *site.event)),
            run.limit if self._uncertain(world, name) else None,
            f"{run.draws:,} draws × {len(self):,} units of '{name}'",
            "Ask mean(), sd() or interval(), or for fewer draws.",
        )
        return self._out(run.drawn(world, name), name, lanes=True)

    def contrast(self, name: str, world: str, other: str = FACTUAL) -> Effect:
        """Difference between two worlds, unit by unit: an :class:`Effect` with draws ``(draw, unit)``."""
        first, second = self._named(name, world), self._named(name, other)
        self._numeric(name, "contrast")
        exact = self.mean(name, first) - self.mean(name, second)
        if self._uncertain(first, name) or self._uncertain(second, name):
            draws = self.draws(name, first).astype(float) - self.draws(name, second)
        else:
            draws = exact[None]
        return Effect(
            draws, label=f"{name}: {first} − {second}", account=self.account, index=self.index, exact_mean=exact
        )

    # -- all worlds at once ------------------------------------------------------------------------------------------

    def means(self, name: str) -> xr.DataArray:
        """Expected value of every unit in every world, the factual one first, dims ``(world, unit, …)``.

        Examples
        --------
        >>> import pyro, pyro.distributions as dist, pcm
        >>> def pair():
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        ...     pyro.sample("y", dist.Normal(2 * x, 1.0))
        >>> doses = {f"x={x}": {"x": float(x)} for x in range(1_000)}
        >>> cf = pcm.SCM(pair).counterfactual({"x": [0.0, 1.0], "y": [0.5, 2.0]}, worlds=doses, outcome="y")
        >>> cf.means("y").sel(world="x=3").values.tolist()
        [6.5, 6.0]
        >>> cf.table("y").loc["x=3"].tolist()
        [6.25, 5.0]
        """
        return means(self, name)

    def table(self, name: str, prob: float = 0.9) -> pd.DataFrame:
        """A row a world: the variable's average over the units, and its difference from the factual world.

        With ``low`` and ``high`` of the central intervals where several parameter draws (or other states of
        knowledge) give several averages. Of an unordered categorical: a column a category with its average
        probability.
        """
        return table(self, name, prob)

    # -- tables and trees --------------------------------------------------------------------------------------------

    def to_dataframe(self, prob: float = 0.9) -> pd.DataFrame:
        """A row a unit and world; a column a variable.

        Numbers are means, with ``name_low`` and ``name_high`` of the central interval where the variable is uncertain
        in some world; 0/1 variables are the probability of 1; categorical ones, and all that have labels, have a column
        ``name=label`` with the probability of each category. An index named like one of the columns is renamed to
        ``name (index)``.
        """
        return to_dataframe(self, prob)

    @cached_property
    def inference_data(self) -> Any:
        """What ArviZ reads: group ``posterior`` with dims (chain, draw, world, unit), ``observed_data`` with (unit)."""
        return to_arviz(tree(self))

    def to_xarray(self) -> xr.Dataset:
        """The draws as one xarray Dataset, dims (chain, draw, world, unit)."""
        found = self.inference_data["posterior"]
        return found.to_dataset() if isinstance(found, xr.DataTree) else found

    def plot(self, name: str, units: Any = None, prob: float = 0.9) -> Any:
        """Figure of the variable in each world: its distribution over units, or unit by unit for few or chosen units.

        Parameters
        ----------
        name : str
        units : list of index labels, optional
            Draw these units one by one; all of them where there are at most 20.
        prob : float
            Of the intervals.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from pcm.query.picture import picture

        return picture(self, name, units, prob)

    def __repr__(self) -> str:
        return (
            f"Counterfactual({len(self)} units; worlds: {listed(self.worlds)}; variables: {listed(self.variables)}; "
            f"rung {self.account.rung})"
        )

    def _repr_html_(self) -> str:
        return words_to_html(repr(self)) + table_to_html(self.to_dataframe())

    # -- private -----------------------------------------------------------------------------------------------------

    def _named(self, name: str, world: str | None) -> str:
        self._site(name)
        if name not in self.variables:
            raise QueryError(
                f"'{name}' was not asked for: this counterfactual keeps {listed(self.variables)} (outcome=…)."
            )
        if world is None:
            if len(self._run.plans) > 1:
                raise QueryError(f"say which world: world= one of {listed(self.worlds)}.")
            return next(iter(self._run.plans))
        if world not in self.worlds:
            raise UnknownNameError(world, kind="world", known=list(self.worlds), where="the result")
        return world

    def _site(self, name: str) -> Site:
        if not isinstance(name, str) or name not in self._run.structure.sites:
            raise UnknownNameError(name, known=list(self.variables))
        return self._run.structure.sites[name]

    def _unordered(self, name: str) -> bool:
        site = self._site(name)
        if not site.ordered and (site.cardinality or 0) != 2:
            return True
        return name in self._run.model.categories and not (site.kind == "variable" and site.ordered)

    def _numeric(self, name: str, asked: str) -> None:
        if self._unordered(name):
            raise QueryError(
                f"'{name}' is categorical, its categories have no order and so no {asked}: ask "
                f"probability('{name}', category)."
            )

    def _chances(self, name: str, world: str) -> np.ndarray:
        """Probabilities of a finite variable's categories, numpy ``[unit, category]``."""
        found = in_parts(self, name, world, lambda part: part._chances(name, world))
        return self._run.chances(world, name).mean(0).numpy() if found is None else found

    def _finite_law(self, world: str, name: str) -> bool:
        """Whether the variable's own law given the evidence is a finite table."""
        site = self._run.structure.sites[name]
        return (
            self._run.random(world, name)
            and self._run.exact(world, name)
            and site.cardinality is not None
            and site.scalar
        )

    def _uncertain(self, world: str, name: str) -> bool:
        if world == FACTUAL and name in self._observed:
            return False
        return self._run.random(world, name) or (not self._run.main.single and not self._run._fixed(world, name))

    def _covered(
        self, analytic: Moments, answer: Tensor, world: str, name: str, of_draws: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """What was computed where it could be, of the draws elsewhere."""
        if analytic.whole:
            return answer
        event = len(self._run.structure.sites[name].event)
        return analytic.over(answer, of_draws(self._run.drawn(world, name).to(answer.dtype)), event)

    def _code(self, name: str, outcome: Any) -> Any:
        outcome = outcome.item() if isinstance(outcome, np.generic) else outcome
        labels = self._run.model.categories.get(name)
        if labels is not None and outcome in labels:
            return labels.index(outcome)
        if isinstance(outcome, str):
            raise QueryError(
                f"'{outcome}' is not a category of '{name}'; categories: {listed(labels or ['(none declared)'])}."
                f"{suggestion(outcome, labels or [])}"
            )
        count = self._run.structure.sites[name].cardinality
        if labels is not None and any(isinstance(label, int | float) for label in labels):
            raise QueryError(f"{outcome!r} is not a category of '{name}'; categories: {listed(labels)}.")
        if not isinstance(outcome, bool | int | float | np.number):
            raise QueryError(f"probability('{name}', …) takes one category or number; found {outcome!r}.")
        if count is not None and outcome not in range(count):
            raise QueryError(f"'{name}' takes the values 0..{count - 1}; {outcome!r} is none of them.")
        return outcome

    def _out(self, value: Tensor, name: str, lanes: bool = False) -> np.ndarray:
        """Units first (after draws)."""
        inner = len(self._run.structure.sites[name].inner)
        if inner:
            value = value.movedim(inner + lanes, int(lanes))
        array = value.detach().numpy()
        array.flags.writeable = False  # it may be the user's own column, or every draw at once
        return array


def _averaged(lanes: Tensor) -> Tensor:
    """Mean over parameter draws; of one draw the draw itself, not a copy."""
    return lanes[0] if len(lanes) == 1 else lanes.mean(0)
