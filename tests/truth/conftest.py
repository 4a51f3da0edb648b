"""What every check of a model of the zoo starts from."""

from __future__ import annotations

from importlib import import_module

import pytest

import pcm


@pytest.fixture(scope="module")
def scm(request: pytest.FixtureRequest) -> pcm.SCM:
    """The model that the test's module is named after, with its labels."""
    model = import_module(f"pcm_models.{request.path.stem.removeprefix('test_')}")
    return pcm.SCM(model.program, categories=getattr(model, "categories", None))
