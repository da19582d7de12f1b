"""What style sheets and attributes say of being seen: `Looks`, of one element or of a rule. Called by `extract.page`.

Only what makes text disappear is read: no layout, no cascade beyond the order of rules, inheritance by the caller.
"""

import functools
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_NUMBER = re.compile(r"(-?(?:\d{0,9}\.)?\d{1,9})(?:(px|pt|em|rem|%|ex|cm|mm|in|vw|vh)|(?![\w.]))?")
_FONT_SIZE = re.compile(r"(?:^|\s)((?:\d{0,9}\.)?\d{1,9}(?:px|pt|em|rem|%)?)(?=/|\s)")
_HEX = re.compile(r"#?([0-9a-f]{6}|[0-9a-f]{3})(?![0-9a-z])")
_RGB = re.compile(r"rgba?\(\s*+(\d{1,3})[\s,]++(\d{1,3})[\s,]++(\d{1,3})(?:[\s,/]++((?:\d?\.)?\d{1,4}%?))?")
_RULE = re.compile(r"(?<![^{}])([^{}]*+)\{([^{}]*+)\}")  # tried once a stretch: text without braces costs no square
_MEDIA = re.compile(r"@[a-z-]++[^{};]*+\{(?:[^{}]*+\{[^{}]*+\})*+[^{}]*+\}")
_COMMENT = re.compile(r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/|\Z)|<!--|-->")
_SIMPLE = re.compile(r"[a-z0-9]*+([.#][\w-]{1,100}+)\Z|[a-z][a-z0-9]{0,10}+\Z")
_LAST_NAME = re.compile(r"[.#][\w-]{1,100}+")

SHEET_LIMIT: Final = 64 * 1024
"""Characters of one style sheet that are read: twice what the largest newsletters bring."""
RULES_LIMIT: Final = 2_000
DECLARATIONS_LIMIT: Final = 100
"""In one style."""
TINY_PX: Final = 1.5
"""A letter of this size is a dot or nothing."""
FAR_PX: Final = -300.0
"""So far to the left or the top nobody sees it."""
NEAR: Final = 24
"""Sum of the differences of the three colours up to which nobody tells text from its background."""

_READ: Final = frozenset(
    {
        "color", "background", "background-color", "background-image", "font", "font-size", "display", "visibility",
        "opacity", "overflow", "height", "max-height", "width", "max-width", "text-indent", "position", "left", "top",
    }
)  # fmt: skip
"""Properties that are read."""
_HIDING: Final = (
    "none",
    "hidden",
    "collapse",
    "opacity",
    "indent",
    "font-size:0",
    "font-size: 0",
    "font-size:1px",
    "-9",
)
"""Without one of these words a style sheet hides nothing."""

Colour = tuple[int, int, int]
WHITE: Final[Colour] = (255, 255, 255)
BLACK: Final[Colour] = (0, 0, 0)
_NAMED: Final[dict[str, Colour]] = {
    "white": WHITE, "black": BLACK, "red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "lime": (0, 255, 0),
    "gray": (128, 128, 128), "grey": (128, 128, 128), "silver": (192, 192, 192), "yellow": (255, 255, 0),
    "navy": (0, 0, 128), "maroon": (128, 0, 0), "purple": (128, 0, 128), "teal": (0, 128, 128), "olive": (128, 128, 0),
    "aqua": (0, 255, 255), "cyan": (0, 255, 255), "fuchsia": (255, 0, 255), "magenta": (255, 0, 255),
    "orange": (255, 165, 0), "gold": (255, 215, 0), "pink": (255, 192, 203), "snow": (255, 250, 250),
    "ivory": (255, 255, 240), "whitesmoke": (245, 245, 245), "ghostwhite": (248, 248, 255),
    "lightgrey": (211, 211, 211), "lightgray": (211, 211, 211), "darkgray": (169, 169, 169),
    "darkgrey": (169, 169, 169), "darkblue": (0, 0, 139), "darkred": (139, 0, 0), "darkgreen": (0, 100, 0),
}  # fmt: skip


class Looks(NamedTuple):
    """What one style says; None: nothing."""

    colour: Colour | None = None
    background: Colour | None = None
    backdrop: bool = False
    """The background is a picture, or of a colour that cannot be told."""
    tiny: bool | None = None
    """Whether letters are too small to be seen; None: as around it."""
    hidden: str = ""
    """Why the element and all in it is not to be seen, "" when it is."""


PLAIN: Final = Looks()


def read_colour(text: str) -> Colour | None:
    """Return the colour that a lower-case value names; None: none, or one that is not known."""
    text = text.strip()
    named = _NAMED.get(text)
    if named is not None:
        return named
    found = _HEX.match(text)
    if found is not None:
        digits = found[1]
        if len(digits) == 3:
            digits = digits[0] * 2 + digits[1] * 2 + digits[2] * 2
        value = int(digits, 16)
        return value >> 16, value >> 8 & 255, value & 255
    found = _RGB.match(text)
    if found is not None and found[4] not in ("0", "0.0", ".0", "0%"):
        return min(255, int(found[1])), min(255, int(found[2])), min(255, int(found[3]))
    return None


