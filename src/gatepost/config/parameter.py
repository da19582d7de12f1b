"""One parameter of the schema: everything the readers, the dump, `config explain` and the manual need to know.

A section is a frozen msgspec Struct whose fields are annotated `Annotated[type, Parameter]` by the builders below.
The field's name is the parameter's name, the field's default its default; adding a parameter means adding a field.
"""

import enum
import typing
from typing import TypedDict, Unpack

import msgspec

from gatepost.config.units import Unit, format_size, format_time


class Kind(enum.StrEnum):
    """What kind of value it is, in the words of the manual."""

    FLAG = "boolean"
    COUNT = "integer"
    SIZE = "size"
    """Bytes at run time."""
    TIME = "duration"
    """Seconds (float) at run time."""
    TEXT = "text"
    PATH = "path"
    """Absolute at run time; a relative one counts from the directory of the file it stands in."""
    CHOICE = "one of"
    STATUSES = "list of"
    """Tokens, or `all`, or `none`."""
    LIST = "list"


class Item(enum.StrEnum):
    """What one element of a LIST (or a TEXT) must look like."""

    TEXT = "text"
    ADDRESS = "address"
    DOMAIN_MASK = "domain mask"
    ADDRESS_MASK = "address mask"
    NAME_MASK = "file name mask"
    MIME_MASK = "type/subtype mask"
    NETWORK = "address or network"
    SENDER = "address mask or network"
    ENDPOINT = "ip:port"
    NAME_SERVER = "ip or ip:port"
    ROUTE = "mask and next hop"
    NEXT_HOP = "[host:port] or domain"
    HOSTNAME = "host name"
    RELAY_RULE = "relay rule"
    CONNECT_RULE = "connect rule"
    HELO_RULE = "HELO rule"
    MAILFROM_RULE = "MAIL FROM rule"
    SPAM_ACTION = "action"
    SERVICE = "zone and rating"
    HEADER_PREFIX = "start of a field name"
    STEP_LIST = "zone"
    LINK_SERVICE = "zone, rating"
    PERSON = "name <address>"


class Required(enum.Enum):
    """Who must set it."""

    NO = "no"
    INI = "in the INI form"
    ALWAYS = "yes"


class Guard(enum.StrEnum):
    """How far console and API may set it; the file sets everything."""

    NONE = "none"
    STATE = "state"
    """A path: below the state directory only."""
    FILE = "file"
    """A command, or what reaches as far as one: not at all."""


OWN = "Gatepost"
"""Generation of the parameters that no documented gateway has."""
ALL = "all"
MIDDLE = "G50 G55 M55 M56"
LATER = "G55 M55 M56"

YEAR_S = 366 * 86400
"""Upper bound of durations in the wide range: longer than any mail or connection should live."""
WIDE_COUNT = 100_000
"""Upper bound of session and recipient counts in the wide range."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """The description of one parameter. Bounds count in `unit`."""

    documented: str
    """CamelCase name of the INI form; "" when the parameter is spelled in snake_case only."""
    kind: Kind
    meaning: str
    unit: Unit = Unit.NONE
    low: float | None = None
    high: float | None = None
    wide_low: float | None = None
    """Bounds of the TOML form where they are wider than the documented ones."""
    wide_high: float | None = None
    choices: tuple[str, ...] = ()
    item: Item = Item.TEXT
    required: Required = Required.NO
    generations: str = ALL
    built: bool = True
    """False: read, checked and shown, but nothing acts on it yet (a warning says so)."""
    aliases: tuple[str, ...] = ()
    """Other names it is read under, older spellings among them."""
    derived: str = ""
    """Default made from other values: `{state}`, `{hostname}`, `{postmaster}`."""
    shown: bool = True
    """False: an object (listener, route) says the same in the dump."""
    guard: Guard = Guard.NONE
    secret: bool = False
    """A password: it is never shown by console or API, only whether it is set."""

    @property
    def newest(self) -> bool:
        """The documentation of the newest generation (5.6) has it."""
        return self.generations == ALL or "M56" in self.generations

    def bounds(self, *, wide: bool) -> tuple[float | None, float | None]:
        """Return (low, high) in bytes, seconds or counts, of the documented or of the wide range."""
        low = self.wide_low if wide and self.wide_low is not None else self.low
        high = self.wide_high if wide and self.wide_high is not None else self.high
        scale = self.unit.scale
        return (None if low is None else low * scale, None if high is None else high * scale)

    def describe_range(self, *, wide: bool) -> str:
        """Return the allowed values in words, "" when anything goes."""
        if self.kind is Kind.FLAG:
            return "true or false"
        if self.choices:
            words = ", ".join(self.choices)
            return f"{words}; all; none" if self.kind is Kind.STATUSES else words
        low = self.wide_low if wide and self.wide_low is not None else self.low
        high = self.wide_high if wide and self.wide_high is not None else self.high
        if low is None or high is None:
            return self.item.value if self.item is not Item.TEXT else ""
        return f"{low:g}…{high:.12g}" + (f" {self.unit.word}" if self.unit.word else "")

    def describe_value(self, value: object) -> str:
        """Return a value of this parameter as people read it; "" for empty."""
        if self.kind is Kind.FLAG:
            return "true" if value else "false"
        if self.kind is Kind.SIZE and isinstance(value, int):
            return format_size(value)
        if self.kind is Kind.TIME and isinstance(value, float | int):
            return format_time(value)
        if isinstance(value, tuple | list):
            return ", ".join(str(v) for v in value)
        return str(value)


class Field(msgspec.Struct, frozen=True):
    """A parameter in its place: section, snake_case name, default."""

    section: str
    name: str
    parameter: Parameter
    default: object

    @property
    def documented(self) -> str:
        """Name in the INI form."""
        return self.parameter.documented or self.name

    def default_text(self) -> str:
        """Return the default as the manual shows it."""
        if self.parameter.required is Required.ALWAYS:
            return ""
        derived = self.parameter.derived
        if derived:
            return derived.replace("{", "<").replace("}", ">")
        return self.parameter.describe_value(self.default)


def fold(name: str) -> str:
    """Return the form under which names are compared: `MaximalBackoffTime` and `maximal_backoff_time` are one."""
    return name.replace("_", "").replace("-", "").lower()


def fields_of(section: str, struct: type[msgspec.Struct]) -> tuple[Field, ...]:
    """Return the parameters of a section's struct in their order (fields without a Parameter are no parameters)."""
    hints = typing.get_type_hints(struct, include_extras=True)
    found = []
    for field in msgspec.structs.fields(struct):
        for metadata in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(metadata, Parameter):
                default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
                found.append(Field(section, field.name, metadata, default))
    return tuple(found)


