"""Lanes that integrate: where one number of a unit is open, the nodes of a quadrature, with their weights.

The open number is a coordinate whose density was integrated, or a site that is drawn from its mechanism alone.

>>> from pcm.query.nodes import node_lanes
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pcm.infer.latent import LatentPosterior, nodes
from pcm.query.lanes import Lanes

__all__ = ["drawn_sites", "node_lanes"]

#: Configurations up to which expectations run over the nodes of each.
MOST = 16


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
    covers, count = integrated | finite, len(space.configurations)
    if latent.chances.shape[0] > 1 or count > MOST or not bool(covers.any()):
        return None
    place, width = nodes()
    normal = torch.exp(-0.5 * place**2) * width * (place.abs() < 8)  # beyond, the uniform below is 1
    weights = latent.chances[0][:, None] * (normal / normal.sum())[:, None]  # (configuration, node, unit)
    if latent.mass is not None:
        weights = torch.where(integrated, latent.mass, weights)
    vectors = latent.peak.vector[:, None] + latent.peak.factor.sum(-1)[:, None] * place[:, None, None]
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
        lambda: (
            vectors.reshape(lanes, space.units, space.width),
            space.configurations[part][:, None].expand(-1, space.units, -1),
        ),
        noise if sites else None,
        weights=weights.reshape(lanes, space.units),
        groups=1,
    )
    return made, covers
