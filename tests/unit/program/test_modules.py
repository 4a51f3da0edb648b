"""Networks and ``pyro.param`` as mechanisms, wherever the program keeps them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import nn

import pcm
from pcm.errors import FitError, ProgramError
from pcm.program import Program

Normal = dist.Normal


def network(weight=2.0, bias=1.0):
    net = nn.Linear(1, 1)
    with torch.no_grad():
        net.weight.fill_(weight)
        net.bias.fill_(bias)
    return net


def body(net):
    x = pyro.sample("x", Normal(0.0, 1.0))
    pyro.sample("y", Normal(net(x[..., None])[..., 0], 1.0))


GLOBAL = network()
NESTED = {"first": [network(), {"second": network()}]}
WITH_DEFAULT = network()


def reads_global():
    body(GLOBAL)


def function_of_a_function():
    reads_global()


def reads_nested():
    body(NESTED["first"][1]["second"])


def with_default(net=WITH_DEFAULT):
    body(net)


def with_keyword_default(*, net=WITH_DEFAULT):
    body(net)


def takes(net):
    body(net)


def closure():
    net = network()
    return lambda: body(net)


def closure_of_a_function():
    net = network()

    def mechanism(x):
        return net(x)

    def program():
        body(mechanism)

    return program


def decorated():
    @functools.wraps(reads_global)
    def program():
        body(GLOBAL)

    return program


class Owner:
    shared = network()

    def __init__(self):
        self.net = network()

    def method(self):
        body(self.net)

    def __call__(self):
        body(self.net)

    @staticmethod
    def static():
        body(GLOBAL)

    @classmethod
    def of_class(cls):
        body(cls.shared)

    def by_class_attribute(self):
        body(self.shared)


@dataclasses.dataclass(frozen=True)
class Frozen:
    net: nn.Module

    def __call__(self):
        body(self.net)


class Torch(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self):
        body(self.net)


class Learned(PyroModule):
    def __init__(self):
        super().__init__()
        self.net = PyroModule[nn.Linear](1, 1)
        with torch.no_grad():
            self.net.weight.fill_(2.0)
            self.net.bias.fill_(1.0)
        self.scale = PyroParam(torch.tensor(1.0), constraint=dist.constraints.positive)

    def forward(self):
        x = pyro.sample("x", Normal(0.0, 1.0))
        pyro.sample("y", Normal(self.net(x[..., None])[..., 0], self.scale))


def registered():
    pyro.module("net", GLOBAL)
    body(GLOBAL)


PLACES = {
    "global": lambda: reads_global,
    "through a function": lambda: function_of_a_function,
    "lambda": lambda: lambda: reads_global(),
    "closure": closure,
    "closure of a function": closure_of_a_function,
    "decorated": decorated,
    "default": lambda: with_default,
    "keyword default": lambda: with_keyword_default,
    "partial": lambda: functools.partial(takes, network()),
    "partial keyword": lambda: functools.partial(takes, net=network()),
    "method": lambda: Owner().method,
    "callable object": Owner,
    "static method": lambda: Owner.static,
    "frozen dataclass": lambda: Frozen(network()),
    "nn.Module": Torch,
    "PyroModule": Learned,
    "pyro.module": lambda: registered,
    "nested containers": lambda: reads_nested,
    "class method": lambda: Owner.of_class,
    "class attribute": lambda: Owner().by_class_attribute,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_network_is_found_converted_and_left_alone(place):
    scm = pcm.SCM(PLACES[place]())
    assert list(scm.graph.edges) == [("x", "y")]
    frame = scm.sample(20, seed=0)
    moved = scm.counterfactual(frame, do={"x": frame["x"] + 1.0})
    assert np.abs(moved.mean("y") - frame["y"] - 2.0).max() <= 1e-12  # y = 2 x + 1 + u
    assert np.abs(scm.log_prob(frame) - gaussian(frame)).max() <= 1e-12
    for net in (GLOBAL, WITH_DEFAULT, Owner.shared, NESTED["first"][0]):
        assert net.weight.dtype is torch.float32 and net.weight.requires_grad and net.weight.grad is None
    assert not list(pyro.get_param_store().keys())


def gaussian(frame):
    residual = frame["y"] - 2 * frame["x"] - 1
    return (-0.5 * frame["x"] ** 2 - 0.5 * residual**2 - np.log(2 * np.pi)).to_numpy()


def test_a_network_behind_slots_is_refused_with_a_remedy():
    class Slots:
        __slots__ = ("net",)

        def __init__(self):
            self.net = network()

        def __call__(self):
            body(self.net)

    with pytest.raises(ProgramError, match="float64"):
        Program(Slots())
    made = Slots()
    made.net = made.net.double()
    assert list(Program(made).graph.edges) == [("x", "y")]


def test_a_program_in_float32_keeps_its_network_in_float32():
    frame = pcm.SCM(reads_global, dtype=torch.float32).sample(5, seed=0)
    assert list(frame.columns) == ["x", "y"]
    assert Program(reads_global, dtype=torch.float32).modules["GLOBAL"].weight.dtype is torch.float32


def test_a_recursive_function_is_walked_once():
    def program(depth=2):
        return body(GLOBAL) if depth == 0 else program(depth - 1)

    assert list(Program(program).graph.edges) == [("x", "y")]


def test_trainables_are_named_and_bare_networks_are_constant():
    assert set(Program(Learned()).trainable) == {
        "program.scale_unconstrained",
        "program.net.weight",
        "program.net.bias",
    }
    assert not Program(reads_global).trainable
    with pytest.raises(FitError, match="no parameters"):
        pcm.SCM(reads_global).fit({"x": [0.0], "y": [0.0]}, progress=False)


def with_param(n):
    weight = pyro.param("weight", torch.tensor(2.0))
    scale = pyro.param("scale", lambda: torch.tensor(1.0), constraint=dist.constraints.positive)
    with pyro.plate("units", n):
        x = pyro.sample("x", Normal(0.0, 1.0))
        pyro.sample("y", Normal(1 + weight * x, scale))


def test_pyro_param_has_its_own_copy_and_the_users_store_is_not_read_or_written():
    pyro.get_param_store().setdefault("weight", torch.tensor(77.0))
    scm = pcm.SCM(with_param)
    frame = scm.sample(10, seed=0)
    assert np.abs(scm.log_prob(frame) - gaussian(frame)).max() <= 1e-12
    assert list(pyro.get_param_store().keys()) == ["weight"] and pyro.param("weight").item() == 77.0


def test_map_learns_params_and_weights_and_leaves_the_model_it_came_from():
    """Maximum likelihood of y = a + b x + s u is least squares, with s² the mean squared residual."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    frame = {"x": x, "y": 1 - 3 * x + 0.5 * rng.normal(size=200)}
    design = np.stack([np.ones(200), x], 1)
    known = np.linalg.lstsq(design, frame["y"], rcond=None)[0]
    residual = frame["y"] - design @ known
    for program, start in ((Learned(), None), (with_param, None)):
        del start
        scm = pcm.SCM(program)
        before = {name: leaf.detach().clone() for name, leaf in scm._model.program.trainable.items()}
        fitted = scm.fit(frame, "map", progress=False, seed=0)
        found = {name.rpartition(".")[2]: leaf for name, leaf in fitted._model.program.trainable.items()}
        slope = found["weight"].item()
        scale = found.get("scale_unconstrained", found.get("scale")).exp().item()
        if "bias" in found:
            assert abs(slope - known[1]) < 1e-4 and abs(found["bias"].item() - known[0]) < 1e-4
            assert abs(scale - np.sqrt((residual**2).mean())) < 1e-4
        else:  # the intercept of with_param is fixed at 1
            by_hand = x @ (frame["y"] - 1) / (x @ x)
            assert abs(slope - by_hand) < 1e-4
        assert all(torch.equal(before[name], leaf) for name, leaf in scm._model.program.trainable.items())
        assert not any(leaf.requires_grad for leaf in fitted._model.program.trainable.values())
    with pytest.raises(FitError, match="weight"):
        pcm.SCM(with_param).fit(frame, "laplace", progress=False)


def test_pyro_sample_attributes_are_parameters():
    class Bayesian(PyroModule):
        def __init__(self):
            super().__init__()
            self.slope = PyroSample(Normal(0.0, 1.0))

        def forward(self, n):
            slope = self.slope
            with pyro.plate("units", n):
                x = pyro.sample("x", Normal(0.0, 1.0))
                pyro.sample("y", Normal(slope * x, 1.0))

    scm = pcm.SCM(Bayesian())
    assert scm.parameters == ("slope",)
    cf = scm.given(slope=3.0).counterfactual({"x": [1.0], "y": [5.0]}, do={"x": 2.0})
    assert cf.mean("y").tolist() == [8.0]


def test_two_pyro_modules_with_one_parameter_name_are_refused():
    first, second = Learned(), Learned()

    def program():
        pyro.sample("y", Normal(first.scale + second.scale, 1.0))

    with pytest.raises(ProgramError, match="scale"):
        Program(program)


def test_a_param_without_initial_value_is_named():
    def program(n):
        slope = pyro.param("slope_without_value")
        with pyro.plate("units", n):
            pyro.sample("y", Normal(slope, 1.0))

    with pytest.raises(ProgramError, match="slope_without_value"):
        Program(program)
