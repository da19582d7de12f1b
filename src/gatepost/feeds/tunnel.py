"""A way through a proxy to an HTTPS server: CONNECT (RFC 9110 §9.3.6), signed in by Basic or NTLM ([MS-NTHT]).

Used by `feeds.fetching`: `tunnel_pools` makes the connection pools that urllib3 takes for `https://`. NTLM signs in a
connection, so it is done once for each, in front of the CONNECT that is let through. What signs in goes to the proxy
alone, never into the tunnel.
"""

import base64
import http.client
from collections.abc import Callable, Mapping
from typing import Final

import spnego
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

ANSWER_LIMIT: Final = 64 * 1024
"""Bytes read of a refusal, so that the connection can be used again."""
CHALLENGE_LIMIT: Final = 8192
STEPS: Final = 3
"""Requests of one signing in: what I can do, the answer to the challenge, one to spare."""


class TunnelError(OSError):
    """The proxy does not let us through. The text says why."""


class NtlmWanted(TunnelError):  # noqa: N818 - what the proxy says
    """It would by NTLM, on a connection that begins with it."""


Login = tuple[str, str]


def tunnel_pools(login: Login | None, wants_ntlm: Callable[[], bool]) -> type[HTTPSConnectionPool]:
    """Return the pools of one proxy. `login`: user and password, if there are any; `wants_ntlm`: it has said so before
    (`NtlmWanted`).
    """

    class Connection(HTTPSConnection):
        """A connection whose tunnel is dug by us."""

        _said: dict[str, str]

        def set_tunnel(
            self, host: str, port: int | None = None, headers: Mapping[str, str] | None = None, scheme: str = "http"
        ) -> None:
            self._said = dict(headers or {})
            super().set_tunnel(host, port, headers, scheme)

        def _tunnel(self) -> None:  # called by urllib3 when the proxy is connected
            if login is not None and wants_ntlm():
                self._dig_with_ntlm(*login)
                return
            answer = self._connect(self._said)
            if not _is_open(answer):
                by_ntlm = login is not None and "NTLM" in (each.upper() for each in _offers(answer))
                raise _refusal(answer, NtlmWanted if by_ntlm else TunnelError)

        def _dig_with_ntlm(self, user: str, password: str) -> None:
            fields = {name: value for name, value in self._said.items() if name.lower() != "proxy-authorization"}
            client = spnego.client(user, password, protocol="ntlm")
            token = client.step()
            for _ in range(STEPS):
                said = base64.b64encode(token or b"").decode()
                answer = self._connect(fields | {"Proxy-Authorization": f"NTLM {said}"})
                if _is_open(answer):
                    return
                challenge = next((each[5:] for each in _offers(answer) if each[:5].upper() == "NTLM "), "")
                if not challenge or len(challenge) > CHALLENGE_LIMIT or not _finish(answer):
                    break
                try:
                    token = client.step(base64.b64decode(challenge))
                except (ValueError, spnego.exceptions.SpnegoError) as error:
                    raise TunnelError(f"the proxy's NTLM challenge cannot be answered: {error}") from None
            raise _refusal(answer, TunnelError)

        def _connect(self, headers: dict[str, str]) -> http.client.HTTPResponse:
            """Ask for the tunnel; return the answer without its body."""
            where = f"[{self._tunnel_host}]" if ":" in (self._tunnel_host or "") else self._tunnel_host
            where = f"{where}:{self._tunnel_port}"
            fields = {"Host": where} | headers
            lines = [f"CONNECT {where} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
            self.sock.sendall("\r\n".join(lines).encode("latin-1"))
            answer = http.client.HTTPResponse(self.sock, method="CONNECT")
            answer.begin()
            if _is_open(answer):
                answer.close()  # what follows is the tunnel
            return answer

    class Pool(HTTPSConnectionPool):
        """Pool of such connections."""

        ConnectionCls = Connection

    return Pool


def _is_open(answer: http.client.HTTPResponse) -> bool:
    return 200 <= answer.status < 300


def _offers(answer: http.client.HTTPResponse) -> list[str]:
    """Return the ways of signing in that a refusal names; none when it refuses for another reason."""
    wanted = answer.status == http.client.PROXY_AUTHENTICATION_REQUIRED
    return [each.strip() for each in answer.headers.get_all("Proxy-Authenticate", [])] if wanted else []


def _finish(answer: http.client.HTTPResponse) -> bool:
    """Read a refusal to its end; False: its connection cannot be used again."""
    if answer.will_close or (answer.length or 0) > ANSWER_LIMIT:
        return False
    answer.read(ANSWER_LIMIT)
    answer.close()
    return True


def _refusal(answer: http.client.HTTPResponse, kind: type[TunnelError]) -> TunnelError:
    answer.close()
    return kind(f"the proxy refuses the tunnel: HTTP {answer.status} {answer.reason or ''}".rstrip())
