"""The table of capabilities: pcm and its rivals run, cell by cell, against known answers.

``python -m tests.bench.capabilities [--rows normal bernoulli]`` runs a small program for every cell and prints a
Markdown table. A row has a truth (a closed form, an enumeration, a set of facts) or a culprit that a refusal must name;
a cell returns what the system answered, and its verdict comes from comparing the two. *By hand, N lines* is a right
answer for which the user writes N lines beside the program, because the system has no word for it.

>>> verdict(Row("a half", truth=0.5), Cell(lambda: 0.5))
'yes'
>>> verdict(Row("a half", truth=0.5, wrongs={"fresh noise": 0.0}), Cell(lambda: 0.0))
'no: fresh noise (error 0.5)'
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import logging
import re
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import pyro
import torch
from scipy import stats
from scipy.special import expit

from tests.bench import (
    capability_by_hand,
    capability_effects,
    capability_equations,
    capability_noise,
    capability_numpyro,
    capability_populations,
    capability_private,
    capability_rivals,
    capability_worlds,
)
from tests.bench.capability_cells import CELLS, HOLES, THERE, TRIAL, Cell, Nothing
from tests.bench.capability_effects import STUDY
from tests.bench.capability_equations import KEPT, KEPT_AFRESH, OWN, THREE
from tests.bench.capability_noise import ALIVE, COURSE, COURSE_AFRESH, FORGOTTEN, PRESSURE
from tests.bench.capability_populations import ALONE, DROPPED, FILLED, RAISED, RAISED_AFRESH, SLOPE
from tests.bench.capability_private import EFFECT, HAD, MASSES, NAIVE, TOLD
from tests.bench.capability_worlds import FRESH, LIMIT, SCENARIOS

__all__ = ["CELLS", "ROWS", "SYSTEMS", "Row", "lines_of", "markdown", "run", "systems", "verdict"]

SYSTEMS = {
    "pcm": "pcm-causal",
    "ChiRho": "chirho",
    "DoWhy gcm": "dowhy",
    "Pyro": "pyro-ppl",
    "NumPyro": "numpyro",
}
"""The columns, and the distribution that each is installed from."""


RELEASES = {"OpenDP": "opendp"}
"""A column more for the rows on private noise."""

# importing them registers their cells
_RIVALS = (
    capability_rivals,
    capability_by_hand,
    capability_numpyro,
    capability_effects,
    capability_noise,
    capability_worlds,
    capability_equations,
    capability_populations,
    capability_private,
)


@dataclass(frozen=True)
class Row:
    """One capability.

    Attributes
    ----------
    title : str
    truth : number, array or set
        The known answer.
    tolerance : float
        Largest absolute error of a right answer.
    wrongs : dict of str to number or array
        Known wrong answers (in expectation, for copies of one unit), by what they mean.
    culprit : str
        Instead of a truth: the name that a refusal must give.
    """

    title: str
    truth: Any = None
    tolerance: float = 1e-6
    wrongs: dict[str, Any] = field(default_factory=dict)
    culprit: str = ""


# -- truths ------------------------------------------------------------------------------------------------------------


def _skewed(x: float, new: float, g: float, y: float) -> float:
    """y had x been ``new``: Gamma noise and Student noise kept by their quantiles."""
    after = stats.gamma.ppf(stats.gamma.cdf(g, np.exp(0.5 * x)), np.exp(0.5 * new))
    return after + (1 + after) * (y - g) / (1 + g)


def _slope() -> Any:
    """The conjugate posterior of the slope given ``TRIAL``."""
    precision = 1 + (TRIAL["dose"] ** 2).sum() / 0.25
    return stats.norm((TRIAL["dose"] * TRIAL["response"]).sum() / 0.25 / precision, precision**-0.5)


def _latent() -> np.ndarray:
    """Mean and sd of Y had E been 1, E never recorded: Gaussian conditioning, ``[2, unit]``."""
    a, x, z, y = (np.array(HOLES[name]) for name in "AXZY")
    rest = y - 1.2 * x - 0.9 * z - 0.3 * a
    precision = 1 + (0.5 / 0.5) ** 2 + (0.6 / 0.7) ** 2
    unseen = ((x - 0.8 * a) * 0.5 / 0.5**2 + rest * 0.6 / 0.7**2) / precision
    return np.stack([y + 1.2 * (1 - unseen), np.full_like(y, 1.2 * precision**-0.5)])


def _latent_afresh() -> np.ndarray:
    """The same had the noise of X and Y been drawn afresh."""
    a, z = np.array(HOLES["A"]), np.array(HOLES["Z"])
    mean = 1.2 * (0.8 * a + 0.5) + 0.9 * z + 0.3 * a + 0.6
    return np.stack([mean, np.full_like(mean, np.hypot(0.7, 1.2 * 0.5))])


def _robustness() -> float:
    """Cinelli & Hazlett's robustness value of the slope on D, from the partial correlation given W."""
    precision = np.linalg.inv(np.corrcoef([STUDY["D"], STUDY["Y"], STUDY["W"]]))
    r2 = precision[0, 1] ** 2 / (precision[0, 0] * precision[1, 1])
    f2 = r2 / (1 - r2)
    return ((f2**2 + 4 * f2) ** 0.5 - f2) / 2


