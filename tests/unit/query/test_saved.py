"""A model on disk and back: the same draws to the bit, and nothing but a model is accepted."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

import pcm
from pcm.errors import StoreError


def regression(n):
    b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    s = pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        plan = pyro.sample("plan", dist.Categorical(torch.ones(2)))
        pyro.sample("y", dist.Normal(b[0] * x + b[1] * plan, s))


def other_family(n):
    b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    s = pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        plan = pyro.sample("plan", dist.Categorical(torch.ones(2)))
        pyro.sample("y", dist.StudentT(3.0, b[0] * x + b[1] * plan, s))


def other_shape(n):
    b = pyro.sample("b", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    s = pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        plan = pyro.sample("plan", dist.Categorical(torch.ones(2)))
        pyro.sample("y", dist.Normal(b[0] * x + b[1] * plan, s))


class Net(PyroModule):
    def __init__(self):
        super().__init__()
        self.net = PyroModule[nn.Linear](1, 1)

    def forward(self, n):
        scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(self.net(x[..., None])[..., 0], scale))


@pytest.fixture(scope="module")
def fitted():
    scm = pcm.SCM(regression, categories={"plan": ["a", "b"]}, couplings={"plan": "monotone"})
    frame = scm.given(b=[1.0, -1.0], s=0.5).sample(40, seed=0)
    return scm.fit(frame, progress=False, seed=0, draws=30), frame


def test_a_fit_comes_back_to_the_bit(fitted, tmp_path):
    scm, frame = fitted
    path = tmp_path / "model.pcm"
    scm.save(path)
    back = pcm.load(str(path), regression)
    for name in ("b", "s"):
        assert torch.equal(back.posterior[name], scm.posterior[name])
    assert back.posterior.method == "laplace" and back.posterior.diagnostics == scm.posterior.diagnostics
    a, b = (made.counterfactual(frame, do={"plan": "b"}, seed=0) for made in (scm, back))
    assert np.array_equal(a.draws("y"), b.draws("y")) and a.to_dataframe().equals(b.to_dataframe())
    assert repr(a.account) == repr(b.account) and repr(back) == repr(scm)
    assert back.sample(5, seed=1).equals(scm.sample(5, seed=1))
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pcm"]
    scm.save(path)  # again, over the old one
    assert path.read_bytes() and pcm.load(path, program=regression).parameters == ("b", "s")


def test_weights_and_params_come_back(tmp_path):
    scm = pcm.SCM(Net())
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    fitted = scm.fit({"x": x, "y": 2 * x + 1 + 0.1 * rng.normal(size=50)}, "map", progress=False, seed=0)
    fitted.save(tmp_path / "net.pcm")
    back = pcm.load(tmp_path / "net.pcm", Net())
    saved, loaded = fitted._model.program.trainable, back._model.program.trainable
    assert saved.keys() == loaded.keys() and all(torch.equal(saved[name], loaded[name]) for name in saved)
    assert np.array_equal(back.sample(5, seed=0), fitted.sample(5, seed=0))
    assert not list(pyro.get_param_store().keys())


def test_interventions_given_values_and_unfitted_models_come_back(tmp_path):
    scm = pcm.SCM(regression, dtype=torch.float32).given(b=[1.0, 2.0], s=0.25).do(x=2.0)
    scm.save(tmp_path / "m.pcm")
    back = pcm.load(tmp_path / "m.pcm", regression)
    assert back.sample(6, seed=0).equals(scm.sample(6, seed=0)) and back.posterior is None
    with pytest.raises(pcm.PCMError, match="x"):
        scm.do(x=lambda x: x + 1).save(tmp_path / "no.pcm")
    assert not (tmp_path / "no.pcm").exists()


@pytest.mark.parametrize(
    "labels",
    [["a", "b"], [True, False], [1.5, 2.5], [10, 20], [np.int64(1), np.int64(0)], [("a", 1), ("b", 2)]],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_labels_come_back_or_are_refused_when_saved(labels, tmp_path):
    try:
        scm = pcm.SCM(regression, categories={"plan": labels})
        scm.save(tmp_path / "m.pcm")
    except pcm.PCMError:
        assert not (tmp_path / "m.pcm").exists()
        return
    assert pcm.load(tmp_path / "m.pcm", regression)._model.categories["plan"] == tuple(labels)


@pytest.mark.parametrize(
    ("program", "culprit"),
    [(other_family, "y"), (other_shape, "b"), (Net(), "plan"), (3, "3"), (None, "None")],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_another_program_is_refused_with_what_differs(fitted, tmp_path, program, culprit):
    fitted[0].save(tmp_path / "m.pcm")
    with pytest.raises(StoreError) as caught:
        pcm.load(tmp_path / "m.pcm", program)
    assert culprit in str(caught.value) and "m.pcm" in str(caught.value)


def test_every_truncation_and_any_flipped_byte_is_noticed(fitted, tmp_path):
    path = tmp_path / "m.pcm"
    fitted[0].save(path)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), max(1, len(whole) // 40)), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(StoreError, match=r"m\.pcm"):
            pcm.load(path, regression)
    rng = np.random.default_rng(0)
    for place in [*rng.integers(0, len(whole), 60).tolist(), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(StoreError, match=r"m\.pcm"):
            pcm.load(path, regression)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"PK\x03\x04" * 50, bytes(range(256)) * 4, b"\xff" * 300])
def test_a_file_that_is_no_model(tmp_path, content):
    path = tmp_path / "strange.pcm"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"strange\.pcm"):
        pcm.load(path, regression)


def test_paths_that_lead_nowhere(fitted, tmp_path):
    with pytest.raises(StoreError, match=r"absent\.pcm"):
        pcm.load(tmp_path / "absent.pcm", regression)
    with pytest.raises(StoreError):
        pcm.load(tmp_path, regression)
    with pytest.raises(StoreError, match="folder"):
        fitted[0].save(tmp_path / "absent" / "m.pcm")
    for bad in (None, 3.5):
        with pytest.raises(pcm.PCMError):
            fitted[0].save(bad)
        with pytest.raises(pcm.PCMError):
            pcm.load(bad, regression)
