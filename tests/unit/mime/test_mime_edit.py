"""Splices: plans, their application, and that nothing but the edited parts changes."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.mime.blocks import decode_block, find_uu_blocks
from gatepost.mime.decode import decode_body
from gatepost.mime.edit import (
    Action,
    Edit,
    SpliceError,
    apply_splices,
    check_splices,
    encode_body,
    merge,
    plan_edits,
)
from gatepost.mime.part import PartKind
from gatepost.mime.report import part_spans
from gatepost.mime.structure import parse
from gatepost.model.finding import ObjectKind, ObjectReport, ObjectStatus, Span
from gatepost.model.verdict import Splice


def report(content, part):
    spans = part_spans(content, part)
    kind = ObjectKind.PART if part.kind is PartKind.PART else ObjectKind.BLOCK
    return ObjectReport(
        -1,
        kind,
        ObjectStatus.INFECTED,
        whole=spans.whole,
        body=spans.body,
        fields=spans.fields,
        delimiter=spans.delimiter,
        siblings=spans.siblings,
    )


def edited(content, *edits):
    return b"".join(apply_splices(content, plan_edits(content, edits)))


def leaves(content):
    return [decode_body(content, part).data for part in parse(content).walk() if part.is_leaf]


def child(content, *path):
    part = parse(content).root
    for index in path:
        part = part.children[index]
    return report(content, part)


TWO = b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: a/b\r\n\r\ntwo\r\n--b--\r\n"


def test_remove_cuts_the_part_with_its_delimiter():
    assert edited(TWO, Edit(child(TWO, 1), Action.REMOVE)) == TWO.replace(
        b"--b\r\nContent-Type: a/b\r\n\r\ntwo\r\n", b""
    )


def test_removing_all_parts_leaves_an_empty_text():
    out = edited(TWO, Edit(child(TWO, 0), Action.REMOVE), Edit(child(TWO, 1), Action.REMOVE))
    message = parse(out)
    assert message.defects() == ()
    assert [part.content_type for part in message.root.children] == ["text/plain"]
    assert leaves(out) == [b""]


def test_replace_a_part_keeps_the_rest():
    out = edited(TWO, Edit(child(TWO, 1), Action.REPLACE, b"gone\nnow", name="gone.txt"))
    second = parse(out).root.children[1]
    assert (second.name, second.disposition, second.content_type) == ("gone.txt", "attachment", "text/plain")
    assert leaves(out) == [b"one", b"gone\r\nnow\r\n"]
    assert out.startswith(TWO[: TWO.index(b"--b\r\nContent")])


@pytest.mark.parametrize(
    "root",
    [
        b"Subject: s\r\nContent-Type: a/b\r\nX: y\r\n\r\nevil\r\n",
        b"Subject: s\r\n\r\nevil\r\n",
        b"\r\nevil\r\n",
        b"evil\r\n",
        b"Subject: s\r\nContent-Type: a/b\r\nevil\r\n\r\nevil\r\n",
        b"Subject: s\r\nContent-Type: a/b",
        b"Content-Type: a/b\nSubject: s\n\nevil\n",
        b"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\nContent-Type: a/b\r\n\r\nQUJD\r\n",
        b"From x Mon\r\nSubject: s\r\n\r\nevil\r\n",
    ],
)
def test_replace_and_remove_a_root(root):
    for action, body in ((Action.REPLACE, b"gone\r\n"), (Action.REMOVE, b"")):
        out = edited(root, Edit(child(root), action, body))
        message = parse(out)
        assert set(message.defects()) <= {"mbox-from"}
        assert leaves(out) == [body]
        assert message.root.content_type == "text/plain"
        if b"Subject: s\r\n" in root:
            assert b"Subject: s\r\n" in out


def test_cure_keeps_the_fields():
    content = TWO.replace(
        b"Content-Type: a/b\r\n",
        b"Content-Type: a/b;\r\n name=x\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <i>\r\n",
    )
    out = edited(content, Edit(child(content, 1), Action.CURE, b"\0clean"))
    part = parse(out).root.children[1]
    assert (part.content_type, part.name) == ("a/b", "x")
    assert decode_body(out, part).data == b"\0clean"
    assert b"Content-ID: <i>\r\n" in out


@pytest.mark.parametrize(
    "header",
    [
        b"\rContent-Type: a/b\r\n",
        b"Content-Type: a/b;\r x=\ry\r\n",
        b"\x0bContent-Transfer-Encoding: quoted-printable\r\n",
        b"Content-Type: a/b;\n x=y\n\rContent-Transfer-Encoding: x-uuencode\n",
    ],
)
def test_cure_under_odd_fields(header):
    content = b"Subject: s\r\n" + header + b"\r\nevil\r\n"
    out = edited(content, Edit(child(content), Action.CURE, b"\0clean"))
    message = parse(out)
    assert message.defects() == ()
    assert leaves(out) == [b"\0clean"]


@pytest.mark.parametrize("action", [Action.CURE, Action.REPLACE])
@pytest.mark.parametrize("header", [b"\t\x11Co", b"X: y\r\nno field", b"X: y\r\nX: y\r\n z", b"no field\r\nX: y", b""])
def test_new_content_stands_below_a_header_that_does_not_end(header, action):
    out = edited(header, Edit(child(header), action, b"\0clean"))
    assert leaves(out) == [b"\0clean"]


def test_outermost_edit_wins():
    content = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
        b"--c\r\n\r\none\r\n--c--\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    )
    inner = Edit(child(content, 0, 0), Action.REPLACE, b"inner")
    outer = Edit(child(content, 0), Action.REPLACE, b"outer")
    for edits in ((inner, outer), (outer, inner)):
        assert leaves(edited(content, *edits)) == [b"outer\r\n", b"two"]


def test_an_empty_part_in_front_of_one_that_goes_is_edited():
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    empty, one = Edit(child(content, 0), Action.REPLACE, b"text"), Edit(child(content, 1), Action.REMOVE)
    assert empty.report.whole.start == empty.report.whole.end == one.report.delimiter.start
    for edits in ((empty, one), (one, empty)):
        assert leaves(edited(content, *edits)) == [b"text", b"two"]


def test_block_in_text():
    content = b"\r\nhello\r\nbegin 644 x\r\n#04)#\r\n`\r\nend\r\nbye\r\n"
    start, end = content.index(b"begin"), content.index(b"bye")
    block = ObjectReport(-1, ObjectKind.BLOCK, ObjectStatus.INFECTED, whole=Span(start, end))
    assert edited(content, Edit(block, Action.REPLACE, b"gone")) == b"\r\nhello\r\ngone\r\nbye\r\n"
    assert edited(content, Edit(block, Action.REMOVE)) == b"\r\nhello\r\nbye\r\n"


def test_a_cured_text_around_parts_stays_text():
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\nbad\r\n--b\r\n\r\ntext\r\n--b--\r\n"
    start = content.index(b"bad")
    block = ObjectReport(
        -1, ObjectKind.BLOCK, ObjectStatus.DISINFECTED, content_type="text/plain", whole=Span(start, start + 5)
    )
    assert edited(content, Edit(block, Action.CURE, b"good")) == content.replace(b"bad", b"good")  # and its line end


@pytest.mark.parametrize("name", ["x.zip", "", "\u0444\n.zip", "two words.zip"])
@pytest.mark.parametrize("cured", [b"", b"CURED", bytes(range(256)) * 9], ids=["empty", "text", "binary"])
def test_a_cured_block_is_a_file_again(name, cured):
    content = b"\r\nhello\r\n=ybegin line=128 size=3 name=x.zip\r\nabc\r\n=yend size=3\r\nbye\r\n"
    start, end = content.index(b"=ybegin"), content.index(b"bye")
    block = ObjectReport(-1, ObjectKind.BLOCK, ObjectStatus.DISINFECTED, name, whole=Span(start, end), cured=cured)
    delivered = edited(content, Edit(block, Action.CURE, cured))
    assert delivered.startswith(b"\r\nhello\r\nbegin 644 ")
    assert delivered.endswith(b"\r\nend\r\nbye\r\n")
    assert delivered.isascii()
    [found] = find_uu_blocks(delivered, 0, len(delivered))
    assert decode_block(delivered, found) == (cured, False)
    assert found.name == ("".join(each if each.isascii() and each.isprintable() else "?" for each in name) or "file")


@pytest.mark.parametrize(
    "splices", [[Splice(0, 4, b"")], [Splice(2, 1, b"")], [Splice(0, 2, b""), Splice(1, 3, b"")], [Splice(-1, 1, b"")]]
)
def test_bad_splices_are_refused(splices):
    with pytest.raises(SpliceError):
        check_splices(splices, 3)
    with pytest.raises(SpliceError):
        list(apply_splices(b"abc", splices))


def test_apply_and_merge():
    splices = merge([Splice(3, 4, b"X"), Splice(1, 1, b"a"), Splice(1, 3, b"b")])
    assert splices == (Splice(1, 4, b"abX"),)
    assert b"".join(apply_splices(b"01234", splices)) == b"0abX4"


def test_8bit():
    encoding, body = encode_body("ä".encode() * 100)
    assert encoding == b"base64"
    assert body.isascii()
    assert max(map(len, body.split(b"\r\n"))) <= 76


def _render(tree, level=0):
    if isinstance(tree, bytes):
        return b"Content-Type: application/x-t\r\n\r\n" + tree
    boundary = b"q%d" % level
    parts = b"".join(b"--" + boundary + b"\r\n" + _render(each, level + 1) + b"\r\n" for each in tree)
    return b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n" + parts + b"--" + boundary + b"--\r\n"


_LEAF = st.binary(max_size=30).map(lambda data: re.sub(rb"[-\r]", b"", data))
_TREES = st.recursive(
    st.lists(_LEAF, min_size=1, max_size=4), lambda kids: st.lists(kids | _LEAF, min_size=1, max_size=4)
)


@settings(deadline=None)
@given(_TREES, st.data())
def test_only_edited_parts_change(tree, data):
    content = b"Subject: s\r\n" + _render(tree)
    parts = [part for part in parse(content).walk() if part.kind is PartKind.PART and part.parent is not None]
    chosen = data.draw(st.lists(st.sampled_from(parts), max_size=3, unique_by=id))
    kinds = [Action.REMOVE, Action.REPLACE]
    actions = [data.draw(st.sampled_from([*kinds, Action.CURE] if part.is_leaf else kinds)) for part in chosen]
    edits = [Edit(report(content, part), action, b"NEW") for part, action in zip(chosen, actions, strict=True)]
    out = edited(content, *edits)

    def touched(part):
        while part is not None:
            if any(part is each for each in chosen):
                return True
            part = part.parent
        return False

    kept = [content[part.start : part.end] for part in parts if part.is_leaf and not touched(part)]
    now = parse(out)
    assert now.defects() == ()
    after = [out[part.start : part.end] for part in now.walk() if part.is_leaf and part.kind is PartKind.PART]
    # Replaced by text, cured (to the byte, so in base64), or emptied.
    forms = (b"\r\n\r\nNEW\r\n", b"base64\r\n\r\nTkVX\r\n", b"7bit\r\n\r\n")
    new = [each for each in after if each.endswith(forms)]
    assert [each for each in after if each not in new] == kept
    assert len(new) <= len(chosen)
    if not edits:
        assert out == content
