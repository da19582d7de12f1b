"""Endpoints: what a listener's configuration means for its sessions, decided once per configuration.

Made by `relay.intake` for each listener; `relay.reception` follows it.
"""

import ssl

import msgspec

from gatepost.config.schema import BareLineFeed, Config, Listener
from gatepost.config.transport import ListenerTls, SignIn
from gatepost.smtp.server import LineFeedPolicy, ServerSettings

MECHANISMS = ("PLAIN", "LOGIN")


class Endpoint(msgspec.Struct, frozen=True, eq=False):
    """One listener under one configuration."""

    listener: Listener
    name: str
    """In the log and in envelopes."""
    settings: ServerSettings
    """Of its sessions …"""
    told_settings: ServerSettings
    """… of those with a peer that may tell about its clients (XFORWARD) …"""
    overriding_settings: ServerSettings
    """… and with one that may also speak for them (XCLIENT)."""
    context: ssl.SSLContext | None
    """Certificate, None: no TLS here."""
    implicit_tls: bool
    proxy: bool
    """Connections begin with a PROXY header."""
    before_queue_s: float
    """Time for inspection before the 250; 0: mail is accepted first."""


def build_endpoint(config: Config, listener: Listener, context: ssl.SSLContext | None) -> Endpoint:
    """Return what `listener` means; `context` is that of the configured certificate."""
    limits, times = config.limits, config.timeouts
    if listener.tls is ListenerTls.OFF:
        context = None
    implicit = listener.tls is ListenerTls.IMPLICIT
    bare = listener.bare_line_feed
    if config.options.drop_mailformed_mail:
        bare = BareLineFeed.REJECT
    signs_in = listener.sign_in is not SignIn.OFF and context is not None
    settings = ServerSettings(
        hostname=config.network.hostname,
        size_limit=limits.maximal_incoming_message_size,
        session_bytes_limit=limits.maximal_incoming_session_size,
        messages_limit=limits.maximal_incoming_messages_per_session,
        recipients_limit=limits.maximal_incoming_rcpts_per_message,
        hops_limit=limits.maximal_incoming_hops,
        bare_line_feed=LineFeedPolicy(bare.value),
        command_s=times.receiving_command_timeout,
        data_initiation_s=times.receiving_data_initiation_timeout,
        data_termination_s=times.receiving_data_termination_timeout,
        read_s=times.read_timeout,
        greeting_pause_s=config.access.greeting_pause,
        starttls=context is not None and not implicit,
        require_tls=listener.tls is ListenerTls.REQUIRED,
        auth=MECHANISMS if signs_in else (),
        require_auth=listener.sign_in is SignIn.REQUIRED,
        chunking=listener.chunking,
        binarymime=listener.binarymime and listener.chunking,
        smtputf8=listener.smtputf8,
        unbracketed_addresses=listener.unbracketed_addresses,
    )
    told = msgspec.structs.replace(settings, xforward=True)
    return Endpoint(
        listener=listener,
        name=listener.name or listener.address,
        settings=settings,
        told_settings=told,
        overriding_settings=msgspec.structs.replace(told, xclient=True),
        context=context,
        implicit_tls=implicit,
        proxy=listener.proxy_protocol,
        before_queue_s=listener.before_queue_deadline if listener.before_queue else 0.0,
    )
