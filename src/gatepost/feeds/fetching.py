"""Fetching files of a feed: over HTTP and HTTPS, through a proxy with Basic or NTLM authentication, over FTP, or from a
directory (rows F-UPD-01 to -04).

Used by `feeds.updating`, on one thread. What comes is believed by nobody here. A broken transfer raises `FetchError`;
one that could not even begin, `Unreachable`: then the next server is asked.
"""

import base64
import ftplib
import os
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import spnego
import urllib3
from urllib3.util import Timeout, make_headers

from gatepost.feeds.tunnel import ANSWER_LIMIT, CHALLENGE_LIMIT, NtlmWanted, TunnelError, tunnel_pools

CHUNK: Final = 64 * 1024
READ_S: Final = 30.0
"""Longest silence in the middle of a transfer."""
PACE_S: Final = 60.0
PACE_BYTES: Final = 16 * 1024
"""What must come in each such time: a server that gives a byte now and then would hold an update for ever."""
FTP_PORT: Final = 21
_NETWORK: Final = ("http", "https", "ftp")
_NOT_THERE: Final = frozenset({403, 404, 410})
_NUMBER: Final = re.compile(r"^\[Errno -?\d+\] ")
"""Before the words of the system."""
_FTP_ERRORS: Final = (OSError, EOFError, ftplib.Error)


class FetchError(Exception):
    """A file did not come, or not whole. The text says which, from where, and why."""


class Unreachable(FetchError):  # noqa: N818 - what the server is
    """The server cannot be connected to."""


class NotThere(FetchError):  # noqa: N818 - what the file is
    """The server answers, and has no such file."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """How servers are reached."""

    connect_timeout_s: float = 20.0
    proxy: str = ""
    """`http://user:pass@host:port`, "" = direct. FTP and directories never go through it."""
    no_proxy: str = ""
    """Hosts that are reached directly all the same, as the environment's variable of that name says it."""
    passive_ftp: bool = False
    agent: str = "gatepost"


def choose_proxy(configured: str, environment: Mapping[str, str], *, use: bool) -> str:
    """Return the proxy: as configured, else the environment's, else none (row F-UPD-04). ValueError: it is none."""
    if not use:
        return ""
    proxy = configured or environment.get("http_proxy", "") or environment.get("HTTP_PROXY", "")
    if proxy and not _is_address(_proxy_parts(proxy), ("http", "https")):
        raise ValueError(f"{hide_password(proxy)[:100]!r} is no proxy: http://user:pass@host:port")
    return proxy


def normalise_source(text: str) -> str:
    """Return a source as a URL without a slash at its end. ValueError: it is neither a URL we know nor a directory."""
    if text.startswith("/"):
        return f"file://{urllib.parse.quote(text.rstrip('/') or '/')}"
    scheme, _, rest = text.partition("://")
    url = f"{scheme.lower()}://{rest.rstrip('/')}"
    known = url.startswith("file:///") or (
        _is_address(urllib.parse.urlsplit(url), _NETWORK) and not set(urllib.parse.unquote(url)) & set("\r\n\0")
    )
    if not known:
        shown = hide_password(text)[:100]
        raise ValueError(f"{shown!r} is no source: http://…, https://…, ftp://…, or the path of a directory")
    return url


def _is_address(parts: urllib.parse.SplitResult, schemes: tuple[str, ...]) -> bool:
    try:
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False


def _is_exempt(host: str, no_proxy: str) -> bool:
    names = [each.strip().lstrip(".").lower() for each in no_proxy.split(",")]
    return any(name in {"*", host} or host.endswith(f".{name}") for name in names if name)


def _proxy_parts(proxy: str) -> urllib.parse.SplitResult:
    return urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def hide_password(url: str) -> str:
    """Return a URL as it may be logged."""
    login, mark, host = url.partition("://")[2].partition("/")[0].rpartition("@")
    if not mark or ":" not in login:
        return url
    return url.replace(f"{login}@{host}", f"{login.partition(':')[0]}:…@{host}", 1)


