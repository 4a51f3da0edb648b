"""Requirements in the field's words.

>>> counterfactual_fairness("sex", outcome="hired")
Requirement('sex', outcome='hired', admissible='none')
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pcm.requirement.independence import Independence
from pcm.requirement.requirement import Requirement

__all__ = [
    "attribute_privacy",
    "counterfactual_fairness",
    "demographic_parity",
    "environment_invariance",
    "equalized_odds",
    "irrelevant_to",
    "path_specific_fairness",
    "responsive_to",
]


def counterfactual_fairness(
    protected: str,
    *,
    outcome: str,
    reference: Any = "independent",
    tolerance: float = 0.0,
) -> Requirement:
    """The prediction for a unit stays what it is had the protected attribute been another (Kusner et al. 2017).

    ``reference`` and ``tolerance`` are those of :class:`pcm.Requirement`.

    Examples
    --------
    >>> import pcm
    >>> pcm.counterfactual_fairness("sex", outcome="hired")
    Requirement('sex', outcome='hired', admissible='none')
    """
    return Requirement(protected, outcome=outcome, admissible="none", reference=reference, tolerance=tolerance)


def path_specific_fairness(
    protected: str,
    *,
    outcome: str,
    admissible: Any,
    reference: Any = "independent",
    tolerance: float = 0.0,
) -> Requirement:
    """The protected attribute may move the prediction along admissible paths alone (Chiappa 2019).

    Examples
    --------
    >>> import pcm
    >>> pcm.path_specific_fairness("sex", outcome="hired", admissible="sex -> degree -> hired")
    Requirement('sex', outcome='hired', admissible=['sex -> degree -> hired'])
    """
    return Requirement(protected, outcome=outcome, admissible=admissible, reference=reference, tolerance=tolerance)


def environment_invariance(
    environment: str | Collection[str],
    *,
    outcome: str,
    admissible: Any = "none",
    reference: Any = "independent",
    tolerance: float = 0.0,
) -> Requirement:
    """The prediction stays what it is in another environment, or where the named mechanisms are replaced.

    Parameters
    ----------
    environment : str or collection of str
        A variable that stands for the environment, or the variables whose mechanisms may change.
    admissible
        Paths along which it may respond after all: those along which the outcome's own response is wanted.

    Examples
    --------
    >>> import pcm
    >>> pcm.environment_invariance("site", outcome="readmit", admissible=["site -> readmit"])
    Requirement('site', outcome='readmit', admissible=['site -> readmit'], role='environment')
    """
    role = "environment" if isinstance(environment, str) else None
    return Requirement(
        environment, outcome=outcome, admissible=admissible, role=role, reference=reference, tolerance=tolerance
    )


def attribute_privacy(
    private: str,
    *,
    outcome: str,
    reference: Any = "independent",
    tolerance: float = 0.0,
) -> Requirement:
    """The prediction says nothing of a change in a private attribute.

    Examples
    --------
    >>> import pcm
    >>> pcm.attribute_privacy("hiv", outcome="premium").admissible.nothing
    True
    """
    return Requirement(private, outcome=outcome, admissible="none", reference=reference, tolerance=tolerance)


def irrelevant_to(
    variable: str,
    *,
    outcome: str,
    reference: Any = "independent",
    tolerance: float = 0.0,
) -> Requirement:
    """The prediction is flat under changes of a variable that should not matter (explainability).

    Examples
    --------
    >>> import pcm
    >>> pcm.irrelevant_to("watermark", outcome="diagnosis").admissible.written
    'none'
    """
    return Requirement(variable, outcome=outcome, admissible="none", reference=reference, tolerance=tolerance)


def responsive_to(
    variable: str,
    *,
    outcome: str,
    reference: Any = "independent",
    tolerance: float = 0.0,
) -> Requirement:
    """The prediction responds to a relevant variable as the outcome does, along every path (explainability).

    Examples
    --------
    >>> import pcm
    >>> pcm.responsive_to("lesion", outcome="diagnosis").admissible.written
    'all'
    """
    return Requirement(variable, outcome=outcome, admissible="all", reference=reference, tolerance=tolerance)


def demographic_parity(variable: str, *, outcome: str, tolerance: float = 0.0) -> Independence:
    """The prediction is independent of a variable, whatever the reason for a dependence.

    Examples
    --------
    >>> import pcm
    >>> pcm.demographic_parity("sex", outcome="hired")
    Independence('sex', outcome='hired')
    """
    return Independence(variable, outcome=outcome, tolerance=tolerance)


def equalized_odds(variable: str, *, outcome: str, tolerance: float = 0.0) -> Independence:
    """Among units of the same outcome, the prediction is independent of a variable (Hardt et al. 2016).

    Examples
    --------
    >>> import pcm
    >>> pcm.equalized_odds("sex", outcome="hired")
    Independence('sex', outcome='hired', given='outcome')
    """
    return Independence(variable, outcome=outcome, given="outcome", tolerance=tolerance)
