"""What a sending session is doing, and which configured time bounds each wait. Used by `client` and its shell."""

import enum
from typing import Final


class Phase(enum.Enum):
    """What the session is doing; all that wait for a reply have a timeout of their own."""

    GREETING = "greeting"
    HELLO = "hello"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    """The shell negotiates TLS."""
    IDLE = "idle"
    """No transaction; `start`, `reset` and `quit` are allowed."""
    RESET = "reset"
    XFORWARD = "xforward"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA_INITIATION = "data-initiation"
    SENDING = "sending"
    """Content is being given by the shell, and no reply is awaited."""
    CHUNK = "chunk"
    """Reply to a piece of the content (BDAT) that is not the last one."""
    DATA_TERMINATION = "data-termination"
    QUIT = "quit"
    CLOSED = "closed"

    # Members are keys of tables read at every reply: by identity, which is what `Enum` compares by, but without a call.
    __hash__ = object.__hash__


TIMEOUTS: Final = {
    Phase.GREETING: "initial_s",
    Phase.HELLO: "hello_s",
    Phase.STARTTLS: "hello_s",
    Phase.HANDSHAKE: "hello_s",
    Phase.RESET: "mail_s",
    Phase.XFORWARD: "mail_s",
    Phase.MAIL: "mail_s",
    Phase.RCPT: "rcpt_s",
    Phase.DATA_INITIATION: "data_initiation_s",
    Phase.CHUNK: "data_termination_s",
    Phase.DATA_TERMINATION: "data_termination_s",
    Phase.QUIT: "quit_s",
}
"""Field of `ClientSettings` for each phase that awaits something of the peer."""

MAYBE_TAKEN: Final = " (the peer may have taken the mail, which then arrives twice)"
"""Behind the phase after the whole content, when no answer comes: it is sent again (RFC 5321 §4.5.3.2.6, RFC 1047)."""
