"""The desk: where every control call arrives, is checked against its caller's rights, written down and carried out.

The master makes one and registers its calls by name. The control socket, the console's link, signals and control files
all come here: there is no other way to act on a running gateway, and no second check.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, NotThere, Request, Unfit

Arguments = Mapping[str, Any]
Answering = Callable[[Arguments, Caller], Awaitable[Any]]


class Refused(ControlError):  # noqa: N818 - an answer
    """The caller may not do that."""


class Audit(Protocol):
    """Where calls that change something, or show content, are written down."""

    def write(self, caller: Caller, call: str, arguments: Arguments, outcome: str) -> None:
        """Write one entry; `outcome` is "" when it was done, else why not. Never raises: what was done is done."""


class Call(msgspec.Struct, frozen=True):
    """One call that can be made."""

    right: Right
    answer: Answering
    audited: bool = False
    """It changes something or shows the content of mail: an entry in the audit log, also when it is refused."""
    scoped: bool = False
    """It looks at `Caller.domains` itself; all others are refused to callers that have domains."""
    noted: Callable[[Arguments], Arguments] | None = None
    """What of the arguments is written down, where some could be secret that do not look it by their name."""


class Desk:
    """All calls of one gateway."""

    def __init__(self, audit: Audit | None = None) -> None:
        self.audit = audit
        self._calls: dict[str, Call] = {}

    def add(
        self,
        name: str,
        right: Right,
        answer: Answering,
        *,
        audited: bool = False,
        scoped: bool = False,
        noted: Callable[[Arguments], Arguments] | None = None,
    ) -> None:
        """Register a call. Each name once."""
        assert name not in self._calls, name
        self._calls[name] = Call(right, answer, audited, scoped, noted)

    @property
    def calls(self) -> Mapping[str, Call]:
        """All of them, by name."""
        return self._calls

    async def handle(self, request: Request, caller: Caller) -> Any:
        """Answer one request. ControlError says why it cannot be done; Refused, why the caller may not."""
        call = self._calls.get(request.call)
        if call is None:
            raise NotThere(f"unknown call {request.call!r}")
        try:
            self._check(request.call, call, caller)
            result = await call.answer(request.arguments, caller)
        except ControlError as error:
            self._note(call, request, caller, str(error))
            raise
        except (KeyError, TypeError, ValueError) as error:
            self._note(call, request, caller, f"bad arguments: {error!r}")
            raise Unfit(f"{request.call}: bad arguments: {error!r}") from error
        except Exception as error:  # it may have acted before it broke down
            self._note(call, request, caller, f"broke down: {error!r}")
            raise
        self._note(call, request, caller, "")
        return result

    def _check(self, name: str, call: Call, caller: Caller) -> None:
        if call.right not in caller.rights:
            who = caller.name or "nobody signed in"
            raise Refused(f"{name}: {who} lacks the right {call.right.value!r}")
        if caller.domains and not call.scoped and call.right not in {Right.NONE, Right.SELF}:
            raise Refused(f"{name}: {caller.name} sees only its own domains, and this is about all of the gateway")

    def _note(self, call: Call, request: Request, caller: Caller, outcome: str) -> None:
        if call.audited and self.audit is not None:
            arguments = request.arguments if call.noted is None else call.noted(request.arguments)
            self.audit.write(caller, request.call, arguments, outcome)
