"""Pages: templates filled for a visitor, questions before an act, and the way back after it.

Called by the handlers in `console.pages`. All text is escaped by Jinja2 unless a macro of ours made it; text from mail,
log lines and configuration is foreign, so templates show it through `ui.foreign` or the filter `foreign`, which cut it
and make control characters visible. A template holds no logic about mail; a page works without a script.

How a page is made: `console/templates/README.md`.
"""

import base64
import functools
import hashlib
import time
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import jinja2
import msgspec
from litestar import Response
from litestar.datastructures import Cookie
from litestar.enums import MediaType
from litestar.response import Redirect
from markupsafe import Markup, escape

from gatepost import __version__
from gatepost.console.visitor import Visitor
from gatepost.control.rights import Right

HERE: Final = Path(__file__).resolve().parent
STATIC: Final = HERE / "static"
THEMES: Final = ("auto", "light", "dark")
THEME_COOKIE: Final = "theme"
FLASH_COOKIE: Final = "flash"
FLASH_TEXT_LIMIT: Final = 600
"""Characters: a cookie of 4 KB holds it in any script."""
FOREIGN_LIMIT: Final = 300
"""Characters of foreign text that a page shows unless it asks for more."""

NONE: Final = "\N{EN DASH}"
"""Where there is no value."""

State = Literal["good", "warning", "bad", "info", ""]


class Flash(msgspec.Struct, frozen=True):
    """What the last act came to, shown once on the page that follows."""

    state: State
    text: str


class Area(msgspec.Struct, frozen=True):
    """An entry of the menu."""

    name: str
    """As the page calls itself (`area=` of `page`); its icon has the same name."""
    label: str
    path: str
    right: Right
    group: str
    scoped: bool = False
    """It is of use to a visitor with domains of its own."""


AREAS: Final = (
    Area("dashboard", "Dashboard", "/", Right.VIEW, "Watch"),
    Area("mail", "Mail", "/tracking", Right.TRACK, "Watch", scoped=True),
    Area("queue", "Queue", "/queue", Right.TRACK, "Watch", scoped=True),
    Area("quarantine", "Quarantine", "/quarantine", Right.TRACK, "Watch", scoped=True),
    Area("reports", "Reports", "/reports", Right.TRACK, "Watch", scoped=True),
    Area("policy", "Policy", "/policy", Right.CONFIGURATION, "Decide"),
    Area("lists", "Lists", "/lists", Right.LISTS, "Decide", scoped=True),
    Area("rules", "Rules", "/rules", Right.CONFIGURATION, "Decide"),
    Area("what-if", "What if", "/what-if", Right.CONFIGURATION, "Decide"),
    Area("settings", "Settings", "/settings", Right.CONFIGURATION, "Decide"),
    Area("problems", "Problems", "/problems", Right.VIEW, "Run"),
    Area("service", "Service", "/service", Right.VIEW, "Run"),
    Area("emergency", "Emergency", "/emergency", Right.EMERGENCY, "Run"),
    Area("databases", "Databases", "/databases", Right.VIEW, "Run"),
    Area("log", "Log", "/log", Right.LOG, "Run"),
    Area("accounts", "Accounts", "/accounts", Right.ACCOUNTS, "Run"),
    Area("audit", "Audit", "/audit", Right.AUDIT, "Run"),
)


def areas_of(visitor: Visitor) -> tuple[Area, ...]:
    """Return what the visitor finds in the menu. The first is where a sign-in leads."""
    return tuple(area for area in AREAS if area.right in visitor.rights and (area.scoped or not visitor.domains))


def home_of(visitor: Visitor) -> str:
    """Return the path of the page a visitor begins with."""
    areas = areas_of(visitor)
    return areas[0].path if areas else "/account"


# --- pages