# E[H | X, Y] of the second unit has precision 1.16; the third's Y is its expectation
_SPARSE = np.array([1.5 + 0.4, 1.5 + 0.4 * (2 - (0.5 * 0.5 + 0.4 * (1.5 - 0.35)) / 1.16), 0.35 + 0.4 * 2])
_GUMBEL = np.array([[0.4, 0.138462, 0.461538], [0.0, 0.769231, 0.230769], [0.0, 0.0, 1.0]])  # Oberst & Sontag 2019
_EDGES = {"X → H", "X → Y", "H → Y"}
_AFRESH = stats.norm(2 * _slope().mean(), np.hypot(2 * _slope().std(), 0.5))

ROWS = {
    "normal": Row("one unit's counterfactual: `Normal` observed", 1.9, wrongs={"fresh noise": 1.15}),
    "bernoulli": Row(
        "… `Bernoulli` observed, as a probability",
        expit(-0.6) / expit(0.6),
        tolerance=0.01,
        wrongs={"fresh noise": expit(-0.6)},
    ),
    "categorical": Row("… `Categorical` observed, Gumbel-max", _GUMBEL, 0.01, {"fresh noise": np.array(THERE)}),
    "skewed": Row(
        "… `Gamma` and `StudentT` observed",
        _skewed(0.5, -1.0, 1.3, 2.0),
        wrongs={"fresh noise": np.exp(-0.5)},
    ),
    "coupling": Row(
        "… by a coupling on request: independent, Gumbel-max, monotone",
        THREE,
        0.01,
        {"fresh noise whatever is asked": np.stack([THREE[0]] * 3)},
    ),
    "mixed": Row("… a count with excess zeros, a mixture of normals", KEPT, 0.06, {"fresh noise": KEPT_AFRESH}),
    "own": Row("… a law of one's own: its equation registered, and tested", OWN),
    "posterior": Row(
        "… 90 % interval over the parameters' posterior",
        1 + 1.5 * np.array(_slope().interval(0.9)),
        tolerance=0.04,
        wrongs={
            "fresh noise": np.array(_AFRESH.interval(0.9)),
            "too narrow": 1 + 1.5 * np.array(_slope().interval(0.53)),
        },
    ),
    "column": Row("… a column never recorded: its posterior", _latent(), 0.1, {"fresh noise": _latent_afresh()}),
    "cells": Row("… cells missing, others for each unit", _SPARSE, 0.1),
    "count": Row("… a count never recorded, which has no greatest value", RAISED, 0.02, {"fresh noise": RAISED_AFRESH}),
    "interval": Row("… a cell known to lie in an interval", stats.truncnorm(-0.75, 0.25, loc=0.75).mean() + 0.4, 0.03),
    "written": Row(
        "… noise written out, `x = eᵖ u`: evidence on x is solved for u",
        PRESSURE,
        0.02,
        {"Jacobian forgotten": FORGOTTEN},
    ),
    "logic": Row("… logical equations, the outcome alone seen", ALIVE, 0.015),
    "series": Row(
        "… a series: hidden state, a missed visit, a plan from a time on", COURSE, 0.1, {"fresh noise": COURSE_AFRESH}
    ),
    "thousand": Row(
        f"… a thousand scenarios of 2,000 units, within {LIMIT} MiB", SCENARIOS, wrongs={"fresh noise": FRESH}
    ),
    "shift": Row("`do`: a shift", -0.4, 0.03),
    "policy": Row(
        "`do`: a policy on another variable",
        3.2 * stats.norm.sf(1),
        0.04,
        {"reads H itself": 3.2 * stats.norm.sf(1.25**-0.5)},
    ),
    "per unit": Row("`do`: a value a unit", 0.4, 0.03),
    "stochastic": Row("`do`: a distribution", 2.13, 0.1),
    "edge": Row("`do`: one arrow", 3.5, 0.05, {"ignored": 0.0}),
    "natural": Row("natural direct effect", 0.26, 0.015, {"the total effect": 0.56}),
    "mediated": Row("natural indirect effect, and controlled direct effect", np.array([0.15, 0.5]), 0.015),
    "path": Row("path-specific effect through a variable on two paths", 0.08, 0.01, {"fresh noise": 0.0584}),
    "witness": Row("… says that no experiment identifies it, and why", {"W"}),
    "causation": Row("probability of necessity and sufficiency", 0.5, 0.015, {"fresh noise": 0.56}),
    "bounds": Row("bounds: effect in a trial with an instrument", np.array([0.392, 0.780]), 1e-3),
    "identified": Row("identification with a latent confounder", {"front door through M", "proof that the bow is not"}),
    "overlap": Row("says which units have no counterpart (overlap)", ALONE),
    "gaps": Row(
        "fit to data with empty cells: the marginal likelihood's mean of a slope",
        SLOPE,
        0.02,
        {"units dropped": DROPPED, "the mean filled in": FILLED},
    ),
    "criticised": Row("a line fitted to a curve is called out", {"y"}),
    "sensitive": Row("how strong an unmeasured confounder must be", _robustness(), 0.01),
    "misspelt": Row("misspelt name: refused, named", culprit="J"),
    "shape": Row("wrong shape: refused, named", culprit="H"),
    "support": Row("value outside the support: refused, named", culprit="T"),
    "mixing": Row("program that mixes units: refused, named", culprit="H"),
    "graph": Row("graph read off the program", _EDGES),
    "slices": Row("… through writes into a slice", _EDGES),
    "labels": Row("labels of categories", np.array([1.0, 3.0]), 0.15),
    "store": Row("fitted model to disk and back, no pickle", {"comes back"}),
    "account": Row("answer says rung, coupling, abduction", {"rung", "coupling", "abduction"}),
    "answers": Row(
        "effect, the confounder known by randomised response (ε = 1)",
        EFFECT,
        0.02,
        {"answers taken for the truth": NAIVE},
    ),
    "noised": Row(
        "one unit's counterfactual, a covariate known with Laplace noise",
        HAD,
        0.03,
        {"fresh noise": 0.9, "the answer taken for the truth": TOLD},
    ),
    "masses": Row("the exact law of a release (discrete Gaussian) as a site", MASSES, 1e-12),
    "budget": Row("a privacy budget kept: refuses, remembers", {"refuses", "remembered on disk", "says on what"}),
}
PRIVATE = ("answers", "noised", "masses", "budget")
"""The capabilities, in the order of the table; those on private noise have one of their own."""


