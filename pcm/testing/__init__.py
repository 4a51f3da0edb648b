"""Laws that a coupling or a program must keep, as calls for tests of your own.

>>> import pyro.distributions as dist, torch
>>> from pcm.couplings import resolve
>>> locs = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
>>> worlds = [dist.Normal(loc, 1.0 + loc) for loc in locs]
>>> print(check_coupling(resolve(worlds[0])[0], worlds))
NormalCoupling 'monotone', 2 distributions: 11 laws kept
"""

from __future__ import annotations

from pcm.testing.coupling_laws import check_coupling as check_coupling
from pcm.testing.program_laws import check_program as check_program
from pcm.testing.report import Report as Report

__all__ = ["Report", "check_coupling", "check_program"]
