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
# # Paths and mediation
#
# An effect may travel by several paths, and sometimes it matters which. Berkeley, 1973: women were admitted to graduate
# study less often than men. Was that the decision of the departments, or a matter of who applied where? The same
# total, two paths, two different complaints.

# %%
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm
from pcm.figures import interval_rows
from pcm_models import berkeley

applicants = berkeley.load()
applicants.groupby("female")["admitted"].agg(["size", "mean"]).rename({0: "men", 1: "women"}).round(3)

# %% [markdown]
# By department the picture is another one. Women do better in four of six; but most of them applied to C to F, where
# few are admitted.

# %%
cells = applicants.groupby(["dept", "female"])["admitted"].agg(["size", "mean"]).unstack()
cells = cells.rename({0: "men", 1: "women"}, axis=1).rename(dict(enumerate("ABCDEF")))
cells.round(2)

# %% [markdown]
# ## The model
#
# Sex is a cause of the department applied to, and both of admission. That it is a *cause* here means what officers saw
# on the form and what it had to do with the applicant's choice. The zoo's program takes the rates as they are in the
# table.

# %%
scm = pcm.SCM(berkeley.program, categories=berkeley.categories)
scm.graph

# %%
total = pcm.ate(scm, "female", "admitted")
total

# %% [markdown]
# *Exact*: sex, department and admission take few values, so that all of them are gone through, each with its
# probability, and nothing is drawn.

# %% [markdown]
# ## Held in place: the controlled direct effect
#
# What does sex do within a department? `cde` sets the mediator, in both arms, to the same value. There are as many
# answers as departments.

# %%
within = {d: pcm.cde(scm, "female", "admitted", mediators={"dept": d}).mean for d in "ABCDEF"}
pd.Series(within, name="CDE").round(3)

# %% [markdown]
# ## As it would have been: natural effects
#
# One number takes one more idea. The **natural direct effect** lets every applicant choose the department as a man
# would have, and changes only what the department sees. The **natural indirect effect** changes the choice and keeps
# the decision.

# %%
direct = pcm.nde(scm, "female", "admitted")
indirect = pcm.nie(scm, "female", "admitted")
print(direct)
print(indirect)
print(direct.account.identification)

# %% [markdown]
# So the direct effect *favours* women, by 7 points, and the whole gap comes through the choice of department. (Which
# may be unfair too, in another place. The program does not say what is fair; it says what would have happened.)
#
# By hand, it is Pearl's mediation formula: shares `π` of departments and rates `r` of admission, by sex.

# %%
size, rate = cells["size"].to_numpy(dtype=float).T, cells["mean"].to_numpy().T  # [sex, department]
share = size / size.sum(1, keepdims=True)
formula = {
    "TE": share[1] @ rate[1] - share[0] @ rate[0],
    "NDE": share[0] @ (rate[1] - rate[0]),
    "NIE": (share[1] - share[0]) @ rate[0],
    "NDE, reversed": share[1] @ (rate[0] - rate[1]),
    "NIE, reversed": (share[0] - share[1]) @ rate[1],
}
pd.Series(formula).round(5)

# %% [markdown]
# One by one: a woman admitted to A, what would the departments have made of her, had she applied as a man would have?
# `units` has every applicant's own effect, under their own name, with what was seen of them kept.

# %%
applied = pcm.nde(scm, "female", "admitted", data=applicants)
print(applied.account.positivity)
applied.units.to_dataframe().groupby([applicants["female"], applicants["dept"], applicants["admitted"]])["mean"].first()

# %% [markdown]
# Direct and indirect do not add up to the total: −0.072 is not −0.142. What adds up is the direct effect *less* the
# indirect effect of going back, from woman to man. And the direct effect of being a man, among those who apply as women
# do, is next to nothing: most of the 7 points come from department A, to which few women applied.

# %%
back = pcm.nde(scm, "female", "admitted", treated="man", control="woman")
print(back)
assert abs(formula["TE"] - (formula["NDE"] - formula["NIE, reversed"])) < 1e-12
assert abs(formula["TE"] - (formula["NDE"] + formula["NIE"])) > 0.05

# %% [markdown]
# ## With 25 women in department B
#
# Rates from a small table are uncertain. Make them parameters, fit, and every effect comes with an interval.


# %%
def admissions(n):
    women = pyro.sample("women", dist.Beta(1.0, 1.0))
    shares = pyro.sample("shares", dist.Dirichlet(torch.ones(2, 6)).to_event(1))
    rates = pyro.sample("rates", dist.Beta(torch.ones(2, 6), 1.0).to_event(2))
    with pyro.plate("units", n):
        female = pyro.sample("female", dist.Bernoulli(women))
        dept = pyro.sample("dept", dist.Categorical(shares[female.long()]))
        pyro.sample("admitted", dist.Bernoulli(rates[female.long(), dept]))


