"""What every server and every client of the filtering protocol must do, seen from the other end of the connection.

Subclass and give the one thing under test: `FilterServerSuite.ask` sends bytes and returns what comes back,
`FilterClientSuite.question` has the client ask one question and returns what it sent and made of the answers. Frames
are built here by hand, as docs/manual/filter-protocol.md describes them, so that a codec cannot agree with itself alone
(specification antispam.md §12, row F-ASD-08).
"""

import base64
import json
import struct
from typing import Any, Final

HELLO, ENVELOPE, DATA, END, RESULT, ERROR, QUIT, EDITS = range(1, 9)
CONTENT: Final = b"Subject: x\r\n\r\nHello\r\n"
FIRST: Final[dict[str, Any]] = {"version": 1, "software": "example 1.0"}


def frame(kind: int, payload: bytes | dict[str, Any] = b"") -> bytes:
    """Return one frame."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return struct.pack("!IB", len(raw), kind) + raw


def frames(raw: bytes) -> list[tuple[int, Any]]:
    """Return kind and payload of frames: JSON as values, the rest as bytes."""
    found: list[tuple[int, Any]] = []
    while raw:
        length, kind = struct.unpack_from("!IB", raw)
        payload = raw[5 : 5 + length]
        assert len(payload) == length, "a frame is cut off"
        found.append((kind, payload if kind in {DATA, EDITS} or not payload else json.loads(payload)))
        raw = raw[5 + length :]
    return found


def question(content: bytes = CONTENT, **fields: Any) -> bytes:
    """Return ENVELOPE, DATA and END of a message."""
    told = {"mail_from": "a@x.example", "rcpt": ["b@y.example"], "size": len(content), **fields}
    pieces = [frame(DATA, content[at : at + 65536]) for at in range(0, len(content), 65536)]
    return b"".join((frame(ENVELOPE, told), *pieces, frame(END)))


class FilterServerSuite:
    """The tests of a server whose judge delivers every message with the field `X-Seen: yes` in front."""

    def ask(self, *pieces: bytes) -> bytes:
        """Connect, send the pieces one by one, end the sending side; return all that comes until the server closes."""
        raise NotImplementedError

    def test_it_greets_with_its_version_and_answers_each_message(self) -> None:
        (first, hello), (second, one), (third, two) = frames(
            self.ask(frame(HELLO, FIRST), question(), question(), frame(QUIT))
        )
        assert (first, second, third) == (HELLO, RESULT, RESULT)
        assert hello["version"] == 1
        assert isinstance(hello["software"], str)
        for told in (one, two):
            assert [part["rcpt"] for part in told["parts"]] == [["b@y.example"]]
            assert base64.b64decode(told["parts"][0]["prefix"]) == b"X-Seen: yes\r\n"

    def test_it_does_not_matter_how_the_bytes_arrive(self) -> None:
        sent = frame(HELLO, FIRST) + question() + frame(QUIT)
        assert self.ask(sent) == self.ask(*(sent[at : at + 1] for at in range(len(sent))))

    def test_content_of_many_frames_and_of_none(self) -> None:
        told = frames(self.ask(frame(HELLO, FIRST), question(b"x" * 200_000), question(b"")))
        assert [kind for kind, _ in told] == [HELLO, RESULT, RESULT]

    def test_what_it_does_not_know_in_a_control_frame_is_no_fault(self) -> None:
        told = frames(
            self.ask(frame(HELLO, {**FIRST, "version": 7, "capabilities": ["later"]}), question(colour="red"))
        )
        assert [kind for kind, _ in told] == [HELLO, RESULT]
        assert told[0][1]["version"] == 1

    def test_who_breaks_a_rule_hears_it_and_is_cut_off(self) -> None:
        greeting = frame(HELLO, FIRST)
        envelope = frame(ENVELOPE, {"rcpt": ["b@y.example"], "size": 3})
        wrong: dict[str, tuple[bytes, ...]] = {
            "a question before HELLO": (question(),),
            "HELLO twice": (greeting, greeting),
            "an unknown kind": (greeting, frame(99)),
            "a server's frame": (greeting, frame(RESULT, {})),
            "DATA before ENVELOPE": (greeting, frame(DATA, b"x")),
            "END before ENVELOPE": (greeting, frame(END)),
            "END with a payload": (greeting, envelope, frame(DATA, b"abc"), frame(END, b"x")),
            "ENVELOPE twice": (greeting, envelope, envelope),
            "less content than announced": (greeting, envelope, frame(DATA, b"ab"), frame(END)),
            "more content than announced": (greeting, envelope, frame(DATA, b"abcd")),
            "a DATA frame over the limit": (greeting, frame(ENVELOPE, {"size": 65537}), frame(DATA, b"x" * 65537)),
            "an ENVELOPE over the limit": (greeting, struct.pack("!IB", 4 * 1024 * 1024 + 1, ENVELOPE)),
            "no JSON": (greeting, frame(ENVELOPE, b"{")),
            "no UTF-8": (greeting, frame(ENVELOPE, b'{"mail_from":"\xff"}')),
            "a wrong type": (greeting, frame(ENVELOPE, {"rcpt": "b@y.example"})),
            "an unknown purpose": (greeting, frame(ENVELOPE, {"purpose": "play"})),
            "control characters": (greeting, frame(ENVELOPE, {"rcpt": ["b@y.example\r\nDATA"]})),
            "an empty recipient": (greeting, frame(ENVELOPE, {"rcpt": [""]})),
            "no address of a client": (greeting, frame(ENVELOPE, {"client_ip": "300.0.0.1"})),
            "a version of nobody": (frame(HELLO, {"version": 0}),),
        }
        for what, sent in wrong.items():
            kind, told = frames(self.ask(*sent))[-1]
            assert kind == ERROR, what
            assert told["code"] in {"bad", "version"}, what
            assert told["text"], what

    def test_a_message_beyond_all_limits_is_refused_before_it_comes(self) -> None:
        kind, told = frames(self.ask(frame(HELLO, FIRST), frame(ENVELOPE, {"size": 1024**3 + 1})))[-1]
        assert (kind, told["code"]) == (ERROR, "too-large")


class FilterClientSuite:
    """The tests of a client, asked about `CONTENT` from a@x.example to b@y.example and c@y.example."""

    PARTS: Final = [
        {"rcpt": ["c@y.example"], "action": "deliver", "status": "not_detected"},
        {"rcpt": ["b@y.example"], "action": "reject", "reply_text": {"code": 550, "enhanced": "5.7.1", "text": ["No"]}},
    ]
    GOOD: Final[dict[str, Any]] = {"parts": PARTS, "whole": PARTS[0], "queue_id": "Q1"}

    def question(self, *answers: bytes) -> tuple[bytes, list[tuple[list[str], str]] | None]:
        """Have the client greet and ask; it receives HELLO as the answer to the first and `answers` to the second.

        Return all it sent, and by part recipients and action of what it took for the answer, None when for none.
        """
        raise NotImplementedError

    def test_it_asks_as_described(self) -> None:
        sent, answer = self.question(frame(RESULT, self.GOOD))
        (first, hello), (second, envelope), (third, content), (fourth, _) = frames(sent)[:4]
        assert (first, second, third, fourth) == (HELLO, ENVELOPE, DATA, END)
        assert hello["version"] == 1
        assert envelope["mail_from"] == "a@x.example"
        assert envelope["rcpt"] == ["b@y.example", "c@y.example"]
        assert envelope["size"] == len(CONTENT)
        assert content == CONTENT
        assert answer == [(["c@y.example"], "deliver"), (["b@y.example"], "reject")]

    def test_edits_come_before_their_result(self) -> None:
        part = {"rcpt": ["b@y.example", "c@y.example"], "splices": [[14, 19, 0, 3], [19, 21, 3, 0]]}
        _, answer = self.question(frame(EDITS, b"Bye"), frame(RESULT, {"parts": [part], "edits_size": 3}))
        assert answer == [(["b@y.example", "c@y.example"], "deliver")]

    def test_what_is_no_answer_is_not_taken_for_one(self) -> None:
        both = {"rcpt": ["b@y.example", "c@y.example"]}
        wrong: dict[str, Any] = {
            "an error": frame(ERROR, {"code": "unjudged", "text": "no filter"}),
            "an error of an unknown kind": frame(ERROR, {"code": "later"}),
            "no parts": frame(RESULT, {"parts": []}),
            "a recipient without a part": frame(RESULT, {"parts": [{"rcpt": ["b@y.example"]}]}),
            "a recipient in two parts": frame(RESULT, {"parts": [both, both], "whole": both}),
            "somebody else": frame(RESULT, {"parts": [{"rcpt": [*both["rcpt"], "d@y.example"]}]}),
            "several parts without a whole": frame(RESULT, {"parts": self.PARTS}),
            "an unknown action": frame(RESULT, {"parts": [{**both, "action": "burn"}]}),
            "a refusal without a reply": frame(RESULT, {"parts": [{**both, "action": "reject"}]}),
            "a reply that is none": frame(RESULT, {"parts": [{**both, "reply_text": {"code": 250}}]}),
            "codes that differ": frame(RESULT, {"parts": [{**both, "reply_text": {"code": 550, "enhanced": "4.7.1"}}]}),
            "a splice beyond the message": frame(RESULT, {"parts": [{**both, "splices": [[0, 99, 0, 0]]}]}),
            "splices that overlap": frame(RESULT, {"parts": [{**both, "splices": [[0, 9, 0, 0], [8, 9, 0, 0]]}]}),
            "a splice beyond the edits": frame(RESULT, {"parts": [{**both, "splices": [[0, 1, 0, 1]]}]}),
            "edits that are not announced": frame(EDITS, b"x") + frame(RESULT, {"parts": [both]}),
            "a prefix that ends the header": frame(RESULT, {"parts": [{**both, "prefix": _raw(b"A: b\r\n\r\nBody")}]}),
            "a field's name with a line end": frame(RESULT, {"parts": [{**both, "header_ops": [_op("A\r\nB", b"c")]}]}),
            "a value with a line end": frame(RESULT, {"parts": [{**both, "header_ops": [_op("A", b"b\r\nC: d")]}]}),
            "a client's frame": frame(DATA, b"x"),
            "an unknown kind": frame(77),
            "no JSON": frame(RESULT, b"yes"),
            "a RESULT over the limit": struct.pack("!IB", 8 * 1024 * 1024 + 1, RESULT),
            "another greeting": frame(HELLO, FIRST),
        }  # fmt: skip
        for what, answer in wrong.items():
            assert self.question(answer)[1] is None, what


def _raw(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _op(name: str, value: bytes) -> dict[str, str]:
    return {"op": "insert", "name": name, "value": _raw(value)}
