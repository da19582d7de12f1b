"""Field edits: made one after the other they give the edited header."""

from hypothesis import given
from hypothesis import strategies as st

from gatepost.mime.edit import apply_splices
from gatepost.mime.field_edits import apply_field_edits, plan_field_edits
from gatepost.model.filtering import FieldEdit, FieldOp
from gatepost.model.verdict import Splice

HEADER = b"Received: from a\r\n\tby b\r\nSubject: hello\r\nX-Mark: one\r\nX-Mark: two\r\nContent-Type: text/plain\r\n"
BODY = b"\r\nbody\r\n"
END = len(HEADER)


def at(text: bytes) -> tuple[int, int]:
    start = HEADER.index(text)
    return start, start + len(text)


def made(splices: list[Splice], prefix: bytes = b"") -> tuple[bytes, bool]:
    edits, body = plan_field_edits(HEADER + BODY, END, prefix, splices)
    return apply_field_edits(HEADER, edits), body


def edited(splices: list[Splice], prefix: bytes = b"") -> bytes:
    return prefix + b"".join(apply_splices(HEADER + BODY, splices)).partition(b"\r\n\r\n")[0] + b"\r\n"


def test_fields_in_front_keep_their_order() -> None:
    prefix = b"X-Mark: ours\r\nX-Long: a\r\n b\r\n"
    assert made([], prefix) == (prefix + HEADER, False)


def test_a_label_changes_the_subject_only() -> None:
    place = at(b"hello")[0]
    edits, body = plan_field_edits(HEADER + BODY, END, b"", [Splice(place, place, b"[SPAM] ")])
    assert edits == (FieldEdit(FieldOp.CHANGE, "Subject", b"[SPAM] hello", 1),)
    assert not body


def test_what_is_removed_is_counted_as_it_was_before_ours_came_in_front() -> None:
    splices = [Splice(*at(b"X-Mark: one\r\n"), b""), Splice(*at(b"X-Mark: two\r\n"), b"")]
    assert made(splices, b"X-Mark: ours\r\n") == (edited(splices, b"X-Mark: ours\r\n"), False)


def test_the_second_of_a_name_is_changed() -> None:
    splices = [Splice(*at(b"two"), b"three")]
    assert made(splices) == (edited(splices), False)


def test_a_body_that_is_replaced_with_its_fields() -> None:
    start, end = at(b"Content-Type: text/plain\r\n")
    data = b"Content-Type: text/html\r\nContent-Transfer-Encoding: 7bit\r\n\r\nnew\r\n"
    splices = [Splice(start, END + len(BODY), data)]
    assert made(splices) == (edited(splices), True)
    apart = [Splice(start, end, b""), Splice(END, END + len(BODY), data)]
    assert made(apart) == (edited(apart), True)


def test_an_edit_of_the_body_alone_leaves_the_header() -> None:
    assert plan_field_edits(HEADER + BODY, END, b"", [Splice(END + 3, END + 4, b"")]) == ((), True)


def test_a_field_with_another_name_comes_to_stand_in_front() -> None:
    place = at(b"X-Mark: two")[0]
    header, _ = made([Splice(place, place, b"X-Old-")])
    assert sorted(header.splitlines()) == sorted(edited([Splice(place, place, b"X-Old-")]).splitlines())
    assert header.startswith(b"X-Old-X-Mark: two\r\n")


def test_a_message_without_header() -> None:
    assert plan_field_edits(b"\r\nbody", 0, b"A: b\r\n", []) == ((FieldEdit(FieldOp.INSERT, "A", b"b"),), False)


_names = st.sampled_from([b"A", b"Bb", b"Subject", b"X-Y"])
_values = st.sampled_from([b"1", b"two", b"three\r\n more", b""])
_field = st.builds(lambda name, value: name + b": " + value + b"\r\n", _names, _values)


@given(st.data())
def test_edits_give_the_edited_header_byte_for_byte(data: st.DataObject) -> None:
    fields = data.draw(st.lists(_field, max_size=8))
    prefix = b"".join(data.draw(st.lists(_field, max_size=3)))
    kept, splices, at_byte = [], [], 0
    for raw in fields:
        match data.draw(st.sampled_from(["keep", "drop", "change"])):
            case "keep":
                kept.append(raw)
            case "drop":
                splices.append(Splice(at_byte, at_byte + len(raw), b""))
            case "change":
                value = at_byte + raw.index(b": ") + 2
                splices.append(Splice(value, value, b"new "))
                kept.append(raw.replace(b": ", b": new ", 1))
        at_byte += len(raw)
    last = b"".join(data.draw(st.lists(_field, max_size=2)))
    if last:
        splices.append(Splice(at_byte, at_byte, last))
    header = b"".join(fields)
    edits, body = plan_field_edits(header + BODY, len(header), prefix, splices)
    assert apply_field_edits(header, edits) == prefix + b"".join(kept) + last
    assert not body
