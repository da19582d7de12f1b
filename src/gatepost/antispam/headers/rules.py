r"""The rule language of header signs: from text in the databases (`.signs`) to rules.

Called by `check` once, in the template. A file holds blocks; `#` starts a comment line, indented lines belong to the
block above:

    sign subject-noise
      detail: Headers: Spamware Subject
      weight: 2.0
      all: subject matches \S {6,}[a-z0-9]{3,10}$
      none: exists list-id
      says: The subject ends in white space and a meaningless word: {seen}

`part NAME` is a block of conditions only, for others to use. Keys: `detail` (a documented token), `weight` (log-odds),
`method` (`headers`, the default, or `headers plus`: counts at the higher levels only), `covers` (names of signs above
that this one makes needless), `says` (`{seen}` is what the first condition saw, `{field}` the value of a field) and
the conditions, one a line: all lines of `all` must hold, none of `none`, and one of `any` where there is any.

    exists FIELD · missing FIELD · many FIELD · empty FIELD
    FIELD matches REGEX        decoded text of any field of this name, letter case aside (`matches-case`: not aside)
    raw FIELD matches REGEX    its bytes as received, folds and all
    fact NAME                  what a regular expression cannot say: see `facts`
    is NAME                    a sign or part above holds

A FIELD that starts with @ is a derived value: see `facts`. Regular expressions are Hyperscan's: no look-around, no
back references, linear in what they read.
"""

import enum
import re
from collections.abc import Mapping, Sequence

import msgspec

from gatepost.antispam.headers.scanners import Expression
from gatepost.model.spam import Method

DETAILS = frozenset(
    {
        "Headers: Suspicious From",
        "Headers: Suspicious To",
        "Headers: Suspicious Reply-To",
        "Headers: Spamware Subject",
        "Headers: Suspicious Subject",
        "Headers: Spamware X-Mailer",
        "Headers: Suspicious X-Mailer",
        "Headers: Incompatible Headers",
        "Headers: Spamware Received",
        "Headers: Eastern Codepage",
    }
)
"""Documented detail tokens (specification antispam.md §2.3)."""
WEIGHT_LIMIT = 10.0

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_FIELD = re.compile(r"@?[a-z0-9][a-z0-9-]*")
_TEST = re.compile(r"(raw )?(\S+) (matches|matches-case) (.+)")
_VERBS = frozenset({"exists", "missing", "many", "empty", "fact", "is"})
_KEYS = {"detail", "weight", "method", "covers", "says", "all", "any", "none"}


class SignsError(ValueError):
    """A file of signs is faulty; the text names file, line and what would mend it."""


class Kind(enum.Enum):
    """What a condition asks."""

    EXISTS = enum.auto()
    MISSING = enum.auto()
    MANY = enum.auto()
    EMPTY = enum.auto()
    MATCHES = enum.auto()
    FACT = enum.auto()
    IS = enum.auto()


_PRESENT = frozenset({Kind.EXISTS, Kind.MANY, Kind.EMPTY})
"""Kinds that hold only when the field is there."""


class Condition(msgspec.Struct, frozen=True):
    """One condition. `subject`: field (a space in front: as received), fact or rule; `pattern`: its expression."""

    kind: Kind
    subject: str
    pattern: int = 0


class Rule(msgspec.Struct, frozen=True):
    """One sign, or one part (no `says`)."""

    name: str
    method: Method
    weight: float
    detail: str
    says: str
    conditions: tuple[Condition, ...]
    choices: tuple[Condition, ...]
    exceptions: tuple[Condition, ...]
    covers: tuple[str, ...]
    gates: frozenset[int | str] = frozenset()
    """Expressions and fields (`again`: that are there twice): one of the former must match, or one of the latter be
    there, for the rule to hold; empty when it may hold without."""
    absent: str = ""
    """Field that must not be there."""
    base: str = ""
    """Rule that must hold."""
    fact: str = ""
    """Fact that must hold."""


class RuleBook(msgspec.Struct, frozen=True):
    """All rules in order, and the expressions about each field (`raw` ones under the name with a space in front)."""

    rules: tuple[Rule, ...]
    expressions: dict[str, dict[int, Expression]]


def parse_rules(files: list[tuple[str, bytes]], facts: frozenset[str], values: frozenset[str]) -> RuleBook:
    """Read (path, content) pairs; `facts` and `values` are the names known. SignsError: one of them is faulty."""
    return _Reader(facts, values).run(files)


