"""The protocol of UDS, the urgent detection service: questions and answers in sealed datagrams, both sides.

Used by `relay.lookups.uds` and `cli.uds` (client) and by `service.uds` (server). Bytes in, values out. Promises:

- every datagram has one of two fixed sizes, whatever it holds, and an answer is smaller than its question;
- only who has the key can make, read or change one; a nonce is never used twice with one key;
- a question is accepted once, and only while its time stamp is within `WINDOW_S` of the server's clock;
- memory is bounded: sessions by `CLIENT_SESSIONS` and `SESSIONS_LIMIT`, what is pending by `PENDING_LIMIT`;
- anything that is not a datagram of this protocol, or not for us, is None, never an exception.

Layout, numbers in network order. A client starts a *session* (16 random bytes) for every socket it opens:

    question  "GU" version(1) 1 | key id(8) | session(16) | number(8) | sealed 12 + 48 x 8 bytes | tag(16)
    answer    "GU" version(1) 2 | boot(16)  | number(8)   | sealed 20 + 48 x 3 bytes | tag(16)

Keys are derived (HKDF-SHA256) from the client's secret: for questions with the session, for answers with the session
and the server's *boot* (16 random bytes of its start). The number is the nonce of ChaCha20-Poly1305, each side counts
its own.
"""

import base64
import binascii
import enum
import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION: Final = 1
SECRET_BYTES: Final = 32
SESSION_BYTES: Final = 16
VALUE_BYTES: Final = 8
"""Of a fingerprint on the way: two different mails meet by chance once in 2^64."""
VALUES_LIMIT: Final = 48
"""Fingerprints in a datagram: a text has 32, the rest is for links, images and attachments."""
WINDOW_S: Final = 300.0
"""How far the clocks of client and server may differ."""
CLIENT_SESSIONS: Final = 256
"""Sessions of one client remembered at once: every relay has one, every command line call, too."""
SESSIONS_LIMIT: Final = 20_000
"""Sessions of all clients: about 40 MB."""
PENDING_LIMIT: Final = 10_000
"""Questions of a client that wait for an answer."""
COUNT_LIMIT: Final = 255
NAME_LIMIT: Final = 64
KEYS_LIMIT: Final = 10_000
"""Clients of one server."""

_MAGIC: Final = b"GU"
_QUESTION_HEAD: Final = struct.Struct("!2sBB8s16sQ")
_ANSWER_HEAD: Final = struct.Struct("!2sBB16sQ")
_QUESTION_BODY: Final = struct.Struct("!BBBxQ")
_ANSWER_BODY: Final = struct.Struct("!BBxxQQ")
_TAG_BYTES: Final = 16
_QUESTION_SEALED: Final = _QUESTION_BODY.size + VALUES_LIMIT * VALUE_BYTES
_ANSWER_SEALED: Final = _ANSWER_BODY.size + VALUES_LIMIT * 3
QUESTION_BYTES: Final = _QUESTION_HEAD.size + _QUESTION_SEALED + _TAG_BYTES
ANSWER_BYTES: Final = _ANSWER_HEAD.size + _ANSWER_SEALED + _TAG_BYTES
_QUESTION_KIND: Final = 1
_ANSWER_KIND: Final = 2
_REPLAY_BITS: Final = 1024
"""Numbers behind the highest one that may still come in: datagrams overtake each other."""
_SWEEP_S: Final = 5.0
"""Pause between looks for old sessions when there is no room: a look goes over all of them."""
_BOOTS_LIMIT: Final = 4
"""Starts of one server that a client holds keys of: the present one, and late answers of the one before."""


class Wish(enum.IntEnum):
    """What a question wants."""

    ASK = 1
    """What is known of these fingerprints?"""
    REPORT = 2
    """Take down what I say of these fingerprints."""
    PROBE = 3
    """Are you there?"""


class Report(enum.IntEnum):
    """What a report says of its fingerprints."""

    NONE = 0
    """It is no report."""
    SPAM = 1
    WANTED = 2
    """They belong to mail that people want."""
    WITHDRAWN = 3
    """What I said before does not hold."""


