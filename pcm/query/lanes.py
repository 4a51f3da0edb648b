"""Over what a query is averaged: parameter draws, and what the evidence leaves open.

A lane is one complete state of knowledge: parameter values, and values of everything missing. Complete evidence and
fixed parameters make one lane; a fitted model has one a parameter draw; missing discrete sites one a configuration,
with exact weights; missing continuous sites one a draw.

>>> import torch
>>> Lanes(2, weights=torch.tensor([[0.25], [0.75]]), groups=1).collapse(torch.tensor([[1.0], [3.0]]), 0).tolist()
[[2.5]]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pcm.infer.latent import LatentPosterior, Space
from pcm.worlds import lane_count

__all__ = ["Lanes", "lanes_of"]


@dataclass(frozen=True)
class Lanes:
    """States of knowledge.

    Attributes
    ----------
    count : int
    parameters : dict of name to tensor ``(lane, *event)``
    space : Space or None
        What is missing, where anything is.
    drawn : callable or None
        A slice or an index of lanes to their values of the inferred sites: ``(lane, unit, coordinate)`` and
        ``(lane, unit, site)``.
    barren : callable or None
        A range of lanes to the uniforms of sites that nothing observed depends on.
    weights : Tensor ``(lane, unit)`` or None
        Posterior probability within each of ``groups`` equal blocks of lanes; None where all lanes count the same.
    """

    count: int
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    space: Space | None = None
    drawn: Callable[[slice | Tensor], tuple[Tensor, Tensor]] | None = None
    barren: Callable[[range], dict[str, Tensor]] | None = None
    weights: Tensor | None = None
    groups: int = 0

    @property
    def single(self) -> bool:
        """Whether there is but one lane, with nothing missing."""
        return self.count == 1 and self.space is None

    def inputs(self, part: slice | Tensor) -> dict[str, Any]:
        """What the lanes of a slice (or of an index) put into a run; nothing where there is but one."""
        if self.single:
            return {}
        found: dict[str, Any] = {"parameters": {name: value[part] for name, value in self.parameters.items()}}
        if self.space is not None:
            assert self.drawn is not None
            vectors, codes = self.drawn(part)
            found |= {"vector": vectors, "codes": codes}
            if self.barren is not None:
                if isinstance(part, slice):
                    found["barren"] = self.barren(range(part.start, part.stop))
                else:
                    first = int(part.min())
                    made = self.barren(range(first, int(part.max()) + 1))
                    found["barren"] = {name: value[part - first] for name, value in made.items()}
        return found

    def missing_values(self, lane: Mapping[str, Any]) -> dict[str, Tensor]:
        """Values of the missing sites in one lane."""
        if self.space is None:
            return {}
        return self.space.complete(lane["parameters"], lane["vector"], lane["codes"], lane.get("barren", {}))

    def collapse(self, lanes: Tensor, axis: int) -> Tensor:
        """Expectation over configurations, a row a parameter draw; ``axis`` is the unit dim behind the lanes."""
        if self.weights is None or len(lanes) != self.count:
            return lanes
        shape = [self.count] + [1] * (lanes.dim() - 1)
        shape[1 + axis] = self.weights.shape[-1]
        weights = self.weights.reshape(shape)
        weighted = torch.where(weights > 0, lanes, 0.0).mul_(weights)
        return weighted.reshape(self.groups, -1, *lanes.shape[1:]).sum(1)


def lanes_of(
    parameters: Mapping[str, Tensor],
    latent: LatentPosterior | None,
    draws: int,
    barren: Callable[[range], dict[str, Tensor]] | None,
) -> tuple[Lanes, Lanes]:
    """The lanes of expectations, and those of draws."""
    fitted = lane_count(parameters)
    if latent is None:
        main = Lanes(fitted, parameters)
        return main, main if fitted > 1 else Lanes(
            draws, {n: v.expand(draws, *v.shape[1:]) for n, v in parameters.items()}
        )
    draws = fitted if fitted > 1 else draws
    each = torch.arange(draws) % fitted

    def of_draws(part: slice | Tensor) -> tuple[Tensor, Tensor]:
        vectors, codes = latent.draws
        return vectors[part], codes[part]

    drawn = Lanes(draws, {n: v[each] for n, v in parameters.items()}, latent.space, of_draws, barren)
    if latent.space.width or barren is not None:
        return drawn, drawn
    space = latent.space
    count = len(space.configurations)
    place = torch.arange(fitted * count)
    nothing = torch.zeros(fitted * count, space.units, 0)
    exact = Lanes(
        fitted * count,
        {name: value[place // count] for name, value in parameters.items()},
        space,
        lambda part: (nothing[part], space.joint.at(place[part, None] % count)),
        weights=latent.chances.reshape(fitted * count, -1),
        groups=fitted,
    )
    return exact, drawn