def page(
    visitor: Visitor,
    template: str,
    *,
    area: str = "",
    fragment: str = "fragment",
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response[str]:
    """Fill `template` (a path below `templates/`) and return the page.

    `area` marks the menu. A request by htmx gets the block named `fragment` alone where the template has one. Templates
    know `visitor`, `areas`, `area`, `theme`, `flash`, `ui` (macros) and `values`.
    """
    made = environment().get_template(template)
    partial = visitor.fragment and fragment in made.blocks
    flash = None if partial else _read_flash(visitor.flash)
    context = {
        "visitor": visitor,
        "areas": areas_of(visitor),
        "area": area,
        "theme": visitor.theme if visitor.theme in THEMES else THEMES[0],
        "flash": flash,
        **values,
    }
    text = "".join(made.blocks[fragment](made.new_context(context))) if partial else made.render(context)
    response = Response(text, status_code=status_code, media_type=MediaType.HTML, headers=headers)
    # What comes depends on who asks and how: a kept copy would show a stranger's page, or a part for the whole.
    response.set_header("Cache-Control", "no-store")
    response.set_header("Vary", "HX-Request, Cookie")
    if flash is not None:
        response.delete_cookie(FLASH_COOKIE)
    return response


def ask(
    visitor: Visitor,
    question: str,
    *,
    action: str,
    fields: Mapping[str, str | Sequence[str]],
    back: str,
    area: str = "",
    detail: str = "",
    facts: Sequence[tuple[str, str]] = (),
    word: str = "Yes, do it",
    danger: bool = False,
) -> Response[str]:
    """Return the page that asks before an act, for a form that came without `confirmed`.

    It posts `fields` again to `action`, with `confirmed=1`; `back` is where No leads.
    """
    pairs = [
        (name, one)
        for name, value in fields.items()
        if name not in {"csrf", "confirmed"}
        for one in ((value,) if isinstance(value, str) else value)
    ]
    return page(
        visitor,
        "confirm.html",
        area=area,
        question=question,
        action=action,
        fields=pairs,
        back=local_path(back),
        detail=detail,
        facts=facts,
        word=word,
        danger=danger,
    )


def go(to: str, state: State = "", text: str = "") -> Redirect:
    """Lead the browser to a page of ours after an act, which says there what the act came to."""
    response = Redirect(local_path(to), status_code=303)
    if text:
        told = msgspec.json.encode(Flash(state, foreign(text.replace("\n", " "), FLASH_TEXT_LIMIT)))
        value = base64.urlsafe_b64encode(told).decode("ascii").rstrip("=")
        response.set_cookie(Cookie(FLASH_COOKIE, value=value, httponly=True, samesite="strict", path="/"))
    return response


def local_path(to: str) -> str:
    """Return `to` when it is a path of this console, else the first page: a form cannot lead elsewhere."""
    ours = to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable()
    return to if ours else "/"


def _read_flash(value: str) -> Flash | None:
    if not value:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)), type=Flash)
    except (ValueError, msgspec.MsgspecError):
        return None


# --- what templates show


def foreign(value: object, limit: int = FOREIGN_LIMIT) -> str:
    """Return text of strangers in a form that cannot pass for anything else: control and format characters, lone
    surrogates and line ends are shown as signs, and what is longer than `limit` is cut.
    """
    text = str(value)
    cut = text[:limit]
    shown = cut if cut.isascii() and cut.isprintable() else "".join(map(_visible, cut))
    return shown + "…" if len(text) > limit else shown


@functools.lru_cache(4096)
def _visible(character: str) -> str:
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return f"⟨{ord(character):02X}⟩"
    return character


_UNITS: Final = ("bytes", "KB", "MB", "GB", "TB")


def size(count: float | None) -> str:
    """Return a number of bytes as people read it: `830 bytes`, `1.2 MB` (1 KB = 1024 bytes)."""
    if count is None:
        return NONE
    amount, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if abs(amount) < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == _UNITS[0] or amount >= 100 else f"{amount:.1f} {unit}"


def number(value: float | None) -> str:
    """Return a count with thin spaces between thousands, at most one decimal."""
    if value is None:
        return NONE
    text = f"{value:,.1f}".removesuffix(".0") if isinstance(value, float) else f"{value:,}"
    return text.replace(",", "\u202f")


def duration(seconds: float | None) -> str:
    """Return a span of time in its two largest units: `3 d 4 h`, `2 min 5 s`, `0.4 s`, `12 ms`."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    rest = int(seconds)
    parts: list[str] = []
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if rest >= length or parts:
            parts.append(f"{rest // length} {unit}")
            rest %= length
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 ")) or "0 s"


def local_time(moment: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a moment (Unix time) in the gateway's zone, as its log has it."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime(form)


def iso_time(moment: float) -> str:
    """Return a moment in full: ISO 8601 with the gateway's offset."""
    return datetime.fromtimestamp(moment, UTC).astimezone().isoformat(timespec="milliseconds")


def static_url(name: str) -> str:
    """Return the address of a file below `static/`. It changes with the content, so browsers may keep it for ever."""
    return f"/static/{name}?v={_digest(name)}"


@functools.cache
def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def marked(text: str) -> Markup:
    """Return a text of our own whose parts in backquotes are shown as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup().join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


@functools.cache
def environment() -> jinja2.Environment:
    """Return the templates: escaping always on, an unknown name is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "foreign": foreign,
        "marked": marked,
        "size": size,
        "number": number,
        "duration": duration,
        "local_time": local_time,
        "iso_time": iso_time,
    }
    made.globals |= {"static_url": static_url, "version": __version__, "now": time.time, "Right": Right}
    made.globals["ui"] = made.get_template("macros.html").module
    return made
