"""Second steps of a sign-in: one-time codes (RFC 6238) and passkeys (WebAuthn). Plain functions over accounts.

Used by `master.sign_in` and `master.own_account`. The libraries are brought in by the first who needs them.
"""

import hmac
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from gatepost.control.accounts import Account, AccountError, Passkey

STEP_S: Final = 30
LATE_STEPS: Final = 1
"""A code counts this long before and after its time: clocks of telephones differ."""
_ISSUER: Final = "Gatepost"
_ANSWER_LIMIT: Final = 16 * 1024
"""Characters of an authenticator's answer."""


def new_totp_secret() -> str:
    """Return a secret for one-time codes, Base32."""
    import pyotp  # noqa: PLC0415

    return pyotp.random_base32()


def totp_uri(account: str, secret: str, host: str) -> str:
    """Return what a telephone reads from the picture."""
    import pyotp  # noqa: PLC0415

    return pyotp.TOTP(secret, name=f"{account}@{host}" if host else account, issuer=_ISSUER).provisioning_uri()


def find_step(secret: str, code: str, used: int, now: float) -> int | None:
    """Return the step a code belongs to; None when it is wrong, or not newer than the last that was `used`."""
    import pyotp  # noqa: PLC0415

    code = "".join(code.split())
    totp, current = pyotp.TOTP(secret), int(now) // STEP_S
    for step in range(max(current - LATE_STEPS, used + 1), current + LATE_STEPS + 1):
        if hmac.compare_digest(totp.at(step * STEP_S).encode(), code.encode("utf-8", "replace")):
            return step
    return None


def site_of(origin: str) -> str:
    """Return the host name passkeys of an origin are for; "" when it can have none: they need a name and encryption."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    named = bool(host) and not host.replace(".", "").isdigit() and ":" not in host
    return host if named and (parts.scheme == "https" or host == "localhost") else ""


def passkey_offer(account: Account, origin: str, challenge: bytes) -> dict[str, Any]:
    """Return what a browser needs to add a passkey. AccountError."""
    site = site_of(origin)
    if not site:
        raise AccountError("passkeys need HTTPS and a host name (or localhost): an address does not do")
    webauthn, structs = _webauthn()
    options = webauthn.generate_registration_options(
        rp_id=site,
        rp_name=_ISSUER,
        user_name=account.name,
        user_id=account.handle,
        challenge=challenge,
        exclude_credentials=[structs.PublicKeyCredentialDescriptor(id=one.id) for one in account.passkeys],
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            user_verification=structs.UserVerificationRequirement.PREFERRED
        ),
    )
    return _plain(webauthn, options)


def check_new_passkey(answer: str, origin: str, challenge: bytes, name: str, now: float) -> Passkey:
    """Return the passkey an authenticator has made. AccountError."""
    webauthn, _ = _webauthn()
    try:
        made = webauthn.verify_registration_response(
            credential=_bounded(answer),
            expected_challenge=challenge,
            expected_rp_id=site_of(origin),
            expected_origin=origin,
        )
    except Exception as error:  # whatever the library meets in a stranger's bytes
        raise AccountError("the passkey's answer does not fit") from error
    return Passkey(made.credential_id, made.credential_public_key, made.sign_count, site_of(origin), name, now)


def passkey_question(account: Account, origin: str, challenge: bytes) -> dict[str, Any] | None:
    """Return what a browser needs to use a passkey of this site, None when the account has none there."""
    site = site_of(origin)
    own = [one for one in account.passkeys if site and one.site == site]
    if not own:
        return None
    webauthn, structs = _webauthn()
    options = webauthn.generate_authentication_options(
        rp_id=site,
        challenge=challenge,
        allow_credentials=[structs.PublicKeyCredentialDescriptor(id=one.id) for one in own],
    )
    return _plain(webauthn, options)


def check_passkey(account: Account, answer: str, origin: str, challenge: bytes) -> Account | None:
    """Return the account with the use noted, None when no passkey of it gave this answer. A counter that does not grow
    is a copied key: refused.
    """
    webauthn, _ = _webauthn()
    try:
        credential = webauthn.helpers.parse_authentication_credential_json(_bounded(answer))
        own = next(one for one in account.passkeys if one.id == credential.raw_id and one.site == site_of(origin))
        used = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=own.site,
            expected_origin=origin,
            credential_public_key=own.key,
            credential_current_sign_count=own.count,
        )
    except Exception:  # noqa: BLE001 - whatever the library meets in a stranger's bytes
        return None
    passkeys = tuple(
        msgspec.structs.replace(one, count=used.new_sign_count) if one.id == own.id else one for one in account.passkeys
    )
    return msgspec.structs.replace(account, passkeys=passkeys)


def _bounded(answer: str) -> str:
    if len(answer) > _ANSWER_LIMIT:
        raise ValueError("too long")
    return answer


def _plain(webauthn: Any, options: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(webauthn.options_to_json(options))
    return plain


def _webauthn() -> tuple[Any, Any]:
    """Bring the library in: a quarter of a second and 20 MB that only users of passkeys pay."""
    import webauthn  # noqa: PLC0415
    from webauthn.helpers import structs  # noqa: PLC0415

    return webauthn, structs
