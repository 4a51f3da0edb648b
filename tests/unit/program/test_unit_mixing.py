"""No unit reads another: what reaches across units is refused, what stays inside one is not."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch

from pcm.errors import ProgramError, UnitMixingError
from pcm.program import Program

MIXING = {
    "mean": lambda a: a - a.mean(),
    "sum": lambda a: a / a.sum(),
    "standard deviation": lambda a: a / a.std(),
    "maximum": lambda a: a - a.max(),
    "minimum": lambda a: a - a.amin(-1),
    "median": lambda a: a - a.median(),
    "quantile": lambda a: (a > torch.quantile(a, 0.9)) * 1.0,
    "count": lambda a: a + (a > 0).sum(),
    "any": lambda a: a + (a > 0).all() * 1.0,
    "sort": lambda a: torch.sort(a)[0],
    "sort values": lambda a: a.sort().values,
    "rank": lambda a: a.argsort().argsort() * 1.0,
    "cumulated": lambda a: a.cumsum(-1),
    "cumulated from the end": lambda a: a.flip(-1).cumsum(-1).flip(-1),
    "running maximum": lambda a: a.cummax(-1)[0],
    "flip": lambda a: a.flip(-1),
    "roll": lambda a: a.roll(1, -1),
    "unit before": lambda a: torch.cat([0 * a[:1], a[:-1]]),
    "unit after": lambda a: torch.cat([a[1:], 0 * a[:1]]),
    "first unit": lambda a: a - a[0],
    "last unit": lambda a: a - a[-1],
    "some unit": lambda a: a + a[2:3],
    "lower triangular": lambda a: torch.ones(len(a), len(a)).tril() @ a,
    "upper triangular": lambda a: torch.ones(len(a), len(a)).triu() @ a,
    "distances": lambda a: (a[:, None] - a[None, :]).abs().sum(-1),
    "softmax": lambda a: torch.softmax(a, -1),
    "layer norm over units": lambda a: torch.nn.functional.layer_norm(a, a.shape),
    "position": lambda a: a * torch.arange(len(a)),
    "number of units": lambda a: a / len(a),
}


@pytest.mark.parametrize("name", MIXING)
def test_a_mechanism_that_reads_other_units_is_refused(name):
    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("c", dist.Normal(MIXING[name](a), 1.0))

    with pytest.raises(UnitMixingError) as caught:
        Program(program)
    assert caught.value.site == "c" and "'c'" in str(caught.value)


def test_mixing_through_a_deterministic_site_names_it():
    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        share = pyro.deterministic("share", a / a.sum())
        pyro.sample("c", dist.Normal(share, 1.0))

    with pytest.raises(UnitMixingError, match="share"):
        Program(program)


def test_mixing_of_a_covariate():
    def program(*, age):
        pyro.sample("c", dist.Normal(age - age.mean(), 1.0))

    with pytest.raises(UnitMixingError, match="age"):
        Program(program)


def test_mixing_of_categories_and_of_inner_plates():
    def categories():
        c = pyro.sample("c", dist.Categorical(torch.ones(3)))
        pyro.sample("y", dist.Normal((c == c.max()) * 1.0, 1.0))

    def inner():
        with pyro.plate("visits", 2, dim=-2):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x.sum(), 1.0))

    for program in (categories, inner):
        with pytest.raises(UnitMixingError, match="'y'"):
            Program(program)


def test_batch_normalisation_is_mixing_and_leaves_the_network_as_it_was():
    net = torch.nn.BatchNorm1d(1)

    def program():
        a = pyro.sample("a", dist.Normal(3.0, 1.0))
        pyro.sample("c", dist.Normal(net(a[..., None])[..., 0], 1.0))

    with pytest.raises(UnitMixingError, match="'c'"):
        Program(program)
    assert float(net.running_mean) == 0 and int(net.num_batches_tracked) == 0


def test_batch_normalisation_in_eval_mode_is_elementwise():
    net = torch.nn.BatchNorm1d(1).eval()

    def program():
        a = pyro.sample("a", dist.Normal(3.0, 1.0))
        pyro.sample("c", dist.Normal(net(a[..., None])[..., 0], 1.0))

    assert list(Program(program).graph.edges) == [("a", "c")]


def test_dropout_in_training_is_randomness_outside_the_model():
    net = torch.nn.Dropout(0.5)

    def program():
        a = pyro.sample("a", dist.Normal(3.0, 1.0))
        pyro.sample("c", dist.Normal(net(a), 1.0))

    with pytest.raises(ProgramError, match=r"'c'.*randomness"):
        Program(program)


INSIDE_A_UNIT = {
    "event dim": lambda x: x.mean(-1),
    "event matrix": lambda x: (x @ torch.tensor([[2.0, 1.0], [0.0, 1.0]])).sum(-1),
    "event sort": lambda x: torch.sort(x, -1)[0][..., 0],
    "event softmax": lambda x: torch.softmax(x, -1)[..., 0],
    "event flip": lambda x: x.flip(-1)[..., 0],
    "event norm": lambda x: torch.linalg.vector_norm(x, dim=-1),
    "per-unit matrix": lambda x: (x[..., None] * x[..., None, :]).sum((-1, -2)),
}


@pytest.mark.parametrize("name", INSIDE_A_UNIT)
def test_reductions_inside_a_unit_are_no_mixing(name):
    def program():
        x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(INSIDE_A_UNIT[name](x), 1.0))

    assert list(Program(program).graph.edges) == [("x", "y")]


def test_an_event_as_long_as_the_number_of_units_of_the_analysis_is_no_mixing():
    """Programs are read on a handful of units; an event dim of that very size must not be taken for the units'."""
    for size in range(1, 13):

        def program(size=size, *, _=None):
            x = pyro.sample("x", dist.Normal(torch.zeros(size), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(x.mean(-1), 1.0))

        assert list(Program(program).graph.edges) == [("x", "y")], size


def test_an_inner_plate_as_long_as_the_number_of_units_is_no_mixing():
    for size in range(1, 13):

        def program(size=size):
            with pyro.plate("visits", size, dim=-2):
                x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(x.sum(0), 1.0))

        assert list(Program(program).graph.edges) == [("x", "y")], size


def test_a_parameter_as_long_as_the_number_of_units_stays_a_parameter():
    for size in range(1, 13):

        def program(n, *, size=size):
            with pyro.plate("wards", size):
                effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
            with pyro.plate("units", n):
                ward = pyro.sample("ward", dist.Categorical(torch.ones(size)))
                pyro.sample("y", dist.Normal(effect[ward], 1.0))

        made = Program(program)
        assert made.parameters == ("effect",) and list(made.graph.edges) == [("ward", "y")] if size > 1 else True, size
