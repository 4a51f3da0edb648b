r"""How far a torch model of the user's own is from answering its sources as the target does: a differentiable loss.

Units are replayed in pairs of worlds ``do(s = low)``, ``do(s = high)``; with ``Δf`` the change of the prediction
between the two and ``ΔT`` that of the target,

    average:  (E[Δf] - E[ΔT])²   for each contrast of levels      (what *matched* predictors set to 0)
    unit:     E[(Δf - ΔT)²]                                       (what *faithful* predictors set to 0)

averaged over sources. Worlds are made once; each call is one forward pass, and gradients flow to the weights. For
linear models of linear programs the two agree; elsewhere ``average`` lets some units respond too much if others
respond too little.

>>> import torch, pyro, pyro.distributions as dist, pcm
>>> def program():
...     a = pyro.sample("A", dist.Normal(0.0, 1.0))
...     z = pyro.sample("Z", dist.Normal(2.0 * a, 1.0))
...     pyro.sample("Y", dist.Normal(z + a, 1.0))
>>> fair = pcm.Requirement("A", outcome="Y", admissible=["A -> Z -> Y"])
>>> v = Violation(pcm.SCM(program), [fair], inputs=["A", "Z"], units=200)
>>> bool(v(lambda x: x[:, 1]) < 1e-20), bool(v(lambda x: x[:, 0] + x[:, 1]) > 0.5)
(True, True)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from pcm.arguments import check_count, check_names, check_positive, check_seed
from pcm.errors import ArgumentError, QueryError, listed
from pcm.predict.design import column_names, rows_of, variable_of
from pcm.predict.moved import dealt, fresh_units, level_pairs, moved
from pcm.predict.releases import released_rows
from pcm.predict.wiring import outcome_of, target_of
from pcm.query.model import Model
from pcm.requirement.copies import Copies

__all__ = ["AugmentedLagrangian", "Violation", "violation"]

Predict = Callable[[Tensor], Tensor]
_KINDS = ("average", "unit")


def violation(
    predict: Predict, scm: Any, requirements: Sequence[Any], data: pd.DataFrame | None = None, **options: Any
) -> Tensor:
    """Differentiable violation of requirements by a torch model, a scalar; ``risk + λ · violation`` trains under it.

    Worlds are made anew at every call: in a training loop make a :class:`Violation` once and call that.

    Parameters
    ----------
    predict : callable
        Tensor ``(row, input)`` to predictions ``(row,)``, ``(row, 1)`` or ``(row, class)``, such as a torch module.
    scm : SCM
    requirements : sequence of Requirement
    data : DataFrame, optional
        Units to replay, rather than fresh ones; a program with covariates needs it.
    **options
        Those of :class:`Violation`: ``inputs``, ``kind``, ``units``, ``copies``, ``draws``, ``seed``.

    Examples
    --------
    >>> import pyro, pyro.distributions as dist, pcm
    >>> def program():
    ...     a = pyro.sample("A", dist.Bernoulli(0.5))
    ...     pyro.sample("Y", dist.Normal(a, 1.0))
    >>> linear = torch.nn.Linear(1, 1).double()
    >>> fair = pcm.Requirement("A", outcome="Y")
    >>> loss = pcm.violation(linear, pcm.SCM(program), [fair], inputs=["A"])
    >>> loss.backward()
    >>> bool(torch.isclose(linear.weight.grad, 2 * linear.weight))
    True
    """
    return Violation(scm, requirements, data=data, **options)(predict)


class Violation:
    """A violation loss with its worlds made once.

    Parameters
    ----------
    scm : SCM
    requirements : sequence of Requirement
        On one outcome.
    inputs : sequence of str
        What the model reads, in its order. A category without an order is a column for each label but the first, and
        a vector one for each element: :attr:`columns` says so. What is not among them is hidden from the model and
        simulated all the same.
    data : DataFrame, optional
        Units to replay, rather than fresh ones; what they lack is drawn given the rest.
    units : int
        Fresh units.
    kind : {"average", "unit"}
        Whether the mean change has to be the target's (*matched*), or every unit's (*faithful*).
    copies : int
        Reference values that the target is averaged over.
    draws : int
        Of a fitted model's parameters, at most. Each unit is replayed under one of them, and both means, over units and
        over what the model does not know, are taken together: with ``kind="unit"`` a change that the model is unsure of
        counts by its square.
    seed : int

    Notes
    -----
    A target that reads the replay of a discrete variable has no one value in a unit: its expectation given the unit's
    values in that world is taken. For a class outcome, the changes are those of probabilities, summed over classes.

    Examples
    --------
    >>> import torch, pyro, pyro.distributions as dist, pcm
    >>> def program():
    ...     a = pyro.sample("A", dist.Bernoulli(0.5))
    ...     x = pyro.sample("X", dist.Normal(a, 1.0))
    ...     pyro.sample("Y", dist.Normal(x + a, 1.0))
    >>> v = pcm.Violation(pcm.SCM(program), [pcm.Requirement("A", outcome="Y")], inputs=["A", "X"], units=100)
    >>> v
    Violation of Y by A (average, 100 units, inputs A, X)
    >>> v.gaps(lambda x: x[:, 1] + 0.5 * x[:, 0]).round(6).loc["A"].tolist()
    [1.5, 0.0, 1.5]
    """

    def __init__(
        self,
        scm: Any,
        requirements: Sequence[Any],
        *,
        inputs: Sequence[str],
        data: pd.DataFrame | None = None,
        units: int = 2_000,
        kind: Literal["average", "unit"] = "average",
        copies: int = 16,
        draws: int = 16,
        seed: int = 0,
    ) -> None:
        if kind not in _KINDS:
            raise ArgumentError(f"kind={kind!r} is none of {listed(_KINDS)}.")
        check_seed(seed)
        check_count(copies, "copies")
        if data is None:
            check_count(units, "units")
        self.plan, self.kind = target_of(scm, requirements), kind
        self.outcome = outcome_of(requirements)
        if data is not None:
            data = released_rows(scm._model, data)
        model = self._model = replace(scm._model, plain=True)
        self._sites, self._labels = model.structure.sites, model.categories
        self.inputs = _checked(inputs, self._sites, self.outcome)
        self.columns = column_names(self.inputs, self._sites, self._labels)
        covariates = data if model.structure.covariates else None
        fresh = data is None or _only(data, covariates, model)
        self.units = units if data is None else len(data)
        low, high, step, pinned, group = [], [], [], [], []
        groups = []
        for one, places, own in dealt(model, self.units, draws, seed):
            part = None if data is None else data.iloc[places]
            groups.append((one, fresh_units(one, len(places), part, own) if fresh else part, own))
        for place, source in enumerate(self.plan.sources):
            parts = [
                self._pair(one, rows, source, covariates, copies, own, own + 10 * place) for one, rows, own in groups
            ]
            for kept, each in zip((low, high, step, pinned, group), zip(*parts, strict=True), strict=True):
                kept.append(torch.cat(each))
        # (source, world, unit, column) as one batch; pinned (source, unit[, class]); contrasts (source) of (…, unit)
        self._worlds = torch.stack([torch.stack([a, b]) for a, b in zip(low, high, strict=True)])
        self._pinned, self._steps = torch.stack(pinned), torch.stack(step)
        self._contrasts = [_averaging(each) for each in group]

    def __call__(self, predict: Predict) -> Tensor:
        """The loss, a scalar."""
        return torch.stack(list(self.by_source(predict).values())).mean()

    def by_source(self, predict: Predict) -> dict[str, Tensor]:
        """Each source's part of the loss; their mean is the loss."""
        off = self._off(predict)
        if self.kind == "unit":
            losses = [each.square().sum(-1).mean() for each in off]
        else:
            losses = [
                (weights.to(each) @ each).square().sum(-1).mean()
                for weights, each in zip(self._contrasts, off, strict=True)
            ]
        return dict(zip(self.plan.sources, losses, strict=True))

    def residuals(self, predict: Predict) -> Tensor:
        """Mean change less the target's, of every source, contrast of levels and class: ``(constraint,)``.

        All are 0 for a matched predictor. Changes are per unit of a number, and as they are between categories.
        """
        off = self._off(predict)
        found = []
        for weights, each, step in zip(self._contrasts, off, self._steps, strict=True):
            found.append(((weights.to(each) @ each) / (weights @ step).to(each)[:, None]).flatten())
        return torch.cat(found)

    def gaps(self, predict: Predict) -> pd.DataFrame:
        """Mean change of the prediction (``effect``) and of the target (``pinned``) and their ``gap``: a row a source.

        Per unit of a number; of a finite source the mean over its pairs of categories; of a class, the last one's.
        """
        with torch.no_grad():
            change = self._change(predict).double().cpu()
            self._pinned_as(change)
        rows = {}
        for place, source in enumerate(self.plan.sources):
            step = self._steps[place].mean()
            effect = float(change[place].mean(0)[-1] / step)
            pinned = float(_last(self._pinned)[place].mean(0)[-1] / step)
            rows[source] = {"effect": effect, "pinned": pinned, "gap": effect - pinned}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["effect", "pinned", "gap"]).rename_axis("source")

    def lagrangian(self, rho: float = 10.0) -> AugmentedLagrangian:
        """The requirements as a constraint rather than a penalty: see :class:`AugmentedLagrangian`."""
        if self.kind != "average":
            raise QueryError("a constraint a unit has no few multipliers: take kind='average', or a penalty.")
        return AugmentedLagrangian(self, rho)

    def tensor(self, data: pd.DataFrame, dtype: torch.dtype = torch.float64) -> Tensor:
        """Rows as the model reads them, ``(row, column)``; the columns are those of :attr:`columns`.

        Raises
        ------
        DataError
            A column is not there, or has empty cells.
        """
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise ArgumentError(f"dtype={dtype!r}: a floating-point dtype of torch is needed.")
        return torch.from_numpy(rows_of(self._model, data, self.inputs)).to(dtype)

    # -- plumbing ----------------------------------------------------------------------------------------------------

    def _pair(
        self,
        model: Model,
        rows: pd.DataFrame,
        source: str,
        covariates: pd.DataFrame | None,
        copies: int,
        seed: int,
        level_seed: int,
    ) -> tuple[Tensor, ...]:
        """Units at two levels of a source, under known parameters.

        Inputs at either, their distance, the target's change, and which contrast of levels each unit's is.
        """
        levels = level_pairs(model, source, len(rows), rows=covariates, seed=level_seed)
        worlds = {"low": {source: levels[0]}, "high": {source: levels[1]}}
        frames, means = moved(model, rows, worlds, seed=seed), {}
        for world in worlds:
            settings: dict[str, Any] = {"copies": copies, "seed": seed, "marginal": covariates, "noise": False}
            run = Copies(model, frames[world], self.plan, states=1, **settings)
            means[world] = run.all().mean.mean((0, 1))
        finite = self._sites[source].cardinality is not None
        step = torch.ones(len(rows)).double() if finite else (levels[1] - levels[0]).double()
        pinned = torch.from_numpy(means["high"] - means["low"])
        return self.tensor(frames["low"]), self.tensor(frames["high"]), step, pinned, levels[2]

    def _change(self, predict: Predict) -> Tensor:
        """Changes of the prediction, ``(source, unit, class or 1)``."""
        weights: Any = getattr(predict, "parameters", None)
        first: Any = next(iter(list(weights())), None) if isinstance(predict, torch.nn.Module) else None
        worlds = self._worlds if first is None else self._worlds.to(first.device, first.dtype)
        flat = worlds.flatten(0, 2)
        if not callable(predict):
            raise ArgumentError(
                f"{predict!r} is no function of a tensor: a penalty follows gradients through a torch model. Of other "
                "predictors take pcm.interventional_risk or pcm.twins; pcm.augment trains them."
            )
        try:
            out = predict(flat)
        except RuntimeError as error:
            raise ArgumentError(
                f"the model cannot read {tuple(flat.shape)} numbers, a row of {listed(self.columns)} each: {error}"
            ) from error
        if not isinstance(out, Tensor) or out.shape[:1] != flat.shape[:1] or out.dim() > 2:
            found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ArgumentError(
                f"the model maps ({len(flat)}, {flat.shape[1]}) to predictions ({len(flat)},), ({len(flat)}, 1) or "
                f"({len(flat)}, class); found {found}."
            )
        if not out.detach().isfinite().all():
            raise ArgumentError(f"the model's predictions are not finite for {_rows(~out.detach().isfinite())} rows.")
        out = out.reshape(*worlds.shape[:3], -1)
        return out[:, 1] - out[:, 0]

    def _off(self, predict: Predict) -> Tensor:
        change = self._change(predict)
        return change - self._pinned_as(change).to(change)

    def _pinned_as(self, change: Tensor) -> Tensor:
        """The target's changes, as many numbers a unit as the model's."""
        pinned, classes = _last(self._pinned), change.shape[-1]
        if classes == 1 < pinned.shape[-1] and (pinned.shape[-1] == 2 or self._sites[self.outcome].ordered):
            # one number for ordered classes is the expected code, of two the second's probability
            pinned = pinned @ torch.arange(pinned.shape[-1], dtype=pinned.dtype)[:, None]
        if classes != pinned.shape[-1]:
            raise ArgumentError(
                f"the model gives {classes} numbers a row; '{self.outcome}' has {pinned.shape[-1]} (probabilities, "
                "where it is a class)."
            )
        return pinned

    def __repr__(self) -> str:
        return (
            f"Violation of {self.outcome} by {', '.join(self.plan.sources)} ({self.kind}, {self.units:,} units, inputs "
            f"{', '.join(self.inputs)})"
        )


