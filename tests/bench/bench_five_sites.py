"""How near pcm comes to hand-written torch: five linear sites and a Bernoulli outcome, one thread, float64.

The limits are the project's promises: at 1e5 units and above at most twice the hand-written floor, tensors in and out,
and at most twice a floor that converts too, frame in and result out; 2 ms at 1e3; answers to 1e-12 of the algebra.
The allocator is settled first: both sides are then at their best, whatever ran before.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench import five_sites
from tests.bench.rivals import FRAME_FLOOR, TENSOR_FLOOR, prepare
from tests.bench.timing import interleaved, settle_allocator

pytestmark = pytest.mark.bench

ALL = (1_000, 10_000, 100_000, 1_000_000)
LARGE = (100_000, 1_000_000)


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    settle_allocator()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("units", ALL)
@pytest.mark.parametrize("name", [TENSOR_FLOOR, "pcm", FRAME_FLOOR, "pcm, frame to result", "pcm, frame to answers"])
def test_call(benchmark: Any, name: str, units: int) -> None:
    benchmark.group = f"{units:,} units"
    benchmark.pedantic(prepare(name, units), rounds=31, warmup_rounds=2)


@pytest.mark.parametrize("units", ALL)
@pytest.mark.parametrize("name", ["pcm", "pcm, frame to answers"])
def test_error_is_rounding(name: str, units: int) -> None:
    assert five_sites.error(prepare(name, units)(), five_sites.evidence(units)) <= 1e-12


@pytest.mark.parametrize("units", LARGE)
@pytest.mark.parametrize(("name", "floor"), [("pcm", TENSOR_FLOOR), ("pcm, frame to result", FRAME_FLOOR)])
def test_at_most_twice_the_floor(name: str, floor: str, units: int) -> None:
    times = interleaved([prepare(floor, units), prepare(name, units)])
    ratio = times.ratio(1, 0)
    print(f"\n{name}, {units:,} units: {ratio:.2f} × {floor} ({times.median(0) * 1e3:.2f} ms)")
    assert ratio <= 2.0


def test_a_frame_of_1000_takes_at_most_2_ms() -> None:
    times = interleaved([prepare("pcm, frame to result", 1_000)], rounds=101)
    print(f"\nframe to result, 1,000 units: {times.median(0) * 1e3:.2f} ms")
    assert times.median(0) <= 2e-3
