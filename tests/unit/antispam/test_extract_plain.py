"""Plain text: flowed lines, quotations, addresses as readers make links of them."""

import pytest

from gatepost.antispam.extract.plain import find_bare, find_urls, part_quoted, unflow

URLS = [
    ("see http://a.example/c?d=(x). And", ["http://a.example/c?d=(x)"]),
    ("(https://x.example/foo)", ["https://x.example/foo"]),
    ("<HTTP://X.example/>", ["http://X.example/"]),
    ("go to www.foo.example, now", ["http://www.foo.example"]),
    ("hxxp://evil.example/x", ["http://evil.example/x"]),
    (
        "a http://one.example b www.two.example c http://three.example",
        ["http://one.example", "http://www.two.example", "http://three.example"],
    ),
    ("x@www.foo.example and awww.example", []),
    ("gopher://a.example ://b.example", []),
    ("http://", []),
]


@pytest.mark.parametrize(("text", "urls"), URLS)
def test_addresses_are_found(text: str, urls: list[str]) -> None:
    assert find_urls(text) == urls


def test_names_without_a_scheme_are_found_where_they_are_sites() -> None:
    text = "visit mysite.com/go or (good.ru). Not file.txt, a.b@c.com, log.in, node.js, 1.2 or e.g. this.me"
    assert find_bare(text) == ["http://mysite.com/go", "http://good.ru"]


def test_quotations_stand_apart() -> None:
    assert part_quoted("a\n> b\n>> c\nd\n") == ("a\nd\n", "> b\n>> c\n")
    assert part_quoted("a > b\nx") == ("a > b\nx", "")


def test_a_text_that_is_nothing_but_quotations_is_the_writers() -> None:
    assert part_quoted("> buy\n> now\n") == ("> buy\n> now\n", "")


def test_flowed_lines_are_joined() -> None:
    assert unflow("one \r\ntwo\r\n> quoted \r\n> lines\r\n-- \r\nsignature\r\n from") == (
        "one two\n> quoted \n> lines\n-- \nsignature\nfrom"
    )
    assert unflow("split \nted", delsp=True) == "splitted"


@pytest.mark.parametrize("unit", ["://", "http://", "www.", " www.", "http://)))", "a.", ">", ">\n", "a.com/ ", "a \n"])
def test_hostile_text_costs_what_its_length_costs(unit: str, cpu_seconds) -> None:
    text = unit * (262_144 // len(unit))
    with cpu_seconds(2):
        find_urls(text)
        find_bare(text)
        part_quoted(text)
        unflow(text)