class State(enum.IntEnum):
    """How the server took the question."""

    OK = 0
    BUSY = 1
    """Over a limit of the client's or of the server's: ask another one."""
    REFUSED = 2
    """The client has no right to this."""
    STALE = 3
    """The question's time is too far from the server's, or a report is older than the server's start."""


class Question(msgspec.Struct, frozen=True):
    """One question."""

    wish: Wish
    time: float
    """Unix seconds by the client's clock."""
    values: tuple[bytes, ...] = ()
    """At most `VALUES_LIMIT`, of `VALUE_BYTES` each."""
    report: Report = Report.NONE


class Known(msgspec.Struct, frozen=True):
    """What a server knows of a fingerprint. Numbers above `COUNT_LIMIT` are told as that."""

    spam: int = 0
    """Gateways that reported it as spam."""
    wanted: int = 0
    """Gateways that reported it as wanted."""
    asking: int = 0
    """Gateways that asked for it within minutes."""


class Answer(msgspec.Struct, frozen=True):
    """One answer."""

    state: State
    time: float
    """Unix seconds by the server's clock."""
    known: tuple[Known, ...] = ()
    """In the order of the values asked for."""


class UdsKey(msgspec.Struct, frozen=True):
    """A client's key, as both sides have it."""

    name: str
    secret: bytes
    may_report: bool = False

    @property
    def id(self) -> bytes:
        """What datagrams name the key by."""
        return hashlib.sha256(b"gatepost uds key id\0" + self.secret).digest()[:8]


class KeysError(ValueError):
    """Keys cannot be used; the text says which line, never what a secret is."""


_RIGHTS: Final = {"ask": False, "report": True}