# -- verdicts ----------------------------------------------------------------------------------------------------------


def verdict(row: Row, cell: Cell) -> str:
    """What a cell's run amounts to."""
    try:
        with _quiet():
            answer = cell.run()
    except Nothing as nothing:
        return f"no: {nothing}"
    except Exception as error:
        text = " ".join([str(error), *getattr(error, "__notes__", ())])
        if not row.culprit:
            return ": ".join(filter(None, ["no", type(error).__name__, _short(text)]))
        named = re.search(rf"(?<!\w){re.escape(row.culprit)}(?!\w)", text)
        return "yes" if named else f"no: {type(error).__name__} without the name"
    if row.culprit:
        return "no: accepted"
    if isinstance(row.truth, set):
        lacking = "none of it" if not answer else ", ".join(f"lacks {fact}" for fact in sorted(row.truth - answer))
        wrong = ", ".join(filter(None, [lacking, *sorted(answer - row.truth)]))
        return f"no: {wrong}" if wrong else _right(cell)
    return _compare(row, np.asarray(answer, dtype=float), cell)


def lines_of(functions: Sequence[Callable[..., Any]]) -> int:
    """Lines of the bodies of functions and classes; docstrings, comments and blank lines left out."""
    count = 0
    for function in functions:
        source = textwrap.dedent(inspect.getsource(function))
        made: Any = ast.parse(source).body[0]
        body = made.body[1:] if ast.get_docstring(made) else made.body
        text = source.splitlines()[body[0].lineno - 1 : body[-1].end_lineno]
        count += sum(1 for line in text if line.strip() and not line.lstrip().startswith("#"))
    return count


