"""Pages by area: each module exports `ROUTES`; what is not listed here is not served."""

from collections.abc import Sequence
from typing import Any, Final

from gatepost.console.pages import (
    account,
    accounts,
    audit,
    dashboard,
    databases,
    emergency,
    learning,
    lists,
    log,
    look,
    policy,
    preview,
    problems,
    quarantine,
    queue,
    reports,
    rules,
    service,
    settings,
    sign_in,
    tracking,
    what_if,
)

ROUTES: Final[Sequence[Any]] = (
    *account.ROUTES,
    *accounts.ROUTES,
    *audit.ROUTES,
    *dashboard.ROUTES,
    *databases.ROUTES,
    *emergency.ROUTES,
    *learning.ROUTES,
    *lists.ROUTES,
    *log.ROUTES,
    *look.ROUTES,
    *policy.ROUTES,
    *preview.ROUTES,
    *problems.ROUTES,
    *quarantine.ROUTES,
    *queue.ROUTES,
    *reports.ROUTES,
    *rules.ROUTES,
    *service.ROUTES,
    *settings.ROUTES,
    *sign_in.ROUTES,
    *tracking.ROUTES,
    *what_if.ROUTES,
)
