"""Least prices and shadow prices off linear laws: against closed forms, and against a solver over the whole table."""

from __future__ import annotations

from itertools import product

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.optimize import minimize

import pcm
from tests.unit.trust.test_check import FAIR, ROBUST, SCM

Requirement = pcm.Requirement


class Admission:
    """a → m → y, a → y, x → y, all binary, with random chances; requirements keep a → m → y. By hand, in numpy."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.m, self.y = rng.uniform(0.2, 0.8, 2), rng.uniform(0.05, 0.95, (2, 2, 2))
        m, y = torch.as_tensor(self.m), torch.as_tensor(self.y)

        def program():
            a = pyro.sample("a", dist.Bernoulli(0.4))
            x = pyro.sample("x", dist.Bernoulli(0.7))
            seen = pyro.sample("m", dist.Bernoulli(m[a.long()]))
            pyro.sample("y", dist.Bernoulli(y[a.long(), seen.long(), x.long()]))

        self.scm = pcm.SCM(program)

    def chance(self, a, m, x, sets=None):
        """Of a cell; a at random, or set."""
        of_a = (0.4 if a else 0.6) if sets is None else float(a == sets)
        return of_a * (self.m[a] if m else 1 - self.m[a]) * (0.7 if x else 0.3)

    def pinned(self, sets):
        """Mean of the target: m follows what a is set to, y reads an independent a."""
        return sum(
            (self.m[sets] if m else 1 - self.m[sets])
            * (0.7 if x else 0.3)
            * (0.4 * self.y[1, m, x] + 0.6 * self.y[0, m, x])
            for m, x in product((0, 1), repeat=2)
        )

    def least(self, inputs, loss, moved=0.0, tolerance=0.0):
        """Least price over every function of the inputs, the pinned effect larger by ``moved``."""
        cells = list(product((0, 1), repeat=3))
        seen = [tuple(cell["amx".index(name)] for name in inputs) for cell in cells]
        keys = sorted(set(seen))
        place = np.array([keys.index(each) for each in seen])
        share = [np.array([self.chance(*cell, sets=s) for cell in cells]) for s in (None, 0, 1)]
        weight, off, on = (np.bincount(place, each) for each in share)
        best = np.bincount(place, share[0] * [self.y[cell] for cell in cells]) / weight
        level, effect = 0.6 * self.pinned(0) + 0.4 * self.pinned(1), self.pinned(1) - self.pinned(0) + moved

        def risk(f):
            if loss == "squared":
                return weight @ (best - f) ** 2
            return weight @ (best * np.log(best / f) + (1 - best) * np.log((1 - best) / (1 - f)))

        limits = [
            {"type": "eq", "fun": lambda f: (0.6 * off + 0.4 * on) @ f - level},
            *(
                {"type": "ineq", "fun": lambda f, s=s: tolerance + 1e-12 - s * ((on - off) @ f - effect)}
                for s in ((1, -1) if tolerance else ())
            ),
            *([] if tolerance else [{"type": "eq", "fun": lambda f: (on - off) @ f - effect}]),
        ]
        bounds = [(None, None) if loss == "squared" else (1e-6, 1 - 1e-6)] * len(keys)
        done = minimize(
            risk,
            np.full(len(keys), level),
            bounds=bounds,
            constraints=limits,
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        )
        assert done.success or done.status == 8
        return done.fun


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("inputs", ["amx", "mx"])
@pytest.mark.parametrize("loss", ["squared", "log"])
def test_finite_programs_have_exact_least_prices(seed, inputs, loss):
    case = Admission(seed)
    asked = [Requirement("a", outcome="y", admissible="a -> m -> y")]
    found = pcm.check(case.scm, asked, inputs=list(inputs), loss=loss, units=200, seed=0)
    assert found.least_over == "every function of the inputs, by enumeration"
    assert found.price_minimum.standard_error == 0
    assert float(found.price_minimum) == pytest.approx(case.least(inputs, loss), abs=2e-6)
    step = 1e-4
    slope = (case.least(inputs, loss, moved=step) - case.least(inputs, loss, moved=-step)) / (2 * step)
    assert float(found.shadow_prices["a"]) == pytest.approx(abs(slope), abs=2e-3)


@pytest.mark.parametrize("loss", ["squared", "log"])
def test_finite_programs_know_tolerances(loss):
    case = Admission(1)
    free = case.least("amx", loss)

    def found(tolerance):
        asked = [Requirement("a", outcome="y", admissible="a -> m -> y", tolerance=tolerance)]
        return pcm.check(case.scm, asked, loss=loss, units=200, seed=0)

    lax = found(0.02)
    assert float(lax.price_minimum) == pytest.approx(case.least("amx", loss, tolerance=0.02), abs=2e-6)
    assert float(lax.price_minimum) < free
    saved = float(found(0.019).price_minimum) - float(found(0.021).price_minimum)
    assert float(lax.shadow_prices["a"]) == pytest.approx(saved / 0.002, rel=1e-3)


def test_a_shadow_price_is_what_a_unit_of_tolerance_saves():
    """The meaning of the closed form, by differences of the least price."""
    step = 1e-6
    closed = pcm.check(SCM, [FAIR, ROBUST])
    for name, asked in (("A", FAIR), ("E", ROBUST)):
        lax = Requirement(name, outcome="Y", admissible=asked.admissible.written, tolerance=step)
        other = ROBUST if name == "A" else FAIR
        saved = float(closed.price_minimum) - float(pcm.check(SCM, [lax, other]).price_minimum)
        assert float(closed.shadow_prices[name]) == pytest.approx(saved / step, rel=1e-4)


@pytest.mark.parametrize(
    ("asked", "exact"),
    [
        ([FAIR, ROBUST], {"A": 2.6, "E": 2.0}),
        ([Requirement("A", outcome="Y"), Requirement("E", outcome="Y")], {"A": 4.2, "E": 3.0}),
        ([Requirement("A", outcome="Y", tolerance=0.5)], {"A": 3.2}),
        ([Requirement("A", outcome="Y", reference=2.0)], {"A": 4.2}),
    ],
)
def test_simulated_shadow_prices_are_those_of_the_closed_form(asked, exact):
    found = pcm.check(SCM, asked, simulate=True, units=4_000, seed=1)
    assert "polynomial" in found.least_over
    assert found.shadow_prices.keys() == exact.keys()
    for name, value in exact.items():
        effect = found.shadow_prices[name]
        assert 0 < effect.standard_error < 0.15
        assert abs(effect.mean - value) < 3 * effect.standard_error, name


def test_log_losses_of_a_linear_law_are_those_of_the_closed_form():
    closed = pcm.check(SCM, [FAIR, ROBUST], loss="log")
    found = pcm.check(SCM, [FAIR, ROBUST], loss="log", simulate=True, units=4_000, seed=0)
    assert found.loss == "log"
    for name, effect in {"price": found.price, "price_minimum": found.price_minimum}.items():
        assert abs(effect.mean - float(getattr(closed, name))) < 3 * effect.standard_error < 0.1, name
    for name, effect in found.shadow_prices.items():
        assert abs(effect.mean - float(closed.shadow_prices[name])) < 3 * effect.standard_error < 0.1, name
    for name in ("constant", "together, faithful", "uniform in A"):
        risk = found.row(name).risk
        assert abs(risk.mean - float(closed.row(name).risk)) < 4 * risk.standard_error + 1e-9, name
    gap = found.laundering_gap
    assert abs(gap.mean - float(closed.laundering_gap)) < 4 * gap.standard_error


def test_a_product_has_no_shadow_price():
    """X = A + u, Y = X A + c A, A → X → Y kept: E (A² + (c − t) A)² = 3 + (c − t)²; the slope at 0 is 2 c."""

    def product_of(c):
        def program():
            a = pyro.sample("A", dist.Normal(0.0, 1.0))
            x = pyro.sample("X", dist.Normal(a, 1.0))
            pyro.sample("Y", dist.Normal(x * a + c * a, 1.0))

        return pcm.SCM(program)

    for c in (0.0, 1.0):
        asked = [Requirement("A", outcome="Y", admissible="A -> X -> Y")]
        found = pcm.check(product_of(c), asked, units=20_000, seed=1)
        assert abs(found.price_minimum.mean - 3 - c**2) < 4 * found.price_minimum.standard_error
        assert abs(found.shadow_prices["A"].mean - 2 * c) < 4 * found.shadow_prices["A"].standard_error


def test_log_odds_have_a_least_price_too():
    """A ⊥ X, log odds c A + X: uniform invariance costs I(Y; A | X) at least; E[Y | X] is among those looked at."""

    def program():
        a = pyro.sample("A", dist.Normal(0.0, 1.0))
        x = pyro.sample("X", dist.Normal(0.0, 1.0))
        pyro.sample("Y", dist.Bernoulli(logits=a + x))

    found = pcm.check(pcm.SCM(program), [Requirement("A", outcome="Y")], loss="log", units=4_000, seed=0)
    noise = found.price_minimum.standard_error
    assert 0 < noise < 0.01
    assert found.price_minimum.mean < found.price.mean + 3 * noise
    lax = [Requirement("A", outcome="Y", tolerance=0.05)]
    assert (
        pcm.check(pcm.SCM(program), lax, loss="log", units=4_000, seed=0).price_minimum.mean < found.price_minimum.mean
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    chance = 1 / (1 + np.exp(-(nodes[:, None] + nodes)))
    blind = weights @ chance
    lost = chance * np.log(chance / blind) + (1 - chance) * np.log((1 - chance) / (1 - blind))
    assert abs(found.price.mean - weights @ lost @ weights) < 4 * found.price.standard_error


def test_labels_have_a_shadow_price_each():
    """Y = c(plan) + noise, nothing kept: E (c − t − mean)² turned about the mean; slopes 2 p (c − mean)."""
    chances, worth = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 3.0])

    def program():
        plan = pyro.sample("plan", dist.Categorical(torch.as_tensor(chances)))
        x = pyro.sample("x", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Bernoulli(0.1 + 0.2 * torch.as_tensor(worth)[plan] + 0.1 * x))

    scm = pcm.SCM(program, categories={"plan": ["none", "basic", "full"]})
    found = pcm.check(scm, [Requirement("plan", outcome="y")], units=500, seed=0)
    each = 2 * chances * 0.2 * (worth - chances @ worth)
    prices = {name: float(effect) for name, effect in found.shadow_prices.items()}
    assert prices == pytest.approx({"plan = basic": abs(each[1]), "plan = full": abs(each[2])}, abs=1e-6)
    assert float(found.price_minimum) == pytest.approx(0.04 * chances @ (worth - chances @ worth) ** 2, abs=1e-6)
