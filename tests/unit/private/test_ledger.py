"""The ledger's arithmetic: composition, doubling, raw columns, terms, damage."""

from __future__ import annotations

import math
import sqlite3

import numpy as np
import opendp.prelude as dp
import pytest
from dp_accounting import dp_event

from pcm import private
from pcm.errors import ArgumentError, BudgetError, LedgerError
from pcm.private.composition import Loss, by_loss_distributions, by_renyi, total_epsilon
from pcm.private.events import Promise, decode, encode, pure_epsilon
from pcm.private.sampler import opendp

TRAINING = dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(0.04, dp_event.GaussianDpEvent(1.5)), 2250)
RR = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])


def test_reference_of_stochastic_gradient_descent() -> None:
    loss = [Loss(TRAINING, "add_remove")]
    renyi, distributions = by_renyi(loss, 1e-5), by_loss_distributions(loss, 1e-5)
    assert renyi == pytest.approx(7.329, abs=1e-3)
    assert distributions is not None and 6.7 < distributions < renyi
    ledger = private.Ledger(epsilon=7.0, delta=1e-5, neighbouring="add_remove")
    ledger.book("training", TRAINING)
    assert ledger.spent == pytest.approx(distributions)


def test_the_training_is_doubled_where_rows_are_replaced() -> None:
    """(ε, δ) for one step is (2 ε, δ (1 + e^ε)) for two: solved here by hand at the δ that doubles to 1e-5."""
    found = total_epsilon([Loss(TRAINING, "add_remove")], 1e-5, "replace")
    own = found / 2
    delta = 1e-5 / (1 + math.exp(own))
    assert by_loss_distributions([Loss(TRAINING)], delta) == pytest.approx(own, abs=2e-3)
    assert found > 2 * 6.76


def test_a_training_whose_doubling_has_no_bound_says_why() -> None:
    little = dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(0.5, dp_event.GaussianDpEvent(0.4)), 300)
    with pytest.raises(BudgetError, match=r"ε = inf.*a row added or removed; doubled.*neighbouring='add_remove'"):
        private.Ledger(epsilon=1e3, delta=1e-5).book("training", little, neighbouring="add_remove")
    openly = private.Ledger(epsilon=1e4, delta=1e-5, neighbouring="add_remove")
    openly.book("training", little)
    assert 50 < openly.spent < 1e4


@pytest.mark.parametrize(
    ("event", "twice"),
    [
        (Promise(0.5), 1.0),
        (dp_event.LaplaceDpEvent(2.0), 1.0),
        (dp_event.DiscreteLaplaceDpEvent(0.5, 1), 1.0),
        (dp_event.SelfComposedDpEvent(dp_event.LaplaceDpEvent(4.0), 2), 1.0),
    ],
)
def test_add_remove_promises_are_doubled_before_they_compose(event, twice) -> None:
    ledger = private.Ledger(epsilon=3.0)
    ledger.book("count", event, neighbouring="add_remove")
    assert ledger.spent == pytest.approx(twice, rel=1e-12)
    RR.release([0, 1], ledger, name="smoker")
    assert ledger.spent == pytest.approx(twice + 1.0, rel=1e-12)


def test_delta_grows_with_the_doubling() -> None:
    ledger = private.Ledger(epsilon=3.0, delta=1e-6)
    ledger.book("histogram", epsilon=1.0, delta=2e-7, neighbouring="add_remove")
    assert ledger.spent == pytest.approx(2.0, abs=1e-3)  # δ = 7.4e-7 of 1e-6
    other = private.Ledger(epsilon=3.0, delta=1e-6)
    with pytest.raises(BudgetError):
        other.book("histogram", epsilon=1.0, delta=3e-7, neighbouring="add_remove")  # δ = 1.1e-6


def test_replace_promises_are_not_taken_for_add_remove_ones() -> None:
    with pytest.raises(LedgerError, match="added or removed"):
        private.Ledger(epsilon=3.0, neighbouring="add_remove").book("x", epsilon=1.0, neighbouring="replace")


def test_pure_losses_add_up_at_delta_zero() -> None:
    """dp-accounting's loss distributions say inf there."""
    losses = [Loss(private.Laplace(epsilon=0.3, bounds=(0, 1)).event), Loss(RR.event)]
    assert total_epsilon(losses, 0.0, "replace") == pytest.approx(1.3, rel=1e-12)
    assert by_loss_distributions(losses, 0.0) is None


