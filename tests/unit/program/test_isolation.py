"""What a user has in Pyro and torch is as it was after every call, successful or not."""

from __future__ import annotations

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam
from pyro.poutine import runtime
from torch import nn

import pcm
from pcm.program import Program

Normal = dist.Normal


class Net(PyroModule):
    def __init__(self):
        super().__init__()
        self.layer = PyroModule[nn.Linear](1, 1)
        self.scale = PyroParam(torch.tensor(0.5), constraint=dist.constraints.positive)

    def forward(self, n):
        shift = pyro.sample("shift", Normal(0.0, 1.0))
        gain = pyro.param("gain", torch.tensor(1.5))
        with pyro.plate("units", n):
            x = pyro.sample("x", Normal(0.0, 1.0))
            pyro.sample("y", Normal(shift + gain * self.layer(x[..., None])[..., 0], self.scale))


NET = Net()  # making one draws from torch's generator


def state():
    store = pyro.get_param_store()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": [str(part) for part in np.random.get_state()],  # noqa: NPY002
        "random": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "stack": [id(handler) for handler in runtime._PYRO_STACK],
        "dims": list(runtime._DIM_ALLOCATOR._stack),
        "validation": (
            pyro.settings.get("validate_distributions_torch"),
            pyro.settings.get("validate_poutine"),
            pyro.settings.get("validate_infer"),
            torch.distributions.Distribution._validate_args,
            dist.Normal(0.0, 1.0)._validate_args,
        ),
        "grad": torch.is_grad_enabled(),
        "store": {name: value.detach().clone().tolist() for name, value in store.items()},
        "threads": torch.get_num_threads(),
    }


@pytest.fixture(params=[True, False], ids=["validating", "not validating"])
def untouched(request):
    before_all = pyro.settings.get("validate_distributions_torch"), pyro.settings.get("validate_poutine")
    pyro.settings.set(validate_distributions_torch=request.param, validate_poutine=request.param)
    pyro.get_param_store().setdefault("scale", torch.tensor(7.0))
    pyro.get_param_store().setdefault("gain", torch.tensor(8.0))
    pyro.set_rng_seed(123)
    before = state()
    yield
    after = state()
    pyro.settings.set(validate_distributions_torch=before_all[0], validate_poutine=before_all[1])
    assert after == before


def scm_and_frame():
    scm = pcm.SCM(NET)
    return scm, scm.given(shift=0.5).sample(12, seed=0)


def test_every_successful_call_leaves_everything_as_it_was(untouched):
    scm, frame = scm_and_frame()
    known = scm.given(shift=0.5)
    cf = known.counterfactual(frame, do={"x": lambda x: x + 1}, seed=0)
    cf.mean("y"), cf.draws("y"), cf.interval("y"), cf.account, repr(cf)
    known.log_prob(frame, seed=0)
    pcm.ate(known, "x", "y", seed=0, units=50)
    pcm.ate(scm, "x", "y", seed=0, units=50, draws=3)
    fitted = scm.fit(frame, "map", progress=False, seed=0)
    fitted.counterfactual(frame, do={"x": 0.0}, seed=0).mean("y")


def explode(x):
    raise RuntimeError("in a policy")


