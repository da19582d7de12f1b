"""Cure: the harmless form of what was found bad.

Pure functions from bytes to bytes; the stage calls `plan_cure` and scans what it returns. One module for each family
of formats; `docs/manual/cure.md` says what each takes out.
"""

from gatepost.antivirus.cure.cured import BadMember, Cured
from gatepost.antivirus.cure.plan import plan_cure

__all__ = ["BadMember", "Cured", "plan_cure"]
