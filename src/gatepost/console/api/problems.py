"""What programs get when something cannot be answered: problem+json (RFC 9457), always.

The exception handlers of the routes; what goes wrong before a route is reached is `console.errors`.
"""

from typing import Any, Final

import msgspec
from litestar import Response
from litestar.connection import Request
from litestar.exceptions import PermissionDeniedException
from litestar.types import ExceptionHandlersMap

from gatepost.console import errors
from gatepost.console.api.operation import Missing
from gatepost.console.visitor import visitor_of
from gatepost.control.link import RefusedCall
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

STATUS_OF_KIND: Final = {"missing": 404, "unfit": 422, "stale": 412, "reused": 422, "away": 503}
"""By `ControlError.kind`; all others are 409: it does not go as things are now."""


class ErrorAnswer(msgspec.Struct, frozen=True):
    """Why something cannot be answered (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    """For people."""
    right: str = ""
    """403: what you lack."""


class Unusable(Exception):  # noqa: N818 - an answer
    """The request cannot be used as it is."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def _on_unusable(_: Request[Any, Any, Any], error: Unusable) -> Response[Any]:
    return errors.problem(error.status, error.detail, error.headers)


def _on_missing(_: Request[Any, Any, Any], __: Missing) -> Response[Any]:
    return errors.problem(404, "There is no such thing, or not for you.")


def _on_control(_: Request[Any, Any, Any], error: ControlError) -> Response[Any]:
    status = STATUS_OF_KIND.get(error.kind, 409)
    return errors.problem(status, str(error), {"Retry-After": "5"} if status == 503 else None)


def _on_refused(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    right: Right | None = request.route_handler.opt.get("right")
    detail = error.detail if isinstance(error, PermissionDeniedException) else str(error)
    answer = errors.problem(403, detail)
    if right is not None and right not in visitor_of(request).rights:
        answer.content["right"] = right.value
    return answer


HANDLERS: Final[ExceptionHandlersMap] = {
    Unusable: _on_unusable,
    Missing: _on_missing,
    ControlError: _on_control,
    RefusedCall: _on_refused,
    PermissionDeniedException: _on_refused,
}
