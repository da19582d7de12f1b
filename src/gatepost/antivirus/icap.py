"""An ICAP service as a remote engine: each object as the body of an HTTP response, one after the other (RESPMOD).

Made by `antivirus.remotes`. The protocol is `wire.icap`; here is what its answers mean for an object: 204, or the same
body back, is clean; a threat named in the header, a replaced body or an error page is not.
"""

from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject
from gatepost.antivirus.remote import Broken, Buffers
from gatepost.config.engines import EngineTable
from gatepost.wire.icap import (
    NO_CONTENT,
    OK,
    Continue,
    IcapError,
    IcapOptions,
    IcapReader,
    IcapReply,
    build_options,
    build_respmod,
    parse_options,
    parse_threat,
    parse_url,
)

FORBIDDEN = 403
"""Status with which some services answer instead of an error page, together with the threat's name."""
_HTTP_OK = 200


class IcapDialogue:
    """One connection: OPTIONS first, for what the service wants to see of an object may change."""

    def __init__(self, settings: EngineTable) -> None:
        self._service = parse_url(settings.address)
        self._reader = IcapReader()
        self._options: IcapOptions | None = None
        self._subject: ScanObject
        self._rest: Buffers = ()
        self.closing = False

    def ask(self, subject: ScanObject) -> Buffers:
        """Return the question what the service can do, or the object."""
        self._subject = subject
        if self._options is None:
            self._expect(b"")
            return (build_options(self._service),)
        return self._respmod(self._options)

    def take(self, data: bytes) -> Report | Buffers | None:
        """Take what came."""
        try:
            reply = self._reader.feed(data)
            if reply is None:
                return None
            if self._options is None:
                if isinstance(reply, Continue):
                    raise Broken("it wants more of a question without a body")
                if reply.last:
                    raise Broken("it closes the connection after OPTIONS")
                self._options = parse_options(reply)
                return self._respmod(self._options)
        except IcapError as error:
            raise Broken(str(error)) from error
        if isinstance(reply, Continue):
            rest, self._rest = self._rest, ()
            if not rest:
                raise Broken("it wants more than there is")
            return rest
        return self._report(reply)

    def _respmod(self, options: IcapOptions) -> Buffers:
        subject = self._subject
        self._expect(subject.data)
        first, self._rest = build_respmod(
            self._service, subject.data, name=subject.name, content_type=subject.content_type, options=options
        )
        return first

    def _expect(self, data: bytes) -> None:
        try:
            self._reader.expect(data)
        except IcapError as error:
            raise Broken(str(error)) from error

    def _report(self, reply: IcapReply) -> Report:
        # Unless it has all of the object (or did not want it), the next request cannot follow on this connection.
        self.closing = reply.last or reply.status >= FORBIDDEN
        self._rest = ()
        threat = parse_threat(reply)
        if threat is not None:
            outcome = Outcome.INFECTED if threat.infected else Outcome.SUSPICIOUS
            return Report(outcome, threat=threat.name, evidence=f"the ICAP service found {threat.name}")
        if reply.status == NO_CONTENT:
            return CLEAN
        if reply.status == OK and reply.http_status in (0, _HTTP_OK) and reply.same:
            return CLEAN
        if reply.status == OK:
            what = f"an answer with HTTP status {reply.http_status}" if reply.http_status else "something else"
            return Report(
                Outcome.INFECTED, threat="ICAP.Blocked", evidence=f"the ICAP service put {what} in the object's place"
            )
        raise Broken(f"it answered {reply.status} {reply.reason}")
