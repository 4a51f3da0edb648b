"""What mechanisms refuse: nothing is debited, and no noise is drawn."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from pcm import private
from pcm.errors import ArgumentError, BudgetError, DataError, LedgerError, PCMError
from pcm.private.mechanism import Mechanism

RR = private.RandomizedResponse(epsilon=1.0, categories=["no", "yes"])
LAPLACE = private.Laplace(epsilon=1.0, bounds=(0.0, 10.5))
WHOLE = private.DiscreteLaplace(epsilon=1.0, bounds=(0, 10))
CLIPPED = private.Laplace(epsilon=1.0, bounds=(0.0, 10.5), clip=True)


@pytest.fixture
def _no_noise(monkeypatch):
    """Any draw would be seen."""

    def drawn(*_):
        raise AssertionError("noise was drawn")

    for kind in (private.RandomizedResponse, private.Laplace, private.DiscreteLaplace):
        monkeypatch.setattr(kind, "draw", drawn)


DATA = [
    (RR, ["no", "maybe"], "none of the mechanism's categories.*row"),
    (RR, ["no", None], "empty cells"),
    (RR, [0, 1], "none of the mechanism's categories"),
    (RR, [], "no rows"),
    (RR, [["no"], ["yes"]], "shape"),
    (RR, "no", "one column"),
    (RR, pd.DataFrame({"x": ["no"]}), "one column"),
    (LAPLACE, [1.0, 11.0], "outside the public bounds"),
    (LAPLACE, [1.0, math.nan], "empty cells"),
    (CLIPPED, [1.0, math.nan], "empty cells"),
    (CLIPPED, [1.0, math.inf], "infinite"),
    (LAPLACE, ["one", "two"], "no numbers"),
    (LAPLACE, [0.0, 3.0, 10.5], "computed from"),
    (CLIPPED, [0.0, 3.0, 10.5], "computed from"),
    (WHOLE, [1.0, 2.5], "not whole"),
    (WHOLE, [1, 11], "outside the public bounds"),
]


@pytest.mark.usefixtures("_no_noise")
@pytest.mark.parametrize(("mechanism", "data", "found"), DATA)
def test_data(mechanism: Mechanism, data, found) -> None:
    ledger = private.Ledger(epsilon=5.0)
    with pytest.raises(DataError, match=found):
        mechanism.release(data, ledger, name="x")
    assert len(ledger.statement()) == 0


@pytest.mark.usefixtures("_no_noise")
def test_the_message_names_rows_and_no_values() -> None:
    data = pd.Series([1.0, 77.125], index=["ann", "bob"])
    with pytest.raises(DataError, match="'bob'") as caught:
        LAPLACE.release(data, private.Ledger(epsilon=5.0), name="age")
    assert caught.value.rows == ["bob"] and "77" not in str(caught.value)  # pyright: ignore


@pytest.mark.usefixtures("_no_noise")
def test_two_rows_for_one_person() -> None:
    twice = pd.Series(["no", "yes", "no"], index=["ann", "bob", "ann"], name="smoker")
    ledger = private.Ledger(epsilon=5.0)
    with pytest.raises(DataError, match=r"one person \(ann\)"):
        RR.release(twice, ledger)
    assert len(ledger.statement()) == 0


def test_several_rows_are_fine_where_the_unit_is_a_row() -> None:
    twice = pd.Series(["no", "yes", "no"], index=["ann", "bob", "ann"], name="smoker")
    assert len(RR.release(twice, private.Ledger(epsilon=5.0, unit="row"))) == 3


@pytest.mark.usefixtures("_no_noise")
def test_what_cannot_be_paid_or_named() -> None:
    ledger = private.Ledger(epsilon=0.5)
    with pytest.raises(BudgetError, match=r"asks for ε = 1, and 0\.5 of 0\.5 remain") as caught:
        RR.release(["no"], ledger, name="smoker")
    error = caught.value
    assert (error.asked, error.remaining, error.budget) == (pytest.approx(1.0), 0.5, 0.5)  # pyright: ignore
    with pytest.raises(ArgumentError, match="name"):
        RR.release(["no"], ledger)
    with pytest.raises(ArgumentError, match=r"private\.Ledger"):
        RR.release(["no"], "budget.sqlite", name="smoker")  # pyright: ignore
    with pytest.raises(LedgerError, match="added or removed"):
        RR.release(["no"], private.Ledger(epsilon=5.0, neighbouring="add_remove"), name="smoker")
    assert len(ledger.statement()) == 0


def test_a_release_is_not_released_again() -> None:
    released = RR.release(["no", "yes"], private.Ledger(epsilon=5.0), name="smoker")
    with pytest.raises(DataError, match="already"):
        RR.release(released, private.Ledger(epsilon=5.0), name="smoker")
    with pytest.raises(ArgumentError, match="as it is"):
        private.public(released)


def test_moments_whose_bounds_are_the_data_s_own() -> None:
    data, ledger = pd.DataFrame({"x": [0.125, 0.5, 9.75]}), private.Ledger(epsilon=2.0)
    with pytest.raises(DataError, match="computed from"):
        private.Moments({"x": (0.125, 9.75)}, epsilon=1.0).release(data, ledger, name="sums")
    assert len(ledger.statement()) == 0
    declared = private.Moments({"x": (np.float64(0.125), 9.75)}, epsilon=1.0, public=True)
    assert declared == private.Moments({"x": (0.125, 9.75)}, epsilon=1.0)
    assert declared.release(data, ledger, name="sums").rows == 3


def test_labels_of_a_table_that_are_the_data_s_own() -> None:
    data, ledger = pd.DataFrame({"t": ["a", "b", "a"]}), private.Ledger(epsilon=2.0)
    with pytest.raises(ArgumentError, match="public=True"):
        private.CrossTable({"t": data["t"].unique()}, epsilon=1.0)
    declared = private.CrossTable({"t": np.array(["a", "b"])}, epsilon=1.0, public=True)  # pyright: ignore
    assert declared == private.CrossTable({"t": ["a", "b"]}, epsilon=1.0)
    assert declared.release(data, ledger, name="counts").rows == 3
    for kind, constants in ((private.CrossTable, {"t": ["a", "b"]}), (private.Moments, {"t": (0, 1)})):
        with pytest.raises(ArgumentError, match="public='yes'"):
            kind(constants, epsilon=1.0, public="yes")  # pyright: ignore


def test_bounds_declared_public_are_believed() -> None:
    exact = private.Laplace(epsilon=1.0, bounds=(0.5, 10.5), public=True)
    assert len(exact.release([0.5, 10.5], private.Ledger(epsilon=1.0), name="x")) == 2
    # whole bounds that are reached are the rule, not a sign of computation
    assert len(WHOLE.release([0, 10], private.Ledger(epsilon=1.0), name="x")) == 2
    made = private.Laplace(epsilon=1.0, bounds=(np.float64(0.5), np.float64(2.5)), public=True)
    assert made.width == 2.0
    assert private.RandomizedResponse(1.0, np.array(["a", "b"]), public=True).categories == ("a", "b")


LOSSES = (0.0, -1.0, math.inf, math.nan, "1", None, True)
MADE = [
    *((lambda e=e: private.RandomizedResponse(e, [0, 1])) for e in LOSSES),
    *((lambda e=e: private.Laplace(epsilon=e, bounds=(0, 1))) for e in LOSSES),
    *((lambda e=e: private.Gaussian(rho=e, bounds=(0, 1))) for e in LOSSES),
    *((lambda e=e: private.DiscreteLaplace(scale=e, bounds=(0, 1))) for e in LOSSES),
    *((lambda e=e: private.DiscreteGaussian(scale=e, bounds=(0, 1))) for e in LOSSES),
    *((lambda e=e: private.Exponential(e, [0, 1], [[1, 0], [0, 1]])) for e in LOSSES),
    *((lambda e=e: private.PermuteAndFlip(e, [0, 1], [[1, 0], [0, 1]])) for e in LOSSES),
    lambda: private.Laplace(epsilon=1.0, scale=1.0, bounds=(0, 1)),
    lambda: private.RandomizedResponse(16.0, [0, 1]),
    lambda: private.RandomizedResponse(1.0, [0]),
    lambda: private.RandomizedResponse(1.0, [1, 0]),
    lambda: private.RandomizedResponse(1.0, ["a", "a"]),
    lambda: private.RandomizedResponse(1.0, ["a", math.nan]),
    lambda: private.RandomizedResponse(1.0, "ab"),
    lambda: private.RandomizedResponse(1.0, np.array(["a", "b"])),
    lambda: private.RandomizedResponse(1.0, list(np.array([0, 1]))),
    lambda: private.RandomizedResponse(1.0, pd.Series(["a", "b"]).unique()),
    lambda: private.Laplace(epsilon=1.0, bounds=(1, 1)),
    lambda: private.Laplace(epsilon=1.0, bounds=(0, math.inf)),
    lambda: private.Laplace(epsilon=1.0, bounds=(0, math.nan)),
    lambda: private.Laplace(epsilon=1.0, bounds=5),  # pyright: ignore
    lambda: private.Laplace(epsilon=1.0, bounds=(np.float64(0.0), np.float64(1.0))),
    lambda: private.Laplace(epsilon=1.0, bounds=(torch.tensor(0.0), torch.tensor(1.0))),  # pyright: ignore
    lambda: private.Laplace(epsilon=1.0, bounds=(0, 1), clip="yes"),  # pyright: ignore
    lambda: private.Laplace(epsilon=1.0, bounds=(0, 1), clamp=(1, 0)),
    lambda: private.Laplace(epsilon=1.0, bounds=(0, 1), clamp=(None, None)),
    lambda: private.DiscreteLaplace(epsilon=1.0, bounds=(0, 1.5)),  # pyright: ignore
    lambda: private.DiscreteGaussian(scale=1e6, bounds=(0, 1)),
    lambda: private.Exponential(1.0, [0, 1], [[1, 0, 0], [0, 1, 0]]),
    lambda: private.Exponential(1.0, [0, 1], [[1, 0], [1, 0]]),
    lambda: private.Exponential(1.0, [0, 1], [[math.nan, 0], [1, 0]]),
    lambda: private.Exponential(1.0, [0, 1], "utility"),
]


@pytest.mark.parametrize("make", MADE)
def test_constants(make) -> None:
    with pytest.raises(ArgumentError):
        make()


LEDGERS = [
    lambda: private.Ledger(),
    lambda: private.Ledger(epsilon=0.0),
    lambda: private.Ledger(epsilon=math.inf),
    lambda: private.Ledger(epsilon=math.nan),
    lambda: private.Ledger(epsilon=1.0, delta=1.0),
    lambda: private.Ledger(epsilon=1.0, delta=-0.1),
    lambda: private.Ledger(delta=1e-6),
    lambda: private.Ledger(epsilon=1.0, rho=1.0),
    lambda: private.Ledger(epsilon=1.0, unit=""),
    lambda: private.Ledger(epsilon=1.0, neighbouring="swap"),
    lambda: private.Ledger(3, epsilon=1.0),  # pyright: ignore
    lambda: private.Ledger(epsilon=1.0).book("x"),
    lambda: private.Ledger(epsilon=1.0).book("x", epsilon=0.0),
    lambda: private.Ledger(epsilon=1.0).book("x", "event"),
    lambda: private.Ledger(epsilon=1.0).book("", epsilon=0.5),
    lambda: private.Ledger(epsilon=1.0).book("x", epsilon=0.5, neighbouring="swap"),
]


@pytest.mark.parametrize("make", LEDGERS)
def test_ledgers(make) -> None:
    with pytest.raises(ArgumentError):
        make()


def test_releases_by_hand_are_checked() -> None:
    for values in (["no", "maybe"], [0, 1]):
        with pytest.raises(DataError, match="answers"):
            private.Release(values, RR)
    clamped = private.DiscreteLaplace(epsilon=1.0, bounds=(0, 3), clamp=(0, 3))
    for values in ([4], [0.5], ["x"], [math.nan]):
        with pytest.raises(DataError, match="answers"):
            private.Release(values, clamped)
    with pytest.raises(DataError, match="index"):
        private.Release(["no"], RR, index=["ann", "bob"])


def test_every_refusal_is_ours() -> None:
    for make in (*MADE, *LEDGERS):
        with pytest.raises(PCMError):
            make()