def parse_keys(text: str) -> tuple[UdsKey, ...]:
    """Return the keys of a file: `NAME RIGHT SECRET` a line (RIGHT: ask or report), `#` starts a comment. KeysError."""
    keys: list[UdsKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 3 or words[1] not in _RIGHTS:
            raise KeysError(f"line {number}: wanted are a name, the word ask or report, and a secret")
        if len(words[0]) > NAME_LIMIT or not words[0].isprintable():
            raise KeysError(f"line {number}: the name is longer than {NAME_LIMIT} characters or not printable")
        try:
            secret = base64.b64decode(words[2], validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise KeysError(f"line {number}: the secret of {words[0]} is not {SECRET_BYTES} bytes in base64")
        key = UdsKey(words[0], secret, _RIGHTS[words[1]])
        if any(each.name == key.name or each.secret == secret for each in keys):
            raise KeysError(f"line {number}: the name or the secret of {words[0]} is there twice")
        keys.append(key)
        if len(keys) > KEYS_LIMIT:
            raise KeysError(f"more than {KEYS_LIMIT} keys")
    return tuple(keys)


def build_key_line(key: UdsKey) -> str:
    """Return the line of a keys file, without its end."""
    return f"{key.name} {'report' if key.may_report else 'ask'} {base64.b64encode(key.secret).decode()}"


def _derive(secret: bytes, salt: bytes, info: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDF(SHA256(), SECRET_BYTES, salt, info).derive(secret))


def _question_cipher(secret: bytes, session: bytes) -> ChaCha20Poly1305:
    return _derive(secret, session, b"gatepost uds 1 question")


def _answer_cipher(secret: bytes, session: bytes, boot: bytes) -> ChaCha20Poly1305:
    return _derive(secret, session + boot, b"gatepost uds 1 answer")


def _nonce(number: int) -> bytes:
    return number.to_bytes(12)


class UdsClientSession:
    """Questions of one client socket to one server, and the answers to them."""

    def __init__(self, key: UdsKey, session: bytes) -> None:
        """`session`: SESSION_BYTES random bytes that no session of this key had before."""
        self._secret = key.secret
        self._key_id = key.id
        self._session = session
        self._cipher = _question_cipher(key.secret, session)
        self._servers: dict[bytes, ChaCha20Poly1305] = {}
        self._number = 0
        self._pending: dict[int, int] = {}

    def ask(self, question: Question) -> tuple[int, bytes]:
        """Return (number, datagram). ValueError: more values, or longer ones, than a datagram takes."""
        values = question.values
        if len(values) > VALUES_LIMIT or any(len(value) != VALUE_BYTES for value in values):
            raise ValueError("fingerprints do not fit a datagram")
        self._number = number = self._number + 1
        if len(self._pending) >= PENDING_LIMIT:
            del self._pending[next(iter(self._pending))]
        self._pending[number] = len(values)
        head = _QUESTION_HEAD.pack(_MAGIC, VERSION, _QUESTION_KIND, self._key_id, self._session, number)
        body = _QUESTION_BODY.pack(question.wish, question.report, len(values), max(0, int(question.time * 1000)))
        plain = (body + b"".join(values)).ljust(_QUESTION_SEALED, b"\0")
        return number, head + self._cipher.encrypt(_nonce(number), plain, head)

    def forget(self, number: int) -> None:
        """Wait no longer for the answer to this question."""
        self._pending.pop(number, None)

    def receive(self, datagram: bytes) -> tuple[int, Answer] | None:
        """Return (number of the question, answer); None for what answers nothing that is pending."""
        if len(datagram) != ANSWER_BYTES:
            return None
        head = datagram[: _ANSWER_HEAD.size]
        magic, version, kind, boot, number = _ANSWER_HEAD.unpack(head)
        if (magic, version, kind) != (_MAGIC, VERSION, _ANSWER_KIND):
            return None
        cipher = self._servers.get(boot) or _answer_cipher(self._secret, self._session, boot)
        try:
            plain = cipher.decrypt(_nonce(number), datagram[_ANSWER_HEAD.size :], head)
        except InvalidTag:
            return None
        if boot not in self._servers:
            while len(self._servers) >= _BOOTS_LIMIT:
                del self._servers[next(iter(self._servers))]
            self._servers[boot] = cipher
        state, count, time_ms, asked = _ANSWER_BODY.unpack_from(plain)
        wanted = self._pending.get(asked)
        if wanted is None or count not in {0, wanted} or state not in _STATES:
            return None
        del self._pending[asked]
        at = _ANSWER_BODY.size
        known = tuple(Known(*plain[at + 3 * i : at + 3 * i + 3]) for i in range(count))
        return asked, Answer(State(state), time_ms / 1000, known)


class Received(msgspec.Struct, frozen=True):
    """A question that came in, and what its answer needs."""

    key: UdsKey
    question: Question
    fresh: bool
    """False: its time is out of the window; it is to be answered with STALE."""
    number: int
    cipher: ChaCha20Poly1305
    """Of the answer."""


class _Session:
    """What a server remembers of a session: its ciphers and the numbers it had."""

    __slots__ = ("answers", "highest", "questions", "seen", "used")

    def __init__(self, questions: ChaCha20Poly1305, answers: ChaCha20Poly1305) -> None:
        self.questions = questions
        self.answers = answers
        self.highest = 0
        self.seen = 0
        self.used = 0.0

    def take(self, number: int) -> bool:
        """Note a number; False when it was there before, or is too old to tell."""
        ahead = number - self.highest
        if ahead > 0:
            self.seen = (self.seen << ahead | 1) & ((1 << _REPLAY_BITS) - 1) if ahead < _REPLAY_BITS else 1
            self.highest = number
            return True
        bit = 1 << -ahead
        if -ahead >= _REPLAY_BITS or self.seen & bit:
            return False
        self.seen |= bit
        return True


class UdsServerSession:
    """A server's side of all its clients."""

    def __init__(self, keys: Iterable[UdsKey], boot: bytes) -> None:
        """`boot`: SESSION_BYTES random bytes of this start."""
        self._boot = boot
        self._answered = 0
        self._sessions: dict[bytes, dict[bytes, _Session]] = {}
        self._count = 0
        self._swept = 0.0
        self.configure(keys)

    def configure(self, keys: Iterable[UdsKey]) -> None:
        """Take (new) keys; sessions of keys that are gone end."""
        self._keys = {key.id: key for key in keys}
        self._sessions = {key_id: each for key_id, each in self._sessions.items() if key_id in self._keys}
        self._count = sum(map(len, self._sessions.values()))

    def receive(self, datagram: bytes, now: float) -> Received | None:
        """Take a datagram; `now` in Unix seconds. None: not a question of a client of ours, or it was here before."""
        if len(datagram) != QUESTION_BYTES:
            return None
        head = datagram[: _QUESTION_HEAD.size]
        magic, version, kind, key_id, session_id, number = _QUESTION_HEAD.unpack(head)
        key = self._keys.get(key_id)
        if key is None or (magic, version, kind) != (_MAGIC, VERSION, _QUESTION_KIND):
            return None
        sessions = self._sessions.get(key_id, {})
        session = sessions.get(session_id)
        questions = session.questions if session else _question_cipher(key.secret, session_id)
        try:
            plain = questions.decrypt(_nonce(number), datagram[_QUESTION_HEAD.size :], head)
        except InvalidTag:
            return None
        question = _parse_question(plain)
        if question is None:
            return None
        if session is None:
            session = _Session(questions, _answer_cipher(key.secret, session_id, self._boot))
        fresh = abs(question.time - now) <= WINDOW_S
        if fresh:
            if session_id not in sessions and not self._keep(key_id, session_id, session, now):
                return None
            if not session.take(number):
                return None
            session.used = now
        return Received(key, question, fresh, number, session.answers)

    def answer(self, received: Received, answer: Answer) -> bytes:
        """Return the datagram that answers a question."""
        self._answered = number = self._answered + 1
        head = _ANSWER_HEAD.pack(_MAGIC, VERSION, _ANSWER_KIND, self._boot, number)
        known = answer.known
        body = _ANSWER_BODY.pack(answer.state, len(known), max(0, int(answer.time * 1000)), received.number)
        counts = b"".join(bytes(min(COUNT_LIMIT, n) for n in (k.spam, k.wanted, k.asking)) for k in known)
        plain = (body + counts).ljust(_ANSWER_SEALED, b"\0")
        return head + received.cipher.encrypt(_nonce(number), plain, head)

    @property
    def sessions(self) -> int:
        """Sessions remembered."""
        return self._count

    def sweep(self, now: float) -> None:
        """Forget sessions whose datagrams would be stale by now."""
        self._swept = now
        for key_id, sessions in list(self._sessions.items()):
            for each in [each for each, session in sessions.items() if now - session.used > 2 * WINDOW_S]:
                del sessions[each]
            if not sessions:
                del self._sessions[key_id]
        self._count = sum(map(len, self._sessions.values()))

    def _keep(self, key_id: bytes, session_id: bytes, session: _Session, now: float) -> bool:
        """Remember a session. An old one may only go when nothing it sent can be fresh: or it could be sent again."""
        sessions = self._sessions.setdefault(key_id, {})
        if len(sessions) >= CLIENT_SESSIONS or self._count >= SESSIONS_LIMIT:
            if now - self._swept < _SWEEP_S:
                return False
            self.sweep(now)
            sessions = self._sessions.setdefault(key_id, {})
            if len(sessions) >= CLIENT_SESSIONS or self._count >= SESSIONS_LIMIT:
                return False
        sessions[session_id] = session
        self._count += 1
        return True


_WISHES: Final = frozenset(Wish)
_REPORTS: Final = frozenset(Report)
_STATES: Final = frozenset(State)


def _parse_question(plain: bytes) -> Question | None:
    wish, report, count, time_ms = _QUESTION_BODY.unpack_from(plain)
    if wish not in _WISHES or report not in _REPORTS or count > VALUES_LIMIT:
        return None
    if (wish == Wish.REPORT) != (report != Report.NONE):
        return None
    at = _QUESTION_BODY.size
    values = tuple(plain[at + VALUE_BYTES * i : at + VALUE_BYTES * (i + 1)] for i in range(count))
    return Question(Wish(wish), time_ms / 1000, values, Report(report))


def usable_values(values: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the first `VALUES_LIMIT` distinct values, cut to what a datagram takes."""
    return tuple(dict.fromkeys(value[:VALUE_BYTES] for value in values))[:VALUES_LIMIT]