def _compare(row: Row, answer: np.ndarray, cell: Cell) -> str:
    off = np.abs(answer - row.truth)
    if off.max() <= row.tolerance:
        return _right(cell)
    if np.isnan(off).any():
        return "no: NaN"
    many = np.ndim(row.truth) == 0 or np.size(row.truth) >= 1_000
    error = off.mean() if many else off.max()
    for name, wrong in row.wrongs.items():
        centre = _centre(answer, row.truth, wrong)
        near, far = np.abs(centre - wrong).max(), np.abs(centre - row.truth).max()
        if near <= 0.15 * max(1.0, np.abs(wrong).max()) and near < far / 2:
            return f"no: {name} (error {error:.2g})"
    return f"no: another answer (error {error:.2g})"


def _centre(answer: np.ndarray, truth: Any, wrong: Any) -> np.ndarray:
    """An answer without its random part: of copies of one unit the average; of many units that differ, how far on
    average it goes from the truth to a wrong answer."""
    if np.ndim(truth) == 0:
        return answer.mean()
    if np.size(truth) < 1_000:
        return answer
    way = wrong - truth
    return truth + ((answer - truth) * way).sum() / (way**2).sum() * way


def _right(cell: Cell) -> str:
    count = lines_of(cell.by_hand)
    return f"by hand, {count} line{'s' * (count > 1)}" if count else "yes"


def _short(text: str) -> str:
    line = (text.strip().splitlines() or [""])[0].replace("|", "/")
    return line if len(line) <= 40 else f"{line[:37].rstrip()}…"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """float64 for all, fixed seeds, no bars and warnings."""
    kept, level = torch.get_default_dtype(), logging.root.manager.disable
    torch.set_default_dtype(torch.float64)
    logging.disable(logging.CRITICAL)
    pyro.set_rng_seed(0)  # numpy's global generator too, from which DoWhy draws
    pyro.clear_param_store()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(kept)
        logging.disable(level)


# -- the table ---------------------------------------------------------------------------------------------------------


def run(rows: Sequence[str] = tuple(ROWS)) -> dict[tuple[str, str], str]:
    """Verdicts by row and system."""
    found: dict[tuple[str, str], str] = {}
    for row in rows:
        for system in systems(row):
            begun = time.perf_counter()
            tried = [(cell.note, verdict(ROWS[row], cell)) for cell in CELLS[row, system]]
            found[row, system] = "; ".join(f"{said} {note}" if note else said for note, said in tried)
            seconds = time.perf_counter() - begun
            print(f"  {row}, {system}: {found[row, system]} ({seconds:.1f} s)", file=sys.stderr, flush=True)
    return found


def systems(row: str) -> dict[str, str]:
    """The columns of a row."""
    return {**SYSTEMS, **RELEASES} if row in PRIVATE else SYSTEMS


def markdown(found: dict[tuple[str, str], str]) -> str:
    """The tables, and the versions that were run."""
    tables: dict[tuple[str, ...], list[str]] = {}
    for row in dict.fromkeys(row for row, _ in found):
        columns = tuple(systems(row))
        lines = tables.setdefault(columns, [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"])
        lines.append(f"| {ROWS[row].title} | {' | '.join(found[row, system] for system in columns)} |")
    run = {name: distribution for row, _ in found for name, distribution in systems(row).items()}
    said = f"Run: {', '.join(f'{name} {_version(distribution)}' for name, distribution in run.items())}."
    return "\n\n".join(["\n".join(lines) for lines in tables.values()] + [said])


def _version(distribution: str) -> str:
    if distribution == "pcm-causal":
        import pcm

        return pcm.__version__
    return version(distribution)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    print(markdown(run(parser.parse_args().rows)))


if __name__ == "__main__":
    main()