class Extra(TypedDict, total=False):
    """What the builders below pass on."""

    required: Required
    generations: str
    built: bool
    aliases: tuple[str, ...]
    derived: str
    shown: bool
    guard: Guard
    secret: bool


def flag(documented: str, meaning: str, **extra: Unpack[Extra]) -> Parameter:
    """Build a yes/no parameter."""
    return Parameter(documented=documented, kind=Kind.FLAG, meaning=meaning, **extra)


def count(
    documented: str,
    low: int,
    high: int,
    meaning: str,
    *,
    wide_high: int | None = None,
    unit: Unit = Unit.NONE,
    **extra: Unpack[Extra],
) -> Parameter:
    """Build an integer parameter; `wide_high` is the upper bound of the TOML form."""
    return Parameter(
        documented=documented,
        kind=Kind.COUNT,
        meaning=meaning,
        unit=unit,
        low=low,
        high=high,
        wide_high=wide_high,
        **extra,
    )


def size(
    documented: str,
    low: float,
    high: float,
    meaning: str,
    *,
    unit: Unit,
    wide: tuple[float, float] | None = None,
    **extra: Unpack[Extra],
) -> Parameter:
    """Build a size parameter; bounds in `unit`."""
    return Parameter(
        documented=documented,
        kind=Kind.SIZE,
        meaning=meaning,
        unit=unit,
        low=low,
        high=high,
        wide_low=wide[0] if wide else None,
        wide_high=wide[1] if wide else None,
        **extra,
    )


def duration(
    documented: str,
    low: float,
    high: float,
    meaning: str,
    *,
    unit: Unit = Unit.SECONDS,
    **extra: Unpack[Extra],
) -> Parameter:
    """Build a duration; in the TOML form it may be anything from one second (or zero, where documented) to a year."""
    return Parameter(
        documented=documented,
        kind=Kind.TIME,
        meaning=meaning,
        unit=unit,
        low=low,
        high=high,
        wide_low=min(low, 1 / unit.scale),
        wide_high=YEAR_S / unit.scale,
        **extra,
    )


def text(documented: str, meaning: str, *, item: Item = Item.TEXT, **extra: Unpack[Extra]) -> Parameter:
    """Build a text parameter; `item` asks for a certain form."""
    return Parameter(documented=documented, kind=Kind.TEXT, item=item, meaning=meaning, **extra)


def path(documented: str, meaning: str, **extra: Unpack[Extra]) -> Parameter:
    """Build a file or directory parameter."""
    extra.setdefault("guard", Guard.STATE)
    return Parameter(documented=documented, kind=Kind.PATH, meaning=meaning, **extra)


def choice(documented: str, choices: tuple[str, ...], meaning: str, **extra: Unpack[Extra]) -> Parameter:
    """Build a parameter that takes one of a few words."""
    return Parameter(documented=documented, kind=Kind.CHOICE, choices=choices, meaning=meaning, **extra)


def statuses(documented: str, choices: tuple[str, ...], meaning: str, **extra: Unpack[Extra]) -> Parameter:
    """Build a list of status tokens."""
    return Parameter(documented=documented, kind=Kind.STATUSES, choices=choices, meaning=meaning, **extra)


def listing(documented: str, item: Item, meaning: str, **extra: Unpack[Extra]) -> Parameter:
    """Build a list parameter: repeated lines in the INI form, an array in TOML."""
    return Parameter(documented=documented, kind=Kind.LIST, item=item, meaning=meaning, **extra)
