"""Edits of mail: parts removed, replaced and cured, texts added, content made 7-bit; what is not edited stays to the byte."""

from collections.abc import Iterator
from typing import Final

from gatepost.filter.dialogue import check_analysis
from gatepost.mime.decode import decode_body
from gatepost.mime.disclaimer import annotate
from gatepost.mime.edit import Action, Edit, apply_splices, check_splices, merge, plan_edits, replace_message
from gatepost.mime.part import Encoding, Message, Part, PartKind
from gatepost.mime.report import part_spans
from gatepost.mime.structure import parse
from gatepost.mime.transfer import is_seven_bit, plan_message
from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus, ScanOptions
from gatepost.model.verdict import Splice
from gatepost.notices.disclaimer import write_disclaimer

from .structure import WORDS as _MIME_WORDS
from .structure import seeds as _messages

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1500
NEW: Final = b"NEW \xc3\xa4 CONTENT"
_TEXTS: Final = ("\r\n--\r\nCHECKED here.\r\n", "--b\r\n=20 \u041f\u0438\u0441\u044c\u043c\u043e CHECKED <&>\r\n")
"""The second one does all that might end a part or be read as an encoding."""


def execute(data: bytes) -> None:
    """Take the first four bytes as what is done to which parts, the rest as the message."""
    if len(data) < 5:
        return
    choice, content = data[:4], data[4:]
    _edit(choice, content)
    _add_text(_TEXTS[choice[0] & 1], content)
    _make_seven_bit(content)
    replaced = _apply(content, replace_message(content, NEW))
    assert decode_body(replaced, parse(replaced).root).data.rstrip(b"\r\n").endswith(NEW)


def _apply(content: bytes, splices: tuple[Splice, ...]) -> bytes:
    check_splices(splices, len(content))
    return b"".join(apply_splices(content, splices))


def _edit(choice: bytes, content: bytes) -> None:
    parts = [part for part in parse(content).walk() if part.kind is not PartKind.READING]
    chosen = {id(part): part for part in (parts[each // 3 % len(parts)] for each in choice[1:])}
    edits = [_plan(content, part, each) for part, each in zip(chosen.values(), choice[1:], strict=False)]
    splices = plan_edits(content, edits)
    edited = _apply(content, splices)
    gone = [edit.report.whole for edit in edits if edit.action is Action.REMOVE]
    stay = [edit.report.whole for edit in edits if edit.action is not Action.REMOVE]
    if any(not any(hole.start <= span.start and span.end <= hole.end for hole in gone) for span in stay):
        assert any(NEW in decode_body(holder.content, part).data for holder, part in parse(edited).leaves())
    reach = sorted(
        (span.start, span.end) for edit in edits for span in (edit.report.whole, edit.report.delimiter) if span.end
    )
    for splice in splices:  # touching ones are joined, so one may reach over several parts
        at = splice.start
        for start, end in reach:
            if start <= at <= end:
                at = max(at, end)
        assert at >= splice.end or splice.start == splice.end, (splice, reach)


def _plan(content: bytes, part: Part, choice: int) -> Edit:
    """Return an edit of the kinds the relay makes: cures are for leaves only, texts around parts are replaced."""
    spans = part_spans(content, part)
    block = part.kind is not PartKind.PART
    report = ObjectReport(
        -1,
        ObjectKind.BLOCK if block else ObjectKind.PART,
        ObjectStatus.INFECTED,
        whole=spans.whole,
        body=spans.body,
        fields=() if block else spans.fields,
        delimiter=spans.delimiter,
        siblings=spans.siblings,
    )
    check_analysis(Analysis((report,)), len(content))
    action = (Action.REMOVE, Action.REPLACE, Action.CURE)[choice % 3]
    if block or (action is Action.CURE and not part.is_leaf):
        action = Action.REPLACE
    return Edit(report, action, NEW, name="ä.txt" if choice & 1 else "")


def _add_text(text: str, content: bytes) -> None:
    characters = "".join(sorted({each for each in text if not each.isascii()}))
    analysis = annotate(Analysis(()), content, ScanOptions(text_spots=True, text_characters=characters))
    check_analysis(analysis, len(content))
    splices = merge([each for spot in analysis.spots for each in write_disclaimer(spot, text)])
    added = _apply(content, splices)
    before, after = parse(content), parse(added)
    assert _shape(after) == _shape(before)
    assert set(after.defects()) <= set(before.defects())
    bodies = [decode_body(holder.content, part).data for holder, part in after.leaves()]
    assert sum(b"CHECKED" in body for body in bodies) >= len(analysis.spots)


def _shape(message: Message) -> list[tuple[str, str, str]]:
    return [(each.kind, each.content_type, each.name) for each in message.walk() if each.kind is not PartKind.READING]


def _make_seven_bit(content: bytes) -> None:
    message = parse(content)
    plan = plan_message(message)
    assert plan.obstacle is None or not plan.splices
    if plan.obstacle is not None:
        return
    made = _apply(content, plan.splices)
    assert made.isascii()
    now = parse(made)
    leaves = [part for part in now.walk() if part.is_leaf and part.kind is PartKind.PART]
    assert all(part.encoding is not Encoding.IDENTITY or is_seven_bit(made[part.body : part.end]) for part in leaves)
    if plan.splices:
        assert _bodies(now) == _bodies(message)


def _bodies(message: Message) -> list[bytes]:
    leaves = [(holder, part) for holder, part in message.leaves() if part.kind is not PartKind.READING]
    return [decode_body(holder.content, part).data for holder, part in leaves]


WORDS: Final = (
    *_MIME_WORDS, b"text/html; charset=koi8-r", b"text/plain; charset=utf-8; format=flowed", b"</body></html>", b"multipart/signed", b"DKIM-Signature: v=1\r\n",
    b"\xd0\x96", b"MIME-Version: 1.0\r\n", b"multipart/related; boundary=b", b"multipart/alternative; boundary=b", b"charset=us-ascii", b"8bit",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield every message with some edits, and messages that texts can be added to."""
    for message in _messages():
        for choice in (b"\0\4\1\2", b"\1\x08\x09\x11", b"\0\x04\x0d\x10"):
            yield choice + message
    text = b"Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: %b\r\n\r\n"
    yield b"\1\0\0\0" + text % b"quoted-printable" + b"=D0=96 a=\r\n"
    yield b"\1\1\1\1" + text % b"base64" + b"YWJjZGVmZ2hpamts\r\nYWJj\r\n"
    yield b"\1\2\2\2" + text % b"8bit" + b"\xd0\xd1\r\n"
    html = b"Content-Type: text/html; charset=utf-8\r\n\r\n<html><body>\xd0\x96</body></html>\r\n"
    yield (
        b"\1\1\1\1Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n"
        + text % b"7bit"
        + b"x\r\n--b\r\n"
        + html
        + b"--b--\r\n"
    )