fitted = pcm.SCM(admissions, categories=berkeley.categories).fit(applicants, seed=0, progress=False)
assert fitted.posterior.diagnostics["khat"] < 0.7

# %%
options = {"units": 1_000, "draws": 1_000, "seed": 0}
effects = {"total": pcm.ate, "natural direct": pcm.nde, "natural indirect": pcm.nie}
answers = {name: ask(fitted, "female", "admitted", **options) for name, ask in effects.items()}
for d in "ABCDEF":
    answers[f"within {d}"] = pcm.cde(fitted, "female", "admitted", mediators={"dept": d}, **options)
table = pd.concat([answer.to_dataframe() for answer in answers.values()]).set_index(pd.Index(answers))
interval_rows(table.index, table["mean"], table["low"], table["high"], reference=0.0, xlabel="effect of being a woman")

# %% [markdown]
# Of the six departments, only A has an effect beyond doubt, and it is that one which moves the natural direct effect.
#
# ## Any path
#
# With more than one mediator, `path_effect` takes the paths to open. Along all others the treatment keeps its control
# value. Here, with one mediator, it is what we had:

# %%
through = pcm.path_effect(scm, "female", "admitted", paths=["female -> dept -> admitted"])
print(through)
assert abs(through.mean - indirect.mean) < 1e-12

# %% [markdown]
# A path that is not there is refused:

# %%
try:
    pcm.path_effect(scm, "female", "admitted", paths=["dept -> female -> admitted"])
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## A recanting witness
#
# Some paths cannot be told apart, not by any experiment. Training raises `skill` (0, 1, 2); skill raises pay directly,
# and also by way of a better `post`. What is the effect through skill *alone*, not through the post?


# %%
def career():
    training = pyro.sample("training", dist.Bernoulli(0.5))
    untrained, trained = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    skill = pyro.sample("skill", dist.Categorical(torch.where(training[..., None] == 1, trained, untrained)))
    post = pyro.sample("post", dist.Bernoulli(0.1 + 0.4 * skill))
    pyro.sample("pay", dist.Bernoulli(0.1 + 0.7 * (skill == 2) * post))


pcm.SCM(career).graph

# %% [markdown]
# Pay has to see a skill of the trained world, the post a skill of the untrained world, *of the same person*. Skill
# testifies on one path and recants on the other. Nobody is ever seen in both worlds, so the answer rests on how the
# two skills of a person belong together, and that is the **coupling**: an assumption.

# %%
alone = {}
for coupling in ("gumbel_max", "monotone"):
    model = pcm.SCM(career, couplings={"skill": coupling})
    alone[coupling] = pcm.path_effect(model, "training", "pay", paths=["training -> skill -> pay"])
    whole = pcm.ate(model, "training", "pay")
    print(f"{coupling}: total {whole.mean:.3f}, through skill alone {alone[coupling].mean:.3f}")

# %% [markdown]
# The two models have the same distributions, so the same total; their path effects differ more than twofold. The result
# says so, and whom to ask next:

# %%
print(alone["monotone"].account.identification)
print(alone["monotone"].account.notes[-1])
assert "recanting witness skill" in alone["monotone"].account.identification
assert "recanting" not in through.account.identification

# %% [markdown]
# Any coupling of the two skills is as good as any other, as far as data go. So ask for all of them at once: the least
# and the greatest effect that some coupling gives, by a linear programme over response types.

# %%
bounded = pcm.bounds(pcm.SCM(career), "PSE(training -> skill -> pay)")
print(bounded)
assert bounded.sharp and all(answer.mean in bounded for answer in alone.values())

# %% [markdown]
# ## What we know to be true

# %%
stated = {"TE of female": total, "NDE of female": direct, "NIE of female": indirect, "NDE of male (reversed)": back}
for question, answer in stated.items():
    truth, _, source = berkeley.truth[question]
    print(f"{question}: {answer.mean:+.5f}; {truth:+.5f} by {source}")
    assert answer.standard_error == 0 and abs(answer.mean - truth) < 1e-12

# %% [markdown]
# The path effect in closed form: over pairs of skills (untrained, trained) under each coupling, with the tables of
# tutorial 3.

# %%
before, post = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.5, 0.9])
tables = {
    "gumbel_max": torch.tensor([[0.4, 0.138462, 0.461538], [0, 0.769231, 0.230769], [0, 0, 1]]),
    "monotone": torch.tensor([[0.4, 0.6, 0], [0, 0, 1], [0, 0, 1]]),
}
closed = {
    coupling: float((before * post * 0.7 * (pairs[:, 2] - torch.tensor([0.0, 0.0, 1.0]))).sum())
    for coupling, pairs in tables.items()
}
print({coupling: f"{answer.mean:.4f}, in closed form {closed[coupling]:.4f}" for coupling, answer in alone.items()})
assert all(abs(answer.mean - closed[name]) < 1e-6 for name, answer in alone.items())
