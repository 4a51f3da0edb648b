# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Private noise
#
# Sensitive answers are noised before anyone sees them. The noise is known exactly, so it belongs in the model: a noisy
# child of the true variable. Taking the answers for the truth is not the careful choice. On a confounder it biases an
# effect *away* from the truth.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from sklearn.linear_model import LogisticRegression

import pcm
from pcm import private
from pcm_models import private_clinic, private_survey

# %% [markdown]
# ## A release, paid for by a ledger
#
# The zoo's survey: arrested before (`arrest`), uses a drug (`use`), harmed (`harm`). Each of the two questions passes
# randomised response at ε = 1: the answer is true with probability .731.

# %%
people = pcm.SCM(private_survey.program).sample(20_000, seed=4)[["arrest", "use", "harm"]]
rr = private_survey.mechanism
ledger = private.Ledger(epsilon=2.0)  # a path would keep it in a file, between processes
told = {name: rr.release(people[name], ledger) for name in ("arrest", "use")}
print(ledger)

# %% [markdown]
# The budget is spent. A third release is refused before any noise is drawn.

# %%
try:
    rr.release(people["harm"], ledger)
except pcm.PCMError as error:
    refused = str(error)
    print(refused)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# Whatever else is known of the same people stands in the same book: what other tools spent (a promise about a person
# added or removed is doubled before it is composed with answers that may be replaced), and columns published raw.

# %%
study = private.Ledger(epsilon=3.0, delta=1e-5)
study.book("visits, counted elsewhere", epsilon=0.5, delta=1e-7, neighbouring="add_remove")
private.Gaussian(rho=0.02, bounds=(18, 99), clip=True).release([35.0, 62.0], study, name="age")
study.book_raw("postcode")
print(study)

# %% [markdown]
# ## Naive against noise-aware
#
# Three data sets: the treatment's answers alone, the confounder's alone, both. (The noise here is simulated, with
# seeds, and declared to be what the mechanism gave: a real release cannot be repeated.) The naive fit takes answers
# for values; the aware fit is given the same answers as `Release`s.


# %%
def estimates(noised):
    found = {}
    answers = {name: rr.simulate(people[name], seed=place).values for place, name in enumerate(noised)}
    for kind, wrap in (("naive", lambda a: a), ("aware", lambda a: private.Release(a, rr))):
        data = {**people, **{name: wrap(answer) for name, answer in answers.items()}}
        fitted = pcm.SCM(private_survey.survey).fit(data, seed=0, draws=150, progress=False)
        found[kind] = pcm.ate(fitted, "use", "harm", seed=0, units=2_000)
    return found


cases = {"treatment": ("use",), "confounder": ("arrest",), "both": ("use", "arrest")}
table = {case: estimates(noised) for case, noised in cases.items()}
truth = private_survey.truth["ATE of use on harm"][0]

# %%
fig, axis = plt.subplots(figsize=(6, 2.6))
for row, (_case, found) in enumerate(table.items()):
    for shift, (kind, colour) in zip((-0.12, 0.12), (("naive", "tab:red"), ("aware", "tab:blue")), strict=True):
        low, high = found[kind].interval(0.95)
        axis.plot([low, high], [row + shift] * 2, color=colour, label=kind if row == 0 else None)
        axis.plot(found[kind].mean, row + shift, "o", color=colour)
axis.axvline(truth, color="black", linewidth=0.8)
axis.set(yticks=range(3), yticklabels=list(table), xlabel="effect of use on harm (truth: .2)")
axis.legend()
fig.tight_layout()

for case, found in table.items():
    print(f"{case:10} noised: naive {float(found['naive']):.3f}, aware {float(found['aware']):.3f}")

# %% [markdown]
# Noise on the treatment attenuates; noise on the confounder leaves confounding in and nearly *doubles* the
# effect; the aware intervals are wider, and hold the truth. What the naive fit converges to is known by enumeration
# (`truth` in the zoo). Simulated noise that is not declared anything is no evidence:

# %%
try:
    pcm.SCM(private_survey.survey).fit({**people, "use": rr.simulate(people["use"], seed=0)}, progress=False)
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## A clinic's laboratory values
#
# The confounder is a number, released with Laplace noise. Each patient's true value is integrated out in closed form.

# %%
clinic = pcm.SCM(private_clinic.program).sample(3_000, seed=3)
columns = np.stack([clinic["dose"], clinic["noisy"], np.ones(len(clinic))], 1)
naive_dose = np.linalg.lstsq(columns, clinic["stay"].to_numpy(), rcond=None)[0][0]
release = private.Release(clinic["noisy"], private_clinic.mechanism, name="lab")
fitted = pcm.SCM(private_clinic.clinic).fit(
    {"lab": release, "dose": clinic["dose"], "stay": clinic["stay"]}, seed=0, draws=150, progress=False
)
aware_dose = pcm.ate(fitted, "dose", "stay", seed=0, units=500)
print(f"a unit of dose changes the stay: naive {naive_dose:+.2f}, aware {aware_dose}")
print(fitted.posterior.diagnostics["missing"][0])

