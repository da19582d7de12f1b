"""Who the peer is, as the dialogue settles it: STARTTLS (RFC 3207), AUTH (RFC 4954), XCLIENT and XFORWARD.

Base of `server.ServerSession`. Promises: nothing sent in clear behind STARTTLS is ever interpreted; no password before
TLS, and none in any text; a guesser gets three tries.
"""

from typing import Final

from gatepost.model.reply import Reply, reply
from gatepost.smtp import replies
from gatepost.smtp.errors import ArgumentError
from gatepost.smtp.input import SIGN_IN_LIMIT, LineFault
from gatepost.smtp.requests import SignInStart
from gatepost.smtp.server_core import READY, START
from gatepost.smtp.server_data import ContentSession
from gatepost.smtp.server_events import Cause, ClientForwarded, ClientOverride, SignIn, Stage, StartTls
from gatepost.smtp.settings import ServerSettings
from gatepost.smtp.sign_in import SignInExchange

FAILED_SIGN_INS: Final = 3
"""In a session: a person's mistakes, and no more. The next AUTH closes it, without a look at the password."""


class AccessSession(ContentSession):
    """What is known of the peer, and how it gets to be known."""

    __slots__ = (
        "_exchange",
        "_failed_sign_ins",
        "_handshaking",
    )

    def __init__(self, settings: ServerSettings, client_ip: str, tls: tuple[str, str] | None = None) -> None:
        super().__init__(settings, client_ip, tls)
        self._handshaking = False
        self._exchange: SignInExchange | None = None
        self._failed_sign_ins = 0

    def tls_started(self, version: str, cipher: str, client_subject: str = "") -> None:
        """Go on encrypted, as if the client had just connected: nothing it said before counts any more."""
        if not self._handshaking:
            raise RuntimeError("the session has not asked for a handshake")
        self._handshaking = False
        self._step = None
        self._input.put_back(b"")  # whoever sent it, it was not protected (CVE-2011-0411)
        self.tls = f"{version} {cipher}"
        self.client_subject = client_subject
        self.user = ""
        self._forget()

    def _banner(self) -> bytes:
        protocol = b" LMTP\r\n" if self._settings.lmtp else b" ESMTP\r\n"
        return b"220 " + self._settings.hostname.encode("ascii", "replace") + protocol

    def _forget(self) -> None:
        """Be as at the start of a connection, but for what is known of the peer and its limits."""
        self._esmtp = False
        self._renew_offer()
        self._reset(START)

    # -- STARTTLS ------------------------------------------------------------------------------------------------

    def _start_tls(self, _nothing: object) -> None:
        if self.tls:
            self._reject(Stage.HELO, replies.BAD_SEQUENCE)
        else:
            self._ask(StartTls(), self._decide_tls)

    def _decide_tls(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            self._handshaking = True
            self._step = AccessSession._await_handshake
            self.period += 1
        self._send(decision or replies.READY_FOR_TLS)

    def _await_handshake(self) -> bool:
        """Forget what comes in clear, so that it cannot pile up either."""
        self._input.put_back(b"")
        return False

    # -- AUTH ----------------------------------------------------------------------------------------------------

    def _begin_sign_in(self, start: SignInStart) -> None:
        if not self._esmtp or self.user or self._phase is not READY:
            self._reject(Stage.AUTH, replies.BAD_SEQUENCE)
        elif start.mechanism not in self._settings.auth:
            self._reject(Stage.AUTH, replies.UNKNOWN_MECHANISM)
        elif not self.tls:
            self._reject(Stage.AUTH, replies.SIGN_IN_NEEDS_TLS, Cause.TLS_REQUIRED)
        elif self._failed_sign_ins >= FAILED_SIGN_INS:
            self._refuse(Stage.AUTH, Cause.SIGN_IN_FAILED, replies.TOO_MANY_SIGN_INS)
        else:
            self._exchange = SignInExchange(start.mechanism)
            self._advance_sign_in(self._exchange, start.initial)

    def _read_sign_in(self) -> bool:
        """Take one line of the exchange; False when none is complete."""
        raw_line = self._input.next_line(SIGN_IN_LIMIT)
        exchange = self._exchange
        if raw_line is None or exchange is None:
            return False
        self.period += 1
        if isinstance(raw_line, LineFault):
            self._end_sign_in()
            too_long = raw_line is LineFault.TOO_LONG
            self._reject(Stage.AUTH, replies.SIGN_IN_LINE_TOO_LONG if too_long else replies.BARE_LINE_END)
        else:
            self._advance_sign_in(exchange, raw_line.decode("latin-1"))
        return True

    def _advance_sign_in(self, exchange: SignInExchange, response: str | None) -> None:
        try:
            step = exchange.advance(response)
        except ArgumentError as error:
            self._end_sign_in()
            if error.reply is replies.SIGN_IN_FAILED:
                self._failed_sign_ins += 1
            self._reject(Stage.AUTH, error.reply)
            return
        if isinstance(step, SignIn):
            self._end_sign_in()
            user = step.user
            self._ask(step, lambda decision: self._decide_sign_in(user, decision))
        else:
            self._step = AccessSession._read_sign_in
            self._send(reply(334, "", step))

    def _end_sign_in(self) -> None:
        self._exchange = None
        self._step = None

    def _decide_sign_in(self, user: str, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            self.user = user
            self._renew_offer()
        elif decision.permanent:
            self._failed_sign_ins += 1
        self._send(decision or replies.SIGNED_IN)

    # -- a trusted peer speaks for its clients -------------------------------------------------------------------

    def _override(self, override: ClientOverride) -> None:
        def decide(decision: Reply | None) -> None:
            if decision is not None and not decision.positive:
                self._send(decision)
                return
            if override.address:
                self._client_ip = override.address
            if override.login is not None:
                self.user = override.login
            self._forget()
            self._output.append(self._banner())

        self._ask(override, decide)

    def _note_forwarded(self, forwarded: ClientForwarded) -> None:
        self._send(replies.NOTED)
        self._events.append(forwarded)
