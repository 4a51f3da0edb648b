"""What every method of inference has in common, by reflection over all of them."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
import random
import warnings

import numpy as np
import pyro
import pytest
import torch

import pcm.infer
from pcm.errors import ArgumentError, FitError, FitWarning, UnknownNameError
from pcm.infer import METHODS, Laplace, Method, Posterior, Target, method

F64 = torch.float64
QUICK = {"laplace": {}, "map": {}, "svi": {"steps": 20}, "nuts": {"chains": 2, "warmup": 30}}
EACH = pytest.mark.parametrize("name", sorted(METHODS))


def quick(name, target, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # too short to converge, which is not the question here
        return method(name, **QUICK[name]).fit(target, **({"draws": 40, "seed": 5, "progress": False} | options))


def test_every_module_with_a_fit_is_a_method():
    found = set()
    for module in pkgutil.iter_modules(pcm.infer.__path__):
        members = vars(importlib.import_module(f"pcm.infer.{module.name}")).values()
        found |= {cls.name for cls in members if inspect.isclass(cls) and hasattr(cls, "fit") and cls is not Method}
    assert found == set(METHODS) == set(QUICK)


@EACH
def test_skeleton(name):
    cls = METHODS[name]
    assert cls.name == name and cls.__module__ == f"pcm.infer.{name}"
    assert dataclasses.is_dataclass(cls) and isinstance(cls(), Method)
    parameters = inspect.signature(cls.fit).parameters
    assert list(parameters) == ["self", "target", "draws", "seed", "progress"]
    assert all(parameters[key].kind is inspect.Parameter.KEYWORD_ONLY for key in ("draws", "seed", "progress"))
    assert parameters["seed"].default is None and parameters["progress"].default is True
    for entry in dataclasses.fields(cls):
        assert entry.name in cls.__doc__, f"option {entry.name} of {name} is not documented"
    assert "Raises" in cls.fit.__doc__


@EACH
def test_a_posterior_with_words_for_it(name, linear):
    posterior = quick(name, linear.target)
    assert isinstance(posterior, Posterior) and posterior.method == name
    assert list(posterior.draws) == ["intercept", "weights"]
    assert posterior["weights"].shape == (len(posterior), 2)
    assert posterior["weights"].dtype == F64 and not posterior["weights"].requires_grad
    assert isinstance(posterior.diagnostics["converged"], bool)
    json.dumps(dict(posterior.diagnostics))
    assert posterior.inference_data.posterior["weights"].dims == ("chain", "draw", "feature")


@EACH
def test_seeds(name, linear):
    first, second, other = (quick(name, linear.target, seed=seed) for seed in (5, 5, 6))
    for parameter in first.draws:
        assert torch.equal(first[parameter], second[parameter])
    assert name == "map" or not torch.equal(first["weights"], other["weights"])


@EACH
def test_the_global_generator_decides_without_a_seed_and_is_left_alone_with_one(name, linear):
    pyro.set_rng_seed(3)
    first = quick(name, linear.target, seed=None)
    pyro.set_rng_seed(3)
    second = quick(name, linear.target, seed=None)
    third = quick(name, linear.target, seed=None)
    assert torch.equal(first["weights"], second["weights"])
    assert name == "map" or not torch.equal(second["weights"], third["weights"])
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    quick(name, linear.target, seed=5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002


@EACH
def test_pyro_and_torch_are_left_as_they_were(name, linear):
    def settings():
        return pyro.settings.get("validate_distributions_pyro"), pyro.settings.get("validate_distributions_torch")

    store, state = pyro.get_param_store(), settings()
    with store.scope():
        pyro.param("loc", torch.tensor(5.0))
        quick(name, linear.target)
        assert list(store.keys()) == ["loc"]
        assert torch.get_default_dtype() == torch.float32
        assert settings() == state


@EACH
def test_nothing_is_written_without_a_terminal(name, linear, capfd):
    quick(name, linear.target, progress=True)
    assert capfd.readouterr() == ("", "")


@EACH
def test_discrete_parameters_are_refused_by_name(name):
    target = Target(
        lambda theta: theta["k"], {"k": torch.distributions.constraints.boolean}, {"k": torch.ones((), dtype=F64)}
    )
    with pytest.raises(FitError, match=f"'k' is discrete.*{name} needs continuous"):
        quick(name, target)


def test_lookup():
    assert method("laplace") == Laplace()
    made = Laplace(resample=False)
    assert method(made) is made
    with pytest.raises(
        UnknownNameError, match=r"'laplce' is not a method of inference.*Did you mean 'laplace'"
    ) as caught:
        method("laplce")
    assert caught.value.kind == "method"
    with pytest.raises(ArgumentError, match=r"no option 'chain'; options: chains.*Did you mean 'chains'"):
        method("nuts", chain=3)
    with pytest.raises(ArgumentError, match="made method without options"):
        method(made, resample=True)
    with pytest.raises(ArgumentError):
        method(3)


def test_target_checks_itself():
    real = torch.distributions.constraints.real
    with pytest.raises(FitError, match="supports: a; initial values: b"):
        Target(lambda theta: theta["a"], {"a": real}, {"b": torch.zeros(())})
    with pytest.raises(FitError, match="w are not"):
        Target(lambda theta: theta["a"], {"a": real}, {"a": torch.zeros(())}, trainable={"w": torch.zeros(2)})
