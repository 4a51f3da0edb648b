"""What a newcomer gets wrong and an attacker tries: refused by an error of ours, with nothing spent or drawn."""

from __future__ import annotations

import copy
import math
import os
import pickle
import shutil
import sqlite3
import threading
import warnings

import networkx as nx
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest

import pcm
from pcm import private
from pcm.errors import ArgumentError, BudgetError, DataError, EvidenceError, LedgerError, StoreError, UnknownNameError
from pcm.private import book

RR = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
OTHER = private.RandomizedResponse(epsilon=2.0, categories=[0, 1])


# -- the file under an open ledger -------------------------------------------------------------------------------------


@pytest.fixture
def spent(tmp_path):
    ledger = private.Ledger(tmp_path / "budget.sqlite", epsilon=3.0)
    RR.release([1], ledger, name="x")
    return ledger, tmp_path / "budget.sqlite"


def _refused(ledger, found):
    for ask in (lambda: RR.release([1], ledger, name="y"), lambda: ledger.spent, lambda: str(ledger)):
        with pytest.raises(LedgerError, match=found):
            ask()


def test_deleted(spent) -> None:
    ledger, path = spent
    path.unlink()
    _refused(ledger, "the file is gone")
    assert not path.exists()  # and no empty one left behind


def test_exchanged_for_another_ledger(spent) -> None:
    ledger, path = spent
    path.unlink()
    private.Ledger(path, epsilon=3.0)
    _refused(ledger, "another ledger")


def test_set_back_to_an_older_copy(spent, tmp_path) -> None:
    ledger, path = spent
    shutil.copy(path, tmp_path / "older")
    RR.release([1], ledger, name="y")
    shutil.copy(tmp_path / "older", path)
    _refused(ledger, "entries are gone")


def test_emptied(spent, monkeypatch) -> None:
    _, path = spent
    path.write_bytes(b"")
    monkeypatch.setattr("pcm.private.book.CREATION", 0.05)
    with pytest.raises(LedgerError, match="it is empty"):
        private.Ledger(path, epsilon=3.0)


@pytest.mark.parametrize(
    "change",
    [
        "update entries set event = '{}'",
        'update entries set event = \'{"type": "Promise", "epsilon": -5.0, "delta": 0.0}\'',
        'update entries set event = \'{"type": "Promise", "epsilon": NaN, "delta": 0.0}\'',
        "update entries set mechanism = 'no json'",
        "update entries set relation = 'swap'",
        "update entries set status = 'raw'",
        "delete from entries where id = 1",
    ],
)
def test_entries_that_say_nothing_sound(spent, change) -> None:
    ledger, path = spent
    RR.release([1], ledger, name="y")
    with sqlite3.connect(path) as connection:
        connection.execute(change)
        connection.row_factory = sqlite3.Row  # whoever wrote them made the digests fit
        for row in connection.execute("select * from entries").fetchall():
            made = (book._digest(dict(row)), row["id"])
            connection.execute("update entries set digest = ? where id = ?", made)
    connection.close()
    _refused(private.Ledger(path), "damaged|entries are gone")


@pytest.mark.parametrize(
    "change",
    [
        """update entries set event = replace(event, '"noise_parameter": 0.5', '"noise_parameter": 0.9')""",
        "update entries set name = 'z'",
        "update entries set rows = 2",
        "update entries set relation = 'add_remove'",
        "update entries set event = cast(x'ff' as text)",
        "update terms set value = '9.0' where key = 'epsilon'",
        "delete from terms where key = 'id'",
    ],
)
def test_a_digit_that_changed_on_the_disk(spent, change) -> None:
    """Sound in itself, and no longer what was written: seen in an open ledger and by who opens it anew."""
    ledger, path = spent
    with sqlite3.connect(path) as connection:
        assert connection.execute(change).rowcount == 1
    connection.close()
    _refused(ledger, r"damaged|[Cc]ould not decode")
    with pytest.raises(LedgerError, match=r"damaged|[Cc]ould not decode"):
        private.Ledger(path).statement()


@pytest.mark.parametrize("value", ['"x"', "1e999", "NaN", "-1.0", "null"])
def test_terms_that_say_nothing_sound(spent, value) -> None:
    _, path = spent
    with sqlite3.connect(path) as connection:
        connection.execute("update terms set value = ? where key = 'epsilon'", (value,))
        terms = dict(connection.execute("select key, value from terms where key != 'digest'").fetchall())
        fits = book._digest({"terms": terms})  # whoever wrote them made the digest fit
        connection.execute("update terms set value = ? where key = 'digest'", (fits,))
    connection.close()
    with pytest.raises(LedgerError, match="damaged"):
        private.Ledger(path)


