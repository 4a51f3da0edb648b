"""The public face: what a model says of itself, samples, and the guarantees that span all layers."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import pcm


def clinic():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    site = pyro.sample("site", dist.Bernoulli(0.4))
    labs = pyro.sample("labs", dist.Normal(0.8 * age + 0.5 * site, 0.5))
    plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0.0 * age, age, -age], -1)))
    pyro.sample("readmit", dist.Bernoulli(logits=1.2 * labs - 0.4 * (plan == 1) + 0.3 * age + 0.7 * site))


def dose_response(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        dose = pyro.sample("dose", dist.Exponential(1.0))
        pyro.sample("response", dist.Normal(slope * dose, 0.5))


def with_covariate(n, *, age):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        pyro.sample("y", dist.Normal(slope * age, 0.5))


def test_what_a_model_says_of_itself():
    scm = pcm.SCM(clinic)
    assert scm.variables == ("age", "site", "labs", "plan", "readmit") and scm.parameters == () and scm.covariates == ()
    assert set(scm.graph.edges) == {
        ("age", "labs"),
        ("site", "labs"),
        ("age", "plan"),
        ("labs", "readmit"),
        ("plan", "readmit"),
        ("age", "readmit"),
        ("site", "readmit"),
    }
    assert scm.program is clinic and scm.posterior is None
    assert repr(pcm.SCM(dose_response)) == "SCM(dose_response, 1 parameters: dose → response)"
    assert "<svg" in scm._repr_html_() and "clinic" in scm._repr_html_()
    assert "do(labs)" in repr(scm.do(labs=0.0)) and "do(age → labs)" in repr(scm.do({("age", "labs"): 0.0}))
    made = pcm.SCM(with_covariate)
    assert made.covariates == ("age",) and made.parameters == ("slope",) and made.variables == ("age", "y")


def test_a_name_that_pcm_lacks_is_looked_for_among_those_it_has():
    name = "Ate"
    with pytest.raises(AttributeError, match="module 'pcm' has no attribute 'Ate'") as caught:
        getattr(pcm, name)
    assert (caught.value.name, caught.value.obj) == (name, pcm)  # from these Python makes "Did you mean: 'ate'?"


def test_the_graph_handed_out_is_a_copy():
    scm = pcm.SCM(clinic)
    scm.graph.remove_edge("age", "labs")
    scm.graph.clear()
    assert ("age", "labs") in scm.graph.edges
    assert scm.counterfactual(scm.sample(3, seed=0), do={"age": 1.0}).mean("labs").shape == (3,)


def test_fresh_units_have_the_law_of_the_program():
    frame = pcm.SCM(clinic).sample(20_000, seed=1)
    level = 1e-6
    assert stats.kstest(frame["age"], "norm").pvalue > level
    assert stats.binomtest(int(frame["site"].sum()), 20_000, 0.4).pvalue > level
    residual = (frame["labs"] - 0.8 * frame["age"] - 0.5 * frame["site"]) / 0.5
    assert stats.kstest(residual, "norm").pvalue > level
    logits = np.stack([0 * frame["age"], frame["age"], -frame["age"]], -1)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for code in range(3):
        score = ((frame["plan"] == code) - p[:, code]).sum() / np.sqrt((p[:, code] * (1 - p[:, code])).sum())
        assert abs(score) < 4.9
    q = 1 / (1 + np.exp(-(1.2 * frame["labs"] - 0.4 * (frame["plan"] == 1) + 0.3 * frame["age"] + 0.7 * frame["site"])))
    assert abs((frame["readmit"] - q).sum() / np.sqrt((q * (1 - q)).sum())) < 4.9
    assert np.abs(
        np.corrcoef(np.stack([residual, frame["age"], frame["site"]]))[np.triu_indices(3, 1)]
    ).max() < 4.9 / np.sqrt(20_000)


def test_a_seed_gives_the_same_units_whatever_their_number():
    scm = pcm.SCM(clinic)
    long, short = scm.sample(500, seed=3), scm.sample(7, seed=3)
    assert np.abs(long.iloc[:7] - short).max().max() <= 1e-12
    assert scm.sample(7, seed=3).equals(short) and not scm.sample(7, seed=4).equals(short)
    assert scm.sample(np.int64(7), seed=np.int64(3)).equals(short)
    assert len(scm.sample(1, seed=0)) == 1


def test_one_draw_of_the_parameters_for_all_rows():
    frame = pcm.SCM(dose_response).sample(4000, seed=0)
    slope, _ = np.polyfit(frame["dose"], frame["response"], 1)
    residual = frame["response"] - slope * frame["dose"]
    assert abs(residual.std() - 0.5) < 0.05
    slopes = [
        (lambda f: (f["dose"] @ f["response"]) / (f["dose"] @ f["dose"]))(pcm.SCM(dose_response).sample(200, seed=k))
        for k in range(30)
    ]
    assert 0.5 < np.std(slopes) < 1.6
    assert pcm.SCM(dose_response).given(slope=5.0).sample(2000, seed=0).eval(
        "response / dose"
    ).median() == pytest.approx(5, abs=0.1)


def test_a_program_in_float32_answers_in_float32():
    scm = pcm.SCM(clinic, dtype=torch.float32)
    frame = scm.sample(20, seed=0)
    assert frame["age"].dtype == np.float32
    cf = scm.counterfactual(frame, do={"age": 1.0}, draws=4, seed=0)
    assert cf.mean("labs").dtype == np.float32
    exact = pcm.SCM(clinic).counterfactual(frame, do={"age": 1.0}, draws=4, seed=0)
    assert np.abs(cf.mean("labs") - exact.mean("labs")).max() < 1e-5


def test_the_evidence_is_left_as_it_was():
    scm = pcm.SCM(clinic)
    frame = scm.sample(30, seed=0)
    before, arrays = frame.copy(), {name: frame[name].to_numpy(dtype=float) for name in frame}
    kept = {name: array.copy() for name, array in arrays.items()}
    tensors = {name: torch.tensor(array) for name, array in kept.items()}
    for data in (frame, arrays, tensors):
        cf = scm.counterfactual(
            data, worlds={"a": {"age": lambda age: age.mul_(1) + 1}, "b": {"labs": 0.0}}, draws=3, seed=0
        )
        cf.draws("readmit", "a")
    assert frame.equals(before) and all(np.array_equal(arrays[n], kept[n]) for n in kept)
    assert all(np.array_equal(tensors[n], kept[n]) for n in kept)


def test_a_policy_that_writes_in_place_does_not_reach_the_evidence():
    scm = pcm.SCM(clinic)

    def policy(age):
        age += 100
        return age

    for make in (lambda f: f, lambda f: {name: f[name].to_numpy(dtype=float).copy() for name in f}):
        data, known = make(scm.sample(5, seed=0)), scm.sample(5, seed=0)["age"].to_numpy().copy()
        try:
            cf = scm.counterfactual(data, do={"labs": policy})
        except pcm.PCMError:
            cf = None
        assert np.array_equal(data["age"], known)
        if cf is not None:
            assert np.array_equal(cf.mean("age"), known) and np.array_equal(cf.mean("labs"), known + 100)


def test_later_changes_of_a_result_do_not_reach_the_model():
    scm = pcm.SCM(clinic)
    frame = scm.sample(5, seed=0)
    cf = scm.counterfactual(frame, do={"labs": 0.0}, draws=3, seed=0)
    first = cf.mean("readmit").copy()
    try:
        cf.mean("readmit")[:] = 77.0
        cf.draws("age")[:] = 77.0
    except ValueError:
        pass  # read-only arrays are as good
    assert frame["age"].max() < 70
    again = scm.counterfactual(frame, do={"labs": 0.0}, draws=3, seed=0)
    assert np.array_equal(again.mean("readmit"), first)


EVIDENCE = {
    "frame": lambda f: f,
    "dict of arrays": lambda f: {name: f[name].to_numpy() for name in f},
    "dict of lists": lambda f: {name: f[name].tolist() for name in f},
    "dict of tensors": lambda f: {name: torch.tensor(f[name].to_numpy()) for name in f},
    "dict of Series": lambda f: {name: f[name] for name in f},
    "columns in another order": lambda f: f[list(f.columns)[::-1]],
    "extra columns": lambda f: f.assign(ward="A", remark=None),
    "float32": lambda f: f.astype({"age": "float64"}).assign(site=f["site"].astype("float32")),
    "bool": lambda f: f.assign(site=f["site"].astype(bool), readmit=f["readmit"].astype(bool)),
    "nullable": lambda f: f.convert_dtypes(),
    "object": lambda f: f.astype(object),
}


@pytest.mark.parametrize("form", EVIDENCE)
def test_evidence_in_any_form_gives_one_answer(form):
    scm = pcm.SCM(clinic)
    frame = scm.sample(8, seed=0)
    known = scm.counterfactual(frame, do={"labs": 0.0}, seed=0)
    found = scm.counterfactual(EVIDENCE[form](frame), do={"labs": 0.0}, seed=0)
    assert np.array_equal(known.probability("readmit", 1), found.probability("readmit", 1))


def test_columns_that_are_not_read_are_said():
    scm = pcm.SCM(clinic)
    frame = scm.sample(8, seed=0)
    said = scm.counterfactual(frame.assign(ward="A", remark=None), do={"labs": 0.0}, seed=0).account
    words = "the program has no variable for the columns ward, remark of the evidence: not read"
    assert words in said.notes and words in str(said)
    assert words not in scm.counterfactual(frame, do={"labs": 0.0}, seed=0).account.notes


def test_an_arrow_table_and_a_single_unit():
    import pyarrow

    scm = pcm.SCM(clinic)
    frame = scm.sample(8, seed=0)
    known = scm.counterfactual(frame, do={"labs": 0.0}, seed=0).mean("readmit")
    assert np.array_equal(
        scm.counterfactual(pyarrow.Table.from_pandas(frame), do={"labs": 0.0}, seed=0).mean("readmit"), known
    )
    one = {name: frame[name].iloc[0] for name in frame}
    assert scm.counterfactual(one, do={"labs": 0.0}).mean("readmit").tolist() == [known[0]]


def test_interventions_do_not_mix_up_worlds():
    scm = pcm.SCM(clinic)
    frame = scm.sample(10, seed=0)
    worlds = {f"w{k}": {"labs": float(k)} for k in range(12)}
    cf = scm.counterfactual(frame, worlds=worlds, draws=4, seed=0)
    for world, given in worlds.items():
        alone = scm.counterfactual(frame, do=given, draws=4, seed=0)
        assert np.array_equal(cf.mean("readmit", world), alone.mean("readmit"))
        assert np.array_equal(cf.draws("readmit", world), alone.draws("readmit"))
    assert cf.worlds == ("factual", *worlds)


def test_answers_do_not_depend_on_the_order_of_questions():
    scm = pcm.SCM(clinic)
    frame = scm.sample(10, seed=0)
    ask = {
        "mean": lambda cf: cf.mean("readmit"),
        "draws": lambda cf: cf.draws("readmit"),
        "sd": lambda cf: cf.sd("readmit"),
        "table": lambda cf: cf.to_dataframe().drop(columns="world").to_numpy(),
        "probability": lambda cf: cf.probability("plan", 2),
    }
    first = scm.counterfactual(frame, do={"age": 0.0}, draws=16, seed=0)
    one = {name: question(first).copy() for name, question in ask.items()}
    second = scm.counterfactual(frame, do={"age": 0.0}, draws=16, seed=0)
    for name in reversed(list(ask)):
        assert np.array_equal(ask[name](second), one[name]), name