class AugmentedLagrangian:
    """Requirements as constraints on training: ``Σ λ_c r_c + ρ/2 r_c²``, the multipliers raised between rounds.

    ``r`` are :meth:`Violation.residuals`. Add the term to the risk, train, :meth:`update`, and again; at the end the
    residuals are 0 whatever ``ρ``, and ``-λ`` are the shadow prices: what the risk falls by for a unit more effect.

    Examples
    --------
    >>> import torch, pyro, pyro.distributions as dist, pcm
    >>> def program():
    ...     a = pyro.sample("A", dist.Bernoulli(0.5))
    ...     pyro.sample("Y", dist.Normal(a, 1.0))
    >>> v = pcm.Violation(pcm.SCM(program), [pcm.Requirement("A", outcome="Y")], inputs=["A"])
    >>> constraint = v.lagrangian(rho=1.0)
    >>> for _ in range(20):  # of the risk (w - 1)² / 4 the minimum is at w = (1/2 - λ) / (1/2 + ρ)
    ...     weight = ((0.5 - constraint.multipliers) / 1.5).double()
    ...     left = constraint.update(lambda x: x * weight)
    >>> left < 1e-6, round(float(constraint.multipliers), 4)
    (True, 0.5)
    """

    def __init__(self, violation: Violation, rho: float = 10.0) -> None:
        if not isinstance(violation, Violation):
            raise ArgumentError(f"AugmentedLagrangian constrains a pcm.Violation; found {violation!r}.")
        self.violation, self.rho = violation, check_positive(rho, "rho")
        self.multipliers: Tensor = torch.zeros(1)

    def __call__(self, predict: Predict) -> Tensor:
        """The term to add to the risk."""
        found = self.violation.residuals(predict)
        return (self.multipliers.to(found) * found).sum() + self.rho / 2 * found.square().sum()

    def update(self, predict: Predict) -> float:
        """Raise the multipliers by what is left; returns the largest residual."""
        with torch.no_grad():
            found = self.violation.residuals(predict)
        self.multipliers = self.multipliers.to(found) + self.rho * found
        return float(found.abs().max())

    def __repr__(self) -> str:
        return f"AugmentedLagrangian of {self.violation!r}, rho {self.rho:g}, multipliers {self.multipliers.tolist()}"


