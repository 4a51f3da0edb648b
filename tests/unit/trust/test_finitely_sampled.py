"""Statistical verdicts: few environments, few rows, no variation."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import pytest

import pcm

GRAPH = nx.DiGraph([("e", "x"), ("x", "y"), ("e", "y"), ("n", "y")])


def rows(counts, seed=0):
    rng = np.random.default_rng(seed)
    e = np.repeat(np.arange(len(counts)), counts).astype(float)
    x, n = e + rng.normal(size=len(e)), rng.normal(size=len(e))
    return {"e": e, "x": x, "n": n, "y": x + e + n + rng.normal(size=len(e))}


def statistical(verdict):
    return [c.certificate for c in verdict.conflicts if c.kind == "statistical"]


def test_environments_of_a_model_are_counted():
    def clinics():
        e = pyro.sample(
            "e", dist.Categorical(logits=0 * pyro.sample("z", dist.Normal(0.0, 1.0))[..., None].expand(-1, 4))
        )
        x = pyro.sample("x", dist.Normal(1.0 * e, 1.0))
        pyro.sample("y", dist.Normal(x + 0.5 * e, 1.0))

    scm = pcm.SCM(clinics)
    robust = pcm.environment_invariance("e", outcome="y")
    found = statistical(pcm.check(scm, [robust], units=500, seed=0))
    assert len(found) == 1
    assert found[0].startswith("e has 4 environments")
    assert found[0].endswith("up to 1/5")
    # a group that is protected is no sample of groups; and a continuous environment is a law of them
    assert not statistical(pcm.check(scm, [pcm.counterfactual_fairness("e", outcome="y")], units=500, seed=0))
    assert not statistical(pcm.check(scm, [pcm.environment_invariance("z", outcome="y")], units=500, seed=0))
    held = pcm.check(scm.do(e=2), [robust], units=500, seed=0)
    assert statistical(held) == ["e has 1 environment; nothing shows what another one changes"]
    assert held.feasible


def test_environments_of_data_are_counted():
    found = pcm.check(GRAPH, [pcm.environment_invariance("e", outcome="y")], data=rows([100, 100, 100]))
    assert statistical(found) == [
        "e has 3 environments; the requirement is met among these. A further one, exchangeable with them, departs more "
        "than every one of them with probability up to 1/4"
    ]
    assert found.feasible
    assert not statistical(pcm.check(GRAPH, [pcm.environment_invariance("e", outcome="y")]))
    assert not statistical(pcm.check(GRAPH, [pcm.environment_invariance("n", outcome="y")], data=rows([100, 100])))


@pytest.mark.parametrize("source", ["e", ["e", "x"]])
def test_small_groups_are_named_whatever_the_source(source):
    asked = pcm.Requirement(source, outcome="y", admissible="all")
    data = rows([200, 9])
    (found,) = statistical(pcm.check(GRAPH, [asked], data=data))
    assert found.startswith("e = 1.0 in 9 of 209 rows")
    assert f"± {np.std(data['y'], ddof=1) / 3:.2g}" in found
    assert not statistical(pcm.check(GRAPH, [asked], data=rows([200, 30])))
    lax = pcm.Requirement(source, outcome="y", admissible="all", tolerance=2.0)
    assert not statistical(pcm.check(GRAPH, [lax], data=data))


def test_what_does_not_vary_says_nothing():
    found = statistical(pcm.check(GRAPH, [pcm.Requirement("e", outcome="y")], data=rows([200])))
    assert found == ["e is 0.0 in every row: what a change of it does is not seen"]
