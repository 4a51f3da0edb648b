r"""NHEFS: predicting weight change with sex and race as protected attributes, in 1,566 Americans of 1971 and 1982.

The same people as :mod:`pcm_models.nhefs`, another question: who will put on how much, from what was known in 1971 and
whether they quit. Sex, race and age are roots; every variable depends on all that come before it::

    school         ~ Normal(sex, race, age)                          years of schooling
    smokeintensity ~ Normal(sex, race, age, school)                  cigarettes a day
    wt71           ~ Normal(sex, race, age, school, smokeintensity)  kg
    qsmk           ~ Bernoulli(logit of all of these)                quit between the visits
    wt82_71        ~ Normal(all of these)                            kg

Declared admissible: what a person decides (``... -> qsmk -> wt82_71``) for both attributes, and for sex also the body's
own weight (``sex -> wt71 -> wt82_71``). Whatever else goes from sex or race to the prediction is not. Whether these
paths are the right ones is a judgement; what each predictor does along them is computed. The graph is an assumption
too: a complete one, in an order of time, with no confounder left out.

Sex is 1 for women, race 1 for "black or other", qsmk 1 for those who quit; age in years.

References
----------
Hernán & Robins, *Causal Inference: What If*, Chapman & Hall/CRC 2020, §12.1: quitters gained 4.5 kg, others 2.0.
Chiappa, "Path-specific counterfactual fairness", AAAI 2019.

>>> import pcm
>>> [r.label for r in requirements()]
['race: race → ... → qsmk → wt82_71', 'sex: sex → ... → qsmk → wt82_71, sex → wt71 → wt82_71']
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pcm_models import nhefs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare", "fit", "load", "program", "requirements", "truth"]

INPUTS = ("sex", "race", "age", "school", "smokeintensity", "wt71", "qsmk")
OUTCOME = "wt82_71"
PROTECTED = ("race", "sex")

truth = {
    "mean weight change of those who quit, kg": (4.525079, 0.435576, "the data; the book, §12.1: 4.5"),
    "mean weight change of the others, kg": (1.984498, 0.218813, "the data; the book, §12.1: 2.0"),
}


def program(n: int, *, sex: Tensor, race: Tensor, age: Tensor) -> None:
    """Schooling, smoking, weight, quitting and weight change, each given all that comes before it.

    Parameters
    ----------
    n : int
        Number of people.
    sex, race : Tensor, shape (unit,)
        1 for women, 1 for "black or other".
    age : Tensor, shape (unit,)
        Years.
    """
    weights = {name: pyro.sample(f"to {name}", dist.Normal(torch.zeros(k + 1), 50.0).to_event(1)) for name, k in _STEPS}
    spread = {name: pyro.sample(f"spread of {name}", dist.HalfNormal(50.0)) for name, _ in _STEPS if name != "qsmk"}
    columns = [torch.ones_like(age), sex, race, age]
    with pyro.plate("units", n):
        for name, _ in _STEPS:
            level = torch.stack(columns, -1) @ weights[name]
            law = dist.Bernoulli(logits=level) if name == "qsmk" else dist.Normal(level, spread[name])
            columns.append(pyro.sample(name, law))


_STEPS = [(name, 3 + place) for place, name in enumerate((*INPUTS[3:], OUTCOME))]


def load() -> pd.DataFrame:
    """The 1,566 people with a weight in 1982, a row each, named by ``seqn``.

    Raises
    ------
    DataError
        The package ``causaldata`` is not installed.
    """
    return nhefs.study(INPUTS[:-1])


def requirements() -> list[Any]:
    """How a prediction may respond to race and to sex."""
    import pcm

    decision = " -> ... -> qsmk -> wt82_71"
    return [
        pcm.path_specific_fairness("race", outcome=OUTCOME, admissible=[f"race{decision}"]),
        pcm.path_specific_fairness("sex", outcome=OUTCOME, admissible=[f"sex{decision}", "sex -> wt71 -> wt82_71"]),
    ]


def fit(people: pd.DataFrame) -> Any:
    """The model at its maximum likelihood in these people: a regression a variable.

    Returns
    -------
    SCM
    """
    from sklearn.linear_model import LinearRegression, LogisticRegression

    given: dict[str, Any] = {}
    for name, count in _STEPS:
        x, y = people[[*INPUTS, OUTCOME][:count]].to_numpy(), people[name].to_numpy()
        if name == "qsmk":
            scale = x.std(0)
            found = LogisticRegression(C=1e6, max_iter=1_000).fit((x - x.mean(0)) / scale, y)
            slopes = found.coef_[0] / scale
            given[f"to {name}"] = torch.tensor([found.intercept_[0] - slopes @ x.mean(0), *slopes])
            continue
        line = LinearRegression().fit(x, y)
        given[f"to {name}"] = torch.tensor([line.intercept_, *line.coef_])
        given[f"spread of {name}"] = torch.tensor((y - line.predict(x)).std())
    return _model().given(**given)


def compare(people: pd.DataFrame, *, splits: int = 50, seed: int = 0) -> pd.DataFrame:
    """Risk of the faithful predictor and of trivial ones in people whom none has seen, and what each makes of sex and
    race: a row a predictor, mean and 5th and 95th percentile over random halves.

    ``risk`` is the mean squared error (kg²). ``effect`` of an attribute is the mean change of the prediction (kg) when
    the other half's people are replayed from one value of it to the other; ``pinned`` is what the requirements allow,
    which is the last row, from everybody. ``difference`` by attribute is that between the groups' mean predictions.

    Returns
    -------
    DataFrame
        Columns ``(figure, "mean" | "low" | "high")``.
    """
    import pandas as pd

    rng, found = np.random.default_rng(seed), []
    for split in range(splits):
        order = rng.permutation(len(people))
        train, test = people.iloc[order[: len(people) // 2]], people.iloc[order[len(people) // 2 :]]
        found.append(_one(train, test, seed + split))
    table = pd.concat(found, keys=range(splits), names=["split", "predictor"])
    grouped = table.groupby("predictor", sort=False)
    parts = {"mean": grouped.mean(), "low": grouped.quantile(0.05), "high": grouped.quantile(0.95)}
    found: Any = pd.concat(parts, axis=1).swaplevel(axis=1)[list(table.columns)]
    pinned = _faithful(people, seed).gaps()["pinned"]
    for name in PROTECTED:
        found.loc["pinned", (f"effect of {name}", "mean")] = pinned[name]
    return found


# -- private ---------------------------------------------------------------------------------------------------------


@cache
def _model() -> Any:
    import pcm

    return pcm.SCM(program)


def _faithful(people: pd.DataFrame, seed: int) -> Any:
    import pcm

    settings: dict[str, Any] = {"requirements": requirements(), "states": 2, "copies": 4, "seed": seed}
    return pcm.CausalRegressor(fit(people), OUTCOME, **settings).fit(people)


def _one(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> pd.DataFrame:
    """One split: a row a predictor."""
    import pandas as pd

    faithful = _faithful(train, seed)
    predictors = {"faithful": faithful.predict, **_trivial(train)}
    worlds = {f"{name} {level}": {name: level} for name in PROTECTED for level in (0.0, 1.0)}
    cf = faithful.scm.counterfactual(test, worlds=worlds, draws=1, seed=seed)
    there = {
        world: pd.DataFrame({name: cf.draws(name, world)[0] for name in INPUTS}, index=test.index) for world in worlds
    }
    rows = {}
    for label, predict in predictors.items():
        here = predict(test)
        rows[label] = {"risk": ((test[OUTCOME] - here) ** 2).mean()}
        for name in PROTECTED:
            change = predict(there[f"{name} 1.0"]) - predict(there[f"{name} 0.0"])
            rows[label][f"effect of {name}"] = change.mean()
        for name in PROTECTED:
            rows[label][f"difference by {name}"] = here[test[name] == 1].mean() - here[test[name] == 0].mean()
    return pd.DataFrame.from_dict(rows, orient="index")


def _trivial(train: pd.DataFrame) -> dict[str, Any]:
    from sklearn.linear_model import LinearRegression

    rest = [name for name in INPUTS if name not in PROTECTED]
    mean = train[OUTCOME].mean()
    unaware = LinearRegression().fit(train[rest], train[OUTCOME])
    parents = LinearRegression().fit(train[list(INPUTS)], train[OUTCOME])
    # what sex and race tell of every other input is taken from it, so that no group's mean prediction is higher
    groups = LinearRegression().fit(train[list(PROTECTED)], train[rest])
    parity = LinearRegression().fit(train[rest] - groups.predict(train[list(PROTECTED)]), train[OUTCOME])
    return {
        "constant": lambda rows: np.full(len(rows), mean),
        "unaware": lambda rows: unaware.predict(rows[rest]),
        "demographic parity": lambda rows: parity.predict(rows[rest] - groups.predict(rows[list(PROTECTED)])),
        "parents only": lambda rows: parents.predict(rows[list(INPUTS)]),
    }
