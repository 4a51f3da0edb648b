"""The same predictor asked about a row and about its counterfactual twins: who would have been told something else?

A twin is the same unit, with its own noise, had a source been another. Under uniform invariance (no admissible path) a
predictor tells both the same: exactly so where every variable on the way gives its noise away. Elsewhere the twins of a
row are several, and the differences are a distribution.

>>> import pyro, pyro.distributions as dist, pcm
>>> def program():
...     a = pyro.sample("A", dist.Bernoulli(0.5))
...     z = pyro.sample("Z", dist.Normal(2.0 * a, 1.0))
...     pyro.sample("Y", dist.Normal(z + a, 1.0))
>>> scm = pcm.SCM(program)
>>> rows = scm.sample(500, seed=0)
>>> fair = pcm.CausalRegressor(scm, "Y", requirements=[pcm.Requirement("A", outcome="Y")]).fit(rows)
>>> twins(fair, scm, rows, "A").max < 1e-6
True
>>> unaware = twins(lambda people: people["Z"], scm, rows, "A", outcome="Y")
>>> unaware.quantile(0.5)
2.0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pcm.arguments import check_count, check_probability, check_seed
from pcm.errors import ArgumentError, DataError, QueryError, UnknownNameError
from pcm.graph import descendants
from pcm.io.frames import read_evidence
from pcm.notebook import Shown
from pcm.predict.design import variable_of
from pcm.predict.moved import frame_in, in_worlds
from pcm.predict.reading import Reader, outcome_name
from pcm.query.evidence import columns_of
from pcm.query.model import Model, model_of

__all__ = ["Twins", "twins"]

Array = NDArray[np.float64]
#: Differences below it are those of floating-point numbers.
_ROUNDING = 1e-9
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


def twins(
    model: Any,
    scm: Any,
    data: Any,
    source: str,
    *,
    levels: Sequence[Any] | None = None,
    outcome: str | None = None,
    inputs: Sequence[str] | None = None,
    draws: int = 16,
    seed: int = 0,
) -> Twins:
    """Differences between what a predictor says of rows and of their counterfactual twins.

    Parameters
    ----------
    model : estimator or callable
        Fitted; a classifier is compared by its probabilities.
    scm : SCM
    data : DataFrame
        Rows. What they have is evidence about their noise, the outcome too; the predictor does not see it.
    source : str
        What the twins differ in, and whatever follows from it.
    levels : sequence, optional
        Of the source; by default every category, or the quantiles .1, .3, .5, .7, .9 of the rows' own values.
    outcome, inputs
        As :func:`pcm.interventional_risk` has them.
    draws : int
        Twins of a row at each level, where its noise or the model's parameters are uncertain; else there is one.
    seed : int

    Raises
    ------
    DataError
        The rows do not have the source, or not everywhere.

    Examples
    --------
    >>> import pyro, pyro.distributions as dist, pcm
    >>> def program():
    ...     a = pyro.sample("A", dist.Bernoulli(0.5))
    ...     pyro.sample("Y", dist.Bernoulli(logits=a))
    >>> scm = pcm.SCM(program)
    >>> found = pcm.twins(lambda rows: 0.3 + 0.2 * rows["A"], scm, scm.sample(100, seed=0), "A", outcome="Y")
    >>> round(found.max, 9), found.settled
    (0.2, True)
    """
    base = model_of(scm)
    check_count(draws, "draws")
    check_seed(seed)
    sites = base.structure.sites
    if not isinstance(source, str) or source not in sites:
        raise UnknownNameError(source, known=list(sites))
    name = outcome_name(model, outcome, sites)
    if not isinstance(data, pd.DataFrame) or source not in data or data[source].isna().to_numpy().any():
        raise DataError(f"data= is a DataFrame with '{source}' in every row: twins differ from their row in it.")
    if not len(data):
        raise DataError("data= has no rows.")
    if source == name:
        raise ArgumentError(f"'{source}' is what is predicted; twins differ in another variable.")
    read_evidence(data[[source]], columns_of(base, [source]))  # what is no value of it is refused
    if not sites[source].scalar or sites[source].inner:
        raise QueryError(f"'{source}' has several values a unit; twins differ in one number or label.")
    finite = sites[name].cardinality
    labels = None if finite is None else base.categories.get(name, tuple(range(finite)))
    reader = Reader(model, name, labels, inputs)
    if levels is not None and (isinstance(levels, str) or not isinstance(levels, Sequence | np.ndarray)):
        raise ArgumentError(f"levels={levels!r}: a list of values of '{source}' is needed.")
    chosen = list(levels) if levels is not None else _levels(base, data, source)
    rows: Any = data[[each for each in data if variable_of(each, sites) in sites]]
    worlds: dict[str, dict[str, Any]] = {str(place): {source: level} for place, level in enumerate(chosen)}
    settled = _settled(base, rows, source, name)
    count = 1 if settled else draws
    cf = in_worlds(base, rows, worlds, draws=count, seed=seed)
    own = reader(data)
    extra = data[[each for each in data if variable_of(each, sites) not in sites]]
    found = np.empty((len(chosen), count, *own.shape))
    for place, world in enumerate(worlds):
        for draw in range(count):
            there: Any = frame_in(base, cf, world, draw)[list(rows)]
            found[place, draw] = reader(pd.concat([there, extra], axis=1)[list(data)]) - own
    code: Any = base.categories.get(source)
    same = np.stack([(data[source] == (code[level] if _is_code(level, code) else level)) for level in chosen])
    found[np.broadcast_to(same[:, None], found.shape[:3])] = np.nan  # a row is no twin of itself
    if same.all():
        raise DataError(f"'{source}' has one value in these rows and in levels=: nobody differs from their row in it.")
    if labels is not None and len(labels) == 2:
        found = found[..., 1]
    return Twins(found, source, name, chosen, data.index, settled)


class Twins(Shown):
    """Differences between a prediction for a row and for its twins; made by :func:`pcm.twins`.

    Attributes
    ----------
    differences : array ``(level, draw, row)``, or ``(level, draw, row, class)`` of more than two classes
        The twin's prediction less the row's own; NaN at the row's own level.
    source, outcome : str
    levels : list
    settled : bool
        Whether a row has one twin at each level: everything is seen, known, and gives its noise away.

    Examples
    --------
    >>> import pcm
    >>> found = pcm.Twins(np.array([[[0.0, 0.2]], [[-0.1, np.nan]]]), "A", "Y", [0, 1], pd.RangeIndex(2), True)
    >>> found
    Twins by A: predictions of Y differ by at most 0.2, by 0.1 in the mean (2 rows, 2 levels)
    """

    def __init__(
        self, differences: Array, source: str, outcome: str, levels: list[Any], index: pd.Index, settled: bool
    ) -> None:
        self.differences, self.source, self.outcome = differences, source, outcome
        self.levels, self.index, self.settled = levels, index, settled

    @property
    def max(self) -> float:
        """The largest absolute difference."""
        return float(np.nanmax(np.abs(self.differences), initial=0.0))

    @property
    def mean(self) -> float:
        """The mean absolute difference."""
        return float(np.nanmean(np.abs(self.differences)))

    def quantile(self, level: float) -> float:
        """A quantile of the absolute differences."""
        return float(np.nanquantile(np.abs(self.differences), check_probability(level, "a quantile's level")))

    def to_dataframe(self) -> pd.DataFrame:
        """A row a row: its mean difference, its mean and largest absolute one."""
        flat = np.moveaxis(self.differences, 2, -1).reshape(-1, len(self.index))
        counted = np.maximum((~np.isnan(flat)).sum(0), 1)
        size = np.nan_to_num(np.abs(flat))
        return pd.DataFrame(
            {"mean": np.nan_to_num(flat).sum(0) / counted, "mean_size": size.sum(0) / counted, "largest": size.max(0)},
            index=self.index,
        )

    def plot(self) -> Any:
        """The distribution of the differences."""
        from pcm.figures.plots import density

        flat = self.differences[~np.isnan(self.differences)]
        flat = np.where(np.abs(flat) < _ROUNDING, 0.0, flat)
        return density(flat, reference={"none": 0.0}, xlabel=f"twin's prediction of {self.outcome} less the row's own")

    def __repr__(self) -> str:
        return (
            f"Twins by {self.source}: predictions of {self.outcome} differ by at most {self.max:.3g}, by "
            f"{self.mean:.3g} in the mean ({len(self.index):,} rows, {len(self.levels)} levels)"
        )


# -- private ---------------------------------------------------------------------------------------------------------


def _levels(model: Model, data: pd.DataFrame, source: str) -> list[Any]:
    site, labels = model.structure.sites[source], model.categories.get(source)
    if labels is not None:
        return list(labels)
    if site.cardinality is not None:
        return list(range(site.cardinality))
    found = np.unique(np.quantile(data[source].to_numpy(dtype=np.float64), _QUANTILES, method="nearest"))
    return [float(each) for each in found]


def _is_code(level: Any, labels: Sequence[Any] | None) -> bool:
    return labels is not None and level not in labels and isinstance(level, int) and level < len(labels)


def _settled(model: Model, rows: Any, source: str, outcome: str) -> bool:
    """Whether there is one twin: all seen, parameters known, and noise given away by what moves."""
    structure = model.structure
    below = descendants(structure.graph, outcome, include_self=True)
    moving = [name for name in descendants(structure.graph, source) if name not in below]
    wanted = [name for name, site in structure.sites.items() if site.kind == "variable" and name not in below]
    seen = {variable_of(each, structure.sites) for each in rows if not rows[each].isna().any()}
    if model.free or not seen.issuperset(wanted):
        return False
    couplings = [structure.sites[name].coupling for name in moving]
    return all(coupling is None or coupling.invertible for coupling in couplings)
