r"""The risk of a fitted predictor in every world of a declared family of interventions, and the worst of them.

``R(i) = E_i[loss(Y, f(inputs))]`` under each intervention ``i``; the same units with the same noise are used in all, so
that differences between interventions carry little Monte-Carlo error. Under a fitted model every draw of its
parameters has units of its own, and intervals are over both.

Of shifts ``do(v = natural v + δ)``, ``‖δ‖ ≤ γ`` standard deviations, the risk is followed as a function of ``δ``: a
quadratic through it (exact for linear predictors of linear programs under squared loss) has its maximum in the ball
found, and what is reported is the largest risk that was *evaluated*, there or at another direction tried.

>>> import pyro, pyro.distributions as dist, pcm
>>> def program():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Normal(x, 1.0))
>>> found = interventional_risk(lambda rows: 0.5 * rows["x"], pcm.SCM(program), {"x": 2.0}, outcome="y", units=50_000)
>>> round(found.risk, 1), round(found.observational, 2)  # 1 + (2 - 1)², 1 + .25
(2.0, 1.25)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from pcm.arguments import check_count, check_probability, check_seed
from pcm.errors import ArgumentError, DataError, listed
from pcm.notebook import Shown
from pcm.predict.baselines import AnchorRegression, ParentsOnly
from pcm.predict.design import variable_of
from pcm.predict.family_of_worlds import Shifts, read_family, shifted, worst_in_ball
from pcm.predict.reading import Reader, outcome_name
from pcm.query.model import Model, model_of
from pcm.query.sampling import sample
from pcm.worlds import lane_count

__all__ = ["InterventionalRisk", "interventional_risk"]

Array = NDArray[np.float64]
_LOSSES = ("squared", "log")
#: Interventions that a plot has room for, and the ratio of risks beyond which its axis is logarithmic.
_SHOWN, _ORDERS = 20, 100.0
#: Shifts, in standard deviations, by which an unbounded family is judged.
_FAR = (10.0, 1_000.0)


def interventional_risk(
    model: Any,
    scm: Any,
    family: Any,
    *,
    outcome: str | None = None,
    inputs: Sequence[str] | None = None,
    loss: str | None = None,
    units: int = 10_000,
    draws: int = 16,
    data: pd.DataFrame | None = None,
    baselines: bool | Mapping[str, Any] = False,
    seed: int = 0,
) -> InterventionalRisk:
    """Risk of a fitted predictor under every intervention of a family; the worst case and where it is.

    Parameters
    ----------
    model : estimator or callable
        Fitted: :class:`CausalRegressor`, anything of scikit-learn's form, or a function of a DataFrame. A classifier's
        ``predict_proba`` is used.
    scm : SCM
        The world that it is tried in; of a fitted one, ``draws`` draws of its parameters.
    family : dict, list, Grid, Shifts, or "unbounded"
        An intervention as ``do`` takes it (constants, distributions, functions: new mechanisms); a list of them; a dict
        of names to them; every setting of a grid; shifts of a bounded size; ``"unbounded"`` is every shift of the
        outcome's numeric parents.
    outcome : str, optional
        What is predicted; not needed where the predictor says it.
    inputs : sequence of str, optional
        Columns that the predictor is given; by default those it was fitted with, else all but the outcome.
    loss : {"squared", "log"}, optional
        By default squared error, and log loss (nats) of a finite outcome.
    units : int
        Fresh units, altogether; a program with covariates has as many as ``data`` has rows.
    draws : int
        At most so many draws of the parameters.
    data : DataFrame, optional
        Covariates; and the rows that baselines learn from.
    baselines : bool, or dict of name to fitted predictor
        True: also a constant, least squares (logistic regression) on the parents alone, and, of bounded shifts of
        variables without causes, anchor regression with these as anchors; learned from ``data``.
    seed : int

    Returns
    -------
    InterventionalRisk

    Raises
    ------
    ArgumentError
        A family that is none, an intervention on the outcome, a loss that does not fit.

    Examples
    --------
    >>> import pyro, pyro.distributions as dist, pcm
    >>> def program():
    ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
    ...     pyro.sample("y", dist.Normal(x, 1.0))
    >>> scm = pcm.SCM(program)
    >>> half = lambda rows: 0.5 * rows["x"]
    >>> found = pcm.interventional_risk(half, scm, pcm.Shifts(["x"], gamma=2.0), outcome="y", units=50_000)
    >>> abs(found.risk - 2.25) < 0.03  # 1.25 + (2 / 2)²
    True
    """
    base = model_of(scm)
    check_count(draws, "draws")
    check_seed(seed)
    if data is None or not scm.covariates:
        check_count(units, "units")
    if data is not None and not isinstance(data, pd.DataFrame):
        raise DataError(f"data= is a DataFrame; found {type(data).__name__}.")
    if not isinstance(baselines, bool | Mapping):
        raise ArgumentError(f"baselines={baselines!r}: True, or a dict of name to fitted predictor.")
    name = outcome_name(model, outcome, base.structure.sites)
    made = read_family(family, base, name)
    finite = base.structure.sites[name].cardinality
    labels = None if finite is None else base.categories.get(name, tuple(range(finite)))
    chosen = loss or ("squared" if labels is None else "log")
    if chosen not in _LOSSES or (chosen == "log" and labels is None):
        raise ArgumentError(f"loss={loss!r}: {listed(_LOSSES)}, the second for a finite outcome alone.")
    readers = {"": Reader(model, name, labels, inputs)}
    for key, each in (
        _baselines(scm, name, made, data, labels) if baselines is True else dict(baselines or {})
    ).items():
        readers[key] = Reader(each, name, labels, None)
    trial = _Trial(base, readers, name, labels, chosen, units, draws, data, seed)
    before = trial.losses(base)
    endless: Any = np.zeros(len(readers), dtype=bool)
    if isinstance(made, Shifts):
        rows, endless = _over_shifts(trial, made, base, before)
    else:
        rows = [(key, trial.losses(base.do(each))) for key, each in made]
    return InterventionalRisk(name, chosen, family, before, rows, list(readers), endless)


class InterventionalRisk(Shown):
    """Risks under a family of interventions; made by :func:`pcm.interventional_risk`.

    Attributes
    ----------
    outcome, loss : str

    Examples
    --------
    >>> import pyro, pyro.distributions as dist, pcm
    >>> def program():
    ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
    ...     pyro.sample("y", dist.Normal(x, 1.0))
    >>> found = pcm.interventional_risk(lambda rows: 0 * rows["x"], pcm.SCM(program), [{"x": 0}, {"x": 3}], outcome="y")
    >>> found.argmax, list(found.to_dataframe().columns)
    ('do(x = 3)', ['risk', 'se', 'low', 'high'])
    """

    def __init__(
        self,
        outcome: str,
        loss: str,
        family: Any,
        before: Array,
        rows: list[tuple[str, Array]],
        predictors: list[str],
        endless: NDArray[np.bool_],
    ) -> None:
        self.outcome, self.loss, self.family, self._predictors = outcome, loss, family, predictors
        # losses (predictor, draw, unit) by intervention
        self._before, self._rows, self._endless = before, dict(rows), endless

    @property
    def risk(self) -> float:
        """The worst risk over the family; infinite where an unbounded family has no worst."""
        return self._worst(0)[1]

    @property
    def argmax(self) -> str:
        """The intervention under which the risk is worst."""
        return self._worst(0)[0]

    @property
    def observational(self) -> float:
        """The risk without any intervention."""
        return float(self._before[0].mean())

    def interval(self, probability: float = 0.9, intervention: str | None = None) -> tuple[float, float]:
        """Interval of the risk under an intervention, by default the worst one."""
        if intervention is not None and intervention not in self._rows:
            raise ArgumentError(f"{intervention!r} is none of {listed(self._rows)}.")
        if intervention is None and np.isinf(self.risk):
            return np.inf, np.inf
        return _interval(self._rows[intervention or self.argmax][0], probability)

    def to_dataframe(self, probability: float = 0.9) -> pd.DataFrame:
        """Risk, standard error and interval: a row an intervention, the first without any."""
        table = {}
        for name, losses in {"observational": self._before, **self._rows}.items():
            low, high = _interval(losses[0], probability)
            table[name] = {"risk": losses[0].mean(), "se": _error(losses[0]), "low": low, "high": high}
        return pd.DataFrame.from_dict(table, orient="index").rename_axis("intervention")

    @property
    def baselines(self) -> pd.DataFrame:
        """The predictor beside its baselines: risk without intervention, the worst one, and where: a row each."""
        rows = {}
        for place, name in enumerate(self._predictors):
            where, worst = self._worst(place)
            rows[name or "predictor"] = {
                "observational": self._before[place].mean(),
                "worst": worst,
                "argmax": where,
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("predictor")

    def plot(self, probability: float = 0.9) -> Any:
        """Risk under each intervention (the worst 20 of more) with its interval; the line is the risk without any."""
        from pcm.figures.plots import interval_rows

        table = self.to_dataframe(probability).iloc[1:]
        words = "mean squared error" if self.loss == "squared" else "log loss, nats"
        if len(table) > _SHOWN:
            words = f"{words}, the {_SHOWN} worst of {len(table)}"
            table = table.loc[table["risk"].nlargest(_SHOWN).index]
        smallest = min(table["low"].min(), self.observational)
        return interval_rows(
            list(table.index),
            table["risk"],
            table["low"],
            table["high"],
            reference=self.observational,
            xlabel=f"{words} (dashed: without intervention)",
            log=bool(smallest > 0 and table["high"].max() > _ORDERS * smallest),
        )

    def _worst(self, place: int) -> tuple[str, float]:
        means = {name: float(losses[place].mean()) for name, losses in self._rows.items()}
        name = max(means, key=lambda key: means[key])
        return name, float("inf") if self._endless[place] else means[name]

    def __repr__(self) -> str:
        low, high = self.interval()
        return (
            f"InterventionalRisk of {self.outcome}: {self.observational:.4g} without intervention, worst "
            f"{self.risk:.4g} [{low:.4g}, {high:.4g}] under {self.argmax} ({self.loss}, {len(self._rows)} tried)"
        )


# -- private ---------------------------------------------------------------------------------------------------------


class _Trial:
    """Fresh units under any intervention, with the same noise and parameters; losses of every predictor there."""

    def __init__(
        self,
        model: Model,
        readers: dict[str, Reader],
        outcome: str,
        labels: Sequence[Any] | None,
        loss: str,
        units: int,
        draws: int,
        data: pd.DataFrame | None,
        seed: int,
    ) -> None:
        self.readers, self.outcome, self.labels, self.loss, self.seed = readers, outcome, labels, loss, seed
        found = model.parameters(draws, seed, prior=False)
        count = lane_count(found)
        self.given = [{name: found[name][k] for name in model.free} for k in range(count)]
        covariates = list(model.structure.covariates)
        if covariates and data is None:
            raise ArgumentError(f"the program has covariates ({listed(covariates)}): pass data= with their columns.")
        self.rows = data[covariates].reset_index(drop=True) if covariates and data is not None else None
        self.units = None if self.rows is not None else max(units // count, 2)

    def frame(self, model: Model) -> pd.DataFrame:
        """Units under a model, those of one draw of the parameters after those of another."""
        frames = [sample(model.fix(given), self.units, self.rows, self.seed + k) for k, given in enumerate(self.given)]
        return pd.concat(frames, ignore_index=True)

    def losses(self, model: Model) -> Array:
        """``(predictor, draw, unit)``."""
        rows = self.frame(model)
        column = rows[self.outcome]
        if self.labels is None:
            truth = column.to_numpy(dtype=np.float64)
            found = [(truth - reader(rows)) ** 2 for reader in self.readers.values()]
        else:
            code = column.map(list(self.labels).index).to_numpy(dtype=np.int64)
            found = [self._of_classes(reader(rows), code) for reader in self.readers.values()]
        return np.stack(found).reshape(len(found), len(self.given), -1)

    def _of_classes(self, chance: Array, code: NDArray[np.int64]) -> Array:
        if chance.ndim != 2:
            raise ArgumentError(f"'{self.outcome}' has {len(self.labels or ())} classes: give their probabilities.")
        if self.loss == "squared":  # Brier's
            return ((chance - np.eye(chance.shape[1])[code]) ** 2).sum(1) / (2 if chance.shape[1] == 2 else 1)
        return -np.log(np.clip(chance[np.arange(len(code)), code], 1e-15, None))


def _over_shifts(trial: _Trial, family: Shifts, model: Model, before: Array) -> tuple[list[tuple[str, Array]], Array]:
    """Losses at every shift tried, and of which predictors the risk grows without end."""
    names, size = family.variables, len(family.variables)
    plain = trial.frame(model)
    sd = np.array([plain[name].std() or 1.0 for name in names])
    radius = family.gamma if np.isfinite(family.gamma) else _FAR[0]
    rows: dict[str, Array] = {"no shift": before}

    def risks(place: Array) -> Array:
        amounts = dict(zip(names, place * sd, strict=True))
        name = ", ".join(f"{key} {amount:+.3g}" for key, amount in amounts.items() if amount) or "no shift"
        if name not in rows:
            rows[name] = trial.losses(shifted(model, amounts))
        return rows[name].mean((1, 2))

    axes, at = np.eye(size), before.mean((1, 2))
    up, down = (np.array([risks(sign * radius * axis) for axis in axes]) for sign in (1, -1))
    slopes = (up - down).T / (2 * radius)  # (predictor, variable)
    curvature = np.einsum("kp,kj->pkj", (up + down - 2 * at) / (2 * radius**2), axes)
    for i in range(size):
        for j in range(i):
            level = risks(radius * (axes[i] + axes[j]) / 2**0.5) - at
            level -= radius / 2**0.5 * (slopes[:, i] + slopes[:, j])
            mixed = level / radius**2 - (curvature[:, i, i] + curvature[:, j, j]) / 2
            curvature[:, i, j] = curvature[:, j, i] = mixed
    tried = [*axes, *-axes] + [worst_in_ball(b, c, radius) / radius for b, c in zip(slopes, curvature, strict=True)]
    others = np.random.default_rng(0).normal(size=(4 * size if size > 1 else 0, size))
    tried += list(others / np.linalg.norm(others, axis=1, keepdims=True))
    near = np.max([risks(radius * each) for each in tried], axis=0)
    if np.isfinite(family.gamma):
        return list(rows.items()), np.zeros(len(near), dtype=bool)
    far = np.max([risks(_FAR[1] * each) for each in tried], axis=0)
    return list(rows.items()), far > 1.5 * np.maximum(near, at) + 1e-9


def _interval(losses: Array, probability: float) -> tuple[float, float]:
    """Of the mean, from ``(draw, unit)``: over parameter draws, else over units."""
    check_probability(probability)
    if len(losses) > 1:
        low, high = np.quantile(losses.mean(1), [(1 - probability) / 2, (1 + probability) / 2])
        return float(low), float(high)
    half = float(ndtri((1 + probability) / 2)) * _error(losses)
    return float(losses.mean()) - half, float(losses.mean()) + half


def _error(losses: Array) -> float:
    return float(losses.std(ddof=1) / losses.size**0.5)


def _baselines(
    scm: Any, outcome: str, family: Any, data: pd.DataFrame | None, labels: Sequence[Any] | None
) -> dict[str, Any]:
    if data is None or outcome not in data:
        raise ArgumentError(f"baselines=True learns them from data=, rows with '{outcome}'; give those.")
    seen = {variable_of(name, scm._model.structure.sites) for name in data}
    hidden = [name for name in scm.graph.pred[outcome] if name not in seen]
    made: dict[str, Any] = {"parents only": ParentsOnly(scm, outcome, hidden=hidden).fit(data)}
    if labels is None:
        mean = data[outcome].to_numpy(dtype=np.float64).mean()
        made["constant"] = lambda rows: np.full(len(rows), mean)
        roots = isinstance(family, Shifts) and all(v in data and not [*scm.graph.pred[v]] for v in family.variables)
        if isinstance(family, Shifts) and roots and np.isfinite(family.gamma):
            below = [outcome, *family.variables, *scm.graph.successors(outcome)]
            numbers = [name for name in data if name not in below and data[name].dtype.kind in "fiu"]
            # natural values and a shift of γ standard deviations have 1 + γ² times their second moment
            anchor = AnchorRegression(outcome, anchors=family.variables, gamma=1 + family.gamma**2, inputs=numbers)
            made["anchor regression"] = anchor.fit(data)
    else:
        shares = np.array([(data[outcome] == label).mean() for label in labels])
        made["constant"] = lambda rows: np.tile(shares, (len(rows), 1))
    return made
