"""What is computed once for many: assignments of random sites, equal units, one site's noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm


def line(n: int) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        m = pyro.sample("m", dist.Categorical(logits=torch.stack([0 * x, w[0] * x, -x], -1)))
        k = pyro.sample("k", dist.Bernoulli(logits=w[1] * (m == 1) - 0.5 * x))
        pyro.sample("y", dist.Bernoulli(logits=0.8 * m - k + w[1] * x))


def fitted() -> tuple[pcm.SCM, pd.DataFrame]:
    data = pcm.SCM(line).given(w=torch.tensor([0.7, 0.4])).sample(60, seed=0)
    return pcm.SCM(line).fit(data, seed=0, progress=False), data


def test_a_world_asked_with_others_is_to_the_bit_what_it_is_alone() -> None:
    scm, data = fitted()
    worlds: dict[str, dict[Any, Any]] = {
        "set": {"x": 1.0},
        "shift": {"x": lambda x: x + 1},
        "arrow": {("x", "m"): 0.0},
        "drawn": {"x": dist.Normal(0.0, 1.0)},
        "both": {"x": -1.0, "k": 1.0},
    }
    cf = scm.counterfactual(data, worlds=worlds, outcome="y", draws=24, seed=1)
    array, table = cf.means("y"), cf.table("y")
    for world, do in worlds.items():
        alone = scm.counterfactual(data, worlds={world: do}, outcome="y", draws=24, seed=1)
        assert np.array_equal(array.sel(world=world), alone.mean("y", world))
        assert np.array_equal(table.loc[world], alone.table("y").loc[world])


def test_a_limit_on_memory_makes_runs_smaller_and_changes_nothing_else() -> None:
    scm, data = fitted()
    data = pd.concat([data] * 20, ignore_index=True)
    worlds = {f"x={x}": {"x": float(x)} for x in range(3)}
    whole, less = (
        scm.counterfactual(data, worlds=worlds, outcome="y", draws=24, seed=1, memory_limit=limit)
        for limit in (None, "300kB")
    )
    assert less._run._room < 24 * len(data)
    assert np.abs(whole.means("y") - less.means("y")).max() <= 1e-12


def test_assignments_that_cannot_be_mapped_over_are_run_one_by_one() -> None:
    def stubborn(n: int) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            m = pyro.sample("m", dist.Categorical(logits=torch.stack([0 * x, w[0] * x, -x], -1)))
            k = pyro.sample("k", dist.Bernoulli(logits=w[1] * (m == 1) - 0.5 * x))
            low = torch.nonzero(m == 0)  # of no shape that is known before it runs
            shift = torch.zeros(n).index_fill(0, low.flatten(), 0.0)
            pyro.sample("y", dist.Bernoulli(logits=0.8 * m - k + w[1] * x + shift))

    weights = torch.tensor([0.7, 0.4])
    data = pcm.SCM(line).given(w=weights).sample(8, seed=0)
    answers = [
        pcm.SCM(program).given(w=weights).counterfactual(data, do={"x": 0.5}, seed=0).mean("y")
        for program in (line, stubborn)
    ]
    assert np.abs(answers[0] - answers[1]).max() <= 1e-12


def test_equal_units_are_computed_once_and_each_has_its_answer() -> None:
    def trial(n: int) -> None:
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            t = pyro.sample("t", dist.Bernoulli(0.5))
            m = pyro.sample("m", dist.Categorical(logits=torch.stack([0 * t, w * t, -t], -1)))
            pyro.sample("y", dist.Bernoulli(logits=0.8 * m - w * t))

    data = pcm.SCM(trial).given(w=0.7).sample(800, seed=0)
    scm = pcm.SCM(trial).fit(data, seed=0, progress=False)
    cf = scm.counterfactual(data, do={"t": 1.0}, draws=200, seed=0)
    mean, alike = cf.mean("y"), cf._run.alike
    assert alike is not None and alike[0].units == len(data.drop_duplicates()) and "alike" in vars(cf._run)
    few = scm.counterfactual(data.drop_duplicates(), do={"t": 1.0}, draws=200, seed=0)
    expected = data.merge(data.drop_duplicates().assign(answer=few.mean("y")), how="left")["answer"]
    assert np.abs(mean - expected).max() <= 1e-12
    several = {"do": {"t": torch.linspace(0, 1, 800).round().double()}}
    assert scm.counterfactual(data, worlds=several, draws=2, seed=0)._run.alike is None


def test_a_law_is_averaged_in_closed_form_over_what_is_drawn_above_it() -> None:
    def chain() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Bernoulli(logits=x))

    seen = {"x": [0.5, -1.0], "y": [1.0, 0.0]}
    cf = pcm.SCM(chain).counterfactual(seen, do={"x": dist.Normal(1.0, 1.0)}, draws=400, seed=0)
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    p, q = (1 / (1 + np.exp(-np.asarray(each))) for each in (seen["x"], node + 1))
    weight = weight / weight.sum()
    truth = np.array([weight @ np.minimum(1, q / p[0]), weight @ (np.maximum(0, q - p[1]) / (1 - p[1]))])
    # the closed form's spread over draws of x is all that is left of the error: under .25 of a draw's .5
    assert np.abs(cf.mean("y") - truth).max() < 4 * 0.25 / 20
    assert np.abs(cf.mean("y") - truth).max() <= np.abs(cf.draws("y").mean(0) - truth).max()
    assert np.array_equal(cf.probability("y", 1), cf.mean("y"))


def test_a_distribution_given_to_an_edge_is_drawn_also_where_the_child_is_discrete() -> None:
    def chain() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Bernoulli(logits=3 * x))

    edge = {("x", "y"): dist.Normal(0.0, 1.0)}
    cf = pcm.SCM(chain).counterfactual({"x": [2.0, -2.0], "y": [1.0, 0.0]}, do=edge, draws=4_000, seed=0)
    assert np.abs(cf.mean("y") - 0.5).max() < 0.05 and "averaged over 4000 draws" in cf.account.worlds["do"]


def test_a_mean_is_the_same_to_the_bit_whatever_was_asked_before() -> None:
    def line(n: int) -> None:
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(slope * x, 0.5))

    rows = pcm.SCM(line).given(slope=0.7).sample(30, seed=0)
    fitted = pcm.SCM(line).fit(rows, draws=1000, seed=0, progress=False)
    first, second = (fitted.counterfactual(rows, do={"x": 1.0}, draws=1000, seed=0) for _ in range(2))
    second.interval("y", 0.9)
    assert np.array_equal(first.mean("y"), second.mean("y"))