@pytest.mark.parametrize(
    "mechanism",
    [
        RR,
        private.RandomizedResponse(epsilon=0.7, categories=list("abc")),
        private.Laplace(epsilon=0.4, bounds=(0.0, 7.0)),
        private.DiscreteLaplace(epsilon=0.4, bounds=(0, 7)),
        private.PermuteAndFlip(epsilon=0.6, categories=[0, 1], utility=[[1, 0], [0, 1]]),
    ],
    ids=repr,
)
def test_composition_agrees_with_opendp(mechanism) -> None:
    """Basic composition of k releases is OpenDP's; the ledger's is at most that, and never below the tight optimum."""
    count = 20
    with opendp() as library:
        total = sum(mechanism.map() for _ in range(count))
        assert library is dp
    losses = [Loss(mechanism.event, constants=mechanism.record())] * count
    assert total_epsilon(losses, 0.0, "replace") == pytest.approx(total, rel=1e-9)
    tight = total_epsilon(losses, 1e-6, "replace")
    advanced = mechanism.epsilon * math.sqrt(2 * count * math.log(1e6)) + count * mechanism.epsilon * (
        math.expm1(mechanism.epsilon)
    )
    assert mechanism.epsilon < tight <= min(total, advanced) * (1 + 1e-9)


@pytest.mark.parametrize("family", [private.Gaussian, private.DiscreteGaussian])
def test_concentrated_losses_agree_with_opendp(family) -> None:
    mechanism = family(rho=0.05, bounds=(0, 10))
    ledger = private.Ledger(epsilon=6.0, delta=1e-6)
    for name in "abcd":
        mechanism.release([1, 2], ledger, name=name)
    rho = 4 * mechanism.map()
    with opendp() as library:
        curve = library.c.make_zCDP_to_approxDP(mechanism.measurement)
        one = curve.map(10.0).epsilon(1e-6)
    assert ledger.epsilon_at(1e-6) <= rho + 2 * math.sqrt(rho * math.log(1e6))
    single = total_epsilon([Loss(mechanism.event, constants=mechanism.record())], 1e-6, "replace")
    assert 0.8 * one < single <= one * (1 + 1e-3)
    concentrated = private.Ledger(rho=0.2)
    for name in "abcd":
        mechanism.release([1, 2], concentrated, name=name)
    assert concentrated.spent == pytest.approx(rho, rel=1e-9)
    with pytest.raises(BudgetError, match="ρ"):
        mechanism.release([1, 2], concentrated, name="e")


