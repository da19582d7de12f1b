"""The gateway as pages see it: calls over the link, each for one visitor.

Made by `console.process`, handed to every page as the dependency `gateway`. A page catches `ControlError` only where it
can say more than the error page would.
"""

from typing import Any, Protocol

from gatepost.console.visitor import Visitor


class Link(Protocol):
    """What carries a call: `control.link.LinkClient`, or a scripted one in tests."""

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        credential: str = "",
        address: str = "",
        via: str = "console",
        key: str = "",
    ) -> Any: ...


class Gateway:
    """The running gateway."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def call(self, visitor: Visitor, name: str, /, **arguments: Any) -> Any:
        """Return the answer to a call made for this visitor.

        ControlError says why there is none: `link.SignedOut` when the session has ended meanwhile, `link.RefusedCall`
        when the visitor may not; both become the right answer to the browser by themselves.
        """
        return await self._link.call(
            name, arguments, credential=visitor.credential, address=visitor.address, via=visitor.via
        )

    async def act(self, visitor: Visitor, name: str, arguments: dict[str, Any], key: str) -> Any:
        """Make a call that is done once however often it is made with this key; "" = each time (`master.replays`)."""
        return await self._link.call(
            name, arguments, credential=visitor.credential, address=visitor.address, via=visitor.via, key=key
        )
