"""Every model of the zoo keeps the zoo's form and stands as a structural causal model."""

from __future__ import annotations

import math

import pytest

import pcm
import pcm_models


@pytest.fixture(params=pcm_models.names())
def model(request):
    return pcm_models.load_model(request.param)


def test_it_says_what_it_is_and_where_it_is_from(model):
    first = (model.__doc__ or "").partition("\n")[0]
    assert first.endswith(".")
    assert len(first) <= 120
    assert "References" in (model.__doc__ or "")


def test_its_truths_have_values_errors_and_sources(model):
    assert model.truth
    for question, (value, error, source) in model.truth.items():
        assert question
        assert math.isfinite(value)
        assert error >= 0
        assert source


def test_it_is_an_scm(model):
    scm = pcm.SCM(model.program, categories=getattr(model, "categories", None))
    assert len(scm.variables) >= 3
    assert scm.graph.number_of_edges() >= 2


@pytest.mark.parametrize("name", [name for name in pcm_models.names() if hasattr(pcm_models.load_model(name), "load")])
def test_its_data_fit_it(name):
    model = pcm_models.load_model(name)
    frame = model.load()
    scm = pcm.SCM(model.program, categories=getattr(model, "categories", None))
    assert set(scm.variables) == set(frame.columns)
    assert frame.index.is_unique
    assert not frame.isna().any().any()
