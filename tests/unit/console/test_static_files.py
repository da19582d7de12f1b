"""What the console ships to browsers: nothing inline, nothing from outside, scripts of others as published."""

import hashlib
import re
from pathlib import Path

import pytest

from gatepost.console import render
from gatepost.console.pages import ROUTES

FRAME = render.HERE / "templates" / "preview" / "frame.html"
"""The document of a message that is looked at: alone in its sandbox, under a policy of its own."""
TEMPLATES = sorted(path for path in (render.HERE / "templates").rglob("*.html") if path != FRAME)
OWN = sorted(path for path in render.STATIC.iterdir() if path.suffix in {".js", ".css", ".svg"})


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(render.HERE / "templates")))
def test_templates_compile_and_hold_nothing_the_policy_forbids(path: Path) -> None:
    text = path.read_text()
    render.environment().get_template(str(path.relative_to(render.HERE / "templates")))
    assert not re.search(r"<style|\sstyle\s*=", text), "inline style"
    assert not re.search(r"\son[a-z]+\s*=", text), "inline handler"
    assert not re.search(r"hx-on|hx-vals\s*=\s*.js:|javascript:", text), "needs eval"
    assert not re.search(r"<script(?![^>]*\ssrc=)", text), "inline script"
    assert not re.search(r"(?:src|href|action)\s*=\s*[\"']?(?:https?:)?//", text), "from outside"
    assert not re.search(r"\|\s*safe\b", text), "unescaped"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(render.HERE / "templates")))
def test_every_form_that_posts_carries_the_token(path: Path) -> None:
    for form in re.findall(r"<form\b[^>]*method=\"post\".*?</form>", path.read_text(), re.DOTALL):
        if path.parent.name == "user_quarantine":
            # No session stands behind asking for a link: there is nothing of it that another site could misuse.
            carries = 'name="csrf"' in form or 'name="form"' in form
            assert carries or 'action="/ask"' in form or '/fresh"' in form, form[:120]
        elif 'action="/sign-in' not in form and path.parent.name != "sign_in":
            assert "csrf(" in form, form[:120]


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_our_files_fetch_nothing_from_outside(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/", "")
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "eval(" not in text
    assert "innerHTML" not in text


def test_scripts_of_others_are_those_that_were_published() -> None:
    listed = dict(
        re.findall(
            r"^(\S+\.min\.\w+)\s.*\b([0-9a-f]{64})$", (render.STATIC / "vendor" / "README").read_text(), re.MULTILINE
        )
    )
    shipped = {path.name for path in (render.STATIC / "vendor").iterdir() if ".min." in path.name}
    assert set(listed) == shipped == {"htmx.min.js", "uplot.min.js", "uplot.min.css"}
    for name, digest in listed.items():
        assert hashlib.sha256((render.STATIC / "vendor" / name).read_bytes()).hexdigest() == digest
        assert (render.STATIC / "vendor" / f"{name.partition('.')[0]}.LICENSE").read_text()


def test_every_area_has_an_icon() -> None:
    icons = set(re.findall(r'<symbol id="([a-z-]+)"', (render.STATIC / "icons.svg").read_text()))
    assert {area.name for area in render.AREAS} <= icons


def test_every_entry_of_the_menu_leads_to_a_page() -> None:
    served = {path for route in ROUTES for path in route.paths if "GET" in route.http_methods}
    assert {area.path for area in render.AREAS} <= served
