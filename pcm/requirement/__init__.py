"""Requirements of invariance: what a prediction may respond to, and the target that they leave.

>>> from pcm.requirement import Requirement, target_plan
"""

from __future__ import annotations

from pcm.requirement.admissible import Admissible as Admissible
from pcm.requirement.constructors import attribute_privacy as attribute_privacy
from pcm.requirement.constructors import counterfactual_fairness as counterfactual_fairness
from pcm.requirement.constructors import demographic_parity as demographic_parity
from pcm.requirement.constructors import environment_invariance as environment_invariance
from pcm.requirement.constructors import equalized_odds as equalized_odds
from pcm.requirement.constructors import irrelevant_to as irrelevant_to
from pcm.requirement.constructors import path_specific_fairness as path_specific_fairness
from pcm.requirement.constructors import responsive_to as responsive_to
from pcm.requirement.independence import Independence as Independence
from pcm.requirement.requirement import Requirement as Requirement
from pcm.requirement.requirement import TrainingRows as TrainingRows
from pcm.requirement.target import Copy as Copy
from pcm.requirement.target import TargetPlan as TargetPlan
from pcm.requirement.target import find_path as find_path
from pcm.requirement.target import target_plan as target_plan

__all__ = [
    "Admissible",
    "Copy",
    "Independence",
    "Requirement",
    "TargetPlan",
    "TrainingRows",
    "attribute_privacy",
    "counterfactual_fairness",
    "demographic_parity",
    "environment_invariance",
    "equalized_odds",
    "find_path",
    "irrelevant_to",
    "path_specific_fairness",
    "responsive_to",
    "target_plan",
]
