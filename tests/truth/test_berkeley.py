"""Berkeley admissions: the mediation formula on the published table, by numpy and by the program."""

from __future__ import annotations

import numpy as np
import pytest

import pcm
from pcm_models.berkeley import load, program, truth


@pytest.fixture(scope="module")
def applicants():
    return load()


def value(question: str) -> float:
    return truth[question][0]


def tables(applicants) -> tuple[np.ndarray, np.ndarray]:
    """Shares of departments and rates of admission, ``[sex, department]``, from the rows."""
    cells = applicants.groupby(["female", "dept"])["admitted"].agg(["size", "mean"])
    sizes, rates = (cells[name].to_numpy(dtype=float).reshape(2, 6) for name in ("size", "mean"))
    return sizes / sizes.sum(1, keepdims=True), rates


def test_the_published_totals(applicants):
    admitted = applicants.groupby("female")["admitted"].agg(["sum", "count"])
    assert admitted.loc[0].tolist() == [1198, 2691]
    assert admitted.loc[1].tolist() == [557, 1835]
    assert (value("P(admitted | man)"), value("P(admitted | woman)")) == pytest.approx((1198 / 2691, 557 / 1835))


def test_the_stated_truths_are_the_mediation_formula(applicants):
    share, rate = tables(applicants)
    assert value("TE of female") == pytest.approx(share[1] @ rate[1] - share[0] @ rate[0], abs=1e-12)
    assert value("NDE of female") == pytest.approx(share[0] @ (rate[1] - rate[0]), abs=1e-12)
    assert value("NIE of female") == pytest.approx((share[1] - share[0]) @ rate[0], abs=1e-12)
    assert value("NDE of male (reversed)") == pytest.approx(share[1] @ (rate[0] - rate[1]), abs=1e-12)
    assert value("CDE of female in department A") == pytest.approx(89 / 108 - 512 / 825, abs=1e-12)
    rounded = [round(value(name), 5) for name in ("TE of female", "NDE of female", "NDE of male (reversed)")]
    assert rounded == [-0.14165, 0.07097, -0.00109]


def test_the_total_effect_is_direct_less_reversed_indirect(applicants):
    """TE = NDE − NIE of the reversed change (Pearl 2001, theorem 3)."""
    share, rate = tables(applicants)
    backwards = (share[0] - share[1]) @ rate[1]
    assert value("TE of female") == pytest.approx(value("NDE of female") - backwards, abs=1e-12)


@pytest.mark.parametrize(
    ("ask", "options", "question"),
    [
        (pcm.ate, {}, "TE of female"),
        (pcm.nde, {}, "NDE of female"),
        (pcm.nie, {}, "NIE of female"),
        (pcm.nde, {"treated": "man", "control": "woman"}, "NDE of male (reversed)"),
    ],
)
def test_effects_of_fresh_applicants(scm, ask, options, question):
    found = ask(scm, "female", "admitted", units=40_000, seed=1, **options)
    assert found.standard_error == 0 and "exact over 6 joint assignments of dept" in str(found.account.worlds)
    assert abs(float(found) - value(question)) <= 1e-12
    drawn = found.units.mean
    assert len(drawn) == 40_000 and abs(drawn.mean() - value(question)) <= 5 * drawn.std() / 200


def test_published_digits(scm):
    """TE −.14165, NDE +.07097, reversed NDE −.00109."""
    found = [
        pcm.ate(scm, "female", "admitted"),
        pcm.nde(scm, "female", "admitted"),
        pcm.nde(scm, "female", "admitted", treated="man", control="woman"),
    ]
    assert [f"{effect.mean:+.5f}" for effect in found] == ["-0.14165", "+0.07097", "-0.00109"]


def test_effects_of_each_applicant(scm, applicants):
    """A woman admitted to A, by hand: the department as a man's would be, her chance there by either sex's rates."""
    people = applicants.rename(index=lambda place: f"no. {place}")
    found = pcm.nde(scm, "female", "admitted", data=people).units
    assert list(found.index) == list(people.index)
    rates = tables(applicants)[1]
    women = (people["female"].eq(1) & people["dept"].eq(0) & people["admitted"].eq(1)).to_numpy()
    as_a_man = scm.counterfactual(people[women].iloc[:1], do={"female": 0})
    chances = np.array([as_a_man.probability("dept", dept)[0] for dept in "ABCDEF"])
    kept = np.minimum(1, rates / rates[1, 0])
    assert np.abs(found.mean[women] - chances @ (kept[1] - kept[0])).max() <= 1e-9
    table = found.to_dataframe()
    assert list(table.columns) == ["mean", "low", "high"] and (table["low"] <= table["mean"]).all()


def test_a_path_effect_is_the_natural_effect(scm):
    options = {"units": 20_000, "seed": 2}
    direct = pcm.path_effect(scm, "female", "admitted", paths=["female -> admitted"], **options)
    through = pcm.path_effect(scm, "female", "admitted", paths=["female -> dept -> admitted"], **options)
    assert float(direct) == pytest.approx(float(pcm.nde(scm, "female", "admitted", **options)), abs=1e-12)
    assert float(through) == pytest.approx(float(pcm.nie(scm, "female", "admitted", **options)), abs=1e-12)


def test_within_a_department(scm):
    held = pcm.cde(scm, "female", "admitted", mediators={"dept": "A"}, units=2_000, seed=0)
    assert float(held) == pytest.approx(value("CDE of female in department A"), abs=1e-9)


def test_the_direct_effect_needs_no_coupling():
    """Sex, department and admission share no unmeasured cause: the law fixes the effect, the coupling is not asked."""
    found = pcm.bounds(pcm.SCM(program), "NDE(female, admitted)")
    assert (found.low, found.high) == pytest.approx((value("NDE of female"),) * 2, abs=1e-9)
