"""A Pyro program seen as a structural causal model: its callable, its sites, its graph.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> def pair():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Normal(2 * x, 1.0))
>>> list(Program(pair).graph.edges)
[('x', 'y')]
"""

from __future__ import annotations

from pcm.program.handler import Act as Act
from pcm.program.handler import is_deterministic as is_deterministic
from pcm.program.program import Program as Program
from pcm.program.structure import Site as Site
from pcm.program.structure import Structure as Structure

__all__ = ["Act", "Program", "Site", "Structure", "is_deterministic"]
