"""Audits: lower bounds on what a mechanism, a run or a fitted predictor gives away."""

from __future__ import annotations

from pcm.private.audits.floating_point import audit_floating_point as audit_floating_point
from pcm.private.audits.mechanism import audit_mechanism as audit_mechanism
from pcm.private.audits.membership import Membership as Membership
from pcm.private.audits.membership import membership as membership
from pcm.private.audits.one_run import audit_one_run as audit_one_run
from pcm.private.audits.result import Audit as Audit

__all__ = ["Audit", "Membership", "audit_floating_point", "audit_mechanism", "audit_one_run", "membership"]