class Fetcher:
    """Fetches from any source by one route; connections are kept until `close`."""

    def __init__(self, route: Route, clock: Callable[[], float] = time.monotonic) -> None:
        self._route = route
        self._clock = clock
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._ntlm = False
        self.received = 0
        """Bytes that came over the network or from a directory."""

    def close(self) -> None:
        """Close what is open."""
        for pool in self._pools.values():
            pool.clear()
        self._pools.clear()

    def fetch(self, url: str, offset: int = 0) -> Iterator[bytes]:
        """Yield a file from byte `offset` on. FetchError, Unreachable, NotThere; also in the middle."""
        scheme = url.partition("://")[0]
        pieces = {"file": _read_file, "ftp": self._fetch_ftp}.get(scheme, self._fetch_http)(url, offset)
        since, came = self._clock(), 0
        for piece in pieces:
            self.received += len(piece)
            came += len(piece)
            now = self._clock()
            if now - since > PACE_S:
                if came < PACE_BYTES:
                    text = f"{hide_password(url)}: too slow: {came} bytes in {now - since:.0f} seconds"
                    raise FetchError(text)
                since, came = now, 0
            yield piece

    # --- HTTP

    def _fetch_http(self, url: str, offset: int) -> Iterator[bytes]:
        shown = hide_password(url)
        headers = {"User-Agent": self._route.agent, "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        parts = urllib.parse.urlsplit(url)
        if parts.username is not None:
            secret = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            headers |= make_headers(basic_auth=secret)
            url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        try:
            answer = self._request(url, headers)
            whole = False
            try:
                skipped = _check_status(answer, shown, offset)
                while piece := answer.read1(CHUNK):
                    kept = piece[skipped:]
                    skipped = max(0, skipped - len(piece))
                    if kept:
                        yield kept
                whole = True
            finally:
                if not whole:  # a connection in the middle of an answer is of no use to anybody
                    answer.close()
                answer.release_conn()
        except (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError) as error:
            raise Unreachable(f"{shown}: {_reason(error)}") from None
        except urllib3.exceptions.MaxRetryError as error:
            kind = FetchError if isinstance(error.reason, urllib3.exceptions.ResponseError) else Unreachable
            raise kind(f"{shown}: {_reason(error.reason or error)}") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise FetchError(f"{shown}: {_reason(error)}") from None

    def _request(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        pool = self._pool(url)
        if url.startswith("https:"):
            return self._ask_through_tunnel(pool, url, headers)
        if self._ntlm:
            return self._negotiate(pool, url, headers)
        answer = _ask(pool, url, headers)
        offers = answer.headers.getlist("Proxy-Authenticate")
        if answer.status == 407 and self._login() is not None and any(each.upper() == "NTLM" for each in offers):
            _discard(answer)
            self._ntlm = True
            return self._negotiate(pool, url, headers)
        return answer

    def _ask_through_tunnel(
        self, pool: urllib3.PoolManager, url: str, headers: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """Make a request to an HTTPS server: whatever a proxy between wants to know is a matter of the tunnel."""
        try:
            return _ask(pool, url, headers)
        except urllib3.exceptions.HTTPError as error:
            if self._ntlm or not isinstance(_cause(error), NtlmWanted):
                raise
        self._ntlm = True
        return _ask(pool, url, headers)

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urllib.parse.urlsplit(url)
        proxy = "" if _is_exempt(parts.hostname or "", self._route.no_proxy) else self._route.proxy
        key = parts.scheme if proxy else "direct"
        if key not in self._pools:
            timeout = Timeout(connect=self._route.connect_timeout_s, read=READ_S)
            if not proxy:
                self._pools[key] = urllib3.PoolManager(num_pools=4, timeout=timeout)
            else:
                # One connection: NTLM signs in a connection, not a request.
                login = self._login()
                auth = make_headers(proxy_basic_auth=":".join(login)) if login is not None else {}
                parts = _proxy_parts(proxy)
                bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
                made = urllib3.ProxyManager(
                    bare, num_pools=1, maxsize=1, block=True, timeout=timeout, proxy_headers=auth
                )
                tunnels = tunnel_pools(login, lambda: self._ntlm)
                made.pool_classes_by_scheme = {**made.pool_classes_by_scheme, "https": tunnels}
                self._pools[key] = made
        return self._pools[key]

    def _login(self) -> tuple[str, str] | None:
        parts = _proxy_parts(self._route.proxy)
        if parts.username is None:
            return None
        return urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")

    def _negotiate(self, pool: urllib3.PoolManager, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Make a request through a proxy that wants NTLM ([MS-NTHT]): two refusals, one connection, the answer."""
        login = self._login()
        assert login is not None
        client = spnego.client(login[0], login[1], protocol="ntlm")
        token = client.step()
        for _ in range(3):
            said = {"Proxy-Authorization": f"NTLM {base64.b64encode(token or b'').decode()}"}
            answer = _ask(pool, url, headers | said)
            challenge = next(
                (each[5:] for each in answer.headers.getlist("Proxy-Authenticate") if each.upper().startswith("NTLM ")),
                "",
            )
            if answer.status != 407 or not challenge or len(challenge) > CHALLENGE_LIMIT:
                return answer
            _discard(answer)
            try:
                token = client.step(base64.b64decode(challenge))
            except (ValueError, spnego.exceptions.SpnegoError) as error:
                raise FetchError(f"the proxy's NTLM challenge cannot be answered: {error}") from None
        return answer

    # --- FTP

    def _fetch_ftp(self, url: str, offset: int) -> Iterator[bytes]:
        parts = urllib.parse.urlsplit(url)
        shown = hide_password(url)
        ftp = ftplib.FTP(timeout=self._route.connect_timeout_s)  # noqa: S321 - what comes is signed
        try:
            try:
                ftp.connect(parts.hostname or "", parts.port or FTP_PORT)
            except _FTP_ERRORS as error:
                raise Unreachable(f"{shown}: {_reason(error)}") from None
            ftp.login(urllib.parse.unquote(parts.username or "anonymous"), urllib.parse.unquote(parts.password or ""))
            ftp.set_pasv(self._route.passive_ftp)
            ftp.voidcmd("TYPE I")
            assert ftp.sock is not None
            ftp.sock.settimeout(READ_S)
            # From the directory one is in after the login (RFC 1738 §3.2.2); `/%2Fsrv` is `/srv`.
            path = urllib.parse.unquote(parts.path.removeprefix("/"))
            with ftp.transfercmd(f"RETR {path}", offset or None) as data:
                while piece := data.recv(CHUNK):
                    yield piece
            ftp.voidresp()
        except ftplib.error_perm as error:
            if str(error).startswith("550"):
                raise NotThere(f"{shown}: {error}") from None
            raise FetchError(f"{shown}: {error}") from None
        except _FTP_ERRORS as error:
            raise FetchError(f"{shown}: {_reason(error)}") from None
        finally:
            ftp.close()


def _ask(pool: urllib3.PoolManager, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    # Bytes as they are sent: a file that a server packs on the way would unpack to any size.
    return pool.request("GET", url, headers=headers, preload_content=False, decode_content=False, retries=False)


def _discard(answer: urllib3.BaseHTTPResponse) -> None:
    """Be done with an answer that is not the file; its connection is used again when the rest of it is short."""
    left = ANSWER_LIMIT
    while left > 0 and (piece := answer.read1(min(left, CHUNK))):
        left -= len(piece)
    if left <= 0:
        answer.close()
    answer.release_conn()


def _check_status(answer: urllib3.BaseHTTPResponse, shown: str, offset: int) -> int:
    """Return how many bytes to skip: a server that knows no ranges sends the file from its beginning."""
    status = answer.status
    if status == 206 and offset and answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        return 0
    if status == 200:
        return offset
    _discard(answer)
    if status in _NOT_THERE:
        raise NotThere(f"{shown}: HTTP {status} {answer.reason or ''}".rstrip())
    raise FetchError(f"{shown}: HTTP {status} {answer.reason or ''}".rstrip())


def _read_file(url: str, offset: int) -> Iterator[bytes]:
    path = Path(urllib.parse.unquote(url.removeprefix("file://")))
    try:
        with path.open("rb") as file:
            file.seek(offset, os.SEEK_SET)
            while piece := file.read(CHUNK):
                yield piece
    except (FileNotFoundError, NotADirectoryError):
        # A directory that is not mounted is like a server that is down.
        kind = NotThere if path.parent.exists() else Unreachable
        raise kind(f"{path}: not there") from None
    except OSError as error:
        raise FetchError(f"{path}: {error.strerror}") from None


def _cause(error: BaseException) -> BaseException | None:
    """Return the error of the tunnel that the library has wrapped, if it is one."""
    inner = [error, *error.args, getattr(error, "original_error", None), getattr(error, "reason", None)]
    for each in inner:
        if isinstance(each, TunnelError):
            return each
        if each is not error and isinstance(each, urllib3.exceptions.HTTPError) and (found := _cause(each)):
            return found
    return None


def _reason(error: BaseException) -> str:
    if (tunnel := _cause(error)) is not None:
        return str(tunnel)
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "the connection broke off"
    text = str(error).rpartition(": ")[2] if isinstance(error, urllib3.exceptions.HTTPError) else str(error)
    return _NUMBER.sub("", text) or type(error).__name__
