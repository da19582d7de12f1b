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
    preview,
    problems,
    quarantine,
    queue,
    reports,
    service,
    sign_in,
    tracking,
)

ROUTES: Final[Sequence[Any]] = (
    *account.ROUTES,
    *accounts.ROUTES,
    *audit.ROUTES,
    *dashboard.ROUTES,
    *databases.ROUTES,
    *log.ROUTES,
    *look.ROUTES,
    *preview.ROUTES,
    *problems.ROUTES,
    *quarantine.ROUTES,
    *queue.ROUTES,
    *reports.ROUTES,
    *service.ROUTES,
    *sign_in.ROUTES,
    *tracking.ROUTES,
)
