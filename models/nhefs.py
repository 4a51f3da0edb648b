r"""NHEFS: what quitting smoking does to body weight, in 1,566 Americans weighed in 1971 and 1982.

The study of Hernán & Robins, *Causal Inference: What If* (2020), chapters 12 and 13. Treatment: ``qsmk``, quit between
the two visits. Outcome: ``wt82_71``, change of weight in kg. Nine baseline variables are held to be every reason both
to quit and to gain weight (the book's list)::

    qsmk    ~ Bernoulli(logit = x · quitting)                                                  chapter 12
    wt82_71 ~ Normal(x · gaining + qsmk · (effect[0] + effect[1] · intensity), spread)         §13.2

with ``x`` the intercept, sex, race, education, exercise, activity, and age, cigarettes a day, years of smoking and
weight with their squares: the book's 21 coefficients. The book's estimate standardises the regression over the sample
(§13.3); here the same contrast is averaged over the same people, with every coefficient's uncertainty carried through.

Numeric covariates enter as ``(value - centre) / scale``, with public round numbers rather than this sample's. The
priors are wide on that scale (10 kg for a standard deviation of a covariate) and move the effect by under .05 kg.

Data: the National Health and Nutrition Examination Survey I Epidemiologic Follow-up Study, smokers aged 25–74, from the
package ``causaldata``; those with a weight in 1982, as in the book (63 of 1,629 have none).

References
----------
Hernán & Robins, *Causal Inference: What If*, Chapman & Hall/CRC 2020, §12.2, §13.2, §13.3.

>>> import pcm
>>> pcm.SCM(program).graph.edges["qsmk", "wt82_71"]["inert"]
False
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from pcm.report import Report

__all__ = ["BASELINE", "PEOPLE", "categories", "demo", "load", "program", "study", "tell", "truth"]

BASELINE = ("sex", "race", "age", "education", "smokeintensity", "smokeyrs", "exercise", "active", "wt71")
PEOPLE = {  # cigarettes a day in 1971
    428: "man of 43, 30 a day, quit",
    244: "woman of 56, 20 a day, smoked on",
    818: "man of 41, 60 a day, smoked on",
}

categories = {
    "sex": ("male", "female"),
    "race": ("white", "black or other"),
    "education": ("8th grade or less", "high school dropout", "high school", "college dropout", "college or more"),
    "exercise": ("much", "moderate", "little or none"),
    "active": ("very active", "moderately active", "inactive"),
    "qsmk": ("smoked on", "quit"),
}

truth = {
    "crude difference, kg": (2.5405814549558876, 0.48746037, "difference of two means; the book, §12.1: 2.5"),
    "ATE of qsmk on wt82_71, kg": (3.5173742008855324, 0.44028156, "least squares standardised over the sample, §13.3"),
    "ATT of qsmk on wt82_71, kg": (3.427661853444035, 0.43913622, "the same over those who quit"),
    "mean weight change had all quit, kg": (5.273587316351938, 0.37747722, "the same; the book, §13.3: 5.2"),
    "mean weight change had none quit, kg": (1.7562131154664045, 0.21674431, "the same; the book, §13.3: 1.7"),
    "ATE as published, kg": (3.5, 0.48, "Hernán & Robins §13.3: 3.5, bootstrap interval 2.6 to 4.5"),
}

# centre and scale of each number: round figures for adult smokers of the day
_SCALES = {"age": (44.0, 12.0), "smokeintensity": (20.0, 12.0), "smokeyrs": (25.0, 12.0), "wt71": (71.0, 16.0)}
_LEVELS = {name: len(categories[name]) for name in ("education", "exercise", "active")}
_FEATURES = (
    "intercept",
    "female",
    "black or other",
    *categories["education"][1:],
    *(f"exercise {level}" for level in categories["exercise"][1:]),
    *categories["active"][1:],
    *(f"{name}{power}" for name in _SCALES for power in ("", "²")),
)


def program(
    n: int,
    *,
    sex: Tensor,
    race: Tensor,
    age: Tensor,
    education: Tensor,
    smokeintensity: Tensor,
    smokeyrs: Tensor,
    exercise: Tensor,
    active: Tensor,
    wt71: Tensor,
) -> None:
    """Quitting and weight change given what was known in 1971.

    Parameters
    ----------
    n : int
        Number of people.
    sex, race, education, exercise, active : Tensor, shape (unit,)
        Codes, positions in :data:`categories`.
    age, smokeyrs : Tensor, shape (unit,)
        Years.
    smokeintensity : Tensor, shape (unit,)
        Cigarettes a day.
    wt71 : Tensor, shape (unit,)
        Weight in 1971, kg.
    """
    numbers = {"age": age, "smokeintensity": smokeintensity, "smokeyrs": smokeyrs, "wt71": wt71}
    levels = {"education": education, "exercise": exercise, "active": active}
    scaled = {name: (numbers[name] - centre) / scale for name, (centre, scale) in _SCALES.items()}
    columns = [torch.ones_like(age), sex, race]
    columns += [(levels[name] == level).to(age.dtype) for name, count in _LEVELS.items() for level in range(1, count)]
    columns += [value**power for value in scaled.values() for power in (1, 2)]
    x = torch.stack(columns, -1)  # (unit, feature)

    features = torch.zeros(len(_FEATURES))
    quitting = pyro.sample("quitting", dist.Normal(features, 2.0).to_event(1))
    gaining = pyro.sample("gaining", dist.Normal(features, 10.0).to_event(1))
    effect = pyro.sample("effect", dist.Normal(torch.zeros(2), 10.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(20.0))
    with pyro.plate("units", n):
        qsmk = pyro.sample("qsmk", dist.Bernoulli(logits=x @ quitting))
        gain = x @ gaining + qsmk * (effect[0] + effect[1] * scaled["smokeintensity"])
        pyro.sample("wt82_71", dist.Normal(gain, spread))


def load() -> pd.DataFrame:
    """The 1,566 people, a row each, named by ``seqn``; categorical columns are codes (see :data:`categories`).

    Raises
    ------
    DataError
        The package ``causaldata`` is not installed.
    """
    return study(BASELINE)


def study(columns: Iterable[str]) -> pd.DataFrame:
    """The same with these columns of the study, quitting and weight change beside them.

    Raises
    ------
    DataError
        The package ``causaldata`` is not installed.
    """
    try:
        from causaldata import nhefs
    except ImportError:
        raise DataError("the NHEFS data come with the package 'causaldata'; pip install 'pcm-causal[data]'.") from None
    raw: Any = nhefs.load_pandas().data
    raw = raw[raw["wt82_71"].notna()]
    frame = raw[[*columns, "qsmk", "wt82_71"]].copy()
    for name in frame.select_dtypes("category"):  # ordered strings, education's beginning at "1"
        frame[name] = frame[name].cat.codes
    return frame.astype(float).set_index(raw["seqn"].astype(int).rename("seqn"))


def demo(out: Path | str) -> str:
    """Fit the model, ask what would have happened, write one HTML report.

    Parameters
    ----------
    out : path
        Where the report goes.

    Returns
    -------
    str
        The answers, as a table for a terminal.
    """
    from pcm.report import Report

    report = Report("Quitting smoking and body weight", "NHEFS, 1971–1982")
    text = tell(report)
    report.to_html(out)
    return f"{text}\n\nReport: {out}"


def tell(report: Report) -> str:
    """Fit the model, ask what would have happened, add it to a report; the answers, as a table for a terminal."""
    import pcm

    people = load()
    fitted = pcm.SCM(program, categories=categories).fit(people, method="laplace", draws=2000, seed=0)
    ate = pcm.ate(fitted, "qsmk", "wt82_71", data=people, draws=2000, seed=0)
    att = pcm.att(fitted, "qsmk", "wt82_71", treated="quit", data=people, draws=2000, seed=0)
    chosen = people.loc[list(PEOPLE)]
    worlds = {"quit": {"qsmk": "quit"}, "smoked on": {"qsmk": "smoked on"}}
    unit = fitted.counterfactual(chosen, worlds=worlds, draws=2000, seed=0)
    effects, persons = _effects(people, ate, att), _persons(chosen, unit)
    _sections(report, people, fitted, ate, effects, persons, unit.account)
    return _text(people, effects, persons)


# -- private ---------------------------------------------------------------------------------------------------------


def _effects(people: pd.DataFrame, ate: Any, att: Any) -> pd.DataFrame:
    """What quitting adds, kg: a row an estimate."""
    import pandas as pd

    quitters, others = (people.loc[people["qsmk"] == code, "wt82_71"] for code in (1, 0))
    crude = quitters.mean() - others.mean()
    error = 1.96 * (quitters.var() / len(quitters) + others.var() / len(others)) ** 0.5
    rows = {
        "Crude difference, quitters − others": (crude, crude - error, crude + error),
        "Average effect of quitting (ATE)": (ate.mean, *ate.interval(0.95)),
        "  Hernán & Robins, What If, §13.3": (3.5, 2.6, 4.5),
        "Average effect on those who quit (ATT)": (att.mean, *att.interval(0.95)),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])


def _persons(chosen: pd.DataFrame, unit: Any) -> pd.DataFrame:
    """Weight change in fact and in the world where the person chose otherwise, kg: a row a person."""
    import pandas as pd

    rows = {}
    for place, (seqn, who) in enumerate(PEOPLE.items()):
        person = chosen.loc[seqn]
        world = "smoked on" if person["qsmk"] else "quit"
        low, high = unit.interval("wt82_71", 0.95, world)[place]
        asked = f"had {'she' if person['sex'] else 'he'} {world}"
        rows[seqn] = (who, person["wt82_71"], asked, unit.mean("wt82_71", world)[place], low, high)
    columns = ["who", "in fact", "asked", "mean", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("seqn")


def _text(people: pd.DataFrame, effects: pd.DataFrame, persons: pd.DataFrame) -> str:
    quitters, rule = len(people[people["qsmk"] == 1]), "─" * 68
    lines = [f"NHEFS: {len(people):,} smokers weighed in 1971 and in 1982; {quitters} of them quit in between.", ""]
    lines += [f"{'What quitting adds to body weight':<46}{'kg':>5}   95 % interval", rule]
    for label, row in effects.iterrows():
        digits = ".1f" if "§" in str(label) else ".2f"  # the book prints one decimal
        lines += [f"{label:<44}{row['mean']:>7{digits}}   {_span(row, digits)}"]
    lines += ["", f"{'Weight change 1971–82 of three people':<46}{'kg':>5}   95 % interval", rule]
    for seqn, row in persons.iterrows():
        lines += [f"{f'seqn {seqn}: {row.who}':<44}{row['in fact']:>+7.2f}   in fact"]
        lines += [f"  {row['asked']:<42}{row['mean']:>+7.2f}   {_span(row, '+.2f')}"]
    return "\n".join(lines)


def _span(row: Any, digits: str = ".2f") -> str:
    return f"{row['low']:{digits}} to {row['high']:{digits}}"


def _sections(
    report: Report,
    people: pd.DataFrame,
    fitted: Any,
    ate: Any,
    effects: pd.DataFrame,
    persons: pd.DataFrame,
    account: Any,
) -> None:
    from pcm.figures import density, marginals, unit_contrast
    from pcm.report import Picture, Table

    crude, kg = effects["mean"].iloc[0], {"mean": ".2f", "low": ".2f", "high": ".2f"}
    low, high = ate.interval(0.95)
    answers = Table(
        effects.rename_axis("kg").rename(index=str.strip).reset_index(),
        "Difference in weight change; low and high end the 95 % interval.",
        kg,
    )
    effect = density(ate.draws, reference={"crude": crude}, xlabel="average effect of quitting, kg", prob=0.95)
    labels = [f"{seqn}, {row['who']}" for seqn, row in persons.iterrows()]
    picture = unit_contrast(
        labels,
        persons["in fact"],
        persons["mean"],
        persons["low"],
        persons["high"],
        "weight change 1971–82, kg",
        world="had they chosen otherwise",
    )
    summary = fitted.posterior.summary().drop(columns="rhat")
    summary.index = [name for names in _coefficients().values() for name in names]
    draws = {
        name: fitted.posterior[site].reshape(len(fitted.posterior), -1)[:, place].numpy()
        for site, names in _coefficients().items()
        if site != "quitting"
        for place, name in enumerate(names)
    }
    report.section(
        "Quitting smoking and body weight",
        f"NHEFS: {len(people):,} smokers, weighed in 1971 and in 1982. Those who quit put on **{crude:.2f} kg** more "
        "than those who smoked on. They were older and differed in other ways; with what was known in 1971 held equal, "
        f"quitting itself adds **{ate.mean:.2f} kg** (95 % interval {low:.2f} to {high:.2f}). The published "
        "standardisation estimate is 3.5 kg (2.6 to 4.5).",
        answers,
    )
    report.section("Effect", Picture(effect, "Posterior of the average effect, its mean and 95 % interval below it."))
    report.section(
        "People",
        "What each of three people gained or lost, and what the model says they would have, had they chosen otherwise. "
        "Whatever else made them gain or lose is carried over; the interval is what the coefficients leave open.",
        Picture(picture, "Grey: in fact. Orange: had they chosen otherwise, with its 95 % interval."),
        Table(persons, formats={"in fact": "+.2f", **dict.fromkeys(kg, "+.2f")}),
    )
    report.section("Graph", Picture(fitted.graph, "Read off the program. Nine baseline variables are covariates."))
    report.section(
        "Posterior",
        "Coefficients on `(value − centre) / scale`; the first level of a category is the reference.",
        Picture(marginals(draws, columns=4), "The regression of weight change, kg; its mean and 90 % interval below."),
        Table(summary, "`quit:` the log odds of quitting; the others are kg.", {"ess": ".0f"}),
    )
    report.section(
        "What this rests on",
        "- No reason both to quit and to gain weight is left out of the nine baseline variables.\n"
        "- The 63 people without a weight in 1982 are left out as if at random.\n"
        "- The effect varies with cigarettes a day and with nothing else; a person's noise is the same in both worlds.",
        {
            "rung": account.rung,
            "identification": account.identification,
            "parameters": account.parameters,
            "Pareto k-hat": account.khat,
        },
        account.to_dataframe().rename_axis("site"),
    )


def _coefficients() -> dict[str, list[str]]:
    """Readable names of every element of every parameter."""
    return {
        "quitting": [f"quit: {name}" for name in _FEATURES],
        "gaining": list(_FEATURES),
        "effect": ["qsmk", "qsmk × smokeintensity"],
        "spread": ["spread"],
    }