class _Reader:
    def __init__(self, facts: frozenset[str], values: frozenset[str]) -> None:
        self._facts, self._values = facts, values
        self._rules: dict[str, Rule] = {}
        self._patterns: dict[str, dict[int, Expression]] = {}
        self._numbers: dict[tuple[str, str, bool], int] = {}
        self._place = ""

    def run(self, files: list[tuple[str, bytes]]) -> RuleBook:
        for path, data in files:
            try:
                lines = data.decode().splitlines()
            except UnicodeDecodeError:
                raise SignsError(f"{path}: not UTF-8; save it as UTF-8") from None
            block: list[tuple[int, str]] = []
            for number, line in enumerate(lines, 1):
                if not line.strip() or line.lstrip().startswith("#"):
                    continue
                if not line.startswith((" ", "\t")):
                    self._take(path, block)
                    block = []
                block.append((number, line.strip()))
            self._take(path, block)
        return RuleBook(tuple(self._rules.values()), self._patterns)

    def _take(self, path: str, block: list[tuple[int, str]]) -> None:
        if not block:
            return
        number, head = block[0]
        self._place = f"{path} line {number}"
        kind, _, name = head.partition(" ")
        if kind not in {"sign", "part"} or not _NAME.fullmatch(name):
            raise self._fault(f"{head!r} starts no block; write `sign NAME` or `part NAME`")
        if name in self._rules:
            raise self._fault(f"{name} is there already; give it another name")
        values: dict[str, str] = {}
        tests: dict[str, list[Condition]] = {"all": [], "any": [], "none": []}
        for line_number, line in block[1:]:
            self._place = f"{path} line {line_number}"
            key, colon, value = line.partition(":")
            value = value.strip()
            if not colon or key not in _KEYS or not value:
                raise self._fault(
                    f"{line!r} is not understood; write one of {', '.join(sorted(_KEYS))}, a colon and a value"
                )
            if key in tests:
                tests[key].append(self._condition(value))
            elif key in values:
                raise self._fault(f"a second {key}; leave one")
            else:
                values[key] = value
        self._place = f"{path} line {number}"
        self._add(name, values, tests, is_sign=kind == "sign")

    def _add(self, name: str, values: dict[str, str], tests: dict[str, list[Condition]], *, is_sign: bool) -> None:
        if not tests["all"] and not tests["any"]:
            raise self._fault(f"{name} has no condition; add one with `all:` or `any:`")
        if is_sign != ("says" in values) or is_sign != ("weight" in values):
            raise self._fault(f"{name}: a sign needs `weight` and `says`, a part has neither")
        detail, method = values.get("detail", ""), values.get("method", Method.HEADERS)
        if detail and detail not in DETAILS:
            raise self._fault(f"{detail!r} is no documented token; use one of {', '.join(sorted(DETAILS))}")
        if method not in {Method.HEADERS, Method.HEADERS_PLUS}:
            raise self._fault(f"{method!r} is no method of header signs; use `headers` or `headers plus`")
        covers = tuple(values.get("covers", "").split())
        for covered in covers:
            if covered not in self._rules:
                raise self._fault(f"covers {covered}, which is no sign above; move it or mend the name")
        self._rules[name] = Rule(
            name,
            Method(method),
            self._weight(values["weight"]) if is_sign else 0.0,
            detail,
            values.get("says", ""),
            tuple(tests["all"]),
            tuple(tests["any"]),
            tuple(tests["none"]),
            covers,
            self._gates(tests["all"], tests["any"]),
            _first(tests["all"], {Kind.MISSING}),
            _first(tests["all"], {Kind.IS}),
            _first(tests["all"], {Kind.FACT}),
        )

    def _gates(self, conditions: list[Condition], choices: list[Condition]) -> frozenset[int | str]:
        """Return what opens a rule: what its first telling condition needs, else what all of its choices need."""
        for condition in conditions:
            gates = self._gates_of(condition)
            if gates:
                return gates
        needed = [self._gates_of(choice) for choice in choices]
        return frozenset[int | str]().union(*needed) if all(needed) else frozenset()

    def _gates_of(self, condition: Condition) -> frozenset[int | str]:
        """Return what a condition needs, nothing when it may hold for any message."""
        if condition.kind is Kind.MATCHES:
            return frozenset({condition.pattern})
        if condition.kind in _PRESENT and condition.subject[0] != "@":
            return frozenset({_again(condition.subject) if condition.kind is Kind.MANY else condition.subject})
        if condition.kind is Kind.IS:
            return self._rules[condition.subject].gates
        return frozenset()

    def _weight(self, text: str) -> float:
        try:
            weight = float(text)
        except ValueError:
            weight = WEIGHT_LIMIT + 1
        if not abs(weight) <= WEIGHT_LIMIT:
            raise self._fault(f"weight {text!r}; write a number from -{WEIGHT_LIMIT:g} to {WEIGHT_LIMIT:g}")
        return weight

    def _condition(self, text: str) -> Condition:
        test = _TEST.fullmatch(text)
        if test:
            raw, field, how, pattern = test.groups()
            source = f" {self._field(field)}" if raw else self._field(field)
            return Condition(Kind.MATCHES, source, self._pattern(source, pattern, exact=how == "matches-case"))
        verb, _, subject = text.partition(" ")
        if verb == "fact" and subject not in self._facts:
            raise self._fault(f"no fact is called {subject!r}; known are {', '.join(sorted(self._facts))}")
        if verb == "is" and subject not in self._rules:
            raise self._fault(f"no sign or part above is called {subject!r}; move it or mend the name")
        if verb not in _VERBS:
            raise self._fault(f"{text!r} is no condition; write {', '.join(sorted(_VERBS))} or `FIELD matches REGEX`")
        return Condition(Kind[verb.upper()], subject if verb in {"fact", "is"} else self._field(subject))

    def _field(self, name: str) -> str:
        if not _FIELD.fullmatch(name):
            raise self._fault(f"{name!r} is no field; write its name in lower case")
        if name.startswith("@") and name[1:] not in self._values:
            raise self._fault(f"no derived value is called {name!r}; known are {', '.join(sorted(self._values))}")
        return name

    def _pattern(self, source: str, pattern: str, *, exact: bool) -> int:
        number = self._numbers.setdefault((source, pattern, exact), len(self._numbers))
        self._patterns.setdefault(source, {}).setdefault(number, Expression(pattern, exact, self._place))
        return number

    def _fault(self, text: str) -> SignsError:
        return SignsError(f"{self._place}: {text}")


def again(fields: Mapping[str, Sequence[object]]) -> list[str]:
    """Return what the names open that more than one field bears: rules of `Kind.MANY`."""
    return [_again(name) for name, same in fields.items() if len(same) > 1]


def _again(name: str) -> str:
    return f"{name} again"  # no field is called so: a name has no space


def _first(conditions: list[Condition], kinds: set[Kind]) -> str:
    return next((each.subject for each in conditions if each.kind in kinds and each.subject[0] != "@"), "")
