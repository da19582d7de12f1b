"""Accounts and tokens: who may sign in to the console, and the file they are kept in.

Used by `master.accounts` and `master.sign_in`; nobody else opens the file. It is replaced whole: after any crash it is
the old one or the new one. A file that cannot be read lets nobody in, and nobody become the first administrator.
"""

import hashlib
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from gatepost.control.rights import RIGHTS_OF, Right, Role
from gatepost.control.socket import ControlError
from gatepost.relay.passwords import PASSWORD_LIMIT
from gatepost.storage.whole_file import replace_file

FILE_LIMIT: Final = 16 * 1024 * 1024
ACCOUNTS_LIMIT: Final = 1000
TOKENS_LIMIT: Final = 50
"""Of one account."""
TOKEN_DAYS_LIMIT: Final = 3650
PASSKEYS_LIMIT: Final = 10
KNOWN_LIMIT: Final = 8
"""Addresses an account has signed in from that are remembered."""
NAME_LIMIT: Final = 64
DOMAIN_LIMIT: Final = 255
DOMAINS_LIMIT: Final = 1000
LABEL_LIMIT: Final = 80
"""Of a token's and a passkey's name."""
PASSWORD_LEAST: Final = 10
"""Characters of a password, of which half must differ: with the brake that outlasts guessing."""
TOKEN_PREFIX: Final = "gpt_"
SESSION_PREFIX: Final = "gps_"
_DAY_S: Final = 86400.0
VERSION: Final = 1
"""Of the file; a newer one is refused."""


class AccountError(ControlError):
    """It cannot be done so; says why, for the person who tried."""


class Passkey(msgspec.Struct, frozen=True):
    """A key in somebody's device, as a second step."""

    id: bytes
    key: bytes
    count: int
    site: str
    """Host name it is for."""
    name: str
    added: float


class Token(msgspec.Struct, frozen=True):
    """A program's way in, for one account."""

    id: str
    name: str
    digest: str
    """Of the secret, which nobody keeps."""
    rights: tuple[Right, ...]
    made: float
    expires: float
    """0 = never."""
    used: float = 0.0


class Account(msgspec.Struct, frozen=True):
    """Somebody who may sign in."""

    name: str
    role: Role
    password: str
    """Argon2id hash."""
    domains: tuple[str, ...] = ()
    """Only mail from or to these; () = all."""
    disabled: bool = False
    totp: str = ""
    """Secret of one-time codes, Base32; "" = none."""
    totp_step: int = 0
    """The last code that was used: it cannot be used again."""
    handle: bytes = b""
    """Under which authenticators know the account."""
    passkeys: tuple[Passkey, ...] = ()
    tokens: tuple[Token, ...] = ()
    known: tuple[str, ...] = ()
    """Addresses it has signed in from, the last one first."""
    made: float = 0.0
    signed_in: float = 0.0
    password_set: float = 0.0

    @property
    def second_step(self) -> bool:
        """A password alone does not do."""
        return bool(self.totp or self.passkeys)


class _File(msgspec.Struct, frozen=True):
    version: int = VERSION
    accounts: tuple[Account, ...] = ()


class AccountBook:
    """All accounts, by name, and their file."""

    def __init__(self, path: Path) -> None:
        """AccountError when the file cannot be used."""
        self._path = path
        self._by_name: dict[str, Account] = {}
        self._tokens: dict[str, tuple[str, Token]] = {}
        try:
            raw = path.read_bytes()
            if len(raw) > FILE_LIMIT:
                raise AccountError(f"{path}: larger than {FILE_LIMIT} bytes")
            found = msgspec.json.decode(raw, type=_File)
            if found.version > VERSION:
                raise AccountError(f"{path} has version {found.version}; this program knows version {VERSION}")
            self._take(found.accounts)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            raise AccountError(f"{path}: {error}") from error

    @property
    def all(self) -> tuple[Account, ...]:
        """All of them, in alphabetical order."""
        return tuple(account for _, account in sorted(self._by_name.items()))

    def get(self, name: str) -> Account | None:
        """Return an account; capitals make no difference."""
        return self._by_name.get(name.casefold())

    def find_token(self, secret: str) -> tuple[Account, Token] | None:
        """Return whose token a secret is, and the token; also one that has expired."""
        found = self._tokens.get(digest(secret))
        if found is None:
            return None
        name, token = found
        return self._by_name[name], token

    def put(self, account: Account) -> None:
        """Add an account, or replace it. OSError: nothing has changed."""
        if account.name not in self._by_name and len(self._by_name) >= ACCOUNTS_LIMIT:
            raise AccountError(f"there are {ACCOUNTS_LIMIT} accounts already")
        self._keep({**self._by_name, account.name: account})

    def remove(self, name: str) -> None:
        """Remove an account. OSError: nothing has changed."""
        self._keep({key: account for key, account in self._by_name.items() if key != name})

    def note_use(self, account: Account, token: Token, now: float) -> None:
        """Note, in memory until the next change, that a token was used."""
        tokens = tuple(msgspec.structs.replace(one, used=now) if one.id == token.id else one for one in account.tokens)
        self._take({**self._by_name, account.name: msgspec.structs.replace(account, tokens=tokens)}.values())

    def save(self) -> None:
        """Write down what was only noted. OSError."""
        self._keep(self._by_name)

    def _keep(self, accounts: dict[str, Account]) -> None:
        file = _File(accounts=tuple(accounts[name] for name in sorted(accounts)))
        replace_file(self._path, msgspec.json.format(msgspec.json.encode(file)))
        self._take(file.accounts)

    def _take(self, accounts: Iterable[Account]) -> None:
        self._by_name = {account.name: account for account in accounts}
        self._tokens = {
            token.digest: (account.name, token) for account in self._by_name.values() for token in account.tokens
        }


