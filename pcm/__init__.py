"""pcm: causal models as plain Pyro programs.

>>> import pcm, pyro, pyro.distributions as dist
>>> def clinic():
...     age = pyro.sample("age", dist.Normal(0.0, 1.0))
...     pyro.sample("readmit", dist.Bernoulli(logits=0.8 * age))
>>> pcm.SCM(clinic).variables
('age', 'readmit')
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

from pcm.errors import FitWarning as FitWarning
from pcm.errors import PCMError as PCMError
from pcm.graph import CausalGraph as CausalGraph
from pcm.infer import Posterior as Posterior
from pcm.query import Account as Account
from pcm.query import Counterfactual as Counterfactual
from pcm.query import Effect as Effect
from pcm.scm import SCM as SCM
from pcm.scm import ate as ate
from pcm.scm import att as att
from pcm.scm import cate as cate
from pcm.scm import load as load

__all__ = [
    "SCM",
    "Account",
    "CausalGraph",
    "Counterfactual",
    "Effect",
    "FitWarning",
    "PCMError",
    "Posterior",
    "ate",
    "att",
    "cate",
    "load",
]

try:
    __version__ = _version("pcm-causal")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"