def looks_same(one: Colour, other: Colour) -> bool:
    """Whether text of one colour on the other cannot be read."""
    return abs(one[0] - other[0]) + abs(one[1] - other[1]) + abs(one[2] - other[2]) <= NEAR


@functools.lru_cache(maxsize=2048)
def read_style(value: str) -> Looks:
    """Return what declarations (of a `style` attribute or a rule, in lower case) say."""
    declared: dict[str, str] = {}
    for each in value.split(";", DECLARATIONS_LIMIT):
        name, _, text = each.partition(":")
        name = name.strip()
        if name in _READ:
            declared[name] = text.strip()
    if not declared:
        return PLAIN
    background = declared.get("background-color") or declared.get("background")
    back = None if background is None else read_colour(background)
    backdrop = "background-image" in declared or (background is not None and back is None and _is_drawn(background))
    looks = Looks(
        read_colour(declared["color"]) if "color" in declared else None,
        back,
        backdrop,
        _is_tiny(declared) if "font-size" in declared or "font" in declared else None,
        _why_hidden(declared),
    )
    return PLAIN if looks == PLAIN else looks


def _is_drawn(background: str) -> bool:
    return background not in ("transparent", "none", "inherit", "initial", "") and not background.startswith("none ")


def _is_tiny(declared: dict[str, str]) -> bool | None:
    size = declared.get("font-size")
    if size is None:
        short = declared.get("font")
        found = None if short is None else _FONT_SIZE.search(short + " ")
        if found is None:
            return None
        size = found[1]
    return _is_small(size)


def _is_small(size: str) -> bool:
    found = _NUMBER.match(size)
    if found is None:
        return False
    number = float(found[1])
    unit = found[2] or "px"
    return number * _PIXELS.get(unit, 1.0) <= TINY_PX


_PIXELS: Final = {
    "px": 1.0, "pt": 1.33, "em": 16.0, "rem": 16.0, "%": 0.16, "ex": 8.0, "cm": 37.8, "mm": 3.8, "in": 96.0,
}  # fmt: skip


def _why_hidden(declared: dict[str, str]) -> str:
    if declared.get("display", "").startswith("none"):
        return "display:none"
    if declared.get("visibility", "").startswith(("hidden", "collapse")):
        return "visibility:hidden"
    opacity = declared.get("opacity")
    if opacity is not None and _size(opacity) in (0.0, 0.01):
        return "opacity:0"
    if "hidden" in declared.get("overflow", "") and any(
        _size(declared.get(each, "")) in (0.0, 1.0) for each in ("max-height", "height", "max-width", "width")
    ):
        return "no size"
    if _size(declared.get("text-indent", "")) < FAR_PX:
        return "off the screen"
    if declared.get("position", "").startswith(("absolute", "fixed")) and any(
        _size(declared.get(each, "")) < FAR_PX for each in ("left", "top")
    ):
        return "off the screen"
    return ""


def _size(text: str) -> float:
    """Return the number in front, 100 when there is none."""
    found = _NUMBER.match(text)
    return 100.0 if found is None else float(found[1])


def may_hide(sheet: str) -> bool:
    """Whether a style sheet may hide something on every screen."""
    lower = sheet[:SHEET_LIMIT].lower()
    if not any(word in lower for word in _HIDING):
        return False
    lower = _MEDIA.sub(" ", lower)
    return any(word in lower for word in _HIDING)


def read_sheets(sheets: Sequence[str], rules: dict[str, Looks]) -> None:
    """Add what the rules of style sheets say to `rules`, by `.class`, `#id` or element name in lower case. Rules for
    some screens only (`@media`) are passed over.
    """
    text = "".join(_MEDIA.sub(" ", _COMMENT.sub(" ", sheet[:SHEET_LIMIT].lower())) for sheet in sheets)
    for count, (selectors, body) in enumerate(_RULE.findall(text)):
        if count >= RULES_LIMIT:
            return
        looks = read_style(body.strip())
        if looks is PLAIN:
            continue
        for selector in selectors.split(",", 20)[:20]:
            _add_rule(selector.strip(), looks, rules)


def _add_rule(selector: str, looks: Looks, rules: dict[str, Looks]) -> None:
    found = _SIMPLE.match(selector)
    if found is not None:
        key = found[1] or selector
        rules[key] = combine(rules.get(key, PLAIN), looks)
    elif looks.background is not None or looks.backdrop:
        # Whom it hits is not worked out: a background that may be there excuses a colour, nothing else.
        names = _LAST_NAME.findall(selector)
        if names:
            rules[names[-1]] = combine(rules.get(names[-1], PLAIN), Looks(backdrop=True))


def combine(under: Looks, over: Looks) -> Looks:
    """Return both, `over` winning."""
    if under is PLAIN:
        return over
    if over is PLAIN:
        return under
    return Looks(
        over.colour or under.colour,
        over.background or under.background,
        over.backdrop or (under.backdrop and over.background is None),
        under.tiny if over.tiny is None else over.tiny,
        over.hidden or under.hidden,
    )