def test_gaussian_composition_is_the_gaussian_of_the_sum() -> None:
    """k releases of μ are one of μ √k (Dong, Roth & Su): δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    losses = [Loss(private.Gaussian(scale=8.0, bounds=(0, 2)).event)] * 9
    mu = 3 * 2 / 8

    def delta(epsilon: float) -> float:
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - 1e-5

    assert total_epsilon(losses, 1e-5, "replace") == pytest.approx(brentq(delta, 0, 20), abs=2e-3)


def test_pure_budget_refuses_what_has_no_pure_loss() -> None:
    ledger = private.Ledger(epsilon=3.0)
    with pytest.raises(BudgetError, match="δ"):
        private.Gaussian(rho=0.1, bounds=(0, 1)).release([0.5], ledger, name="x")


def test_raw_columns_are_infinite() -> None:
    ledger = private.Ledger(epsilon=1.5)
    ledger.book_raw("income")
    assert math.isinf(ledger.epsilon_spent) and ledger.spent == 0.0
    RR.release([0, 1], ledger, name="smoker")
    assert ledger.remaining == pytest.approx(0.5)
    assert "∞" in str(ledger) and "income" in str(ledger)
    statement = ledger.statement()
    assert statement["name"].tolist() == ["income", "smoker"] and np.isinf(statement["epsilon"].iloc[0])
    # an event without privacy is a spending like any other, which nothing can pay
    with pytest.raises(BudgetError):
        ledger.book("leak", dp_event.NonPrivateDpEvent())


def test_the_statement() -> None:
    ledger = private.Ledger(epsilon=3.0, delta=1e-6, unit="household")
    RR.release([0, 1, 1], ledger, name="smoker")
    private.Gaussian(rho=0.02, bounds=(0, 100)).release([1.0, 2.0, 3.0], ledger, name="age")
    ledger.book("count", epsilon=0.25, neighbouring="add_remove")
    table = ledger.statement()
    assert table["name"].tolist() == ["smoker", "age", "count"]
    assert table["status"].tolist() == ["released", "released", "booked"]
    assert table["rows"].iloc[:2].tolist() == [3, 3]
    assert table["rho"].iloc[1] == pytest.approx(0.02)
    assert ledger.spent <= table["epsilon"].iloc[0] + table["epsilon"].iloc[1] + 0.5 + 1e-6
    text = str(ledger)
    assert text.startswith("Privacy ledger in memory: one household replaced, budget ε = 3, δ = 1e-06")
    assert "doubled" in text and len(text.splitlines()) == 5


def test_events_survive_the_file() -> None:
    nested = dp_event.ComposedDpEvent([TRAINING, RR.event, dp_event.NoOpDpEvent()])
    assert decode(encode(nested)) == nested
    assert decode(encode(Promise(1.0, 1e-7))) == Promise(1.0, 1e-7)
    with pytest.raises(ArgumentError, match="cannot account"):
        encode(dp_event.UnsupportedDpEvent())


def test_randomised_responses_event_wants_the_draw_over_all() -> None:
    for count, epsilon in ((2, 0.5), (5, 2.0)):
        rr = private.RandomizedResponse(epsilon=epsilon, categories=[f"c{k}" for k in range(count)])
        assert rr.event.noise_parameter == pytest.approx(count * (1 - rr.keep) / (count - 1), rel=1e-12)
        assert pure_epsilon(rr.event) == pytest.approx(epsilon, rel=1e-12)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_keeps_its_terms_and_entries(tmp_path) -> None:
    path = tmp_path / "budget.sqlite"
    ledger = private.Ledger(path, epsilon=3.0, delta=1e-6, unit="household")
    RR.release([0, 1], ledger, name="smoker")
    for again in (private.Ledger(path), private.Ledger(path, epsilon=3.0, unit="household", neighbouring="replace")):
        assert again.unit == "household" and again.budget == 3.0 and again.delta == 1e-6
        assert again.statement().equals(ledger.statement())
    assert str(path) in str(ledger) and "budget.sqlite" in repr(ledger)


@pytest.mark.parametrize(
    "terms",
    [
        {"epsilon": 4.0},
        {"epsilon": 3.0, "delta": 1e-5},
        {"unit": "person"},
        {"neighbouring": "add_remove"},
        {"rho": 0.5},
    ],
    ids=str,
)
def test_another_ledger_is_refused(tmp_path, terms) -> None:
    path = tmp_path / "budget.sqlite"
    private.Ledger(path, epsilon=3.0, delta=1e-6, unit="household")
    with pytest.raises(LedgerError, match="another one"):
        private.Ledger(path, **terms)


def test_what_rounding_leaves_is_nothing() -> None:
    ledger = private.Ledger(epsilon=2.0)
    for name in "ab":
        RR.release([0, 1], ledger, name=name)
    assert ledger.remaining == 0.0 and "remaining ε = 0" in str(ledger).splitlines()[-1]
    with pytest.raises(BudgetError, match="and 0 of 2 remain"):
        RR.release([0, 1], ledger, name="c")


def test_sampled_losses_are_booked_under_the_relation_that_they_are_known_for() -> None:
    ledger = private.Ledger(epsilon=30.0, delta=1e-5)
    with pytest.raises(ArgumentError, match="neighbouring='add_remove' alone, and here it is 'replace'"):
        ledger.book("training", TRAINING)
    with pytest.raises(ArgumentError, match="neighbouring='add_remove' alone"):
        ledger.book("training", dp_event.ComposedDpEvent([RR.event, TRAINING]))
    drawn = dp_event.SampledWithoutReplacementDpEvent(1_000, 40, dp_event.GaussianDpEvent(1.5))
    with pytest.raises(ArgumentError, match="neighbouring='replace' alone"):
        ledger.book("training", drawn, neighbouring="add_remove")
    assert ledger.spent == 0.0
    ledger.book("drawn", drawn)
    ledger.book("training", TRAINING, neighbouring="add_remove")
    assert 15.0 < ledger.spent < 25.0  # the doubled promise, not the 6.77 of a row added or removed


def test_damaged_files_are_refused_and_left_alone(tmp_path) -> None:
    path = tmp_path / "budget.sqlite"
    ledger = private.Ledger(path, epsilon=3.0)
    for name in "ab":
        RR.release([0, 1] * 50, ledger, name=name)
    sound = path.read_bytes()
    cuts = [b"not a database at all" * 50, sound[:700], sound[:100] + b"\xff" * 4_000 + sound[4_100:]]
    for damaged in cuts:
        path.write_bytes(damaged)
        with pytest.raises(LedgerError, match="Restore it"):
            private.Ledger(path, epsilon=3.0)
        with pytest.raises(LedgerError):
            RR.release([0], ledger, name="c")
        assert path.read_bytes() == damaged
    path.write_bytes(sound)
    assert private.Ledger(path).spent == pytest.approx(2.0)


def test_other_databases_are_refused(tmp_path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE plants (name TEXT)")
    other.close()
    with pytest.raises(LedgerError, match="no ledger of pcm"):
        private.Ledger(path, epsilon=3.0)
    newer = tmp_path / "newer.sqlite"
    private.Ledger(newer, epsilon=3.0)
    with sqlite3.connect(newer) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(LedgerError, match="version 99"):
        private.Ledger(newer, epsilon=3.0)


def test_paths_that_cannot_be(tmp_path) -> None:
    with pytest.raises(LedgerError):
        private.Ledger(tmp_path / "nowhere" / "budget.sqlite", epsilon=1.0)
    with pytest.raises(ArgumentError, match="budget"):
        private.Ledger(tmp_path / "new.sqlite")
    assert not (tmp_path / "new.sqlite").exists()