# %% [markdown]
# Counterfactuals too: what would the stay of twenty patients have been without the drug? Their true values are latent,
# `do` acts on the dose that they had. A guide that takes every true value for independent of the parameters is refused.

# %%
few = {"lab": private.Release(clinic["noisy"][:20], private_clinic.mechanism), **clinic[["dose", "stay"]][:20]}
without = fitted.counterfactual(few, do={"dose": 0.0}, draws=64, seed=0)
gained = without.mean("stay") - few["stay"].to_numpy()
print(np.round(gained[:5], 2), "and by the true effect", np.round(0.5 * clinic["dose"][:5].to_numpy(), 2))
try:
    pcm.SCM(private_clinic.clinic).fit({**clinic, "lab": release}, "svi", family="diagonal", progress=False)
except pcm.PCMError as error:
    mean_field = str(error)
    print(mean_field)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## Counts alone
#
# Sometimes nothing about single people is released, only a table of counts. `fit` takes that too: the counts' mean and
# covariance follow from the model, the noise adds its own. The same ε costs far less accuracy than answers one by one.

# %%
counts = private.CrossTable({"arrest": [0, 1], "use": [0, 1], "harm": [0, 1]}, epsilon=1.0)
cells = private.Aggregate(counts.simulate(people.astype(int), seed=0), counts, rows=len(people))
from_counts = pcm.ate(
    pcm.SCM(private_survey.survey).fit(cells, seed=0, draws=150, progress=False), "use", "harm", seed=0, units=2_000
)
print(cells.to_series().round(1).to_string())
print(from_counts)

# %% [markdown]
# ## Training privately
#
# Noisy sums and second moments are enough for a linear model: `fit` makes a posterior of them. A network is trained by
# DP-SGD. Both are paid from one ledger, and both look for the slope of the stay in the dose, .3.


# %%
def regression(n):
    level, slope = pyro.sample("level", dist.Normal(0.0, 2.0)), pyro.sample("slope", dist.Normal(0.0, 2.0))
    spread, rest = pyro.sample("spread", dist.HalfNormal(2.0)), pyro.sample("rest", dist.HalfNormal(2.0))
    with pyro.plate("units", n):
        dose = pyro.sample("dose", dist.Normal(0.0, spread.expand(n)))
        pyro.sample("stay", dist.Normal(level + slope * dose, rest))


def squared(out, y):
    return (out - y).square()[:, 0]


purse = private.Ledger(epsilon=10.0, delta=1e-5)
moments = private.Moments({"dose": (-4, 4), "stay": (-4, 4)}, epsilon=2.0, clip=True).release(
    clinic, purse, name="sums"
)
linear = pcm.SCM(regression).fit(moments, seed=0, draws=150, progress=False).posterior["slope"]

torch.manual_seed(0)
net = torch.nn.Linear(1, 1)
dose, stay = (torch.tensor(clinic[[name]].to_numpy(), dtype=torch.float32) for name in ("dose", "stay"))
options = {"noise_multiplier": 2.0, "batch": 300, "epochs": 15, "learning_rate": 0.03}
private.dp_sgd(net, dose, stay, purse, name="network", loss=squared, seed=0, **options)
print(f"slope: {linear.mean():.2f} ± {linear.std():.2f} from sums, {float(net.weight.detach()):.2f} by DP-SGD")
print(purse)

# %% [markdown]
# ## Three claims, kept apart
#
# What does a release say about somebody's infection (`hiv`)? The unconditional claim is each mechanism's own; the
# graph-conditional one needs the graph; the model-conditional one is a number of the model, and no guarantee.


# %%
def ward():
    hiv = pyro.sample("hiv", dist.Bernoulli(0.3))
    site = pyro.sample("site", dist.Bernoulli(0.5))
    drug = pyro.sample("drug", dist.Bernoulli(0.1 + 0.8 * hiv))
    pyro.sample("stay", dist.Bernoulli(0.1 + 0.4 * drug + 0.4 * site))


scm = pcm.SCM(ward)
claims = private.claims(scm, {"site": "raw", "drug": rr}, private="hiv")
print(claims)
print("\nThe graph-conditional one rests on:", *claims.assumptions["graph-conditional"], sep="\n- ")

# %% [markdown]
# Published raw, the drug would tell: the claim is refused, with the path.

# %%
print(private.claims(scm, {"site": "raw", "drug": "raw"}, private="hiv").graph_conditional)

# %% [markdown]
# So it is where no arrow leads from the one to the other: by a common cause (a back-door path), and by a common effect
# that the adversary knows. And a graph that lacks an arrow of the program is another model's.


# %%
def paths():
    z = pyro.sample("z", dist.Bernoulli(0.5))
    a = pyro.sample("a", dist.Bernoulli(0.05 + 0.9 * z))
    pyro.sample("u", dist.Bernoulli(0.1 + 0.8 * z))
    w = pyro.sample("w", dist.Bernoulli(0.5))
    pyro.sample("s", dist.Bernoulli(0.1 + 0.8 * (a == w)))


