"""Queries: counterfactuals, effects, densities; what they return.

>>> from pcm.query import Counterfactual, Effect
"""

from __future__ import annotations

from pcm.query.account import Account as Account
from pcm.query.account import SiteAccount as SiteAccount
from pcm.query.counterfactual import Counterfactual as Counterfactual
from pcm.query.effect import Effect as Effect
from pcm.query.model import Model as Model

__all__ = ["Account", "Counterfactual", "Effect", "Model", "SiteAccount"]
