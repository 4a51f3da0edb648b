r"""Gumbel-max over three worlds: ``P(x'' = k | x = i, x' = j)`` in closed form.

With ``X_m = exp(-g_m)``, unit exponentials, a world of probabilities ``p`` has the winner ``argmin_m X_m / p_m``. Let
the winners of worlds ``p``, ``q``, ``r`` arrive at the times ``a``, ``b``, ``c``. Every outcome comes no earlier in any
world, so that for three different outcomes

    P(x = i, x' = j, x'' = k) = p_i q_j r_k * integral of exp(-h(a, b, c)),   h = sum_m max(a p_m, b q_m, c r_m),

over the times at which ``i`` has its maximum in ``a``, ``j`` in ``b`` and ``k`` in ``c``. The region is cut into cones
in which ``h`` is linear; one spanned by rays ``v_1, v_2, v_3`` contributes ``|det v| / (h(v_1) h(v_2) h(v_3))``. On the
rays ``(1 - t, t, c)`` the cuts are the curves ``c_m(t) = max((1 - t) p_m, t q_m) / r_m``. Between the places where one
of them bends or two cross they are lines in a fixed order, and a cell between neighbours is two triangles.

Where two winners are the same outcome, their worlds are one: ``i`` wins in ``p`` and in ``q`` exactly when it wins
against the rates ``max(p_m / p_i, q_m / q_i)``, and the law over two worlds does the rest.

>>> import torch
>>> from pcm.couplings.gumbel_max import transition_table
>>> p, q, r = (torch.tensor(each).log() for each in ([0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.5, 0.1]))
>>> [round(x, 4) for x in third_winner(transition_table, p, torch.tensor(0), q, torch.tensor(2), r).tolist()]
[0.7186, 0.2814, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["third_winner"]

#: Stands for a rate of 0; three of its inverses still multiply.
_LEAST = 1e-60

Two = Callable[[Tensor, Tensor, Tensor], Tensor]


def third_winner(two: Two, log_p: Tensor, first: Tensor, log_q: Tensor, second: Tensor, log_r: Tensor) -> Tensor:
    """``P(x'' = k | x = first, x' = second)`` of the Gumbel-max coupling.

    Parameters
    ----------
    two : callable
        The law over two worlds: log-probabilities, codes and log-probabilities to (batch, category).
    log_p, log_q, log_r : Tensor
        Normalised log-probabilities of the three worlds; (batch, category).
    first, second : Tensor
        Winners of the first two; (batch).

    Returns
    -------
    Tensor
        (batch, category); rows sum to one, but for impossible pairs.
    """
    shape = torch.broadcast_shapes(
        log_p.shape, log_q.shape, log_r.shape, (*first.shape, 1), (*second.shape, 1), (log_p.shape[-1],)
    )
    p, q, r = (torch.exp(log).clamp(min=_LEAST).expand(shape) for log in (log_p, log_q, log_r))
    first, second = first.expand(shape[:-1]), second.expand(shape[:-1])
    i, j = (torch.arange(shape[-1], device=p.device) == code.unsqueeze(-1) for code in (first, second))

    always = two(_together(p, q, i)[0], first, log_r.expand(shape))
    rates, wins = _together(p, r, i)
    back_to_first = wins * _at(j, two(rates, first, log_q.expand(shape)))
    rates, wins = _together(q, r, j)
    back_to_second = wins * _at(i, two(rates, second, log_p.expand(shape)))
    made = torch.where(i, back_to_first.unsqueeze(-1), 0.0) + torch.where(j, back_to_second.unsqueeze(-1), 0.0)
    others = ~(i | j)
    if shape[-1] == 3:  # one outcome is left
        both = _at(i, p) * _at(j, two(log_p.expand(shape), first, log_q.expand(shape)))
        rest = (both - back_to_first - back_to_second).clamp(min=0.0).unsqueeze(-1)
        made = made + torch.where(others, rest, 0.0)
    elif shape[-1] > 3:
        made = made + torch.where(others, _apart(p, q, r, i, j), 0.0)
    total = made.sum(-1, keepdim=True)
    made = made / torch.where(total > 0, total, 1.0)
    return torch.where((first == second).unsqueeze(-1), always, made)


def _at(picked: Tensor, values: Tensor) -> Tensor:
    """The entry picked, (batch)."""
    return torch.where(picked, values, 0.0).sum(-1)


def _together(p: Tensor, q: Tensor, picked: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the world in which an outcome wins exactly when it wins in both, and how likely it does."""
    rates = torch.maximum(p / _at(picked, p).unsqueeze(-1), q / _at(picked, q).unsqueeze(-1))
    total = rates.sum(-1)
    return torch.log(rates / total.unsqueeze(-1)), 1.0 / total


def _apart(p: Tensor, q: Tensor, r: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """``P(x = i, x' = j, x'' = k)`` for every ``k`` other than ``i != j``; (batch, category), any for those two."""
    left, right = p.unsqueeze(-1) * r.unsqueeze(-2), q.unsqueeze(-2) * r.unsqueeze(-1)
    places = (left / (left + right)).flatten(-2)  # of (1 - t) p_m / r_m = t q_n / r_n
    # j has its maximum in b from here on, i in a up to there
    start = _at(j, p / (p + q)).unsqueeze(-1)
    end = torch.maximum(start, _at(i, p / (p + q)).unsqueeze(-1))
    places = torch.sort(torch.minimum(torch.maximum(places, start), end), -1).values.unbind(-1)
    total = torch.zeros_like(p)
    before = _cuts(p, q, r, places[0])
    for place, following in pairwise(places):
        after = _cuts(p, q, r, following)
        total = total + _slice(p, q, r, i, j, (place, *before), (following, *after))
        before = after
    return _at(i, p).unsqueeze(-1) * _at(j, q).unsqueeze(-1) * r * total


def _curves(p: Tensor, q: Tensor, r: Tensor, place: Tensor) -> Tensor:
    """``c_m(t)``; (batch, category)."""
    t = place.unsqueeze(-1)
    return torch.maximum((1.0 - t) * p, t * q) / r


def _cuts(p: Tensor, q: Tensor, r: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """The curves in increasing order, and ``h`` where they are; (batch, category)."""
    cuts = torch.sort(_curves(p, q, r, place), -1).values
    t = place.unsqueeze(-1)
    floor = torch.maximum((1.0 - t) * p, t * q)
    heights = [torch.maximum(floor, c.unsqueeze(-1) * r).sum(-1) for c in cuts.unbind(-1)]
    return cuts, torch.stack(heights, -1)


def _slice(
    p: Tensor,
    q: Tensor,
    r: Tensor,
    i: Tensor,
    j: Tensor,
    before: tuple[Tensor, Tensor, Tensor],
    after: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """The integral of every ``k`` between two neighbouring places; (batch, category)."""
    (t, cuts, h), (u, cuts_, h_) = before, after
    width = (u - t).unsqueeze(-1)
    low, low_, high, high_ = h[..., :-1], h_[..., :-1], h[..., 1:], h_[..., 1:]
    triangle = (cuts[..., 1:] - cuts[..., :-1]) / (low * high * low_)
    other = (cuts_[..., 1:] - cuts_[..., :-1]) / (high * low_ * high_)
    cells = width * (triangle + other)  # (batch, category - 1), from the lowest up
    middle = _curves(p, q, r, 0.5 * (t + u))
    ordered = torch.sort(middle, -1).values
    latest = torch.minimum(_at(i, middle), _at(j, middle)).unsqueeze(-1)
    below = torch.where(ordered[..., 1:] <= latest, cells, 0.0)
    # a cell belongs to every k whose curve lies no higher than the cell
    return (torch.where(middle.unsqueeze(-1) <= ordered[..., None, :-1], below.unsqueeze(-2), 0.0)).sum(-1)