def test_another_working_directory_is_not_another_ledger(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = private.Ledger("budget.sqlite", epsilon=2.0)
    RR.release([1], ledger, name="x")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert ledger.spent == pytest.approx(1.0) and not (tmp_path / "below" / "budget.sqlite").exists()


# -- copies of a ledger in memory --------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_does_not_spend_the_budget_again() -> None:
    ledger = private.Ledger(epsilon=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
        child = os.fork()
    if not child:
        code = 1
        try:
            RR.release([1], ledger, name="x")
        except LedgerError:
            code = 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert RR.release([1], ledger, name="x").entry == 1


def test_a_file_begun_by_many_at_once_is_one_ledger(tmp_path) -> None:
    barrier, made = threading.Barrier(6), []

    def begin() -> None:
        barrier.wait()
        made.append(private.Ledger(tmp_path / "budget.sqlite", epsilon=3.0))

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    for ledger in made[:3]:
        RR.release([1], ledger, name="x")
    with pytest.raises(BudgetError):
        RR.release([1], made[-1], name="y")


def test_a_ledger_in_memory_is_not_copied_and_one_in_a_file_is_the_same(spent) -> None:
    for take in (pickle.dumps, copy.deepcopy):
        with pytest.raises(LedgerError, match="in memory"):
            take(private.Ledger(epsilon=1.0))
    again = pickle.loads(pickle.dumps(spent[0]))  # noqa: S301
    RR.release([1], again, name="y")
    assert spent[0].spent == pytest.approx(2.0)


def test_threads_take_turns() -> None:
    ledger, refused = private.Ledger(epsilon=5.0), []

    def take() -> None:
        try:
            RR.release([1], ledger, name="x")
        except BudgetError as error:
            refused.append(error)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3 and ledger.spent == pytest.approx(5.0)


def test_names_cannot_forge_lines_of_the_statement() -> None:
    for name in ("a\n 9  b  Laplace  ε = 0", "\ud800", "a\x00b"):
        with pytest.raises(ArgumentError, match="printable"):
            RR.release([1], private.Ledger(epsilon=1.0), name=name)


# -- data --------------------------------------------------------------------------------------------------------------

LAPLACE = private.Laplace(epsilon=1.0, bounds=(0, 100))


@pytest.mark.parametrize(
    ("mechanism", "data", "found"),
    [
        (LAPLACE, np.ma.array([1.0, 2.0], mask=[False, True]), "empty cells"),
        (RR, pd.Series([[1], [0]]), "none of the mechanism's categories"),
        (RR, np.array(1), "one value a unit"),
        (RR, pd.Series([1, None], dtype="Int64"), "empty cells"),
        (private.Laplace(epsilon=1.0, bounds=(17, 83)), [17, 40, 83], "computed from"),
        (private.DiscreteLaplace(epsilon=1.0, bounds=(1931, 1984)), [1931, 1950, 1984], "computed from"),
        (private.Laplace(epsilon=1.0, bounds=(0, 76576.46)), [957.7, 12.5, 76576.46], "computed from"),
        (private.Laplace(epsilon=1.0, bounds=(0, 76576.46), clip=True), [957.7, 12.5, 76576.46], "computed from"),
        (private.Laplace(epsilon=1.0, bounds=(-3.10625, 90)), [-3.10625, 20.0], "computed from"),
    ],
)
def test_data(mechanism, data, found) -> None:
    ledger = private.Ledger(epsilon=5.0)
    with pytest.raises(DataError, match=found):
        mechanism.release(data, ledger, name="x")
    assert len(ledger.statement()) == 0


@pytest.mark.parametrize("bounds", [(0, 100), (1, 5), (0, 23), (1, 31), (-50, 50), (1900, 2000)])
def test_scales_that_are_used_to_their_ends(bounds) -> None:
    mechanism = private.Laplace(epsilon=1.0, bounds=bounds)
    assert len(mechanism.release(list(bounds), private.Ledger(epsilon=1.0), name="x")) == 2


@pytest.mark.parametrize("end", [0.5, 2.5, 97, 2026, 10.25, 65_535, 1e-3])
def test_one_end_that_is_reached(end) -> None:
    mechanism = private.Laplace(epsilon=1.0, bounds=(-1, end))
    assert len(mechanism.release([0.0, end], private.Ledger(epsilon=1.0), name="x")) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: private.Laplace(epsilon=1.0, bounds=(-1e308, 1e308)),
        lambda: private.Gaussian(scale=1e-200, bounds=(0, 1)),
        lambda: private.DiscreteLaplace(scale=1.0, bounds=(0, 2**60)),
        lambda: private.DiscreteLaplace(scale=1e15, bounds=(0, 1)),
        lambda: LAPLACE.map(-1),
        lambda: LAPLACE.map(math.nan),
        lambda: RR.map("far"),  # pyright: ignore
        lambda: private.Release([1.0], "a mechanism"),
        lambda: private.Ledger("", epsilon=1.0),
        lambda: private.Ledger("a\0b", epsilon=1.0),
        lambda: private.audit_mechanism(RR, n=3),
        lambda: private.audit_mechanism(RR, n=10, claimed=-1.0),
        lambda: private.audit_mechanism(RR, n=10, claimed=math.nan),
    ],
)
def test_constants(make) -> None:
    with pytest.raises(ArgumentError):
        make()