FAILURES = {
    "policy raises": lambda scm, frame: scm.counterfactual(frame, do={"x": explode}, seed=0),
    "not finite": lambda scm, frame: scm.counterfactual(frame, do={"x": lambda x: x / 0}, seed=0),
    "wrong length": lambda scm, frame: scm.counterfactual(frame, do={"x": torch.zeros(5)}, seed=0),
    "missing column": lambda scm, frame: scm.log_prob(frame[["x"]], seed=0),
    "missing cell": lambda scm, frame: scm.log_prob(frame.assign(y=np.nan), seed=0),
    "unknown variable": lambda scm, frame: scm.do(z=1.0),
    "unknown option": lambda scm, frame: scm.fit(frame, "map", temperature=1.0),
    "refused fit": lambda scm, frame: scm.fit(frame, "laplace", progress=False, seed=0),
    "no units": lambda scm, frame: scm.sample(0, seed=0),
    "sample not finite": lambda scm, frame: scm.do(x=lambda x: x / 0).sample(3, seed=0),
    "effect on nothing": lambda scm, frame: pcm.ate(scm, "x", "w", seed=0),
    "outcome of a vector": lambda scm, frame: pcm.cate(scm, "x", "y", given=["w"], seed=0),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_leaves_everything_as_it_was(untouched, failure):
    scm, frame = scm_and_frame()
    with pytest.raises(pcm.PCMError):
        FAILURES[failure](scm.given(shift=0.5), frame)


def failing_program():
    pyro.sample("x", Normal(0.0, 1.0))
    pyro.param("fresh", torch.tensor(1.0))
    with pyro.poutine.trace(), pyro.plate("visits", 2, dim=-2):
        raise RuntimeError("stop here")


def interrupted():
    pyro.sample("x", Normal(0.0, 1.0))
    with pyro.plate("visits", 2):
        raise KeyboardInterrupt


def test_a_program_that_raises_inside_its_own_plates_and_handlers(untouched):
    with pytest.raises(pcm.PCMError, match="stop here"):
        Program(failing_program)


def test_an_interrupt_inside_a_program(untouched):
    with pytest.raises(KeyboardInterrupt):
        Program(interrupted)


def test_calls_inside_the_users_own_handlers_neither_see_nor_feed_them():
    """Trace, seed, condition, substitute and a plate of the user's around a pcm call change nothing in it."""
    scm, frame = scm_and_frame()
    known = scm.given(shift=0.5)
    alone = known.counterfactual(frame, do={"x": 1.0}, seed=0).mean("y")
    drawn = known.sample(4, seed=0)

    def inside():
        mine = pyro.sample("mine", Normal(0.0, 1.0))
        first = known.counterfactual(frame, do={"x": 1.0}, seed=0).mean("y")
        second = known.sample(4, seed=0)
        made = pcm.SCM(NET)
        other = pyro.sample("other", Normal(mine, 1.0))
        return first, second, made.variables, other

    handlers = {
        "trace": lambda f: pyro.poutine.trace(f),
        "seed": lambda f: pyro.poutine.seed(f, 3),
        "condition": lambda f: pyro.poutine.condition(f, {"x": torch.tensor(99.0), "shift": torch.tensor(99.0)}),
        "do": lambda f: pyro.poutine.do(f, {"y": torch.tensor(99.0)}),
        "block": lambda f: pyro.poutine.block(f),
        "mask": lambda f: pyro.poutine.mask(f, mask=torch.tensor(False)),
        "scale": lambda f: pyro.poutine.scale(f, scale=2.0),
    }
    for name, wrap in handlers.items():
        first, second, variables, _ = wrap(inside)()
        assert np.array_equal(first, alone) and second.equals(drawn) and variables == ("x", "y"), name
    with pyro.plate("units", 5), pyro.plate("outer", 3):
        first, second, _, other = inside()
        assert np.array_equal(first, alone) and second.equals(drawn)
        assert other.shape == (3, 5)  # the user's plates are in force again
    trace = pyro.poutine.trace(inside).get_trace()
    assert [name for name, node in trace.nodes.items() if node["type"] == "sample"] == ["mine", "other"]
    assert not [name for name, node in trace.nodes.items() if node["type"] == "param"]


def test_inference_mode_no_grad_and_another_default_dtype_are_no_obstacle():
    scm, frame = scm_and_frame()
    alone = scm.given(shift=0.5).counterfactual(frame, do={"x": 1.0}, seed=0).mean("y")
    with torch.no_grad():
        again = scm.given(shift=0.5).counterfactual(frame, do={"x": 1.0}, seed=0).mean("y")
        fitted = scm.fit(frame, "map", progress=False, seed=0)
    assert np.array_equal(alone, again) and fitted.posterior is not None
    torch.set_default_dtype(torch.float64)
    try:
        other = pcm.SCM(NET)
        assert other.given(shift=0.5).sample(3, seed=0).shape == (3, 2)
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_without_a_seed_pyros_own_seed_decides():
    known = pcm.SCM(NET).given(shift=0.5)
    pyro.set_rng_seed(5)
    first = known.sample(6)
    pyro.set_rng_seed(5)
    second, third = known.sample(6), known.sample(6)
    assert first.equals(second) and not first.equals(third)


def test_a_model_used_inside_another_models_program():
    """A policy may itself ask a pcm model; the inner query runs under its own settings."""
    inner = pcm.SCM(NET).given(shift=0.0)

    def outer():
        x = pyro.sample("x", Normal(0.0, 1.0))
        pyro.sample("y", Normal(x, 1.0))

    def policy(x):
        frame = inner.sample(3, seed=1)
        return x + float(frame["x"].iloc[0])

    scm = pcm.SCM(outer)
    frame = scm.sample(4, seed=0)
    shift = float(inner.sample(3, seed=1)["x"].iloc[0])
    found = scm.counterfactual(frame, do={"x": policy}).mean("y")
    assert np.allclose(found, frame["y"] + shift, atol=1e-12)
