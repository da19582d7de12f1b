"""Cures of web pages and pictures in SVG: a second cure finds nothing, and openers find no script in a picture."""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import Kind

from .cured import cure
from .pages import WORDS as _PAGE_WORDS
from .pages import seeds as _pages
from .unpacked import open_as

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1200


def execute(data: bytes) -> None:
    """Cure the input as a page, or as a picture, as its first byte says."""
    if not data:
        return
    kind = (Kind.HTML, Kind.SVG)[data[0] & 1]
    cured = cure(data[1:], kind, ())
    if cured is not None and kind is Kind.SVG:  # of pages openers see more than any browser
        assert not [each.data for each in open_as(cured.data, kind) if each.name.startswith("x script")]


WORDS: Final = (
    *_PAGE_WORDS, b"<svg xmlns='http://www.w3.org/2000/svg'>", b"</svg>", b"<!--[if IE]>", b"<![endif]-->", b"<style>", b"</style>", b"expression(", b"<math>",
    b"<template>", b"<plaintext>", b"<noscript>", b"xlink:href=", b"<set attributeName='href'", b"<foreignObject>", b"<?xml-stylesheet ?>", b"<!DOCTYPE svg>",
    b"<select>", b"<table>", b"<title>", b"</p>", b"<base href=", b"<meta http-equiv=refresh", b"\0", b"&#xF73c;", b"<form id=a>", b"<input formaction=",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield pages and pictures."""
    for page in _pages():
        yield b"\0" + page
    yield b"\0<!DOCTYPE html><html><head><meta charset=koi8-r><title>x</title></head><body onload=a()>\xd0\xd1<a href=javascript:b()>c</a><p style='x:expression(a)'>d"
    yield b"\0\xff\xfe" + "<p><b><i>x<script>a</script></p>y<table><td><iframe src=x>".encode("utf-16-le")
    yield b"\1<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' onload='a()'><script>b</script><a xlink:href='javascript:c'><text>d</text></a><style>e{}</style></svg>"
    yield b"\1<?xml version='1.0'?><?x y?><!-- c --><svg xmlns='http://www.w3.org/2000/svg'><image href='data:text/html,x'/><set attributeName='href' to='x'/><foreignObject/></svg>"
