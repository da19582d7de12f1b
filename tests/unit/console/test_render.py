"""Pages are filled, questions asked, acts told, and strangers' text shown so that it cannot pass for anything else."""

import re
from unittest import mock

import jinja2
import pytest

from gatepost.console import render
from gatepost.console.visitor import Visitor
from gatepost.control.rights import RIGHTS_OF, Right, Role


def _visitor(**values: object) -> Visitor:
    return Visitor(**{"name": "ann", "rights": RIGHTS_OF[Role.ADMIN], "csrf": "tok", **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße, мир, 你好", "Grüße, мир, 你好"),
        ("a\x00b\x1b[31m\x7f", "a⟨00⟩b⟨1B⟩[31m⟨7F⟩"),
        ("one\r\ntwo\tthree", "one⟨0D⟩⟨0A⟩two⟨09⟩three"),
        ("invoice\u202efdp.exe", "invoice⟨202E⟩fdp.exe"),
        ("zero\u200bwidth", "zero⟨200B⟩width"),
        ("lone \udc80 byte", "lone ⟨DC80⟩ byte"),
        ("line\u2028end", "line⟨2028⟩end"),
    ],
)
def test_foreign_text_shows_what_is_invisible(text: str, shown: str) -> None:
    assert render.foreign(text) == shown


def test_foreign_text_is_cut_before_it_is_looked_at() -> None:
    assert render.foreign("x" * 301) == "x" * 300 + "…"
    assert render.foreign("x" * 300) == "x" * 300
    assert render.foreign("\x00" * 10_000_000, 3) == "⟨00⟩⟨00⟩⟨00⟩…"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KB"),
        (1_234_567, "1.2 MB"),
        (3 * 2**50, "3072 TB"),
        (None, render.NONE),
    ],
)
def test_sizes(count: int | None, shown: str) -> None:
    assert render.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.012, "12 ms"),
        (2.34, "2.3 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (93_784, "1 d 2 h"),
        (86_400 + 59, "1 d"),
    ],
)
def test_durations_in_their_two_largest_units(seconds: float, shown: str) -> None:
    assert render.duration(seconds) == shown


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "", "javascript:x", "/a\nb"]
)
def test_a_form_leads_nowhere_else(to: str) -> None:
    assert render.local_path(to) == "/"


def test_own_paths_are_kept() -> None:
    assert render.local_path("/queue?after=3&state=held") == "/queue?after=3&state=held"


def test_what_came_of_an_act_is_told_once_and_escaped() -> None:
    response = render.go("/queue", "bad", "no <b>such</b> mail")
    [cookie] = response.cookies
    assert cookie.httponly
    assert cookie.samesite == "strict"
    page = render.page(_visitor(flash=cookie.value), "error.html", title="x", detail="y")
    assert 'data-state="bad" role="alert">no &lt;b&gt;such&lt;/b&gt; mail' in page.content
    assert [each.max_age for each in page.cookies if each.key == "flash"] == [0]


def test_a_template_is_compiled_once_for_all_its_pages() -> None:
    first = render.page(_visitor(), "error.html", title="x", detail="y").content
    with mock.patch.object(jinja2.Environment, "compile", side_effect=AssertionError("compiled anew")):
        assert render.page(_visitor(), "error.html", title="x", detail="y").content == first


@pytest.mark.parametrize("value", ["garbage", "e30", "%%%", "eyJzdGF0ZSI6ImV2aWwiLCJ0ZXh0IjoieCJ9"])
def test_a_flash_of_others_is_no_error(value: str) -> None:
    assert "flash" not in render.page(_visitor(flash=value), "error.html", title="x", detail="y").content


def test_a_question_repeats_the_form_and_adds_that_it_was_answered() -> None:
    page = render.ask(
        _visitor(), "Delete <2>?", action="/q/act", fields={"id": ["1", '2"><x>'], "csrf": "old"}, back="//evil"
    )
    assert "Delete &lt;2&gt;?" in page.content
    assert '<input type="hidden" name="id" value="1">' in page.content
    assert 'value="2&#34;&gt;&lt;x&gt;"' in page.content
    assert '<input type="hidden" name="confirmed" value="1">' in page.content
    assert 'name="csrf" value="tok"' in page.content
    assert "old" not in re.findall(r'name="csrf" value="(\w+)"', page.content)
    assert "evil" not in page.content


def test_a_fragment_is_the_block_alone_and_the_same_address_gives_the_page() -> None:
    whole = render.page(_visitor(), "error.html", title="No", detail="why")
    part = render.page(_visitor(fragment=True), "error.html", title="No", detail="why")
    assert whole.content.startswith("<!doctype html>")
    assert "why" in part.content
    assert "<html" not in part.content
    assert part.headers["Vary"] == "HX-Request, Cookie"
    assert part.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain <b>", "plain &lt;b&gt;"),
        ("`[[listener]]` has `<room>` for more", "<code>[[listener]]</code> has <code>&lt;room&gt;</code> for more"),
        ("one ` alone <", "one ` alone &lt;"),
    ],
)
def test_what_our_texts_have_in_backquotes_is_shown_as_code(text: str, shown: str) -> None:
    assert str(render.marked(text)) == shown


def test_the_menu_shows_what_the_visitor_may() -> None:
    everything = {area.name for area in render.areas_of(_visitor())}
    assert everything == {area.name for area in render.AREAS}
    quarantine = {area.name for area in render.areas_of(_visitor(rights=RIGHTS_OF[Role.QUARANTINE]))}
    assert {"quarantine", "mail", "dashboard"} <= quarantine
    assert not quarantine & {"settings", "accounts", "log", "audit", "lists"}
    reader = {area.name for area in render.areas_of(_visitor(rights=RIGHTS_OF[Role.READ_ONLY]))}
    assert "quarantine" in reader, "without content, as in tracking"
    domain = {area.name for area in render.areas_of(_visitor(rights=RIGHTS_OF[Role.DOMAIN], domains=("a.example",)))}
    assert domain == {"mail", "queue", "quarantine", "reports", "lists"}


def test_a_visitor_begins_where_the_menu_begins() -> None:
    assert render.home_of(_visitor()) == "/"
    assert render.home_of(_visitor(rights=RIGHTS_OF[Role.DOMAIN], domains=("a.example",))) == "/tracking"
    assert render.home_of(_visitor(rights=frozenset({Right.NONE, Right.SELF}))) == "/account"


@pytest.mark.parametrize(("cookie", "theme"), [("", "auto"), ("dark", "dark"), ('"><script>', "auto")])
def test_the_look_is_one_of_three(cookie: str, theme: str) -> None:
    page = render.page(_visitor(theme=cookie), "error.html", title="x", detail="y")
    assert f'data-theme="{theme}"' in page.content


def test_an_address_of_a_static_file_changes_with_its_content() -> None:
    assert re.fullmatch(r"/static/console\.css\?v=[0-9a-f]{12}", render.static_url("console.css"))
    assert render.static_url("console.css") != render.static_url("console.js").replace(".js", ".css")
