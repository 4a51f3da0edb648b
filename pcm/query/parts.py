"""Units of which some values of a vector are recorded and others not: where that can be evidence.

>>> import pyro, pyro.distributions as dist, pcm, torch
>>> def colour():
...     pyro.sample("x", dist.OneHotCategorical(torch.ones(3)))
>>> pcm.SCM(colour).counterfactual({"x": [[0.0, 1.0, float("nan")]]}, do={"x": [1.0, 0.0, 0.0]})
Traceback (most recent call last):
pcm.errors.EvidenceError: column 'x' of the evidence has some values of a unit and lacks others in 1 of 1 rows (first: \
0), but the values of one OneHotCategorical are tied to each other: give all of them in a row, or none.
"""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx
import torch
from torch import Tensor

from pcm.errors import EvidenceError, listed
from pcm.infer.latent.cells import why_whole
from pcm.io.frames import Evidence
from pcm.query.model import Model

__all__ = ["check_parts"]


def check_parts(model: Model, found: Evidence, missing: Mapping[str, Tensor], set_by: Mapping, what: str) -> None:
    """Raise where the values that are there of a half-recorded vector could not be used.

    Parameters
    ----------
    model : Model
    found : Evidence
    missing : dict of name to bool tensor ``(unit,)``
        Stochastic sites that some units lack.
    set_by : mapping
        Interventions in force; what they set is not read.
    what : str
        What messages call the data.

    Raises
    ------
    EvidenceError
        Of a distribution whose values are tied to each other; of a computed column below something missing.
    """
    graph, sites = model.structure.graph, model.structure.sites
    for name, empty in found.elements.items():
        if name in set_by:
            continue
        each = empty.flatten(1)
        partly = each.any(1) & ~each.all(1)
        reason = None
        if sites[name].kind == "deterministic":
            above = [missing[other] for other in nx.ancestors(graph, name) if other in missing]
            partly &= torch.stack([torch.zeros_like(partly), *above]).any(0)
            reason = "it is computed from something that is missing there, and is solved for it as a whole"
        elif sites[name].kind == "variable":
            reason = why_whole(sites[name], empty)
        if reason and bool(partly.any()):
            rows = [found.index[int(row)] for row in partly.nonzero().flatten()]
            raise EvidenceError(
                f"column '{name}' of the {what} has some values of a unit and lacks others in {len(rows)} of "
                f"{len(found.index)} rows (first: {listed(rows, 5)}), but {reason}: give all of them in a row, or "
                "none.",
                column=name,
                rows=rows,
            )
