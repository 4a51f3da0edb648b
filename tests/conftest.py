"""What every test runs under: one thread, Hypothesis without deadlines, nothing left behind in Pyro."""

from __future__ import annotations

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile(
    "pcm", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("pcm")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _nothing_left_behind():
    """A test that leaks an effect handler or the default dtype fails where it happens, not in a later one."""
    import pyro
    from pyro.poutine.runtime import _PYRO_STACK

    yield
    leaks = []
    if _PYRO_STACK:
        leaks.append(f"effect handlers {_PYRO_STACK}")
        _PYRO_STACK.clear()
    if torch.get_default_dtype() is not torch.float32:
        leaks.append(f"default dtype {torch.get_default_dtype()}")
        torch.set_default_dtype(torch.float32)
    pyro.clear_param_store()
    assert not leaks, f"left behind: {', '.join(leaks)}"