# -- private ---------------------------------------------------------------------------------------------------------


def _checked(inputs: Sequence[str], sites: Collection[str], outcome: str) -> tuple[str, ...]:
    if isinstance(inputs, str) or not isinstance(inputs, Sequence) or not inputs:
        raise ArgumentError(f"inputs={inputs!r}: a list of the variables that the model reads, in its order.")
    names = check_names(inputs, "inputs", sites)
    if len(set(names)) < len(names):
        raise ArgumentError(f"inputs={inputs!r}: a model reads a variable once.")
    if outcome in names:
        raise ArgumentError(f"'{outcome}' is the outcome; a model does not read what it predicts.")
    return names


def _rows(bad: Tensor) -> int:
    return int(bad.reshape(len(bad), -1).any(1).sum())


def _only(data: pd.DataFrame, covariates: pd.DataFrame | None, model: Any) -> bool:
    """Whether the data have nothing but covariates: fresh units at them are then meant."""
    variables = [name for name, site in model.structure.sites.items() if site.kind == "variable"]
    return covariates is not None and not any(variable_of(name, variables) in variables for name in data)


def _averaging(group: Tensor) -> Tensor:
    """Weights ``(contrast, unit)`` that average each contrast's units."""
    member = torch.nn.functional.one_hot(group).double().T
    member = member[member.sum(1) > 0]
    return member / member.sum(1, keepdim=True)


def _last(pinned: Tensor) -> Tensor:
    """With a last dim for classes, of size 1 for a number."""
    return pinned if pinned.dim() == 3 else pinned[..., None]
