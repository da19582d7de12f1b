"""Pages by area: each module exports `ROUTES`; what is not listed here is not served."""

from collections.abc import Sequence
from typing import Any, Final

from gatepost.console.pages import (
    account,
    accounts,
    audit,
    dashboard,
    databases,
    log,
    look,
    problems,
    reports,
    service,
    sign_in,
)

ROUTES: Final[Sequence[Any]] = (
    *account.ROUTES,
    *accounts.ROUTES,
    *audit.ROUTES,
    *dashboard.ROUTES,
    *databases.ROUTES,
    *log.ROUTES,
    *look.ROUTES,
    *problems.ROUTES,
    *reports.ROUTES,
    *service.ROUTES,
    *sign_in.ROUTES,
)
