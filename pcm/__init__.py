"""pcm: causal models as plain Pyro programs.

>>> import pcm, pyro, pyro.distributions as dist
>>> def clinic():
...     age = pyro.sample("age", dist.Normal(0.0, 1.0))
...     pyro.sample("readmit", dist.Bernoulli(logits=0.8 * age))
>>> pcm.SCM(clinic).variables
('age', 'readmit')
"""

from __future__ import annotations

from importlib import import_module as _import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version
from sys import modules as _modules
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from pcm import private as private
    from pcm.couplings import Truncated as Truncated
    from pcm.errors import FitWarning as FitWarning
    from pcm.errors import PCMError as PCMError
    from pcm.graph import CausalGraph as CausalGraph
    from pcm.graph.identify import identify as identify
    from pcm.infer import Posterior as Posterior
    from pcm.io import Interval as Interval
    from pcm.predict import AnchorRegression as AnchorRegression
    from pcm.predict import AugmentedLagrangian as AugmentedLagrangian
    from pcm.predict import CausalClassifier as CausalClassifier
    from pcm.predict import CausalRegressor as CausalRegressor
    from pcm.predict import ClassPrediction as ClassPrediction
    from pcm.predict import Grid as Grid
    from pcm.predict import InterventionalRisk as InterventionalRisk
    from pcm.predict import ParentsOnly as ParentsOnly
    from pcm.predict import Prediction as Prediction
    from pcm.predict import Shifts as Shifts
    from pcm.predict import Twins as Twins
    from pcm.predict import Violation as Violation
    from pcm.predict import augment as augment
    from pcm.predict import interventional_risk as interventional_risk
    from pcm.predict import twins as twins
    from pcm.predict import violation as violation
    from pcm.query import Account as Account
    from pcm.query import Counterfactual as Counterfactual
    from pcm.query import Effect as Effect
    from pcm.query.bounds import Query as Query
    from pcm.questions import ate as ate
    from pcm.questions import att as att
    from pcm.questions import bounds as bounds
    from pcm.questions import cate as cate
    from pcm.questions import cde as cde
    from pcm.questions import criticise as criticise
    from pcm.questions import nde as nde
    from pcm.questions import nie as nie
    from pcm.questions import overlap as overlap
    from pcm.questions import path_effect as path_effect
    from pcm.questions import probability_of_necessity as probability_of_necessity
    from pcm.questions import probability_of_necessity_and_sufficiency as probability_of_necessity_and_sufficiency
    from pcm.questions import probability_of_sufficiency as probability_of_sufficiency
    from pcm.questions import sensitivity as sensitivity
    from pcm.requirement import Independence as Independence
    from pcm.requirement import Requirement as Requirement
    from pcm.requirement import TrainingRows as TrainingRows
    from pcm.requirement import attribute_privacy as attribute_privacy
    from pcm.requirement import counterfactual_fairness as counterfactual_fairness
    from pcm.requirement import demographic_parity as demographic_parity
    from pcm.requirement import environment_invariance as environment_invariance
    from pcm.requirement import equalized_odds as equalized_odds
    from pcm.requirement import irrelevant_to as irrelevant_to
    from pcm.requirement import path_specific_fairness as path_specific_fairness
    from pcm.requirement import responsive_to as responsive_to
    from pcm.scm import SCM as SCM
    from pcm.scm import load as load
    from pcm.trust import Conflict as Conflict
    from pcm.trust import PartialVerdict as PartialVerdict
    from pcm.trust import Verdict as Verdict
    from pcm.trust import check as check

__all__ = [
    "SCM",
    "Account",
    "AnchorRegression",
    "AugmentedLagrangian",
    "CausalClassifier",
    "CausalGraph",
    "CausalRegressor",
    "ClassPrediction",
    "Conflict",
    "Counterfactual",
    "Effect",
    "FitWarning",
    "Grid",
    "Independence",
    "Interval",
    "InterventionalRisk",
    "PCMError",
    "ParentsOnly",
    "PartialVerdict",
    "Posterior",
    "Prediction",
    "Query",
    "Requirement",
    "Shifts",
    "TrainingRows",
    "Truncated",
    "Twins",
    "Verdict",
    "Violation",
    "ate",
    "att",
    "attribute_privacy",
    "augment",
    "bounds",
    "cate",
    "cde",
    "check",
    "counterfactual_fairness",
    "criticise",
    "demographic_parity",
    "environment_invariance",
    "equalized_odds",
    "identify",
    "interventional_risk",
    "irrelevant_to",
    "load",
    "nde",
    "nie",
    "overlap",
    "path_effect",
    "path_specific_fairness",
    "private",
    "probability_of_necessity",
    "probability_of_necessity_and_sufficiency",
    "probability_of_sufficiency",
    "responsive_to",
    "sensitivity",
    "twins",
    "violation",
]

# Names are imported when they are first asked for: `pcm --help` need not wait for torch.
_WHERE = {
    "CausalClassifier": "pcm.predict",
    "CausalRegressor": "pcm.predict",
    "ClassPrediction": "pcm.predict",
    "Prediction": "pcm.predict",
    "violation": "pcm.predict",
    "twins": "pcm.predict",
    "interventional_risk": "pcm.predict",
    "augment": "pcm.predict",
    "Violation": "pcm.predict",
    "Twins": "pcm.predict",
    "Shifts": "pcm.predict",
    "ParentsOnly": "pcm.predict",
    "InterventionalRisk": "pcm.predict",
    "Grid": "pcm.predict",
    "AugmentedLagrangian": "pcm.predict",
    "AnchorRegression": "pcm.predict",
    "Truncated": "pcm.couplings",
    "FitWarning": "pcm.errors",
    "PCMError": "pcm.errors",
    "CausalGraph": "pcm.graph",
    "Posterior": "pcm.infer",
    "Interval": "pcm.io.intervals",
    "Account": "pcm.query",
    "Counterfactual": "pcm.query",
    "Effect": "pcm.query",
    "SCM": "pcm.scm",
    "ate": "pcm.questions",
    "bounds": "pcm.questions",
    "Query": "pcm.query.bounds",
    "att": "pcm.questions",
    "cate": "pcm.questions",
    "criticise": "pcm.questions",
    "cde": "pcm.questions",
    "nde": "pcm.questions",
    "nie": "pcm.questions",
    "path_effect": "pcm.questions",
    "probability_of_necessity": "pcm.questions",
    "probability_of_necessity_and_sufficiency": "pcm.questions",
    "probability_of_sufficiency": "pcm.questions",
    "identify": "pcm.graph.identify",
    "Independence": "pcm.requirement",
    "Requirement": "pcm.requirement",
    "TrainingRows": "pcm.requirement",
    "attribute_privacy": "pcm.requirement",
    "counterfactual_fairness": "pcm.requirement",
    "demographic_parity": "pcm.requirement",
    "environment_invariance": "pcm.requirement",
    "equalized_odds": "pcm.requirement",
    "irrelevant_to": "pcm.requirement",
    "path_specific_fairness": "pcm.requirement",
    "responsive_to": "pcm.requirement",
    "Conflict": "pcm.trust",
    "Verdict": "pcm.trust",
    "PartialVerdict": "pcm.trust",
    "check": "pcm.trust",
    "load": "pcm.scm",
    "overlap": "pcm.questions",
    "private": "pcm.private",
    "sensitivity": "pcm.questions",
}

try:
    __version__ = _version("pcm-causal")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> _Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'pcm' has no attribute '{name}'", name=name, obj=_modules[__name__])
    module = _import_module(_WHERE[name])
    value = globals()[name] = module if _WHERE[name] == f"pcm.{name}" else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
