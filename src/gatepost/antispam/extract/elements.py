"""Elements of web pages by what they do to text (HTML standard §4, §13): tables for `extract.page`."""

from typing import Final

UNKNOWN: Final = -1
INLINE: Final = 0
TARGET: Final = 1
"""Goes on until its end, and has an address."""
CELLS: Final = 2
BLOCK: Final = 3
BREAKS: Final = 4
VOID: Final = 5
VOID_TARGET: Final = 6
RAW: Final = 7
"""What is inside is no markup."""

_NAMES: Final[dict[int, str]] = {
    INLINE: (
        "abbr acronym b bdi bdo big blink cite code data del dfn em font i ins kbd label mark nobr q rp rt "
        "ruby s samp small span strike strong sub sup time tt u var picture svg math video audio canvas "
        "button select html body head object applet map meter output progress slot dialog"
    ),
    BLOCK: (
        "address article aside blockquote caption center dd details dir div dl dt fieldset figcaption figure "
        "footer h1 h2 h3 h4 h5 h6 header hgroup legend li listing main menu nav ol optgroup option p pre "
        "section summary table tbody tfoot thead tr ul colgroup"
    ),
    VOID: ("col param source track wbr basefont bgsound keygen spacer"),
    BREAKS: ("br hr"),
    RAW: ("script style title textarea noscript template xmp noembed noframes plaintext"),
    CELLS: ("td th"),
    TARGET: ("a form"),
    VOID_TARGET: ("img input meta base area link embed frame iframe"),
}
KINDS: Final[dict[str, int]] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
"""What an element does, by its name in lower case."""

_ENDS_PARAGRAPH: Final = (
    "address article aside blockquote center div dl fieldset footer form h1 h2 h3 h4 h5 h6 header hr main nav ol p pre"
    " section table ul"
)
PARAGRAPH: Final = frozenset({"p"})
_CELLS: Final = frozenset({"td", "th"})
_ROWS: Final = frozenset({"table", "tbody", "thead", "tfoot"})
_LISTS: Final = frozenset({"ul", "ol"})
CLOSING: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    **dict.fromkeys(_ENDS_PARAGRAPH.split(), (PARAGRAPH, frozenset())),
    "li": (frozenset({"li", "p"}), _LISTS),
    "dd": (frozenset({"dd", "dt", "p"}), frozenset({"dl"})),
    "dt": (frozenset({"dd", "dt", "p"}), frozenset({"dl"})),
    "option": (frozenset({"option"}), frozenset({"select"})),
    "td": (_CELLS, frozenset({"tr"})),
    "th": (_CELLS, frozenset({"tr"})),
    "tr": (_CELLS | {"tr"}, _ROWS),
    "tbody": (_CELLS | (_ROWS - {"table"}) | {"tr"}, frozenset({"table"})),
}
"""What the beginning of an element ends (§13.2.6.4.7), and where it is at home, so that it ends nothing."""
WALLS: Final = frozenset({"table", "td", "th", "caption", "button", "object"})
"""Elements out of which the end of another element does not reach."""
