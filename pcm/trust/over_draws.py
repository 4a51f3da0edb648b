"""A simulated check under several draws of the parameters: each number with its interval over them.

Every draw has fresh units of its own, so that the Monte-Carlo error of a mean falls with all units together; intervals
are wider by a single draw's error.

>>> import pyro, pyro.distributions as dist, torch, pcm
>>> def program(n):
...     slope = pyro.sample("slope", dist.Normal(1.0, 0.2))
...     with pyro.plate("units", n):
...         a = pyro.sample("a", dist.Normal(0.0, 1.0))
...         x = pyro.sample("x", dist.Normal(slope * a, 1.0))
...         pyro.sample("y", dist.Normal(x + torch.sin(x), 1.0))
>>> found = pcm.check(pcm.SCM(program), [pcm.counterfactual_fairness("a", outcome="y")], units=4_000, draws=4, seed=0)
>>> found.how, len(found.price.draws)
('simulation, 1000 units in each of 4 draws of the parameters', 4)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pcm.query.account import Account
from pcm.query.effect import Effect
from pcm.scm import SCM
from pcm.trust.apart import Apart
from pcm.trust.simulation import Simulation
from pcm.trust.verdict import Row

__all__ = ["OverDraws", "parameter_draws", "simulated"]

#: Draws of the parameters that a simulated check looks at, and units that each has at least.
_MOST, _LEAST_UNITS = 16, 500


def parameter_draws(scm: SCM, draws: int, units: int, seed: int) -> list[SCM]:
    """The model at several draws of its parameters; the model itself where they are known."""
    model = scm._model
    if not model.free:
        return [scm]
    found = model.parameters(max(1, min(draws, _MOST, units // _LEAST_UNITS)), seed, prior=True)
    count = len(next(iter(found.values())))
    return [scm.given({name: found[name][draw] for name in model.free}) for draw in range(count)]


class OverDraws:
    """Numbers of a check, averaged over simulations.

    Parameters
    ----------
    members : sequence of Simulation
        One a draw of the parameters.
    account : Account
    """

    def __init__(self, members: Sequence[Simulation], account: Account) -> None:
        self.members, self.account = members, account
        first = members[0]
        self.pinning, self.delivered, self.units = first.pinning, first.delivered, first.units

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every predictor that there is under every draw."""
        tables = [{row.name: row for row in member.rows} for member in self.members]
        shared = [[table[name] for table in tables] for name in tables[0] if all(name in table for table in tables)]
        return tuple(
            Row(
                each[0].name,
                self._joined([row.risk for row in each]),
                self._joined([row.price for row in each]),
                self._by_source([row.effects for row in each]),
            )
            for each in shared
        )

    @property
    def price(self) -> Effect:
        """Risk of the delivered predictor above the best."""
        return self._joined([member.price for member in self.members])

    @property
    def price_minimum(self) -> Effect | None:
        """Least price of a matched predictor; None where some draw has none."""
        return self._where([member.price_minimum for member in self.members])

    @property
    def laundering_gap(self) -> Effect | None:
        """What the observational optimum on the corrected features saves."""
        return self._where([member.laundering_gap for member in self.members])

    @property
    def gaps(self) -> dict[str, Effect]:
        """Residual gaps of the delivered predictor."""
        return self._by_source([member.gaps for member in self.members])

    @property
    def shadow_prices(self) -> dict[str, Effect]:
        """What a unit of each pinned effect costs of the least price; none where some draw has no least price."""
        found = [member.shadow_prices for member in self.members]
        return self._by_source(found) if all(each.keys() == found[0].keys() for each in found) else {}

    @property
    def least_over(self) -> str:
        """The predictors of which it is the least price."""
        return self.members[0].least_over

    def _by_source(self, found: Sequence[Mapping[str, Effect]]) -> dict[str, Effect]:
        return {name: self._joined([each[name] for each in found]) for name in found[0]}

    def _where(self, found: Sequence[Effect | None]) -> Effect | None:
        there = [each for each in found if each is not None]
        return self._joined(there) if len(there) == len(found) else None

    def _joined(self, found: Sequence[Effect]) -> Effect:
        errors = np.array([each.standard_error or 0.0 for each in found])
        error = float(np.sqrt((errors**2).sum()) / len(errors))
        exact = all(each.standard_error == 0 for each in found)
        return Effect(
            np.concatenate([each.draws for each in found]),
            label=found[0].label,
            account=self.account,
            standard_error=0.0 if exact else error or None,
        )


def simulated(
    members: Sequence[SCM], seed: int, account: Account, units: int, apart: bool = False, **options: Any
) -> Simulation | OverDraws:
    """A simulation under each member, with its share of the units; ``apart``, of requirements of independence."""
    share, kind = units // len(members), Apart if apart else Simulation
    made = [kind(scm, units=share, seed=seed + i, account=account, **options) for i, scm in enumerate(members)]
    return made[0] if len(made) == 1 else OverDraws(made, account)
