"""Lanes that integrate: where one number of a unit is open, the nodes of a quadrature, with their weights.

The open number is a coordinate whose density was integrated, or a site that is drawn from its mechanism alone.

>>> from pcm.query.nodes import node_lanes
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pcm.infer.latent import MOST, LatentPosterior, nodes
from pcm.query.lanes import Lanes

__all__ = ["drawn_sites", "node_lanes"]


def drawn_sites(latent: LatentPosterior) -> Tensor:
    """How many sites of each unit are drawn from their mechanisms, ``(unit,)``."""
    return sum((mask.long() for mask in latent.space.barren.values()), torch.zeros(latent.space.units).long())


def node_lanes(latent: LatentPosterior, parameters: Mapping[str, Tensor]) -> tuple[Lanes, Tensor] | None:
    """Configurations × nodes, and the units whose posterior they are, bool ``(unit,)``; None where there are none."""
    space, drawn = latent.space, drawn_sites(latent)
    one = torch.zeros(space.units, dtype=torch.bool)
    for name, mask in space.barren.items():
        site = space.sites[name]
        if not (site.discrete or site.inner or site.event or site.noise):
            one |= mask
    integrated = torch.from_numpy(latent.rung == "quadrature") & (drawn == 0)
    finite = torch.from_numpy(latent.rung == "enumerate") & ((drawn == 0) | ((drawn == 1) & one))
    covers, count = (integrated | finite) & (space.joint.own <= MOST), min(len(space.configurations), MOST)
    if latent.chances.shape[0] > 1 or not bool(covers.any()):
        return None
    place, width = nodes()
    normal = torch.exp(-0.5 * place**2) * width * (place.abs() < 8)  # beyond, the uniform below is 1
    weights = latent.chances[0, :count, None] * (normal / normal.sum())[:, None]  # (configuration, node, unit)
    if latent.mass is not None:
        weights = torch.where(integrated, latent.mass[:count], weights)
    middle, line = latent.peak.vector[:count], latent.peak.factor[:count].sum(-1)
    vectors = middle[:, None] + line[:, None] * place[:, None, None]
    lanes, uniform = count * len(place), torch.special.ndtr(place.clamp(-8, 8))
    part = torch.arange(lanes) // len(place)
    sites = {name: space.sites[name] for name, mask in space.barren.items() if bool(mask.any())}

    def noise(draws: range) -> dict[str, Tensor]:
        here = uniform[torch.arange(draws.start, draws.stop) % len(place)]
        return {
            name: here.reshape(-1, *([1] * (len(s.inner) + 1 + len(s.noise)))).expand(
                -1, *s.inner, space.units, *s.noise
            )
            for name, s in sites.items()
        }

    made = Lanes(
        lanes,
        {name: value.expand(lanes, *value.shape[1:]) for name, value in parameters.items()},
        space,
        lambda some: (vectors.reshape(lanes, space.units, space.width)[some], space.joint.at(part[some, None])),
        noise if sites else None,
        weights=weights.reshape(lanes, space.units),
        groups=1,
    )
    return made, covers