back_door = private.claims(pcm.SCM(paths), {"u": "raw"}, private="a")
unseen = private.claims(pcm.SCM(paths), {"w": "raw"}, private="a")
collider = private.claims(pcm.SCM(paths), {"w": "raw"}, private="a", adversary=["s"])
for found in (back_door, unseen, collider):
    print(found.graph_conditional, "| in the model:", found.model_conditional.number())
claimed = pcm.SCM(paths).graph.copy()
claimed.remove_edge("z", "u")
try:
    private.claims(pcm.SCM(paths), {"u": "raw"}, private="a", graph=claimed)
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## Targeted noise
#
# Only what d-separation does not protect needs noise. Beside the curve stand uniform noise, dropping the variable, and
# no privacy.

# %%
plan = private.targeted(scm, private="hiv", candidates=["site", "drug"], utility="stay", epsilon=1.0)
print(plan)
plan.plot()

# %% [markdown]
# ## Audit
#
# A sampler that is said to be Laplace noise at ε = 1 and draws half of it is found out. What to count is proposed by
# the stated mechanism and by a twentieth of the draws; the rest of them bounds ε from below, at 99.9 %.

# %%
laplace = private.Laplace(epsilon=1.0, bounds=(0, 1))


def honest(value, n):
    return laplace.law(torch.full((n,), value, dtype=torch.float64)).sample().numpy()


def half(value, n):
    return torch.distributions.Laplace(value, 0.5).sample((n,)).numpy()


torch.manual_seed(0)
audits = {f.__name__: private.audit_mechanism(f, claimed=laplace, n=50_000, confidence=0.999) for f in (honest, half)}
for name, audit in audits.items():
    print(f"{name:7} {audit}")

# %% [markdown]
# The low-order bits of floating-point noise give the value away: numpy's sampler is found out though its scale is
# right. One run audits too: 2,000 canaries, each in or out by a coin, here asked by randomised response. Last, can a
# predictor's losses tell whom it was fitted on? Beside it stand a control with as many inputs, and people under an
# intervention.


# %%
def numpys(value, n, seed):
    return value + np.random.default_rng(seed).laplace(0.0, 1.0, n)


audits["numpy"] = private.audit_floating_point(numpys, (0.0, 1.0), n=50_000, claimed=1.0, seed=0)
canary = np.random.default_rng(0).integers(0, 2, 2_000)
audits["one run"] = private.audit_one_run(rr.simulate(canary, seed=1).values, canary == 1, claimed=1.0)
print(audits["numpy"], audits["one run"], sep="\n")

# %%
draws = {
    name: model.sample(300, seed=seed)
    for seed, (name, model) in enumerate({"members": scm, "nonmembers": scm, "shifted": scm.do(hiv=1)}.items())
}
causal, control = (
    LogisticRegression().fit(draws["members"][inputs], draws["members"]["stay"])
    for inputs in (["drug", "site"], ["hiv", "site"])
)
attack = private.membership(causal, control, outcome="stay", **draws)
print(attack)
plt.close("all")

# %% [markdown]
# ## What we know to be true

# %%
assert "Nothing was released" in refused and ledger.remaining < 1e-9
assert len(told["use"]) == len(people)
for case, found in table.items():
    low, high = found["aware"].interval(0.99)
    assert low < truth < high, case
names = {"treatment": "treatment noised", "confounder": "confounder noised", "both": "both noised"}
for case, words in names.items():
    assert abs(float(table[case]["naive"]) - private_survey.truth[f"adjusted for answers, {words}"][0]) < 0.03
assert float(table["confounder"]["naive"]) > 1.5 * truth, "away from the truth"
assert naive_dose > 0 > aware_dose.interval(0.9)[1]
assert abs(float(from_counts) - truth) < 0.03 and float(from_counts.draws.std()) < 0.5 * float(
    table["both"]["aware"].draws.std()
)
assert 1.0 < study.spent < 3.0 and study.epsilon_spent == np.inf
assert np.abs(gained - 0.5 * clinic["dose"][:20].to_numpy()).max() < 0.4 and "mean-field" in mean_field
assert abs(float(linear.mean()) - 0.3) < 5 * float(linear.std()) < 0.5 and abs(float(net.weight.detach()) - 0.3) < 0.1
assert 2.0 < purse.spent < 10.0
assert claims.graph_conditional.epsilon == 1.0
assert unseen.graph_conditional.epsilon == 0.0
assert "u ← z → a" in back_door.graph_conditional.refused and "w → [s] ← a" in collider.graph_conditional.refused
assert back_door.model_conditional.interventional < 1e-9 and round(back_door.model_conditional.epsilon, 3) == 1.815
assert plan.raw == ("site",)
assert audits["half"].flagged and not audits["honest"].flagged and audits["honest"].epsilon > 0.9
assert audits["numpy"].flagged and not audits["one run"].flagged
assert abs(attack.gain()) < 0.1