def digest(secret: str) -> str:
    """Return what is kept of a random secret: it has 256 bits, so no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def make_secret(prefix: str) -> str:
    """Return a new random secret of 256 bits."""
    return prefix + secrets.token_urlsafe(32)


def check_account_name(name: str) -> str:
    """Return a name in the form it is kept in. AccountError."""
    name = name.strip().casefold()
    allowed = name.replace(".", "").replace("-", "").replace("_", "").replace("@", "")
    if not allowed.isalnum() or not allowed.isascii() or len(name) > NAME_LIMIT:
        raise AccountError(f"a name has 1 to {NAME_LIMIT} of the letters a to z, digits, and . - _ @")
    return name


def check_label(text: str, what: str) -> str:
    """Return the name of a token or a passkey. AccountError."""
    text = " ".join(text.split())
    if not text or len(text) > LABEL_LIMIT or not text.isprintable():
        raise AccountError(f"{what} needs a name of 1 to {LABEL_LIMIT} characters")
    return text


def check_new_password(password: str, name: str) -> str:
    """Return a password that may be set. AccountError says what it lacks."""
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_LIMIT:
        raise AccountError(f"a password has {PASSWORD_LEAST} to {PASSWORD_LIMIT} characters")
    if len(set(password)) < PASSWORD_LEAST // 2:
        raise AccountError(f"a password needs {PASSWORD_LEAST // 2} different characters")
    if password.casefold() in {name, name * 2, name[::-1]} or password.casefold().replace(name, "").isdigit():
        raise AccountError("a password must not be made of the account's name")
    return password


def check_domains(domains: Iterable[str], role: Role) -> tuple[str, ...]:
    """Return the domains of an account in lower case. AccountError."""
    found = []
    for text in domains:
        domain = text.strip().lower().lstrip("@").rstrip(".")
        if not domain.replace(".", "").replace("-", "").replace("_", "").isalnum() or len(domain) > DOMAIN_LIMIT:
            raise AccountError(f"{text[:60]!r} is not a domain")
        found.append(domain)
    if len(found) > DOMAINS_LIMIT:
        raise AccountError(f"an account has at most {DOMAINS_LIMIT} domains of its own")
    if role is Role.DOMAIN and not found:
        raise AccountError("the administrator of domains needs at least one domain")
    return tuple(sorted(set(found)))


def make_token(account: Account, name: str, rights: Iterable[str], days: float, now: float) -> tuple[Account, str]:
    """Return the account with one more token, the last of its tokens, and that token's secret. `days`: 0 = for ever.
    AccountError.
    """
    name = check_label(name, "a token")
    try:
        chosen = frozenset(map(Right, rights))
    except ValueError as error:
        raise AccountError(f"{error}: rights are {', '.join(Right)}") from error
    grantable = RIGHTS_OF[account.role] - {Right.NONE, Right.SELF}
    if not chosen or chosen - grantable:
        lacking = ", ".join(sorted(chosen - grantable))
        raise AccountError(
            (f"a token of {account.name} cannot have {lacking}" if lacking else "a token needs some rights")
            + f": choose among {', '.join(sorted(grantable))}"
        )
    if not 0 <= days <= TOKEN_DAYS_LIMIT:
        raise AccountError(f"a token counts for at most {TOKEN_DAYS_LIMIT} days")
    if len(account.tokens) >= TOKENS_LIMIT:
        raise AccountError(f"an account has at most {TOKENS_LIMIT} tokens")
    secret = make_secret(TOKEN_PREFIX)
    token = Token(
        id=secrets.token_hex(6),
        name=name,
        digest=digest(secret),
        rights=tuple(sorted(chosen)),
        made=now,
        expires=now + days * _DAY_S if days else 0.0,
    )
    return msgspec.structs.replace(account, tokens=(*account.tokens, token)), secret


def rights_of_token(account: Account, token: Token) -> frozenset[Right]:
    """Return what a token may: no more than its account, and nothing about the account itself."""
    return (RIGHTS_OF[account.role] & frozenset(token.rights)) - {Right.SELF} | {Right.NONE}