def test_whole_numbers_beyond_32_bits() -> None:
    """OpenDP's default integer has 32 bits and saturates: the law of the site would not be that of the release."""
    mechanism = private.DiscreteLaplace(scale=1e9, bounds=(0, 2**40))
    values = mechanism.release([2**40] * 2_000, private.Ledger(epsilon=2e3, unit="row"), name="x").values
    assert (values > 2**40).mean() == pytest.approx(0.5, abs=0.1) and values.std() == pytest.approx(
        2**0.5 * 1e9, rel=0.3
    )


def test_a_sampler_that_tells_by_nan() -> None:
    with pytest.raises(DataError, match="NaN"):
        private.audit_mechanism(lambda value, n: np.full(n, np.nan if value else 0.0), (0, 1), n=100, claimed=1.0)


# -- releases as evidence ----------------------------------------------------------------------------------------------


def survey(n):
    share = pyro.sample("share", dist.Beta(1.0, 1.0))
    with pyro.plate("units", n):
        smoker = pyro.sample("smoker", dist.Bernoulli(share))
        pyro.sample("weight", dist.Normal(70.0 + 3.0 * smoker, 2.0))


def test_releases_keep_their_type() -> None:
    people = pcm.SCM(survey).given(share=0.3).sample(50, seed=0)
    release = RR.release(people["smoker"], private.Ledger(epsilon=1.0))
    with pytest.raises(EvidenceError, match="into a dict"):
        pcm.SCM(survey).fit(people.assign(smoker=release), seed=0)
    again = pickle.loads(pickle.dumps(release))  # noqa: S301
    assert type(again) is private.Release and again.mechanism == RR and not again.values.flags.writeable


def test_a_model_fitted_to_a_release_is_loaded_with_that_mechanism(tmp_path) -> None:
    people = pcm.SCM(survey).given(share=0.3).sample(50, seed=0)
    data = {"smoker": RR.release(people["smoker"], private.Ledger(epsilon=1.0)), "weight": people["weight"]}
    pcm.SCM(survey).fit(data, seed=0).save(tmp_path / "m.pcm")
    assert "smoker_released" in pcm.load(tmp_path / "m.pcm", program=private.released(survey, {"smoker": RR})).variables
    with pytest.raises(StoreError, match="smoker_released"):
        pcm.load(tmp_path / "m.pcm", program=private.released(survey, {"smoker": OTHER}))


def test_a_misspelt_variable_is_not_released_in_silence() -> None:
    with pytest.raises(UnknownNameError, match="smokr"):
        pcm.SCM(private.released(survey, {"smokr": RR}))


# -- claims ------------------------------------------------------------------------------------------------------------


def coins():
    a = pyro.sample("a", dist.Bernoulli(0.5))
    pyro.sample("b", dist.Bernoulli(0.2 + 0.6 * a))


@pytest.mark.parametrize("graph", [nx.DiGraph([("a", "b"), ("b", "a")]), nx.Graph([("a", "b")]), "a -> b"])
def test_graphs_without_d_separation(graph) -> None:
    with pytest.raises(ArgumentError, match="without cycles"):
        private.claims(pcm.SCM(coins), {"b": RR}, private="a", graph=graph)


def test_what_is_no_model_no_name_no_mechanism() -> None:
    with pytest.raises(ArgumentError, match=r"pcm\.SCM"):
        private.claims(coins, {"b": RR}, private="a")
    with pytest.raises(ArgumentError, match="private=None"):
        private.claims(pcm.SCM(coins), {"b": RR}, private=None)  # pyright: ignore
    with pytest.raises(ArgumentError, match="no mechanism"):
        private.targeted(
            pcm.SCM(coins), private="a", candidates="b", utility="b", epsilon=1.0, mechanism=lambda *_: "noise"
        )


# -- half the noise ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [private.Exponential, private.PermuteAndFlip])
def test_selections_with_half_the_noise_are_flagged(family, monkeypatch) -> None:
    """Of two categories they lose half of what they promise: the audit is of what their table says."""
    stated = family(2.0, [0, 1], [[1, 0], [0, 1]])
    assert not private.audit_mechanism(stated, n=4_000, confidence=0.9999).flagged
    bug = family(4.0, [0, 1], [[1, 0], [0, 1]])
    monkeypatch.setattr(
        family, "draw", lambda self, measurement, values, draw=family.draw: draw(bug, bug.measurement, values)
    )
    assert private.audit_mechanism(stated, n=4_000, confidence=0.9999).flagged
