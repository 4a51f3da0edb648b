"""Doses over time: plans from a visit on, treatment–confounder feedback, and Kalman smoothing of missed visits."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest

import pcm
from pcm_models.dosing import VISITS, plan, truth

STOPPED = {f"d_{visit}": 0.0 for visit in range(3, VISITS)}


def value(question: str) -> float:
    return truth[question][0]


@pytest.mark.parametrize(
    ("sets", "question"),
    [
        ({}, "mean x_8"),
        (STOPPED, "mean x_8, no dose from visit 3 on"),
        (plan(3, 0.8), "mean x_8, dose .8 x from visit 3 on"),
    ],
)
def test_plans_from_a_visit_on(scm, sets, question):
    last = (scm.do(sets) if sets else scm).sample(100_000, seed=0)["x_8"]
    assert last.mean() == pytest.approx(value(question), abs=4 * last.std() / 100_000**0.5)


def test_every_patient_under_a_plan_has_the_noise_of_the_patient(scm):
    """Had the dose been .8 x from visit 3 on: by hand, visit by visit."""
    seen = scm.sample(200, seed=1)
    cf = scm.counterfactual(seen, do=plan(3, 0.8))
    x = seen["x_3"].to_numpy()
    for visit in range(3, VISITS):
        noise = seen[f"x_{visit + 1}"] - 0.9 * seen[f"x_{visit}"] + 0.5 * seen[f"d_{visit}"]
        x = 0.9 * x - 0.5 * 0.8 * x + noise.to_numpy()
        assert np.abs(cf.mean(f"x_{visit + 1}") - x).max() < 1e-12
    assert (cf.draws("x_3")[0] == seen["x_3"]).all()  # before the plan: to the bit


def test_the_drug_looks_harmful_and_is_not(scm):
    seen = scm.sample(100_000, seed=2)
    assert np.polyfit(seen["d_0"], seen["x_1"], 1)[0] == pytest.approx(
        value("slope of x_1 on d_0, as observed"), abs=0.02
    )
    for outcome, held, question in (
        ("x_1", {}, "effect of d_0 on x_1"),
        ("x_8", {}, "effect of d_0 on x_8, later doses as they follow"),
        ("x_8", {f"d_{visit}": 0.0 for visit in range(1, VISITS)}, "effect of d_0 on x_8, later doses held"),
    ):
        model = scm.do(held) if held else scm
        effect = pcm.ate(model, "d_0", outcome, treated=1.0, control=0.0, units=2_000, seed=0)
        assert effect.mean == pytest.approx(value(question), abs=1e-12)


# -- missed visits -----------------------------------------------------------------------------------------------------

STEPS, KEEP, DRIVE, READ = 12, 0.9, 0.5, 0.3


def hidden(explicit):
    """A state that nobody sees and a reading of it at every step."""

    def series():
        x = pyro.sample("x_0", dist.Normal(0.0, 1.0))
        pyro.sample("y_0", dist.Normal(x, READ))
        for t in pyro.markov(range(1, STEPS)):
            if explicit:
                x = pyro.deterministic(f"x_{t}", KEEP * x + DRIVE * pyro.sample(f"u_{t}", dist.Normal(0.0, 1.0)))
                pyro.deterministic(f"y_{t}", x + READ * pyro.sample(f"v_{t}", dist.Normal(0.0, 1.0)))
            else:
                x = pyro.sample(f"x_{t}", dist.Normal(KEEP * x, DRIVE))
                pyro.sample(f"y_{t}", dist.Normal(x, READ))

    return series


def smooth(readings):
    """Kalman filter and Rauch–Tung–Striebel smoother, by hand; NaN where a visit was missed."""
    mean, var, before = np.zeros(STEPS), np.zeros(STEPS), np.zeros(STEPS)
    m, p = 0.0, 1.0
    for t, reading in enumerate(readings):
        if t:
            m, p = KEEP * m, KEEP**2 * p + DRIVE**2
        before[t] = p
        if not np.isnan(reading):
            gain = p / (p + READ**2)
            m, p = m + gain * (reading - m), (1 - gain) * p
        mean[t], var[t] = m, p
    for t in range(STEPS - 2, -1, -1):
        back = var[t] * KEEP / before[t + 1]
        mean[t], var[t] = (
            mean[t] + back * (mean[t + 1] - KEEP * mean[t]),
            var[t] + back**2 * (var[t + 1] - before[t + 1]),
        )
    return mean, np.sqrt(var)


@pytest.mark.parametrize("explicit", [False, True])
def test_missed_visits_are_smoothed(explicit):
    frame = pcm.SCM(hidden(False)).sample(6, seed=3)[[f"y_{t}" for t in range(STEPS)]]
    frame = frame.mask(np.random.default_rng(1).random(frame.shape) < 0.4)
    cf = pcm.SCM(hidden(explicit)).counterfactual(frame, do={"x_5": 1.0}, draws=8, seed=0)
    truths = [smooth(row) for row in frame.to_numpy()]
    for t in range(STEPS):
        name = f"x_{t}"
        assert cf.mean(name, "factual") == pytest.approx([mean[t] for mean, _ in truths], abs=1e-9)
        assert cf.sd(name, "factual") == pytest.approx([sd[t] for _, sd in truths], abs=1e-9)
    # had the state been 1 at step 5: a shift that fades
    shift = np.array([(1.0 - mean[5]) * KEEP ** (STEPS - 6) for mean, _ in truths])
    assert cf.mean("x_11") == pytest.approx(np.array([mean[11] for mean, _ in truths]) + shift, abs=1e-9)
