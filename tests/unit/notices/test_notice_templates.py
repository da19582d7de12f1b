"""The template language: documented examples, faults with their places, and what strangers may put into values."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.grouping import LANGUAGES
from gatepost.notices.facts import KNOWN_MACROS
from gatepost.notices.grammar import NESTING_LIMIT, SIZE_LIMIT, VALUE_LIMIT
from gatepost.notices.template import (
    CUT_NOTE,
    RENDER_LIMIT,
    SHIPPED,
    Item,
    TemplateError,
    UnreadableTemplateError,
    load_template,
    parse_template,
    shipped_template,
)

OBJECTS = (
    Item("1", {"OBJECT_NAME": "a.exe", "OBJECT_STATUS": "infected", "VIRUS": ("One", "Two")}),
    Item("2", {"OBJECT_NAME": "b.txt", "OBJECT_STATUS": "clean", "VIRUS": ()}),
    Item("3", {"OBJECT_NAME": "c.zip", "OBJECT_STATUS": "infected", "VIRUS": ("Three",)}),
)


def render(text, **values):
    return parse_template(text.encode()).render(values)


def faults(text):
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(TemplateError) as caught:
        parse_template(raw)
    return [(problem.line, problem.column) for problem in caught.value.problems]


@pytest.mark.feature("F-NOTI-06")
@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("Hello %SENDER%!", "Hello a@b.example!"),
        ("%RECIPIENT%", "last@c.example"),
        ("%NOTHING%", ""),
        ("a%CRLF%b%TAB%c", "a\r\nb\tc"),
        ("%SENDER%%SENDER%", "a@b.examplea@b.example"),
        ('<FOR RECIPIENT == "*">%RECIPIENT%,</FOR>', "first@c.example,last@c.example,"),
    ],
)
def test_macros(text, output):
    assert render(text, SENDER="a@b.example", RECIPIENT=("first@c.example", "last@c.example")) == output


@pytest.mark.feature("F-NOTI-07")
@pytest.mark.parametrize(
    ("text", "output"),
    [
        # the documented example: one virus name, the last, where an object has several
        (
            '<FOR OBJECT == "*"><FOR OBJECT_STATUS == "infected">%OBJECT_NAME%: %VIRUS%%CRLF%</FOR></FOR>',
            "a.exe: Two\r\nc.zip: Three\r\n",
        ),
        ('<FOR OBJECT == "*"><FOR OBJECT_STATUS != "infected">%OBJECT_NAME%</FOR></FOR>', "b.txt"),
        ('<FOR OBJECT == "*"><FOR VIRUS == "*">%OBJECT_NAME%=%VIRUS% </FOR></FOR>', "a.exe=One a.exe=Two c.zip=Three "),
        ('<FOR OBJECT == "2">%OBJECT_NAME%</FOR>', "b.txt"),
        ('<FOR OBJECT != "2">%OBJECT_NAME% </FOR>', "a.exe c.zip "),
        ('<FOR OBJECT == "?"><FOR OBJECT_NAME == "*.EX?">%OBJECT_NAME%</FOR></FOR>', "a.exe"),
        ('<FOR OBJECT == "??">x</FOR>', ""),
        # the inner loop over the same macro sees the current value only
        ('<FOR OBJECT == "*"><FOR OBJECT == "*">%OBJECT%</FOR></FOR>', "123"),
        # outside a loop, sub-macros are those of all values
        ("%OBJECT_NAME% %VIRUS%", "c.zip Three"),
        ('<FOR VIRUS == "T*">%VIRUS% </FOR>', "Two Three "),
        ('<FOR OBJECT == "1"></FOR>%OBJECT%', "3"),
        ('<FOR NOTHING == "*">x</FOR><FOR NOTHING != "*">y</FOR>', ""),
        ('<FOR SENDER == "*@B.example">yes</FOR>', "yes"),
    ],
)
def test_loops(text, output):
    assert render(text, OBJECT=OBJECTS, SENDER="a@b.example") == output


@pytest.mark.feature("F-NOTI-07")
@pytest.mark.parametrize(
    ("text", "output"),
    [
        ('<DEF X = "one"/>%X%', "one"),
        ('%X%<DEF X="one"/>%X%<DEF X="two"/>%X%', "onetwo"),
        ('<DEF X = "out"/><FOR RECIPIENT == "*"><DEF X = "%RECIPIENT%"/>%X% </FOR>%X%', "r s out"),
        ('<FOR RECIPIENT == "r"><DEF Y = "in"/>%Y%</FOR>%Y%', "in"),
        ('<DEF X = "\\"q\\" \\%SENDER\\% # <"/>%X%', '"q" %SENDER% # <'),
        ('<DEF X = "a\\\nb"/>%X%', "ab"),
        ('<DEF SENDER = "mine"/>%SENDER%', "mine"),
        ('<DEF X = "r"/><FOR X == "r">%X%</FOR>', "r"),
    ],
)
def test_definitions(text, output):
    assert render(text, RECIPIENT=("r", "s"), SENDER="a@b.example") == output


@pytest.mark.feature("F-NOTI-08")
@pytest.mark.parametrize(
    ("text", "output"),
    [
        (r"\<b\> 100\% \"q\" \# \\", '<b> 100% "q" # \\'),
        ("a > b \"c\" 'd'", "a > b \"c\" 'd'"),
        ("one # two\nthree", "one \r\nthree"),
        ("# first\n  # second\nthird", "third"),
        ("one \\\ntwo\n", "one two\r\n"),
        ("one\\\r\ntwo\rthree\n", "onetwo\r\nthree\r\n"),
        ("%SENDER\\\n", None),
        ("x\\# y", "x# y"),
        # a line of tags only leaves no line behind, a line with text and tags does
        ('<FOR R == "*">\n- %R%\n</FOR>\nend\n', "- 1\r\n- 2\r\nend\r\n"),
        ('  <FOR R == "*">\n  - %R%\n  </FOR>\nend\n', "  - 1\r\n  - 2\r\nend\r\n"),
        ('a <FOR R == "1">b</FOR>\nend', "a b\r\nend"),
        ("a\n\nb", "a\r\n\r\nb"),
        ("", ""),
    ],
)
def test_escapes_comments_and_lines(text, output):
    if output is None:
        assert faults(text)
    else:
        assert render(text, R=("1", "2")) == output


def test_every_fault_is_told_with_its_place():
    text = 'a % b\n<FOR X = "1">\n</FOR></FOR>\n  <foo>\n<DEF A="%B"/>\n< x\n<FOR A == "%B%">\n\x01<DEF CRLF = "x"/>\n'
    assert faults(text) == [(1, 3), (2, 1), (3, 7), (4, 3), (5, 9), (6, 1), (7, 1), (7, 12), (7, 14), (8, 1), (8, 7)]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"ok\n\xff", (2, 1)),
        (b"\xef\xbb\xbf<x>", (1, 1)),
        (b"%" + b"N" * 65 + b"%", (1, 2)),
        (b"%%", (1, 1)),
        (b"a\\<FOR\n%", (2, 1)),
        (b'<DEF A = "x">', (1, 1)),
        (b"x" * (SIZE_LIMIT + 1), (1, 1)),
        (b"x" * (50 * SIZE_LIMIT), (1, 1)),
    ],
)
def test_single_faults(text, place):
    assert faults(text)[0] == place


def test_limits_hold_exactly():
    assert render("%" + "N" * 64 + "%", **{"N" * 64: "v"}) == "v"
    assert len(parse_template(b"x" * SIZE_LIMIT).render({})) == SIZE_LIMIT
    assert render('<DEF A = "' + "x" * VALUE_LIMIT + '"/>%A%') == "x" * VALUE_LIMIT
    assert faults('<DEF A = "' + "x" * (VALUE_LIMIT + 1) + '"/>')
    deep = '<FOR A == "1">' * NESTING_LIMIT + "x" + "</FOR>" * NESTING_LIMIT
    assert render(deep, A="1") == "x"
    assert faults('<FOR A == "1">' + deep + "</FOR>")


def test_warnings_name_unknown_macros_and_stray_backslashes():
    template = parse_template(b'<DEF MINE = "x"/>%MINE% %SENDER%\n%TYPO% <FOR OBJEKT == "*"></FOR> C:\\temp')
    unknown = template.unknown_macros(frozenset(KNOWN_MACROS))
    assert [(p.line, p.column) for p in unknown] == [(2, 1), (2, 13)]
    assert [(p.line, p.column) for p in template.tree.warnings] == [(2, 36)]
    assert template.render({}).endswith("C:\\temp")


def test_values_are_never_read_as_template_text_and_write_no_lines():
    hostile = '%SENDER%<FOR SENDER == "*">x</FOR>\r\nBcc: v@x.example\x00\u202e\u2028\udcff\ud800\x85'
    text = render("[%SUBJECT%]", SUBJECT=hostile, SENDER="s")
    assert text.startswith('[%SENDER%<FOR SENDER == "*">x</FOR>')
    assert not re.search("[\r\n\x00\u202e\u2028\x85]", text)
    text.encode()


@pytest.mark.parametrize("filler", ["x", "é", "€", "😀"])
def test_long_values_are_cut_on_a_character_border(filler):
    text = render("%V%", V="a" + filler * VALUE_LIMIT)
    width = len(filler.encode())
    assert VALUE_LIMIT - width < len(text.encode()) <= VALUE_LIMIT
    assert set(text) == {"a", filler}


def test_output_and_work_are_bounded():
    many = tuple(str(i) for i in range(3000))
    nested = '<FOR A == "*"><FOR B == "*"><FOR C == "*">%A%%B%%C%</FOR></FOR></FOR>'
    text = render(nested, A=many, B=many, C=many)
    assert text.endswith(CUT_NOTE)
    assert len(text) <= RENDER_LIMIT + len(CUT_NOTE)
    silent = '<FOR A == "*"><FOR B == "*"><FOR C == "x"></FOR></FOR></FOR>'
    assert render(silent, A=many, B=many, C=many) == CUT_NOTE
    assert render("%V%" * 2000, V="y" * VALUE_LIMIT).endswith(CUT_NOTE)


def test_the_parts_of_definitions_and_what_masks_look_at_are_work():
    """A template of 8 KB must not hold up a relay for minutes."""
    twice = '<FOR A == "*"><FOR B == "*">{}</FOR></FOR>'
    few = tuple(str(i) for i in range(15))
    defined = twice.format('<DEF X = "' + "%V%" * 2000 + '"/>')
    assert render(defined, A=few[:2], B=few[:2], V="v") == ""
    assert render(defined, A=few, B=few, V="v") == CUT_NOTE
    masked = twice.format('<FOR V == "' + "a" * 300 + '*b">x</FOR>')
    assert render(masked, A=few[:2], B=few[:2], V="a" * VALUE_LIMIT) == ""
    assert render(masked, A=few, B=few, V="a" * VALUE_LIMIT) == CUT_NOTE
    assert render('<DEF X = "' + "%V%" * 2000 + '"/>%X%', V="v" * VALUE_LIMIT) == "v" * VALUE_LIMIT


def test_a_mask_of_many_stars_does_not_backtrack():
    assert render('<FOR V == "' + "*a" * 300 + 'b">x</FOR>', V="a" * VALUE_LIMIT) == ""


def test_a_missing_or_too_large_file_is_an_error(tmp_path):
    with pytest.raises(UnreadableTemplateError, match="No such file"):
        load_template(tmp_path / "none.tmpl")
    large = tmp_path / "large.tmpl"
    large.write_bytes(b"x" * (SIZE_LIMIT + 1))
    with pytest.raises(TemplateError, match="8192"):
        load_template(large)
    large.write_bytes(b"x" * SIZE_LIMIT)
    assert load_template(large).render({}) == "x" * SIZE_LIMIT


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.tmpl")), ids=lambda path: path.stem)
def test_shipped_templates_are_without_fault(path):
    template = shipped_template(path.stem)
    assert template.tree.warnings == ()
    assert template.unknown_macros(frozenset(KNOWN_MACROS)) == ()
    assert template.render({})


NOTICES = ("notify-admin", "notify-sender", "notify-recipient", "notify-summary")


@pytest.mark.parametrize("directory", [SHIPPED, SHIPPED / "ru"], ids=["en", "ru"])
def test_all_documented_files_ship(directory):
    names = {path.stem for path in directory.glob("*.tmpl")}
    assert names == {"dsn", "placeholder", "disclaimer", "digest", "digest-html", *NOTICES}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NOTICES)
def test_notices_have_a_subject_that_a_body_need_not_repeat(language, name):
    template = shipped_template(name, language)
    values = {"MSG_ACTION": "blocked", "SUBJECT": "Prices", "SUM_MESSAGES": "12"}
    subject = template.definition("NOTICE_SUBJECT", values)
    assert "Prices" in subject or "12" in subject
    assert subject not in template.render(values)
    assert not template.unknown_macros(frozenset(KNOWN_MACROS))
    assert subject.isascii() == (language == "en")


MEANINGS = {
    "infected": ("holds malicious code", "заражён"),
    "suspicious": ("looks like malicious code", "подозрителен"),
    "protected": ("locked by a password or encrypted", "паролем или зашифрован"),
    "error": ("too deeply nested", "не удалось проверить"),
    "filtered": ("not accepted here", "не разрешены"),
}


@pytest.mark.parametrize("status", MEANINGS)
@pytest.mark.parametrize(("language", "place", "send_on"), [("en", 0, "send it on"), ("ru", 1, "переслали")])
def test_recipients_are_told_what_a_status_means_and_what_they_can_do(status, language, place, send_on):
    found = Item("1", {"OBJECT_NAME": "a.zip", "OBJECT_STATUS": status, "VIRUS": ()})
    for action in ("blocked", "delivered"):
        values = {"OBJECT": (found,), "MSG_ACTION": action, "ADMIN": "admin@ours.example", "QUEUE_ID": "Q1"}
        told = " ".join(shipped_template("notify-recipient", language).render(values).split())
        assert [each for each, words in MEANINGS.items() if words[place] in told] == [status]
        assert (send_on in told) is (action == "blocked")
        assert told.count("Q1") == 1


def test_a_definition_is_that_of_the_template_itself():
    text = '<DEF A = "x"/><DEF B = "%A%y%V%"/><FOR V == "*"><DEF C = "z"/></FOR>'
    template = parse_template(text.encode())
    assert template.definition("B", {"V": "v"}) == "xyv"
    assert template.definition("C", {"V": "v"}) == ""
    assert template.definition("V", {"V": "v"}) == ""


def test_characters_of_a_template_are_those_beyond_ascii_wherever_they_stand():
    template = parse_template('é<FOR A == "ж"><DEF X = "ü"/>яя</FOR>abc'.encode())
    assert template.characters() == "éüя"


FRAGMENTS = st.sampled_from(
    [
        "%A%",
        "%",
        "\\",
        "<",
        ">",
        "#",
        '"',
        "\n",
        "\r\n",
        '<FOR A == "*">',
        "</FOR>",
        '<FOR B != "a?">',
        '<DEF A = "x%B%"/>',
        "%CRLF%",
        "text",
        " ",
        "*",
        "\x00",
        "é",
        "<FOR",
        "<DEF",
        "%A",
    ]
)
VALUES = st.dictionaries(
    st.sampled_from(["A", "B", "C"]),
    st.text(max_size=20)
    | st.lists(
        st.text(max_size=10)
        | st.builds(Item, st.text(max_size=5), st.dictionaries(st.sampled_from(["A", "B"]), st.text(max_size=5))),
        max_size=4,
    ),
)


@given(st.lists(FRAGMENTS, max_size=30).map("".join) | st.text(max_size=60), VALUES)
def test_nothing_but_template_errors_and_only_at_parsing(text, values):
    try:
        template = parse_template(text.encode("utf-8", "surrogatepass"))
    except TemplateError:
        return
    output = template.render(values)
    output.encode()
    assert not re.search("\r(?!\n)|(?<!\r)\n", output)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_a_template_error(raw):
    problems = ()
    try:
        parse_template(raw).render({})
    except TemplateError as fault:
        problems = fault.problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
