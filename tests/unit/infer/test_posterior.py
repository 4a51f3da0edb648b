"""The posterior as an object: summary, thinning, ArviZ, words."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pcm.errors import ArgumentError, UnknownNameError
from pcm.infer import Posterior
from pcm.infer.diagnostics import ess, rhat

F64 = torch.float64


@pytest.fixture
def posterior():
    generator = torch.Generator().manual_seed(0)
    return Posterior(
        {
            "slope": torch.randn(400, dtype=F64, generator=generator),
            "w": torch.randn(400, 2, 3, dtype=F64, generator=generator),
        },
        method="nuts",
        chains=4,
        diagnostics={"rhat": {"slope": 1.0}, "converged": True, "divergences": 0, "note": "x", "list": [1]},
        dims={"w": ("row", "column")},
        sample_stats={"diverging": np.zeros((4, 100), dtype=bool)},
    )


def test_summary(posterior):
    table = posterior.summary()
    assert list(table.columns) == ["mean", "sd", "5%", "95%", "ess", "rhat"]
    assert list(table.index) == ["slope"] + [f"w[{i},{j}]" for i in range(2) for j in range(3)]
    column = posterior["w"][:, 1, 2].numpy()
    row = table.loc["w[1,2]"]
    chains = column.reshape(4, 100)
    expected = [column.mean(), column.std(ddof=1), *np.quantile(column, [0.05, 0.95]), ess(chains), rhat(chains)]
    np.testing.assert_allclose(row.to_numpy(), np.array(expected, dtype=float))


def test_summary_of_independent_draws_and_of_a_point():
    draws = torch.arange(101, dtype=F64)
    weighted = Posterior({"a": draws}, method="laplace", diagnostics={"khat": 0.2, "ess": 80.0}).summary()
    assert weighted.loc["a", "ess"] == 80.0 and math.isnan(weighted.loc["a", "rhat"])
    assert (weighted.loc["a", "5%"], weighted.loc["a", "95%"]) == (5.0, 95.0)
    point = Posterior({"a": torch.tensor([2.0], dtype=F64)}, method="map").summary()
    assert (point.loc["a", "mean"], point.loc["a", "sd"], point.loc["a", "ess"]) == (2.0, 0.0, 1.0)
    assert Posterior({}, method="map").summary().shape == (0, 6)


def test_thin(posterior):
    thin = posterior.thin(50, seed=3)
    assert len(thin) == 50 and thin.chains == 1 and thin["w"].shape == (50, 2, 3)
    assert torch.equal(thin["slope"], posterior.thin(50, seed=3)["slope"])
    assert not torch.equal(thin["slope"], posterior.thin(50, seed=4)["slope"])
    kept = (posterior["slope"][:, None] == thin["slope"]).nonzero()[:, 0]
    assert len(set(kept.tolist())) == 50
    assert torch.equal(posterior["w"][kept], thin["w"])  # one choice for all parameters
    assert posterior.thin(400) is posterior and posterior.thin(10_000) is posterior
    with pytest.raises(ArgumentError, match="draws=0"):
        posterior.thin(0)


def test_arviz_reads_it(posterior):
    data = posterior.inference_data
    assert dict(data.posterior.sizes) == {"chain": 4, "draw": 100, "row": 2, "column": 3}
    np.testing.assert_array_equal(data.posterior["w"].to_numpy().reshape(400, 2, 3), posterior["w"].numpy())
    assert data.sample_stats["diverging"].dims == ("chain", "draw")
    assert data.posterior.attrs["method"] == "nuts" and data.posterior.attrs["converged"] == 1
    assert posterior.inference_data is data


def test_words(posterior):
    assert repr(posterior).startswith("Posterior(nuts, 400 draws, 4 chains, R-hat 1.000; slope ")
    assert repr(posterior).endswith("w [2×3])")
    assert "<table" in posterior._repr_html_() and "slope" in posterior._repr_html_()
    many = Posterior(
        {f"p{i}": torch.zeros(2, dtype=F64) for i in range(9)}, method="map", diagnostics={"converged": False}
    )
    assert repr(many) == "Posterior(map, 2 draws, not converged; p0 0±0, p1 0±0, p2 0±0, p3 0±0, …)"
    assert repr(Posterior({}, method="map")) == "Posterior(map, 1 draw)"


def test_refusals(posterior):
    with pytest.raises(UnknownNameError, match=r"'slpe' is not a parameter of the posterior.*'slope'"):
        posterior["slpe"]
    with pytest.raises(ArgumentError, match="same number of draws"):
        Posterior({"a": torch.zeros(3), "b": torch.zeros(4)}, method="map")
    with pytest.raises(ArgumentError, match="same number of draws"):
        Posterior({"a": torch.zeros(())}, method="map")
    with pytest.raises(ArgumentError, match="4 draws do not divide into 3 chains"):
        Posterior({"a": torch.zeros(4)}, method="nuts", chains=3)
