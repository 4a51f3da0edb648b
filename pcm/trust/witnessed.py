"""Recanting witnesses with bounds over couplings, where the program is finite.

No experiment identifies the effect along paths that part at a witness: it depends on how the witness's values in two
worlds go together. Over every coupling with the program's mechanisms' laws it lies in an interval, which is a linear
programme (:func:`pcm.bounds`).

>>> import pyro, pyro.distributions as dist, pcm
>>> def kite():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     w = pyro.sample("w", dist.Bernoulli(0.3 + 0.4 * t))
...     m = pyro.sample("m", dist.Bernoulli(0.2 + 0.5 * w))
...     pyro.sample("y", dist.Bernoulli(0.1 + 0.3 * w * m + 0.3 * m + 0.2 * t))
>>> asked = [pcm.Requirement("t", outcome="y", admissible="t -> w -> y")]
>>> found = pcm.check(pcm.SCM(kite), asked, units=1_000, seed=0)
>>> found.conflicts[0].certificate.partition("Over every coupling ")[2]
'the effect of t along t → w → y, 1 against 0, lies between -0.021 and 0.024'
"""

from __future__ import annotations

from dataclasses import replace

import networkx as nx

from pcm.errors import PCMError
from pcm.graph import ancestors
from pcm.query.bounds import bounds
from pcm.scm import SCM
from pcm.trust.conflicts import Conflict

__all__ = ["with_bounds"]

#: Variables above the outcome, and paths, up to which bounds are worth their time.
_MOST_VARIABLES, _MOST_PATHS = 8, 20


def with_bounds(conflict: Conflict, scm: SCM | None, graph: nx.DiGraph) -> Conflict:
    """The verdict, its certificate with the interval where it is a witness of one binary source in a finite program."""
    if scm is None or conflict.kind != "recanting witness" or len(conflict.core) != 1:
        return conflict
    (asked,) = conflict.core
    sites, model = scm._model.structure.sites, scm._model
    above = ancestors(graph, asked.outcome, include_self=True)
    finite = all(sites[name].scalar and sites[name].cardinality is not None for name in above)
    if not finite or len(asked.variables) != 1 or len(above) > _MOST_VARIABLES or model.free or model.interventions:
        return conflict
    (source,) = asked.variables
    paths = asked.paths(graph, _MOST_PATHS + 1)
    if sites[source].cardinality != 2 or not 0 < len(paths) <= _MOST_PATHS:
        return conflict
    query = "; ".join(" -> ".join(path) for path in paths)
    try:
        found = bounds(replace(model, categories={}), f"PSE({query})")
    except PCMError:
        return conflict  # too large a programme, or a name that the notation cannot carry: no interval, no claim
    told = query.replace("->", "→")
    return replace(
        conflict,
        certificate=f"{conflict.certificate}. Over every coupling the effect of {source} along {told}, 1 against 0, "
        f"lies between {found.low:.4g} and {found.high:.4g}",
    )
