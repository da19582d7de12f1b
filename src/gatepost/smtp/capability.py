"""What a peer can take of a transaction, decided before a word is said. Used by `client` only; pure."""

from typing import Final

import msgspec

from gatepost.model.envelope import Body, Recipient
from gatepost.model.reply import Reply, reply
from gatepost.smtp.client_events import LocalCause, Transaction
from gatepost.smtp.extensions import Extensions
from gatepost.smtp.sendable import ascii_address, is_sendable, is_sendable_utf8

_SEVEN_BIT = Body.SEVEN_BIT  # reading a member through its class is a call (0.1 µs in Python 3.11)

_BAD_RECIPIENT: Final = reply(553, "5.1.3", "The recipient's address cannot be sent")
_UTF8_RECIPIENT: Final = reply(553, "5.6.7", "The next server does not take addresses like the recipient's")


class Obstacle(msgspec.Struct, frozen=True):
    """Why a transaction fails for all its recipients, and the reply that says so."""

    cause: LocalCause
    reply: Reply


_SENDER: Final = Obstacle(LocalCause.SENDER, reply(553, "5.1.7", "The sender's address cannot be sent"))
_SIZE: Final = Obstacle(LocalCause.SIZE, reply(552, "5.3.4", "Message is larger than the next server takes"))
_UTF8_SENDER: Final = Obstacle(
    LocalCause.UTF8, reply(553, "5.6.7", "The next server does not take addresses like the sender's")
)
_UTF8_HEADER: Final = Obstacle(
    LocalCause.UTF8, reply(554, "5.6.9", "Message has a UTF-8 header, which the next server does not take")
)
_EIGHT_BIT: Final = Obstacle(
    LocalCause.EIGHT_BIT, reply(554, "5.6.3", "Message has 8-bit content and the next server takes 7-bit only")
)
_BINARY: Final = Obstacle(
    LocalCause.BINARY, reply(554, "5.6.3", "Message has binary content, which the next server does not take")
)


Plan = tuple[Transaction, list[Reply | None], Obstacle | None]
"""A transaction as it can be sent to one peer: with addresses in the form the peer takes, recipients keeping their
index; for each recipient the refusal when it cannot be sent, else None; what is in the way of all."""


def plan_transaction(transaction: Transaction, extensions: Extensions, chunking: bool) -> Plan:
    """Return what is to be sent of `transaction`; `chunking` tells whether its content goes by BDAT."""
    replies: list[Reply | None] = []
    plain = is_sendable(transaction.sender)
    for recipient in transaction.recipients:
        replies.append(None)
        plain = plain and is_sendable(recipient.address)
    obstacle = None
    if not plain:
        transaction, replies, obstacle = _resolve_addresses(transaction, utf8=extensions.smtputf8)
    if obstacle is None:
        if 0 < extensions.size_limit < transaction.size:
            obstacle = _SIZE
        elif transaction.body is not _SEVEN_BIT:
            obstacle = _content_obstacle(transaction.body, extensions, chunking=chunking)
        if transaction.smtputf8 and transaction.header_utf8 and not extensions.smtputf8:
            obstacle = _UTF8_HEADER
    return transaction, replies, obstacle


def _content_obstacle(body: Body, extensions: Extensions, *, chunking: bool) -> Obstacle | None:
    if body is Body.BINARY:
        return None if extensions.binary and chunking else _BINARY
    return None if extensions.eight_bit else _EIGHT_BIT


def _resolve_addresses(transaction: Transaction, *, utf8: bool) -> Plan:
    """Find a form for every address that is not plainly sendable (RFC 6531 §3.2): UTF-8 for a peer that takes it, else
    A-labels in the domain. An address in UTF-8 makes the transaction one with SMTPUTF8, whatever was declared.
    """
    sender = _resolve_address(transaction.sender, utf8=utf8)
    if sender is None:
        obstacle = _UTF8_SENDER if is_sendable_utf8(transaction.sender) else _SENDER
        return transaction, [None] * len(transaction.recipients), obstacle
    recipients: list[Recipient] = []
    replies: list[Reply | None] = []
    for recipient in transaction.recipients:
        address = _resolve_address(recipient.address, utf8=utf8)
        if address is None:
            replies.append(_UTF8_RECIPIENT if is_sendable_utf8(recipient.address) else _BAD_RECIPIENT)
            recipients.append(recipient)
        else:
            replies.append(None)
            recipients.append(msgspec.structs.replace(recipient, address=address))
    wide = not sender.isascii() or any(not recipient.address.isascii() for recipient in recipients)
    resolved = msgspec.structs.replace(
        transaction, sender=sender, recipients=tuple(recipients), smtputf8=transaction.smtputf8 or wide
    )
    return resolved, replies, None


def _resolve_address(address: str, *, utf8: bool) -> str | None:
    """Return the form of an address that the peer takes, None when there is none."""
    if is_sendable(address):
        return address
    if not is_sendable_utf8(address):
        return None
    if utf8:
        return address
    converted = ascii_address(address)
    return converted if converted is not None and is_sendable(converted) else None
