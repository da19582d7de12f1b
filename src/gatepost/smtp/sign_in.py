"""One AUTH exchange on the receiving side (RFC 4954): PLAIN (RFC 4616) and LOGIN, the two every mail program speaks.

Used by `server_access.AccessSession` only. Promises: no secret in a text, an error or a cache; whatever cannot be a
user and a password is a failed sign-in like any other.
"""

import binascii
from typing import Final

from gatepost.smtp import replies
from gatepost.smtp.errors import ArgumentError
from gatepost.smtp.server_events import SignIn

MECHANISMS: Final = frozenset({"PLAIN", "LOGIN"})
FIELD_LIMIT: Final = 255
"""Octets of a user or a password, RFC 4616 §2."""

_ASK_USER: Final = "VXNlcm5hbWU6"
"""`Username:`, which programs expect to the letter."""
_ASK_PASSWORD: Final = "UGFzc3dvcmQ6"


class SignInExchange:
    """The server's side of one exchange: what the client says goes in, a challenge or the credentials come out."""

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism
        self._user: bytes | None = None

    def advance(self, response: str | None) -> str | SignIn:
        """Take what the client sent, None at the start when it sent nothing. Return a challenge (base64) or the end.

        ArgumentError carries the reply to give: 501 for a cancelled or unreadable exchange, 535 for credentials that
        cannot be any.
        """
        if response is None:
            return "" if self._mechanism == "PLAIN" else _ASK_USER
        value = _decode(response)
        if self._mechanism == "PLAIN":
            return self._read_plain(value)
        if self._user is None:
            self._user = value
            return _ASK_PASSWORD
        return self._build(self._user, value)

    def _read_plain(self, value: bytes) -> SignIn:
        """Acting for somebody else is nobody's right here, so an identity besides the user's own is refused."""
        parts = value.split(b"\0")
        if len(parts) != 3 or parts[0] not in {b"", parts[1]}:
            raise ArgumentError(replies.SIGN_IN_FAILED)
        return self._build(parts[1], parts[2])

    def _build(self, raw_user: bytes, raw_password: bytes) -> SignIn:
        if not 0 < len(raw_user) <= FIELD_LIMIT or not 0 < len(raw_password) <= FIELD_LIMIT:
            raise ArgumentError(replies.SIGN_IN_FAILED)
        try:
            user = raw_user.decode()
            password = raw_password.decode()
        except UnicodeDecodeError:
            raise ArgumentError(replies.SIGN_IN_FAILED) from None
        if not user.isprintable() or "\0" in password:
            raise ArgumentError(replies.SIGN_IN_FAILED)
        return SignIn(user, password, self._mechanism)


def _decode(response: str) -> bytes:
    if response == "*":
        raise ArgumentError(replies.SIGN_IN_CANCELLED)
    try:
        return binascii.a2b_base64(response, strict_mode=True)
    except ValueError:  # binascii.Error is one; so is what is not ASCII
        raise ArgumentError(replies.BAD_BASE64) from None
