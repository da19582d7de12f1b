"""The rule language of header signs: what it says, and how it complains."""

import pytest

from gatepost.antispam.check import Notes
from gatepost.antispam.headers.check import build_header_check
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import Method, SpamOptions

FAULTS = [
    ("sing x\n", "line 1: 'sing x' starts no block"),
    ("sign x\n  weight: 1\n  says: y\n", "line 1: x has no condition"),
    ("sign x\n  weight: 1\n  all: exists to\n", "line 1: x: a sign needs `weight` and `says`"),
    ("part x\n  says: y\n  all: exists to\n", "line 1: x: a sign needs"),
    ("sign x\n  weight: 11\n  all: exists to\n  says: y\n", "line 1: weight '11'"),
    ("sign x\n  weight: much\n  all: exists to\n  says: y\n", "line 1: weight 'much'"),
    ("sign x\n  weight: nan\n  all: exists to\n  says: y\n", "line 1: weight 'nan'"),
    ("# c\n\nsign x\n  wait: 1\n", "line 4: 'wait: 1' is not understood"),
    ("part x\n  all: exists to\npart x\n  all: exists cc\n", "line 3: x is there already"),
    ("part x\n  all: fact moonlight\n", "line 2: no fact is called 'moonlight'"),
    ("part x\n  all: is y\n", "line 2: no sign or part above is called 'y'"),
    ("part x\n  all: @moon matches y\n", "line 2: no derived value is called '@moon'"),
    ("part x\n  all: To matches y\n", "line 2: 'To' is no field"),
    ("part x\n  all: to is y\n", "line 2: 'to is y' is no condition"),
    ("part x\n  all: to matches a(?=b)\n", "line 2: the expression 'a(?=b)' cannot be used"),
    ("part x\n  all: to matches ok\n  any: to matches (a\n", "line 3: the expression '(a' cannot be used"),
    ("sign x\n  weight: 1\n  weight: 2\n", "line 3: a second weight"),
    ("sign x\n  weight: 1\n  covers: y\n  all: exists to\n  says: z\n", "line 1: covers y"),
    (
        "sign x\n  weight: 1\n  detail: Headers: Odd\n  all: exists to\n  says: z\n",
        "line 1: 'Headers: Odd' is no documented",
    ),
    ("sign x\n  weight: 1\n  method: content\n  all: exists to\n  says: z\n", "line 1: 'content' is no method"),
]


@pytest.mark.parametrize(("text", "complaint"), FAULTS)
def test_faulty_rules_are_named_with_file_and_line(text, complaint):
    with pytest.raises(ValueError, match=r"own\.signs") as caught:
        build_header_check(Knowledge({"own.signs": text.encode()}))
    assert f"own.signs {complaint}" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.domains", "Not a domain"),
        ("a.brands", "Brand without domains"),
        ("a.brands", "Brand, : x.example"),
        ("a.signs", "\xff"),
    ],
)
def test_faulty_reference_files_are_named(path, text):
    with pytest.raises(ValueError, match=path):
        build_header_check(Knowledge({path: text.encode("latin-1")}))


def found(rules: str, content: str) -> dict[str, str]:
    notes = Notes()
    view = build_view(parse(content.encode()), SpamOptions())
    build_header_check(Knowledge({"own.signs": rules.encode()})).inspect(view, notes)
    return {sign.name: sign.evidence for sign in notes.signs}


def sign(*conditions: str, says: str = "{seen}") -> str:
    return "sign s\n  weight: 1\n" + "".join(f"  {each}\n" for each in conditions) + f"  says: {says}\n"


HOLDS = [
    (sign("all: exists x-a"), "X-A: 1\n\n", "1"),
    (sign("all: exists x-a"), "X-B: 1\n\n", None),
    (sign("all: missing x-a"), "X-B: 1\n\n", ""),
    (sign("all: missing x-a"), "X-A: 1\n\n", None),
    (sign("all: many x-a"), "X-A: 1\nX-A: 2\n\n", "1"),
    (sign("all: many x-a"), "X-A: 1\n\n", None),
    (sign("all: empty x-a"), "X-A:  \n\n", ""),
    (sign("all: empty x-a"), "X-A: 1\n\n", None),
    (sign("all: x-a matches ^b+$"), "X-A: aB\nX-A: BB\n\n", "BB"),
    (sign("all: x-a matches-case ^b+$"), "X-A: BB\n\n", None),
    (sign("all: x-a matches ü"), "X-A: =?utf-8?q?gr=C3=BCn?=\n\n", "grün"),
    (sign("all: raw x-a matches =C3"), "X-A: =?utf-8?q?gr=C3=BCn?=\n\n", "=?utf-8?q?gr=C3=BCn?="),
    (sign("all: exists x-a", "all: exists x-b"), "X-A: 1\n\n", None),
    (sign("any: exists x-a", "any: x-b matches 2"), "X-B: 2\n\n", "2"),
    (sign("any: exists x-a", "any: x-b matches 2"), "X-B: 3\n\n", None),
    (sign("all: exists x-a", "none: exists x-b"), "X-A: 1\nX-B: 1\n\n", None),
    (sign("all: @from-domain matches ^b\\.example$"), "From: A <a@B.Example>\n\n", "b.example"),
    (sign("all: exists x-a", says="a {x-b} {seen} {x-c}|"), "X-A: 1\nX-B: 2\n\n", "a 2 1 |"),
    ("part p\n  all: exists x-a\n" + sign("all: is p"), "X-A: 1\n\n", "1"),
    ("part p\n  all: exists x-a\n" + sign("all: is p"), "X-B: 1\n\n", None),
    (sign("all: fact from-invalid"), "From: A\n\n", "A"),
]


@pytest.mark.parametrize(("rules", "content", "evidence"), HOLDS)
def test_conditions(rules, content, evidence):
    assert found(rules, content) == ({} if evidence is None else {"s": evidence})


def test_a_sign_covers_another_and_counts_at_higher_levels_only():
    rules = (
        sign("all: exists x-a") + "sign t\n  weight: 2\n  method: headers plus\n  covers: s\n  all: is s\n  says: t\n"
    )
    assert found(rules, "X-A: 1\n\n") == {"t": "t"}
    notes = Notes()
    build_header_check(Knowledge({"own.signs": rules.encode()})).inspect(
        build_view(parse(b"X-A: 1\n\n"), SpamOptions()), notes
    )
    assert notes.signs[0].method is Method.HEADERS_PLUS


class Shelf:
    """Keeps compiled forms."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.asked = 0

    def get(self, key: str) -> bytes | None:
        self.asked += key in self.kept
        return self.kept.get(key)

    def keep(self, key: str, raw: bytes) -> None:
        self.kept[key] = raw


def test_the_compiled_form_is_kept_and_made_anew_for_other_rules():
    shelf = Shelf()
    one = Knowledge({"own.signs": sign("all: x-a matches b").encode()}, shelf)
    build_header_check(one)
    build_header_check(one)
    assert shelf.asked == 1
    build_header_check(Knowledge({"own.signs": sign("all: x-a matches c").encode()}, shelf))
    assert (shelf.asked, len(shelf.kept)) == (1, 2)
