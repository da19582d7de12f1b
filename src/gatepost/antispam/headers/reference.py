"""What header signs know of the world: free mail services, and brands with their true domains. Data of the databases.

`.domains` files hold a domain a line. `.brands` files hold `Name, Other Name: domain domain …` a line: whoever calls
himself so writes from one of these domains or from below one. `=Name` is one that people bear, too: it counts only when
nothing but words of an office (`Team`, `Support`) stands beside it. `~Name` is one that other firms bear: such a word
must stand beside it, and nothing else. `#` starts a comment line.
"""

import re
from collections.abc import Iterator

import msgspec

from gatepost.antispam.knowledge import Knowledge, read_lines

_DOMAIN = re.compile(r"(?:[a-z0-9-]+\.)+[a-z0-9-]+")
_WORD = re.compile(r"[^\W_]+")
WORDS_LIMIT = 12
"""Words of a display name in which a brand is looked for."""


_OFFICE = frozenset(
    {
        *("account", "accounts", "alert", "alerts", "billing", "care", "center", "centre", "client"),
        *("clients", "com", "customer", "customers", "delivery", "desk", "help", "helpdesk", "info"),
        *("information", "live", "mail", "message", "messages", "no", "noreply", "notice", "notification"),
        *("notifications", "notify", "official", "online", "order", "orders", "payment", "payments"),
        *("rewards", "security", "service", "services", "shipping", "support", "team", "tracking", "update"),
        *("updates", "verification", "wallet", "the", "app", "inc", "llc", "atendimento", "alerta", "aviso"),
        *("cliente", "clientes", "equipe", "equipo", "segurança", "seguridad", "servicio", "serviço"),
        *("soporte", "suporte", "assistance", "équipe", "sécurité", "kundenservice", "kundendienst"),
        *("sicherheit", "konto", "rechnung", "klantenservice", "assistenza", "servizio", "поддержка"),
        *("служба", "безопасность"),
    }
)
"""Words of a display name that say which office writes, and nothing of who it is."""


class Brand(msgspec.Struct, frozen=True):
    """A brand and where it writes from."""

    name: str
    domains: frozenset[str]


class Reference(msgspec.Struct, frozen=True):
    """All of it."""

    free_mail: frozenset[str] = frozenset()
    brands: dict[tuple[str, ...], Brand] = {}
    """By the words of a name, lower case."""
    whole: dict[tuple[str, ...], Brand] = {}
    """The same for names that must stand alone."""
    offices: dict[tuple[str, ...], Brand] = {}
    """The same for names that words of an office must stand beside."""
    begins: frozenset[str] = frozenset()
    """The first words of them all."""

    def is_free(self, domain: str) -> bool:
        """Whether anybody gets an address in this domain."""
        return domain in self.free_mail

    def find_brand(self, name: str) -> Brand | None:
        """Return the brand whose name stands in a display name."""
        if name.isascii():
            words = tuple(_WORD.findall(name.lower())[:WORDS_LIMIT])
        else:  # where a small letter may be more characters than its capital, signs among them
            words = tuple(word.lower() for word in _WORD.findall(name)[:WORDS_LIMIT])
        if self.begins.isdisjoint(words):  # so it is for next to all mail
            return None
        name_alone = tuple(word for word in words if word not in _OFFICE and not word.isdigit())
        alone = self.whole.get(name_alone)
        if alone is None and not _OFFICE.isdisjoint(words):
            alone = self.offices.get(name_alone)
        if alone is not None:
            return alone
        for start in range(len(words)):
            for length in (1, 2, 3):
                brand = self.brands.get(words[start : start + length])
                if brand is not None and start + length <= len(words):
                    return brand
        return None


def load_reference(knowledge: Knowledge) -> Reference:
    """Read the reference files. ValueError: one of them is faulty; the text names file and line."""
    free: set[str] = set()
    brands: dict[tuple[str, ...], Brand] = {}
    whole: dict[tuple[str, ...], Brand] = {}
    offices: dict[tuple[str, ...], Brand] = {}
    by_mark = {"": brands, "=": whole, "~": offices}
    for path, number, line in _lines(knowledge, ".domains"):
        free.add(_domain(path, number, line))
    for path, number, line in _lines(knowledge, ".brands"):
        names, colon, domains = line.partition(":")
        known = frozenset(_domain(path, number, word) for word in domains.split())
        if not colon or not known:
            raise ValueError(f"{path} line {number}: write `Name: domain domain`")
        for name in names.split(","):
            mark = name.strip()[:1] if name.strip()[:1] in by_mark else ""
            bare = name.strip().removeprefix(mark)
            words = tuple(word.lower() for word in _WORD.findall(bare))
            if not words:
                raise ValueError(f"{path} line {number}: a name without a word")
            by_mark[mark][words] = Brand(bare, known)
    begins = frozenset(words[0] for words in (*brands, *whole, *offices))
    return Reference(frozenset(free), brands, whole, offices, begins)


def _lines(knowledge: Knowledge, suffix: str) -> Iterator[tuple[str, int, str]]:
    for path, data in knowledge.by_suffix(suffix):
        yield from ((path, number, line) for number, line in read_lines(path, data))


def _domain(path: str, number: int, text: str) -> str:
    if not _DOMAIN.fullmatch(text):
        raise ValueError(f"{path} line {number}: {text!r} is no domain; write it in lower case, as A-labels")
    return text
