"""Law 8 under partial evidence: a unit is enumerated, and sampled, over what it lacks itself, whoever else is asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.infer.latent.enumeration import Configurations, apart, joint_codes
from pcm.infer.latent.importance import proposals

DISCRETE = ["g", "h", "s", "r", "q"]


def mixed():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    g = pyro.sample("g", dist.Categorical(torch.tensor([0.5, 0.3, 0.2])))
    h = pyro.sample("h", dist.Categorical(logits=torch.stack([0 * a, a, -a, 0.5 * a], -1)))
    s = pyro.sample("s", dist.Bernoulli(logits=0.5 * a + 0.3 * (g == 1)))
    r = pyro.sample("r", dist.Categorical(logits=torch.stack([0 * a, s - 0.5, 0.3 * a], -1)))
    b = pyro.sample("b", dist.Gamma(2.0 + s, 1.0 + 0.2 * (h == 2)))
    c = pyro.sample("c", dist.Normal(torch.tanh(a) + 0.5 * b + 0.4 * (r == 1), 1.0))
    q = pyro.sample("q", dist.Bernoulli(logits=c - 0.5 * b + 0.2 * h))
    pyro.sample("y", dist.Bernoulli(logits=0.7 * c + 0.3 * a - 0.5 * q))


def everyone():
    """Ten units that lack a and b; of these the first only q, the last everything discrete: 144 configurations."""
    frame = pcm.SCM(mixed).sample(10, seed=0).astype(float).rename(index=lambda place: f"unit {place}")
    frame[["a", "b"]] = np.nan
    for row in range(10):
        lacking = DISCRETE if row == 9 else [name for bit, name in enumerate(DISCRETE) if (row + 16) >> bit & 1]
        frame.loc[f"unit {row}", lacking] = np.nan
    return frame


@pytest.fixture(scope="module")
def whole():
    return pcm.SCM(mixed).counterfactual(everyone(), do={"s": 1.0}, seed=1, draws=64)


@pytest.mark.parametrize("rows", [["unit 0"], ["unit 9"], ["unit 3", "unit 7"], ["unit 8", "unit 1", "unit 2"]])
def test_a_unit_is_the_same_whoever_else_is_asked(whole, rows):
    """Up to 144 configurations in the whole, 2 for some alone: the same proposals, draws, k-hat and answers."""
    assert whole._run.latent.space.joint.own.max() == 144
    part = pcm.SCM(mixed).counterfactual(everyone().loc[rows], do={"s": 1.0}, seed=1, draws=64)
    place = [list(whole.index).index(name) for name in rows]
    assert (part.diagnostics["method"] == "importance").all()
    for name in ("khat", "ess"):
        assert np.allclose(part.diagnostics[name], whole.diagnostics[name].iloc[place], rtol=1e-8, atol=0)
    for name in ("a", "b", "g", "h", "q"):
        for world in ("factual", "do"):
            assert np.allclose(part.draws(name, world), whole.draws(name, world)[:, place], rtol=1e-9, atol=1e-9)
    assert np.allclose(part.probability("y", 1), whole.probability("y", 1)[place], rtol=1e-9, atol=1e-12)
    assert np.allclose(part.mean("c"), whole.mean("c")[place], rtol=1e-9, atol=1e-12)


def test_what_the_evidence_rules_out_is_not_sampled():
    """A lock of three dials that opened: of the 27 settings three remain."""

    def lock():
        dials = [pyro.sample(name, dist.Categorical(torch.ones(3) / 3)) for name in "uvw"]
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Gamma(2.0, 1.0))
        alike = (dials[0] == dials[1]) & (dials[1] == dials[2])
        pyro.sample("opened", dist.Bernoulli(alike * 1.0))
        pyro.sample("y", dist.Normal(torch.tanh(a) + b + dials[0], 1.0))

    people = pd.DataFrame({"opened": [1.0, 0.0], "y": [2.0, 2.0]})
    cf = pcm.SCM(lock).counterfactual(people, do={"a": 0.0}, seed=0)
    found = cf._run.latent
    assert found.space.joint.own.tolist() == [3, 24] and len(found.chances[0]) == 24
    same = np.stack([cf.draws(name, "factual") for name in "uvw"])
    assert (same[:, :, 0] == same[:1, :, 0]).all() and not (same[:, :, 1] == same[:1, :, 1]).all(0).any()


def test_more_configurations_together_than_any_unit_has():
    """Six sites of 5 values are 15,625 jointly, but no unit lacks more than two: enumerated exactly."""

    def chain():
        table = torch.softmax(torch.arange(25.0, dtype=torch.float64).reshape(5, 5).sin(), -1)
        value = pyro.sample("x0", dist.Categorical(table[0]))
        for place in range(1, 7):
            value = pyro.sample(f"x{place}", dist.Categorical(table[value.long()]))

    scm = pcm.SCM(chain)
    full = scm.sample(7, seed=0).astype(float)
    holes = full.copy()
    for row in range(6):
        holes.loc[row, [f"x{row}", f"x{(row + 1) % 6}"]] = np.nan
    cf = scm.counterfactual(holes, do={"x3": 0.0}, seed=0)
    assert len(cf._run.latent.space.configurations) == 25
    for row in range(6):
        alone = scm.counterfactual(holes.loc[[row]], do={"x3": 0.0}, seed=0)
        for code in range(5):
            assert abs(alone.probability("x6", code)[0] - cf.probability("x6", code)[row]) <= 1e-12
    first, second = "x2", "x3"  # unit 2 lacks these: by hand, over its 25 completions
    grid = pd.concat([full.loc[[2]]] * 25, ignore_index=True)
    grid[first], grid[second] = np.arange(25) // 5, np.arange(25) % 5
    weight = np.exp(scm.log_prob(grid))
    truth = weight @ scm.counterfactual(grid, do={"x3": 0.0}).probability("x6", 1) / weight.sum()
    assert abs(cf.probability("x6", 1)[2] - truth) <= 1e-12


def test_groups_and_numbers():
    own = torch.tensor([1, 2, 19, 20, 4096])
    for lanes in (1, 256):
        assert proposals(own, lanes).tolist() == [int(proposals(own[i : i + 1], lanes)) for i in range(5)]
    found = joint_codes(torch.tensor([[0, 2], [1, 0]]), torch.tensor([[2, 1], [1, 0]]))
    assert found.codes.shape == (2, 2, 2) and found.own.tolist() == [2, 0]  # an interval that holds no value
    assert found.codes[:, 0].tolist() == [[0, 2], [1, 2]]
    assert isinstance(found.narrowed(torch.tensor([1])), Configurations)
    parts = apart(own, torch.arange(5), 64)
    assert torch.cat(parts).sort().values.tolist() == [0, 1, 2, 3, 4] and 4 in parts[0]
