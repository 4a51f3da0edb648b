"""The d-separation rule against exact enumeration: ε_C bounds the leak of every law Markov to the graph."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from pcm.errors import ClaimError
from pcm.graph import CausalGraph
from pcm.private.separation import check_graph, open_trails, openers

VARIABLES = 5
CELLS = 2**VARIABLES
BITS = (np.arange(CELLS)[:, None] >> np.arange(VARIABLES)) & 1  # (cell, variable)


def random_graphs(count, rng):
    """Adjacency (model, parent, child), parents before children."""
    return np.triu(rng.random((count, VARIABLES, VARIABLES)) < rng.uniform(0.2, 0.8, (count, 1, 1)), 1)


def random_laws(parents, rng):
    """P(cell) of each model, ``(model, cell)``: a table an assignment of the parents, near the corners often."""
    joint = np.ones((len(parents), CELLS))
    for child in range(VARIABLES):
        table = rng.beta(0.4, 0.4, (len(parents), CELLS)).clip(1e-6, 1 - 1e-6)
        place = (BITS[None] * parents[:, None, :, child]) @ (1 << np.arange(VARIABLES))  # parents' cell
        one = np.take_along_axis(table, place, 1)
        joint *= np.where(BITS[:, child], one, 1 - one)
    return joint


def leaks(joint, keep, released, epsilon):
    """Largest log-ratio of a release between two values of variable 0's stand-in, by enumeration, ``(model,)``.

    ``keep`` (model, variable) is 1 where the adversary knows the variable, 2 for the private one; ``released`` is 0
    hidden, 1 raw, 2 by randomised response; ``epsilon`` (model, variable) of each response.
    """
    count = len(joint)
    same = np.select([released == 1, released == 2], [np.ones(released.shape), 1 / (1 + np.exp(-epsilon))], 0.5)
    out = np.ones((count, CELLS, CELLS))  # P(output | cell); a hidden variable's output is a coin
    for v in range(VARIABLES):
        equal = BITS[:, None, v] == BITS[None, :, v]
        out *= np.where(equal, same[:, None, None, v], 1 - same[:, None, None, v])
    weight = 1 << np.arange(VARIABLES)
    mask, secret = (keep > 0) @ weight, (keep == 2) @ weight
    seen = np.arange(CELLS) & mask[:, None]  # (model, cell): what of it is conditioned on
    group = np.arange(CELLS)[None, :, None] == seen[:, None, :]
    law = (group * joint[:, None, :]) @ out  # (model, known and secret, output)
    law /= np.maximum(law.sum(-1, keepdims=True), 1e-300)
    other = np.take_along_axis(law, (np.arange(CELLS) ^ secret[:, None])[..., None], 1)
    valid = (np.arange(CELLS) & ~mask[:, None]) == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(law > 0, np.log(law) - np.log(other), 0.0)
    return np.where(valid[..., None], ratio, 0.0).max((1, 2))


def trial(count, epsilon, seed):
    """Claimed ε (infinite where the rule refuses) and the exact leak of ``count`` random models."""
    rng = np.random.default_rng(seed)
    parents = random_graphs(count, rng)
    joint = random_laws(parents, rng)
    private = rng.integers(VARIABLES, size=count)
    keep = (rng.random((count, VARIABLES)) < 0.25).astype(int)
    keep[np.arange(count), private] = 2
    released = rng.choice(3, p=[0.3, 0.25, 0.45], size=(count, VARIABLES))
    released[np.arange(count), private] = rng.choice([0, 2], size=count)  # raw, it would be refused at once
    share = rng.dirichlet(np.ones(VARIABLES), size=count) * epsilon
    claimed = np.zeros(count)
    for model in range(count):
        graph = nx.DiGraph()
        graph.add_nodes_from(range(VARIABLES))
        graph.add_edges_from(np.argwhere(parents[model]).tolist())
        known = np.flatnonzero(keep[model] == 1).tolist()
        names = np.flatnonzero(released[model]).tolist()
        open_ = open_trails(graph, (int(private[model]),), names, known)
        claimed[model] = np.inf if any(released[model, v] == 1 for v in open_) else sum(share[model, v] for v in open_)
    return claimed, leaks(joint, keep, released, share)


@pytest.mark.parametrize("models", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_no_law_leaks_more_than_claimed(epsilon, models):
    claimed, leak = trial(models, epsilon, seed=int(10 * epsilon))
    claims = np.isfinite(claimed)
    assert (leak[claims] > claimed[claims] + 1e-6).sum() == 0
    # the rule is neither vacuous nor needlessly wide
    assert claims.mean() > 0.5
    assert (claimed[claims] < 0.9 * epsilon).any()
    assert ((claimed[claims] > 0.1) & (leak[claims] > 0.9 * claimed[claims])).mean() > 0.02
    # where it refuses, some law does leak more than all the noise together
    assert (leak[~claims] > epsilon).mean() > 0.3


def test_the_enumeration_sees_a_leak():
    """A ← Z → U with agreement .95 and .9: log(.86/.14) = 1.8153, by the same code that finds no violation."""
    joint = np.zeros((1, CELLS))
    for cell, bits in enumerate(BITS):
        z, a, u = bits[:3]
        if not bits[3:].any():
            joint[0, cell] = 0.5 * (0.95 if a == z else 0.05) * (0.9 if u == z else 0.1)
    keep, released = np.zeros((1, VARIABLES), int), np.zeros((1, VARIABLES), int)
    keep[0, 1], released[0, 2] = 2, 1
    assert leaks(joint, keep, released, np.zeros((1, VARIABLES)))[0] == pytest.approx(1.8153, abs=1e-4)


def test_edges_of_the_program_must_be_claimed():
    program = CausalGraph([("age", "labs"), ("age", "bill")])
    check_graph(CausalGraph([("age", "labs"), ("age", "bill"), ("labs", "bill")]), program)
    with pytest.raises(ClaimError, match="age → bill") as caught:
        check_graph(CausalGraph([("age", "labs"), ("labs", "bill")]), program)
    assert caught.value.edges == [("age", "bill")]
    with pytest.raises(ClaimError, match="lacks the program's variable bill"):
        check_graph(CausalGraph([("age", "labs")]), program)


def test_openers_name_what_more_knowledge_would_break():
    graph = nx.DiGraph([("age", "plan"), ("site", "plan"), ("plan", "bill"), ("site", "post")])
    assert openers(graph, ("age",), ["post"], []) == ["plan", "bill"]
    assert openers(graph, ("age",), ["post"], ["site"]) == []
