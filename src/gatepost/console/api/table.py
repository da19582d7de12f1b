"""All operations of the interface, and the calls of the desk that it leaves out, each with the reason."""

from typing import Final

from gatepost.console.api import (
    accounts,
    configuration,
    emergency,
    licence,
    lists,
    mails,
    profiles,
    queue,
    service,
    stores,
    terms,
    texts,
)
from gatepost.console.api.operation import Operation

OPERATIONS: Final[tuple[Operation, ...]] = (
    *mails.OPERATIONS,
    *queue.OPERATIONS,
    *stores.OPERATIONS,
    *lists.OPERATIONS,
    *configuration.OPERATIONS,
    *profiles.OPERATIONS,
    *terms.OPERATIONS,
    *texts.OPERATIONS,
    *accounts.OPERATIONS,
    *service.OPERATIONS,
    *emergency.OPERATIONS,
    *licence.OPERATIONS,
)
_BROWSER: Final = "a step between a browser and the console's own pages"
_EDITOR: Final = "the console's editor of rules: getRules and saveRules are about all of a set"
_LOCAL: Final = "made at the machine only: "
LEFT_OUT: Final[dict[str, str]] = {
    "profiles.check": _EDITOR,
    "profiles.draft": _EDITOR,
    "profiles.export": _EDITOR + "; `gatepost rules export` does the same",
    "profiles.import": _EDITOR + "; `gatepost rules import` does the same",
    "profiles.one": _EDITOR,
    "profiles.reset": _EDITOR,
    "session.begin": _BROWSER,
    "session.first": _BROWSER,
    "session.second": _BROWSER,
    "session.state": _BROWSER,
    "session.first_code": _LOCAL + "before it is used nobody has an account",
    "account.totp_begin": _BROWSER,
    "account.totp_confirm": _BROWSER,
    "account.totp_end": _BROWSER,
    "account.passkey_begin": _BROWSER,
    "account.passkey_add": _BROWSER,
    "account.passkey_remove": _BROWSER,
    "accounts.add_token": _LOCAL + "elsewhere it would be a way to act under another's name",
    "calls": "how this interface is put together inside; its description is /api/v1/openapi.json",
    "console.up": "the console tells it to the master",
    "export": _LOCAL + "it names files; downloadQueuedMail and downloadStoredMail do the same",
    "learning": _LOCAL + "it names files, or forgets everything",
    "release": _LOCAL + "it names directories; releaseStoredMails does the same",
    "user_quarantine.status": "/metrics and listProblems tell of it when it does not work",
    "metrics": "/metrics",
    "metrics.open": "/metrics",
    "readiness": "/readyz",
}
"""By call: why it is no operation, or where else it is served."""
