"""Variable elimination against the full joint."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest

import pcm
from pcm.errors import QueryError
from pcm.private.enumeration import eliminate, factors_of


def test_elimination_is_the_sum_over_the_joint():
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = int(rng.integers(3, 7))
        sizes = rng.integers(2, 4, n)
        factors = []
        for at in range(n):
            axes = (*[p for p in range(at) if rng.random() < 0.5], at)
            factors.append((axes, rng.random([sizes[axis] for axis in axes])))
        keep = tuple(rng.permutation(n)[: rng.integers(1, n + 1)].tolist())
        joint = np.ones([1] * n)
        for axes, array in factors:
            joint = joint * array.reshape([sizes[v] if v in axes else 1 for v in range(n)])
        expected = joint.sum(tuple(v for v in range(n) if v not in keep))
        order = [sorted(keep).index(v) for v in keep]
        np.testing.assert_allclose(eliminate(factors, keep), expected.transpose(order), rtol=1e-12)


def test_a_long_chain_needs_small_tables_only():
    factors = [((0,), np.array([0.5, 0.5]))]
    factors += [((at, at + 1), np.array([[0.9, 0.1], [0.1, 0.9]])) for at in range(100)]
    assert eliminate(factors, (0, 100)).sum() == pytest.approx(1.0)


def test_too_large_a_table_is_refused():
    factors = [((at,), np.full(10, 0.1)) for at in range(8)]
    with pytest.raises(QueryError, match="100,000,000 cells"):
        eliminate(factors, tuple(range(8)))


def test_tables_of_a_program():
    def program():
        z = pyro.sample("z", dist.Bernoulli(0.3))
        x = pyro.sample("x", dist.Categorical(probs=(z[..., None] * 0.1 + pyro_table())))
        pyro.deterministic("odd", (x == 1) * 1.0)
        pyro.sample("w", dist.Normal(x * 1.0, 1.0))

    scm = pcm.SCM(program)
    ((found, levels),) = factors_of(scm._model, ["odd"], 1, None)
    assert levels == {"z": (0, 1), "x": (0, 1, 2), "odd": (0, 1)}
    assert eliminate(found.values(), ("odd",)).sum() == pytest.approx(1.0)
    with pytest.raises(QueryError, match=r"w \(Normal\): not finite"):
        next(factors_of(scm._model, ["w"], 1, None))


def pyro_table():
    import torch

    return torch.tensor([0.2, 0.3, 0.5])
