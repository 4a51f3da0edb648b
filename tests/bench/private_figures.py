"""The figures about private noise: counterexamples, random models, audits, attacks, what targeted noise is worth.

``python -m tests.bench.private_figures [--models 10000] [--draws 200000] [--opendp] [--sampling [FAMILY …]]
[--calibration [POSITION …]]`` prints them as Markdown in a few minutes; with ``--opendp`` the audits also draw that
often from the real samplers, which takes a quarter of an hour; ``--sampling`` compares that many real draws at eight
parameter values of each family (or of those named) with the site's law, minutes a family; ``--calibration`` fits
simulated answers about the confounder (z), the treatment (t) and the outcome (y), or those named, ``--replications``
times each, ten minutes a position.

>>> counterexamples()[["counterexample", "interventional", "conditional"]].round(3).to_dict("list")
{'counterexample': ['back door', 'collider'], 'interventional': [0.0, 0.0], 'conditional': [1.815, 2.197]}
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from scipy.optimize import brentq

import pcm
from pcm import private
from pcm.private.leakage import epsilon_of_mu

__all__ = [
    "accounts",
    "attacks",
    "audits",
    "calibration",
    "counterexamples",
    "random_models",
    "sampling",
    "variances",
    "worth",
]

EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SAME = ((1.0, 0.0), (0.0, 1.0))
DELTA = 1e-5
"""At which Gaussian noise has these ε."""


def variances() -> pd.DataFrame:
    """Variances of the discrete laws against sums over their masses, and how far a row of a table is from 1.

    >>> variances()["variance"].round(10).tolist()
    [7.8353961781, 0.9999997888, 0.4888056304, 0.0076725194]
    """
    rows = []
    kinds = [(private.DiscreteLaplace, 2.0), *((private.DiscreteGaussian, scale) for scale in (1.0, 0.7, 0.3))]
    for family, scale in kinds:
        law = family(scale=scale, bounds=(0, 1)).around(torch.zeros((), dtype=torch.float64))
        noise = torch.arange(-200, 201, dtype=torch.float64)
        mass = law.log_prob(noise).exp()
        rows.append(
            {
                "law": f"{family.__name__}({scale:g})",
                "variance": float(law.variance),
                "off its sum by": abs(float(law.variance) - float((noise**2 * mass).sum())),
                "mass off 1 by": abs(float(mass.sum()) - 1.0),
            }
        )
    return pd.DataFrame(rows)


def accounts() -> pd.DataFrame:
    """ε at δ of sampled Gaussian noise (σ = 1.5, q = .04, 2,250 steps), by both accountants and by a ledger."""
    from pcm.private.composition import Loss, by_loss_distributions, by_renyi
    from pcm.private.sampler import accounting

    module = accounting()
    step = module.PoissonSampledDpEvent(0.04, module.GaussianDpEvent(1.5))
    losses = [Loss(module.SelfComposedDpEvent(step, 2_250), relation="add_remove")]
    ledger = private.Ledger(epsilon=10.0, delta=DELTA, neighbouring="add_remove")
    ledger.book("training", losses[0].event)
    found = {
        "Rényi": by_renyi(losses, DELTA),
        "privacy loss distribution": by_loss_distributions(losses, DELTA),
        "ledger": ledger.spent,
    }
    return pd.DataFrame({"account": list(found), "ε": [f"{value:.5f}" for value in found.values()]})


def sampling(draws: int, families: list[str]) -> pd.DataFrame:
    """Chi-square of OpenDP's draws against the site's law: the least p-value of eight parameter values a family."""
    tests = _module("tests/unit/private/test_sampling.py")
    rows = []
    for family in families or list(tests.CASES):
        started = time.perf_counter()
        found = [tests.pvalue(case, draws) for case in tests.CASES[family]]
        row = {"family": family, "cases": len(found), "draws each": draws, "least p": min(found)}
        rejected = min(found) < tests.ALARM / len(tests.EVERY)
        rows.append({**row, "rejected": rejected, "seconds": round(time.perf_counter() - started)})
    return pd.DataFrame(rows)


def calibration(replications: int, positions: list[str]) -> pd.DataFrame:
    """The lesser p-value of uniform ranks of the share and of the effect, of fits to randomised answers by what they
    know of the mechanism, and how often the 90 % interval of the effect holds the truth (over half as many)."""
    tests = _module("tests/laws/test_noise_calibration.py")
    rows = []
    for position in positions or tests.POSITIONS:
        for epsilon in tests.LOSSES:
            knows = {"aware": (0.0, replications), "naive": (None, 60), "keep misstated by .03": (0.03, 60)}
            row: dict[str, Any] = {"noised": position, "ε": epsilon}
            for who, (off, number) in knows.items():
                row[f"p, {who}"] = float(tests.levels(position, epsilon, off, min(number, replications)).min())
            number = max(replications // 2, 1)
            row["covered"], row["covered, naive"] = tests.covered(position, epsilon, number, min(number, 50))
            rows.append(row)
    return pd.DataFrame(rows)


def counterexamples() -> pd.DataFrame:
    """A raw release that no directed path joins to the private variable, and what it gives away."""

    def backdoor() -> None:
        z = pyro.sample("z", dist.Bernoulli(0.5))
        pyro.sample("a", dist.Bernoulli(0.05 + 0.9 * z))
        pyro.sample("u", dist.Bernoulli(0.1 + 0.8 * z))

    def collider() -> None:
        a = pyro.sample("a", dist.Bernoulli(0.5))
        u = pyro.sample("u", dist.Bernoulli(0.5))
        pyro.sample("s", dist.Bernoulli(0.1 + 0.8 * (a == u)))

    rows = []
    for name, program, known in (("back door", backdoor, []), ("collider", collider, ["s"])):
        scm = pcm.SCM(program)
        found = private.claims(scm, {"u": "raw"}, private="a", adversary=known)
        alone = private.claims(scm, {"u": "raw"}, private="a")
        rows.append(
            {
                "counterexample": name,
                "interventional": alone.model_conditional.interventional,
                "conditional": found.model_conditional.epsilon,
                "claim": found.graph_conditional.refused,
            }
        )
    return pd.DataFrame(rows)


def random_models(count: int) -> pd.DataFrame:
    """Random graphs and laws over five bits: claims made, claims exceeded by exact enumeration."""
    trial = _module("tests/unit/private/test_separation.py").trial
    rows = []
    for epsilon in (0.5, 1.0, 2.0):
        claimed, leak = trial(count, epsilon, seed=int(10 * epsilon))
        made = np.isfinite(claimed)
        tight = made & (claimed > 0.05)
        rows.append(
            {
                "ε": epsilon,
                "models": count,
                "claims made": int(made.sum()),
                "violated": int((leak[made] > claimed[made] + 1e-6).sum()),
                "largest leak / claim": float((leak[tight] / claimed[tight]).max()),
                "refused, and leaking more than ε": float((leak[~made] > epsilon).mean()),
            }
        )
    return pd.DataFrame(rows)


def audits(draws: int, *, seeds: int = 5, opendp: bool = False) -> pd.DataFrame:
    """Bound over promise at ``draws`` an input, and how often half the noise is flagged; Gaussian noise by μ.

    Two inputs and draws alone; then beside the stated mechanism, whose inputs and law are known. ``above`` of both.
    """
    rows = []
    for epsilon in EPSILONS:
        mu = float(brentq(lambda mu, epsilon=epsilon: epsilon_of_mu(mu, DELTA) - epsilon, 1e-3, 10.0))
        kinds = {
            "RandomizedResponse": private.RandomizedResponse(epsilon=epsilon, categories=[0, 1]),
            "five categories": private.RandomizedResponse(epsilon=epsilon, categories=range(5)),
            "Laplace": private.Laplace(epsilon=epsilon, bounds=(0, 1)),
            "DiscreteLaplace": private.DiscreteLaplace(epsilon=epsilon, bounds=(0, 1)),
            "Gaussian": private.Gaussian(scale=1 / mu, bounds=(0, 1)),
            "DiscreteGaussian": private.DiscreteGaussian(scale=100 / mu, bounds=(0, 100)),
            "Exponential": private.Exponential(epsilon, [0, 1], SAME),
            "PermuteAndFlip": private.PermuteAndFlip(epsilon, [0, 1], SAME),
        }
        halves = {
            "RandomizedResponse": _response(2 * epsilon),
            "five categories": _response(2 * epsilon, 5),
            "Laplace": _simulated(private.Laplace(epsilon=2 * epsilon, bounds=(0, 1))),
            "DiscreteLaplace": _simulated(private.DiscreteLaplace(epsilon=2 * epsilon, bounds=(0, 1))),
            "Gaussian": _simulated(private.Gaussian(scale=0.5 / mu, bounds=(0, 1))),
            "DiscreteGaussian": _simulated(private.DiscreteGaussian(scale=50 / mu, bounds=(0, 100))),
            "Exponential": _simulated(private.Exponential(2 * epsilon, [0, 1], SAME)),
            "PermuteAndFlip": _simulated(private.PermuteAndFlip(2 * epsilon, [0, 1], SAME)),
        }
        for name, mechanism in kinds.items():
            promise: dict[str, Any] = {"mu": mu} if "Gaussian" in name else {"claimed": epsilon}
            if name in ("Exponential", "PermuteAndFlip"):  # of two categories it loses less than it promises
                table = mechanism.matrix()
                promise = {"claimed": float(np.log(table[0, 0] / table[1, 0]))}
            ends = (0, 100) if name == "DiscreteGaussian" else (0, 1)
            found, told, flagged = [], [], []
            for seed in range(seeds):
                one, half = (
                    private.audit_mechanism(source, ends, n=draws, seed=seed, confidence=sure, **promise)
                    for source, sure in ((_simulated(mechanism), 0.95), (halves[name], 0.9999))
                )
                beside = private.audit_mechanism(_simulated(mechanism), n=draws, seed=seed, claimed=mechanism)
                found.append(one.ratio)
                told.append(beside.ratio)
                flagged.append(half.flagged)
            row: dict[str, Any] = {"mechanism": name, "ε": epsilon, "bound / promise": float(np.mean(found))}
            row |= {f"least of {seeds}": min(found), "stated mechanism": float(np.mean(told)), "its least": min(told)}
            row |= {
                "above": sum(each > 1 for each in (*found, *told)),
                "half scale flagged": f"{sum(flagged)} of {seeds}",
            }
            if opendp:
                row["bound / promise, OpenDP"] = private.audit_mechanism(mechanism, n=draws).ratio
            rows.append(row)
    return pd.DataFrame(rows)


def attacks(draws: int = 100_000, *, opendp: bool = False) -> pd.DataFrame:
    """The floating-point attack on samplers of Laplace noise at ε = 1."""
    mechanism = private.Laplace(epsilon=1.0, bounds=(0.0, 1.0))

    def of_numpy(value: float, n: int, seed: int) -> np.ndarray:
        return value + np.random.default_rng(seed).laplace(0.0, 1.0, n)

    found = {
        "numpy": private.audit_floating_point(of_numpy, (0.0, 1.0), n=draws, claimed=1.0, seed=0),
        "torch": private.audit_floating_point(_simulated(mechanism), (0.0, 1.0), n=draws, claimed=1.0, seed=0),
        "OpenDP": private.audit_floating_point(mechanism, n=draws if opendp else draws // 10),
    }
    rows = [(name, audit.epsilon, audit.flagged, audit.found) for name, audit in found.items()]
    return pd.DataFrame(rows, columns=["sampler", "ε ≥", "flagged", "by"])


def worth() -> pd.DataFrame:
    """Information about the stay, in nats, of a release that hides an infection."""

    def clinic() -> None:
        hiv = pyro.sample("hiv", dist.Bernoulli(0.3))
        site = pyro.sample("site", dist.Bernoulli(0.5))
        drug = pyro.sample("drug", dist.Bernoulli(0.1 + 0.8 * hiv))
        test = pyro.sample("test", dist.Bernoulli(0.2 + 0.6 * hiv))
        pyro.sample("stay", dist.Bernoulli(0.05 + 0.3 * drug + 0.1 * test + 0.4 * site))

    found = private.targeted(
        pcm.SCM(clinic), private="hiv", candidates=["site", "drug", "test"], utility="stay", epsilon=1.0
    )
    return found.to_dataframe().pivot(index="epsilon", columns="strategy", values="information").reset_index()


def _simulated(mechanism: Any) -> Callable[..., np.ndarray]:
    def draw(value: float, n: int, seed: int) -> np.ndarray:
        return mechanism.simulate(np.full(n, value), seed=seed).values

    return draw


def _response(epsilon: float, categories: int = 2) -> Callable[..., np.ndarray]:
    """Randomised response at any ε, of which the mechanism refuses the largest."""

    def draw(value: int, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        kept = rng.random(n) < 1 / (1 + (categories - 1) * np.exp(-epsilon))
        return np.where(kept, value, (value + rng.integers(1, categories, n)) % categories)

    return draw


def _module(path: str) -> Any:
    """What the tests run."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, Path(__file__).parents[2] / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=200_000)
    parser.add_argument("--opendp", action="store_true")
    parser.add_argument("--sampling", nargs="*", metavar="FAMILY")
    parser.add_argument("--calibration", nargs="*", metavar="POSITION")
    parser.add_argument("--replications", type=int, default=400)
    asked = parser.parse_args()
    if asked.sampling is not None:
        print(f"\nReal draws\n\n{_markdown(sampling(asked.draws, asked.sampling))}")
        return
    if asked.calibration is not None:
        print(f"\nCalibration\n\n{_markdown(calibration(asked.replications, asked.calibration))}")
        return
    tables = {
        "Discrete laws": variances(),
        "Accounts": accounts(),
        "Counterexamples": counterexamples(),
        "Random models": random_models(asked.models),
        "Audits": audits(asked.draws, opendp=asked.opendp),
        "Floating point": attacks(opendp=asked.opendp),
        "Targeted noise": worth(),
    }
    for title, table in tables.items():
        print(f"\n{title}\n\n{_markdown(table)}")


def _markdown(table: pd.DataFrame) -> str:
    cells = [
        [_cell(v, name) for v, name in zip(row, table.columns, strict=True)] for row in table.itertuples(index=False)
    ]
    rows = [list(map(str, table.columns)), ["---"] * table.shape[1], *cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(value: Any, column: str) -> str:
    return str(value) if not isinstance(value, float) else f"{value:.17g}" if column == "variance" else f"{value:.4g}"


if __name__ == "__main__":
    main()
