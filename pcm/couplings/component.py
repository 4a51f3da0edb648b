"""MixtureSameFamily, component: which component a unit comes from is a latent choice of its own.

The equation has two steps, with two noises,

    c = argmax_k (log w_k + g_k),      x = f_c(e),

the Gumbel-max choice of the component, and the component's own equation with one noise ``e`` for whichever component
is chosen. A value does not say where it came from, so its noise is *drawn*: ``c`` from its posterior

    P(c = k | x) proportional to w_k p_k(x),

then the Gumbels given that ``c`` won, and ``e`` by the component's own abduction (a point where that is one). A unit
keeps its component in the other world unless the weights change, and then as Gumbel-max does. It is a rung 3 coupling,
but not invertible: answers about it are averages over draws. Vector components are served too.

Noise is ``(batch, component + k)``: the Gumbels, then the component's noise of size k.

>>> import torch
>>> from torch.distributions import Categorical, MixtureSameFamily, Normal
>>> fn = MixtureSameFamily(Categorical(torch.tensor([0.5, 0.5])), Normal(torch.tensor([-9.0, 9.0]), 1.0))
>>> noise = ComponentCoupling().abduct(fn, torch.tensor(9.5), torch.tensor([0.3, 0.6, 0.1]))
>>> round(noise[-1].item(), 6), round(ComponentCoupling().push(fn, noise).item(), 6)
(0.5, 9.5)
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.distributions import Categorical

from pcm.couplings import registry
from pcm.couplings.coupling import Coupling
from pcm.couplings.gumbel_max import GumbelMax
from pcm.couplings.mixture import log_weights
from pcm.couplings.parameters import quiet_log_prob
from pcm.errors import CouplingError

__all__ = ["ComponentCoupling"]

_CHOICE = GumbelMax()


@final
class ComponentCoupling(Coupling):
    """Latent component by Gumbel-max, then the component's own equation; drawn from its posterior given the value."""

    name: ClassVar[str] = "component"
    families = (torch.distributions.MixtureSameFamily,)
    pointwise: ClassVar[bool] = False

    def noise_event(self, fn: Any) -> torch.Size:
        """``(component + size of the component's noise,)``."""
        return torch.Size([log_weights(fn).shape[-1] + _inner_noise(fn).numel()])

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse components whose value does not determine their noise."""
        coupling, component = registry.resolve(fn.component_distribution, site=site)
        if not coupling.invertible:
            where = registry.at_site(site)
            family = type(component).__name__
            raise CouplingError(
                f"{where}the coupling 'component' was asked of a mixture of {family}, whose values do not determine "
                "their noise; use 'monotone', or write the component as a Categorical site of its own.",
                site=site,
                family=type(fn).__name__,
            )

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """The value of the chosen component's equation."""
        coupling, component = registry.resolve(fn.component_distribution)
        weights = Categorical(logits=log_weights(fn), validate_args=False)
        kinds = log_weights(fn).shape[-1]
        chosen = _CHOICE.push(weights, noise[..., :kinds])
        inner = noise[..., kinds:].reshape(noise.shape[:-1] + _inner_noise(fn))
        values = coupling.push(component, inner.unsqueeze(-1 - len(_inner_noise(fn))))
        return _pick(values, chosen, len(fn.event_shape))

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Component from its posterior, Gumbels given that it won, the component's noise of the value."""
        if uniform is None:
            raise TypeError("abducting a mixture's component needs `uniform`: any component can give a value")
        coupling, component = registry.resolve(fn.component_distribution)
        events, prior = len(fn.event_shape), log_weights(fn)
        kinds = prior.shape[-1]
        each = value.unsqueeze(-1 - events)
        density = quiet_log_prob(fn.component_distribution, each)
        posterior = torch.cumsum(torch.softmax(prior + density, -1), -1)
        # the component's own noise is a point: its uniform is free to choose the component
        chosen = (uniform[..., kinds : kinds + 1] > posterior[..., :-1]).sum(-1)
        gumbels = _CHOICE.abduct(Categorical(logits=prior, validate_args=False), chosen, uniform[..., :kinds])
        noises = coupling.abduct(component, each)
        noise = _pick(noises, chosen, len(_inner_noise(fn)))
        noise = noise.reshape(*noise.shape[: noise.dim() - len(_inner_noise(fn))], -1)
        batch = torch.broadcast_shapes(gumbels.shape[:-1], noise.shape[:-1])
        return torch.cat([gumbels.expand(*batch, -1), noise.to(torch.float64).expand(*batch, -1)], -1)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Standard Gumbels, and the component's fresh noise."""
        coupling, component = registry.resolve(fn.component_distribution)
        kinds = log_weights(fn).shape[-1]
        inner = uniform[..., kinds:]
        noise = coupling.fresh(component, inner.reshape(uniform.shape[:-1] + _inner_noise(fn)))
        gumbels = -torch.log(-torch.log(uniform[..., :kinds]))
        return torch.cat([gumbels, noise.reshape(inner.shape)], -1)


def _inner_noise(fn: Any) -> torch.Size:
    """Dims of the component's noise: those right of the component dim."""
    coupling, component = registry.resolve(fn.component_distribution)
    events = len(fn.event_shape) - len(component.event_shape)
    # an Independent around the component has dims of its own
    return fn.event_shape[:events] + coupling.noise_event(component)


def _pick(values: Tensor, chosen: Tensor, events: int) -> Tensor:
    """Entry ``chosen`` along the component dim, which stands before ``events`` trailing dims."""
    kinds = values.shape[-1 - events]
    picked = torch.arange(kinds, device=values.device) == chosen.unsqueeze(-1)
    picked = picked.reshape(picked.shape + (1,) * events)
    return torch.where(picked, values, torch.zeros((), dtype=values.dtype)).sum(-1 - events)
