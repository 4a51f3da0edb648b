"""Every kind of ``do``, against algebra by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.errors import InterventionError, ProgramError

Normal = dist.Normal


def chain():
    """z → x → m := x² → y, z → y; y = m + 3 z + u_y."""
    z = pyro.sample("z", Normal(0.0, 1.0))
    x = pyro.sample("x", Normal(2 * z + 1, 0.5))
    m = pyro.deterministic("m", x**2)
    pyro.sample("y", Normal(m + 3 * z, 0.7))


UNITS = 6


@pytest.fixture(scope="module")
def scm():
    return pcm.SCM(chain)


@pytest.fixture(scope="module")
def frame(scm):
    return scm.sample(UNITS, seed=1)


def noise(frame):
    return frame["x"] - 2 * frame["z"] - 1, frame["y"] - frame["x"] ** 2 - 3 * frame["z"]


PER_UNIT = np.linspace(-1.0, 1.0, UNITS)

# what do() gets, and what x then is as a function of the frame
SETTINGS_OF_X = {
    "int": (2, lambda f: 2.0),
    "float": (2.5, lambda f: 2.5),
    "bool": (True, lambda f: 1.0),
    "numpy scalar": (np.float32(0.5), lambda f: 0.5),
    "tensor scalar": (torch.tensor(2), lambda f: 2.0),
    "tensor that wants a gradient": (torch.tensor(2.0, requires_grad=True), lambda f: 2.0),
    "per-unit tensor": (torch.as_tensor(PER_UNIT), lambda f: PER_UNIT),
    "per-unit float32": (torch.arange(UNITS, dtype=torch.float32), lambda f: np.arange(UNITS)),
    "per-unit numpy": (PER_UNIT, lambda f: PER_UNIT),
    "per-unit list": (PER_UNIT.tolist(), lambda f: PER_UNIT),
    "per-unit tuple": (tuple(PER_UNIT), lambda f: PER_UNIT),
    "per-unit integers": (np.arange(UNITS), lambda f: np.arange(UNITS)),
    "per-unit Series": (pd.Series(PER_UNIT), lambda f: PER_UNIT),
    "shift": (lambda x: x - 1, lambda f: f["x"] - 1),
    "scaling": (lambda x: -2 * x, lambda f: -2 * f["x"]),
    "policy": (lambda z: z.abs(), lambda f: f["z"].abs()),
    "policy of two": (lambda z, x: torch.where(z > 0, x, z), lambda f: f["x"].where(f["z"] > 0, f["z"])),
    "keyword-only": (lambda *, z: 4 * z, lambda f: 4 * f["z"]),
    "default is no variable": (lambda z, y=10.0: z + y, lambda f: f["z"] + 10),
    "policy that gives a number": (lambda z: 3.0, lambda f: 3.0),
    "policy that gives numpy": (lambda z: z.numpy() + 1, lambda f: f["z"] + 1),
}


@pytest.mark.parametrize("kind", SETTINGS_OF_X)
def test_every_kind_of_value_against_the_algebra(scm, frame, kind):
    value, known = SETTINGS_OF_X[kind]
    u_x, u_y = noise(frame)
    x = known(frame) + 0 * frame["x"].to_numpy()
    y = x**2 + 3 * frame["z"] + u_y
    for cf in (scm.counterfactual(frame, do={"x": value}), scm.counterfactual(frame, worlds={"do": {"x": value}})):
        assert np.abs(cf.mean("x") - x).max() <= 1e-12
        assert np.abs(cf.mean("m") - x**2).max() <= 1e-12
        assert np.abs(cf.mean("y") - y).max() <= 1e-12
        assert np.array_equal(cf.mean("z"), frame["z"])
    del u_x


@pytest.mark.parametrize("kind", [kind for kind in SETTINGS_OF_X if kind != "default is no variable"])
def test_sampling_obeys_the_same_intervention(scm, kind):
    """The same seed gives the same noise: the sample under do is the algebra on the sample without."""
    value, known = SETTINGS_OF_X[kind]
    free = scm.sample(UNITS, seed=3)
    set_ = scm.do(x=value).sample(UNITS, seed=3)
    _, u_y = noise(free)
    x = known(free) + 0 * free["x"].to_numpy()
    assert np.abs(set_["x"] - x).max() <= 1e-12
    assert np.abs(set_["y"] - (x**2 + 3 * free["z"] + u_y)).max() <= 1e-12
    assert set_["z"].equals(free["z"])


def test_dict_keys_and_keywords_are_one():
    def program():
        a = pyro.sample("blood pressure", Normal(0.0, 1.0))
        pyro.sample("y", Normal(a, 1.0))

    scm = pcm.SCM(program)
    frame = scm.sample(4, seed=0)
    cf = scm.counterfactual(frame, do={"blood pressure": 2.0})
    assert np.abs(cf.mean("y") - (2.0 + frame["y"] - frame["blood pressure"])).max() <= 1e-12
    both = scm.do({"blood pressure": 2.0}, y=1.0).sample(2, seed=0)
    assert (both == [2.0, 1.0]).to_numpy().all()


def test_a_series_is_matched_to_the_units_by_label(scm, frame):
    named = frame.set_axis(list("abcdef"), axis=0)
    value = pd.Series(PER_UNIT, index=list("abcdef"))
    shuffled = value.iloc[[3, 1, 5, 0, 2, 4]]
    first = scm.counterfactual(named, do={"x": value}).mean("y")
    assert np.array_equal(first, scm.counterfactual(named, do={"x": shuffled}).mean("y"))
    with pytest.raises(InterventionError, match="f"):
        scm.counterfactual(named, do={"x": value.rename({"f": "nobody"})})


def test_deterministic_sites_can_be_set(scm, frame):
    _, u_y = noise(frame)
    cf = scm.counterfactual(
        frame, worlds={"set": {"m": 5.0}, "shift": {"m": lambda m: m + 1}, "both": {"m": 1.0, "x": 9.0}}
    )
    assert np.abs(cf.mean("y", "set") - (5 + 3 * frame["z"] + u_y)).max() <= 1e-12
    assert np.abs(cf.mean("y", "shift") - (frame["y"] + 1)).max() <= 1e-12
    assert np.abs(cf.mean("y", "both") - (1 + 3 * frame["z"] + u_y)).max() <= 1e-12
    assert np.array_equal(cf.mean("x", "set"), frame["x"]) and (cf.mean("x", "both") == 9).all()
    assert (scm.do(m=5.0).sample(5, seed=0)["m"] == 5).all()


def test_covariates_can_be_set_and_read():
    def program(n, *, age, dose):
        with pyro.plate("units", n):
            x = pyro.sample("x", Normal(age + 2 * dose, 1.0))
            pyro.sample("y", Normal(x * dose, 1.0))

    scm = pcm.SCM(program)
    data = pd.DataFrame({"age": [1.0, 2.0, 3.0], "dose": [0.0, 1.0, 2.0]})
    frame = scm.sample(data=data, seed=0)
    assert list(frame.columns) == ["age", "dose", "x", "y"]
    u_y = frame["y"] - frame["x"] * frame["dose"]
    cf = scm.counterfactual(
        frame,
        worlds={
            "dose": {"dose": 3.0},
            "shift": {"age": lambda age: age + 10},
            "policy": {"x": lambda age, dose: age * dose},
            "of covariates": {"dose": lambda age: age},
        },
    )
    x = frame["x"] + 2 * (3 - frame["dose"])
    assert np.abs(cf.mean("y", "dose") - (3 * x + u_y)).max() <= 1e-12
    assert np.abs(cf.mean("x", "shift") - (frame["x"] + 10)).max() <= 1e-12
    assert np.abs(cf.mean("x", "policy") - frame["age"] * frame["dose"]).max() <= 1e-12
    assert np.abs(cf.mean("dose", "of covariates") - frame["age"]).max() == 0
    sampled = scm.do(dose=3.0).sample(data=data, seed=0)
    assert (sampled["dose"] == 3).all() and np.abs(sampled["x"] - x).max() <= 1e-12
    missing = scm.do(dose=3.0).counterfactual(sampled.drop(columns="dose"), do={"age": 0.0})
    assert np.abs(missing.mean("x") - (sampled["x"] - sampled["age"])).max() <= 1e-12


def test_stochastic_interventions_have_the_distribution_asked_for_and_noise_of_their_own(scm, frame):
    cf = scm.counterfactual(frame, do={"x": Normal(1.0, 2.0)}, draws=4000, seed=0)
    x, y = cf.draws("x"), cf.draws("y")
    _, u_y = noise(frame)
    assert np.abs(y - (x**2 + 3 * frame["z"].to_numpy() + u_y.to_numpy())).max() <= 1e-10
    level = 4.9 / np.sqrt(x.size)  # one in a million
    assert abs(x.mean() - 1) < 2 * level and abs(x.std() - 2) < 2 * level
    again = scm.counterfactual(
        frame, worlds={"a": {"x": Normal(1.0, 2.0)}, "b": {"x": Normal(1.0, 2.0), "z": 0.0}}, draws=50, seed=0
    )
    assert np.array_equal(again.draws("x", "a"), again.draws("x", "b"))
    assert np.array_equal(again.draws("x", "a"), x[:50])


def test_stochastic_discrete_interventions_are_averaged_exactly():
    def program():
        c = pyro.sample("c", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))
        x = pyro.sample("x", Normal(torch.tensor([0.0, 1.0, 5.0])[c], 1.0))
        pyro.sample("t", dist.Bernoulli(logits=x))

    scm = pcm.SCM(program)
    frame = scm.sample(5, seed=0)
    p = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    cf = scm.counterfactual(frame, do={"c": dist.Categorical(p)}, seed=0)
    u = frame["x"] - np.array([0.0, 1.0, 5.0])[frame["c"]]
    assert np.abs(cf.mean("x") - (0.2 + 3.5 + u)).max() <= 1e-12
    assert np.abs(cf.probability("c", 2) - 0.7).max() <= 1e-12

    def flip(q, before, t):  # monotone: THEORY §1
        return np.where(t == 1, np.minimum(before, q) / before, np.maximum(q - before, 0) / (1 - before))

    before = 1 / (1 + np.exp(-frame["x"]))
    known = sum(
        weight * flip(1 / (1 + np.exp(-(value + u))), before, frame["t"])
        for weight, value in zip((0.1, 0.2, 0.7), (0.0, 1.0, 5.0), strict=True)
    )
    assert np.abs(cf.mean("t") - known).max() <= 1e-12
    coin = scm.counterfactual(
        frame, do={"x": dist.Bernoulli(torch.tensor(0.25, dtype=torch.float64))}, draws=2000, seed=0
    )
    assert np.abs(coin.mean("x") - 0.25).max() <= 4.9 * np.sqrt(0.25 * 0.75 / 2000)  # x has no finite table of its own
    assert set(np.unique(coin.draws("x"))) == {0.0, 1.0}


def test_edges_change_what_one_child_reads(scm, frame):
    _, u_y = noise(frame)
    worlds = {
        "number": {("z", "y"): 1.0},
        "per unit": {("z", "y"): PER_UNIT},
        "shift": {("z", "y"): lambda z: z + 1},
        "both": {("z", "y"): 0.0, "z": 1.0},
        "deterministic": {("x", "m"): 2.0},
    }
    cf = scm.counterfactual(frame, worlds=worlds)
    assert np.abs(cf.mean("y", "number") - (frame["m"] + 3 + u_y)).max() <= 1e-12
    assert np.abs(cf.mean("y", "per unit") - (frame["m"] + 3 * PER_UNIT + u_y)).max() <= 1e-12
    assert np.abs(cf.mean("y", "shift") - (frame["y"] + 3)).max() <= 1e-12
    assert np.array_equal(cf.mean("x", "number"), frame["x"])
    x = frame["x"] - 2 * frame["z"] + 2
    assert np.abs(cf.mean("x", "both") - x).max() <= 1e-12
    assert np.abs(cf.mean("y", "both") - (x**2 + u_y)).max() <= 1e-12
    assert np.abs(cf.mean("y", "deterministic") - (4 + 3 * frame["z"] + u_y)).max() <= 1e-12
    sampled, free = scm.do({("z", "y"): 1.0}).sample(UNITS, seed=1), frame
    assert np.abs(sampled["y"] - (free["m"] + 3 + u_y)).max() <= 1e-12
    assert ("z", "y") not in scm.do({("z", "y"): 1.0}).graph.edges and ("z", "y") in scm.graph.edges


# -- composition -------------------------------------------------------------------------------------------------------


def test_the_last_intervention_on_a_target_wins_whatever_its_kind(scm):
    kinds = [2.0, torch.linspace(0, 1, 4), lambda x: x + 1, lambda z: z, Normal(0.0, 1.0)]
    for first in kinds:
        for last in kinds:
            twice, once = scm.do(x=first).do(x=last).sample(4, seed=5), scm.do(x=last).sample(4, seed=5)
            assert twice.equals(once)


def test_interventions_on_different_targets_add_up_in_any_order(scm, frame):
    one = scm.do(z=1.0).do(x=lambda z: z + 1)
    other = scm.do(x=lambda z: z + 1).do(z=1.0)
    assert one.sample(5, seed=0).equals(other.sample(5, seed=0))
    assert (one.sample(5, seed=0)["x"] == 2).all()
    joint = scm.counterfactual(frame, do={"z": 1.0, "x": lambda z: z + 1})
    assert (joint.mean("x") == 2).all()


def test_the_model_it_came_from_is_not_changed(scm):
    before = scm.sample(4, seed=0)
    scm.do(x=1.0), scm.do(z=2.0).do(x=3.0)
    assert scm.sample(4, seed=0).equals(before) and not scm._model.interventions


def test_a_variable_that_is_set_drops_its_edges(scm):
    assert set(scm.do(x=1.0).graph.edges) == {("x", "m"), ("m", "y"), ("z", "y")}
    assert set(scm.do(x=lambda x: x + 1).graph.edges) == set(scm.graph.edges)
    assert set(scm.do(y=lambda x: x).graph.edges) == {("z", "x"), ("x", "m"), ("x", "y")}


def test_evidence_from_an_intervened_world(scm):
    """Under do(x := 2) y = 4 + 3 z + u; x itself need not be in the evidence."""
    fixed = scm.do(x=2.0)
    frame = fixed.sample(UNITS, seed=2)
    u_y = frame["y"] - 4 - 3 * frame["z"]
    for data in (frame, frame.drop(columns=["x", "m"])):
        cf = fixed.counterfactual(data, worlds={"z": {"z": 1.0}, "x": {"x": 3.0}})
        assert np.abs(cf.mean("y", "z") - (4 + 3 + u_y)).max() <= 1e-12 and (cf.mean("x", "z") == 2).all()
        assert np.abs(cf.mean("y", "x") - (9 + 3 * frame["z"] + u_y)).max() <= 1e-12
        assert np.array_equal(cf.mean("y", "factual"), frame["y"])


def test_evidence_that_contradicts_the_intervention_in_force_is_refused(scm, frame):
    with pytest.raises(pcm.PCMError, match="x"):
        scm.do(x=2.0).counterfactual(frame.drop(columns="m"), do={"z": 1.0})
    with pytest.raises(pcm.PCMError, match="x"):
        scm.do(x=lambda z: z).counterfactual(frame.drop(columns="m"), do={"z": 1.0})


def test_evidence_from_a_shifted_world_is_refused_where_the_natural_value_is_needed(scm):
    """What x would have been without the shift is not in the evidence; the unshifted variables are."""
    shifted = scm.do(x=lambda x: x + 1)
    frame = shifted.sample(UNITS, seed=0)
    with pytest.raises(InterventionError, match=r"x.*natural"):
        shifted.counterfactual(frame, do={"z": frame["z"].to_numpy()})
    u_y = frame["y"] - frame["x"] ** 2 - 3 * frame["z"]
    cf = shifted.counterfactual(frame, worlds={"x": {"x": 2.0}, "edge": {("z", "y"): 0.0}})
    assert np.abs(cf.mean("y", "x") - (4 + 3 * frame["z"] + u_y)).max() <= 1e-12
    assert np.abs(cf.mean("y", "edge") - (frame["x"] ** 2 + u_y)).max() <= 1e-12


def test_evidence_from_a_world_with_a_policy(scm):
    made = scm.do(x=lambda z: 2 * z)
    frame = made.sample(UNITS, seed=0)
    u_y = frame["y"] - 4 * frame["z"] ** 2 - 3 * frame["z"]
    cf = made.counterfactual(frame, do={"z": 1.0})
    assert (cf.mean("x") == 2).all() and np.abs(cf.mean("y") - (4 + 3 + u_y)).max() <= 1e-12


# -- shapes ------------------------------------------------------------------------------------------------------------


def shapes():
    z = pyro.sample("z", Normal(0.0, 1.0))
    v = pyro.sample("v", Normal(torch.stack([z, -z], -1), 1.0).to_event(1))
    with pyro.plate("visits", 3, dim=-2):
        w = pyro.sample("w", Normal(v.sum(-1) + z, 1.0))
    pyro.sample("y", Normal(w.sum(0) + v @ torch.tensor([1.0, 2.0]), 1.0))


def test_vector_sites_and_inner_plates():
    scm = pcm.SCM(shapes)
    frame = scm.sample(4, seed=0)
    v, w = frame[["v[0]", "v[1]"]].to_numpy(), frame[["w[0]", "w[1]", "w[2]"]].to_numpy()
    z, y = frame["z"].to_numpy(), frame["y"].to_numpy()
    u_w = w - (v.sum(-1) + z)[:, None]
    u_y = y - w.sum(-1) - v @ [1.0, 2.0]
    each = np.arange(8.0).reshape(4, 2)
    for value, known in (
        ([1.0, 2.0], np.tile([1.0, 2.0], (4, 1))),
        (each, each),
        (torch.as_tensor(each), each),
        (lambda v: v + 1, v + 1),
    ):
        cf = scm.counterfactual(frame, do={"v": value})
        assert np.abs(cf.mean("v") - known).max() <= 1e-12
        assert np.abs(cf.mean("w") - (u_w + (known.sum(-1) + z)[:, None])).max() <= 1e-12
        moved = u_w + (known.sum(-1) + z)[:, None]
        assert np.abs(cf.mean("y") - (moved.sum(-1) + known @ [1.0, 2.0] + u_y)).max() <= 1e-11
    for value, known in (
        (1.0, np.ones((4, 3))),
        (np.arange(12.0).reshape(3, 4), np.arange(12.0).reshape(3, 4).T),
        (lambda w: w * 2, 2 * w),
    ):
        cf = scm.counterfactual(frame, do={"w": value})
        assert np.abs(cf.mean("w") - known).max() <= 1e-12
        assert np.abs(cf.mean("y") - (known.sum(-1) + v @ [1.0, 2.0] + u_y)).max() <= 1e-11
    with pytest.raises(InterventionError, match="v"):
        scm.do(v=[1.0, 2.0, 3.0])
    with pytest.raises(InterventionError, match="v"):
        scm.counterfactual(frame, do={"v": np.zeros((5, 2))})


def table():
    """y reads a table of three entries at x, rounded."""
    z = pyro.sample("z", Normal(0.0, 1.0))
    x = pyro.sample("x", Normal(0.0, 0.1))
    m = pyro.sample("m", dist.Bernoulli(logits=x))
    pyro.sample("y", Normal(torch.tensor([0.0, 1.0, 3.0])[x.round().abs().long()] + m + z, 1.0))


def gathered():
    """The same by ``gather``, which raises another error."""
    x = pyro.sample("x", Normal(0.0, 0.1))
    entries = torch.tensor([0.0, 1.0, 3.0]).expand(*x.shape, 3)
    pyro.sample("y", Normal(entries.gather(-1, x.round().abs().long()[..., None])[..., 0], 1.0))


WHOLE = {"z": [0.0, 1.0], "x": [0.0, 1.0], "m": [0.0, 1.0], "y": [0.5, 1.0]}
OUTSIDE_THE_TABLE = {
    "sampled": (r"do\(x=5\)", lambda scm: scm.do(x=5).sample(3)),
    "one unit of them": (r"do\(x=…\)", lambda scm: scm.do(x=torch.tensor([1.0, 5.0])).sample(2)),
    "a shift": (r"do\(x=…, m=1\)", lambda scm: scm.do(x=lambda x: x + 4, m=1).sample(3)),
    "an edge": (r"do\(x → y=5\)", lambda scm: scm.do({("x", "y"): 5.0}).sample(3)),
    "counterfactual": (r"do\(x=5\)", lambda scm: scm.counterfactual(WHOLE, do={"x": 5}).mean("y")),
    "its edge": (r"do\(x → y=5\)", lambda scm: scm.counterfactual(WHOLE, do={("x", "y"): 5.0}).mean("y")),
    "enumerated": (r"do\(x=5\)", lambda scm: pcm.ate(scm, "x", "y", treated=5, control=0)),
}


@pytest.mark.parametrize("way", OUTSIDE_THE_TABLE)
def test_a_value_beyond_a_table_that_the_program_reads_is_named(way):
    said, ask = OUTSIDE_THE_TABLE[way]
    with pytest.raises(InterventionError, match=f"{said}: the program fails on the way to 'y'") as caught:
        ask(pcm.SCM(table))
    assert isinstance(caught.value.__cause__, IndexError)
    assert vars(caught.value)["site"] == "y"


def test_other_errors_of_a_table_too():
    with pytest.raises(InterventionError, match=r"do\(x=5\).*'y'") as caught:
        pcm.SCM(gathered).do(x=5).sample(3)
    assert type(caught.value.__cause__) is RuntimeError


def test_a_program_that_fails_of_itself():
    state = {"entries": 3, "broken": False}

    def short():
        x = pyro.sample("x", Normal(0.0, 0.1))
        if state["broken"]:
            raise RuntimeError("no memory")
        pyro.sample("y", Normal(torch.zeros(state["entries"])[x.round().abs().long() + 1], 1.0))

    scm = pcm.SCM(short)
    scm.sample(3)
    state["entries"] = 1
    with pytest.raises(ProgramError, match=r"^The program fails on the way to 'y' .IndexError"):
        scm.sample(3)
    state["broken"] = True  # which is no table's fault
    with pytest.raises(RuntimeError, match=r"^no memory$"):
        scm.do(x=1).sample(3)
