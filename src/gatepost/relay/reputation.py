"""Local reputation: what client networks and proved sender domains have sent before, weighed and slowly forgotten.

Called by `relay.lookups.service`: `ReputationLookup` adds one sign to a message, `observe` learns from what all other
signs say of it, never from its own, so that an opinion cannot feed itself. Bounded on every side: the weight, the
number of what is known, what one observation counts. A bad name counts at most +2, a good one at most -1: what slips
through the checks must not earn itself a free pass. Domains count only when SPF or DKIM proves them, for anybody can
write a sender.

Each relay learns by itself; what it knows lies in a file of its own, written whole or not at all and at most a minute
behind. To lose it costs nothing but time.
"""

import asyncio
import hashlib
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from gatepost.antispam.rating import rate
from gatepost.authn.psl import registrable_domain
from gatepost.model.envelope import Envelope
from gatepost.model.finding import Analysis
from gatepost.model.spam import Method, SpamFacts
from gatepost.relay.lookups.base import EnvelopeFacts, NetworkNotes, Query
from gatepost.relay.lookups.hops import is_public
from gatepost.spool import clock
from gatepost.storage.whole_file import replace_file

BAD_LIMIT: Final = 2.0
GOOD_LIMIT: Final = -1.0
"""Log-odds of the worst and of the best name."""
SCALE: Final = 0.8
"""Log-odds of a name for each of the ratio between bad and good mail."""
LEAST: Final = 3.0
"""Observations, after forgetting, before a name counts."""
ENTRIES_LIMIT: Final = 100_000
"""Names known: some 15 MB. The longest unseen is forgotten first."""
COUNT_LIMIT: Final = 1_000.0
"""Most observations that are kept of one name: a change of manners must show within days."""
SPAM_FROM: Final = 90.0
HAM_TO: Final = 20.0
"""Ratings that are learned from; nothing is learned of what is between."""
BLACKLISTED_FROM: Final = 100
"""Sums of DNSBL ratings above are spam, too."""
SAVE_S: Final = 60.0
FILE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a file that are read: several times what we write."""
_V4_PREFIX: Final = 24
_V6_PREFIX: Final = 64

_REPUTATION: Final = Method.REPUTATION


class _Record(msgspec.Struct, array_like=True, gc=False):
    spam: float
    ham: float
    at: float
    """Unix time of the last observation, from which both count."""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(dict[bytes, _Record])


class ReputationTable:
    """What is known, by name. Pure; the times are Unix times."""

    def __init__(self, half_life_s: float) -> None:
        self.half_life_s = half_life_s
        self._records: OrderedDict[bytes, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def observe(self, key: bytes, *, spam: bool, now: float) -> None:
        """Take note of one message."""
        record = self._records.pop(key, None) or _Record(0.0, 0.0, now)
        kept = self._kept(record, now)
        bad, good = record.spam * kept + spam, record.ham * kept + (not spam)
        cut = min(1.0, COUNT_LIMIT / (bad + good))
        self._records[key] = _Record(bad * cut, good * cut, max(now, record.at))
        if len(self._records) > ENTRIES_LIMIT:
            self._records.popitem(last=False)

    def weigh(self, key: bytes, now: float) -> tuple[float, float, float]:
        """Return (log-odds, bad, good messages as they count now); no log-odds for what is not known well."""
        record = self._records.get(key)
        if record is None:
            return 0.0, 0.0, 0.0
        kept = self._kept(record, now)
        bad, good = record.spam * kept, record.ham * kept
        if bad + good < LEAST:
            return 0.0, bad, good
        return max(GOOD_LIMIT, min(BAD_LIMIT, SCALE * math.log((bad + 1) / (good + 1)))), bad, good

    def _kept(self, record: _Record, now: float) -> float:
        """Return the share of what is remembered of a record; a clock put back forgets nothing."""
        return math.pow(0.5, max(0.0, now - record.at) / self.half_life_s)

    def dump(self) -> bytes:
        """Return all of it for a file."""
        return _ENCODER.encode(self._records)

    def load(self, stored: bytes) -> None:
        """Take what `dump` gave. ValueError when it is none of ours; then nothing has changed."""
        try:
            records = _DECODER.decode(stored)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from error
        for record in records.values():
            if not (
                0.0 <= record.spam <= COUNT_LIMIT and 0.0 <= record.ham <= COUNT_LIMIT and math.isfinite(record.at)
            ):
                raise ValueError("counts out of range")
        self._records = OrderedDict(list(records.items())[-ENTRIES_LIMIT:])


class Reputation:
    """The table of one relay and its file."""

    def __init__(self, path: Path, half_life_s: float, report: Callable[[str, str], None]) -> None:
        """`report(level, text)` logs."""
        self.path = path
        self._report = report
        self._table = ReputationTable(half_life_s)
        self._changed = False
        self._failed = False
        self._counts = {"known": 0, "weighed": 0, "learned_spam": 0, "learned_ham": 0}
        try:
            with path.open("rb") as file:
                self._table.load(file.read(FILE_LIMIT))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            report("W", f"reputation {path} cannot be used, it begins empty: {error}")

    def configure(self, half_life_s: float) -> None:
        """Forget at another pace from now on."""
        self._table.half_life_s = half_life_s

    def weigh(self, names: Iterable[tuple[str, str]], notes: NetworkNotes, now: float) -> None:
        """Add a sign for the (kind, name) pairs a message comes from: together, within the bounds of one."""
        told: list[str] = []
        total = 0.0
        for kind, name in names:
            weight, bad, good = self._table.weigh(_key(kind, name), now)
            if weight:
                total += weight
                told.append(f"{kind} {name}: {bad:.0f} spam, {good:.0f} other")
        total = max(GOOD_LIMIT, min(BAD_LIMIT, total))
        if told:
            self._counts["weighed"] += 1
            name = "bad-reputation" if total > 0 else "good-reputation"
            notes.sign(_REPUTATION, name, f"mail that came lately from {'; '.join(told)}", total)

    def observe(self, names: Iterable[tuple[str, str]], *, spam: bool, now: float) -> None:
        """Learn from one message."""
        for kind, name in names:
            self._table.observe(_key(kind, name), spam=spam, now=now)
        self._changed = True
        self._counts["learned_spam" if spam else "learned_ham"] += 1

    def status(self) -> dict[str, object]:
        """Return what the status shows."""
        return {**self._counts, "known": len(self._table)}

    async def save(self) -> None:
        """Write what is new."""
        if not self._changed:
            return
        self._changed = False
        stored = self._table.dump()
        try:
            await asyncio.to_thread(_write, self.path, stored)
            self._failed = False
        except OSError as error:
            self._changed = True
            if not self._failed:
                self._report("E", f"reputation {self.path} cannot be written: {error}")
            self._failed = True


class ReputationLookup:
    """Weighs a message by where it comes from; asks nobody, and after all others, which prove domains."""

    name = "reputation"
    methods = frozenset((_REPUTATION,))

    def __init__(self, reputation: Reputation) -> None:
        self._reputation = reputation

    def begin(self, facts: EnvelopeFacts) -> Query | None:
        """Nothing is asked."""
        return _ReputationQuery(self._reputation, facts.envelope)

    def status(self) -> dict[str, object]:
        """Return the counters."""
        return self._reputation.status()


class _ReputationQuery:
    """One message."""

    __slots__ = ("_envelope", "_reputation")

    def __init__(self, reputation: Reputation, envelope: Envelope) -> None:
        self._reputation = reputation
        self._envelope = envelope

    def finish(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> None:  # noqa: ARG002 - it needs neither
        """Add the sign."""
        self._reputation.weigh(names_of(self._envelope, notes.authn.authenticated), notes, clock.now())

    def cancel(self) -> None:
        """Nothing is under way."""


def names_of(envelope: Envelope, authenticated: Iterable[str]) -> list[tuple[str, str]]:
    """Return what a message comes from, as (kind, name): the client's network, and the domains that are proved."""
    names = []
    ip = envelope.client.ip
    if is_public(ip):
        address = ipaddress.ip_address(ip.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        address = mapped or address
        prefix = _V4_PREFIX if address.version == 4 else _V6_PREFIX
        names.append(("network", str(ipaddress.ip_network((address, prefix), strict=False))))
    domains = dict.fromkeys(registrable_domain(domain) for domain in authenticated)
    return names + [("domain", domain) for domain in domains if domain]


def judge(analysis: Analysis) -> bool | None:
    """Return whether a message is spam by all signs but reputation's; None: too close to learn from."""
    spam, network = analysis.spam, analysis.network
    if spam is None or network is None or spam.trouble:
        return None
    if network.dnsbl_sum > BLACKLISTED_FROM:
        return True
    rating = rate(sign for sign in (*spam.signs, *network.signs) if sign.method is not _REPUTATION)
    return True if rating >= SPAM_FROM else False if rating <= HAM_TO else None


def _key(kind: str, name: str) -> bytes:
    return hashlib.blake2b(f"{kind} {name}".encode(), digest_size=8).digest()


def _write(path: Path, stored: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, stored)
