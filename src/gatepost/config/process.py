"""Sections about our own processes: the filter pool, and the relays with their share of the queue."""

import enum
from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, WIDE_COUNT, Guard, choice, count, duration, path, size
from gatepost.config.units import Unit


class FilterPool(msgspec.Struct, frozen=True, kw_only=True):
    """The filter processes, which read untrusted content."""

    server_start_filters: Annotated[
        int, count("ServerStartFilters", 0, 1024, "filters at start", generations="M56 A30")
    ] = 1
    server_max_filters: Annotated[
        int, count("ServerMaxFilters", 0, 1024, "most filters; 0 = one for each core", generations="M56 A30")
    ] = 0
    server_spare_filters: Annotated[
        int,
        count("ServerSpareFilters", 0, 1024, "idle filters allowed, the surplus is ended", generations="M56 A30"),
    ] = 0
    filter_max_messages: Annotated[
        int,
        count(
            "FilterMaxMessages", 10, 1000, "messages in a filter's life", wide_high=WIDE_COUNT, generations="M56 A30"
        ),
    ] = 300
    filter_rand_messages: Annotated[
        int, count("FilterRandMessages", 0, 50, "random addition to that, so that filters do not end together")
    ] = 30
    filter_max_idle: Annotated[
        float, duration("FilterMaxIdle", 30, 3600, "idle life of a filter", generations="M56 A30")
    ] = 300.0
    filter_delayed_exit: Annotated[
        float,
        duration(
            "FilterDelayedExit",
            0,
            30,
            "filters that are to end (new databases, HUP) do so after a random time up to this",
            generations="M56 A30",
        ),
    ] = 0.0
    filter_memory_limit: Annotated[
        int, size("FilterMemoryLimit", 64, 16384, "address space of a filter", unit=Unit.MB, generations=OWN)
    ] = 512 * 1024**2
    filter_deadline: Annotated[
        float, duration("FilterDeadline", 1, 3600, "inspection of one message, all of it", generations=OWN)
    ] = 60.0


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """The relay processes and their share of the queue."""

    relays: Annotated[
        int, count("Relays", 0, 32, "relay processes; 0 = half the cores, at least 1", generations=OWN)
    ] = 0
    node: Annotated[int, count("Node", 0, 63, "number of this machine in queue ids", generations=OWN)] = 0
    state_path: Annotated[
        str,
        path(
            "StatePath",
            "directory below which everything lies that has no path of its own",
            generations=OWN,
            guard=Guard.FILE,
        ),
    ] = "/var/lib/gatepost"
    memory_threshold: Annotated[
        int,
        size(
            "MemoryThreshold",
            1,
            65536,
            "largest content kept in memory; larger goes to a file",
            unit=Unit.KB,
            generations=OWN,
        ),
    ] = 128 * 1024
    queue_limit_messages: Annotated[
        int,
        count(
            "QueueLimitMessages",
            0,
            100_000_000,
            "messages awaiting inspection before new mail gets 452; 0 = off",
            generations=OWN,
        ),
    ] = 0
    queue_limit_bytes: Annotated[
        int,
        size(
            "QueueLimitBytes",
            0,
            1_000_000_000,
            "bytes awaiting inspection before new mail gets 452; 0 = off",
            unit=Unit.KB,
            generations=OWN,
        ),
    ] = 0
    queue_limit_age: Annotated[
        float,
        duration(
            "",
            0,
            604800,
            "age of the oldest message awaiting inspection before new mail gets 452; 0 = off",
            generations=OWN,
        ),
    ] = 0.0
    queue_slow_at: Annotated[
        int,
        count(
            "",
            0,
            100,
            "percent of the queue limits from which reception slows down; 0 = it does not",
            generations=OWN,
        ),
    ] = 80


class NoticeSenders(enum.StrEnum):
    """Whom notifications may be sent to as senders."""

    OWN = "own"
    """Clients in our own networks, and who has signed in: the sender's address of a stranger's mail is as a rule
    forged, and its owner would get our notice of a mail that is not his (backscatter)."""
    ALL = "all"
    """Everybody."""


class Notices(msgspec.Struct, frozen=True, kw_only=True):
    """Notifications: whom, and how many."""

    notify_senders: Annotated[
        NoticeSenders,
        choice("", tuple(NoticeSenders), "senders that may be notified: our own people, or everybody", generations=OWN),
    ] = NoticeSenders.OWN
    limit: Annotated[
        int,
        count(
            "",
            0,
            WIDE_COUNT,
            "single notifications to one address about one group in an interval; the rest are summed up; 0 = no limit",
            generations=OWN,
        ),
    ] = 10
    interval: Annotated[
        float,
        duration("", 1, 86400, "after so long a summary tells what was not told singly", generations=OWN),
    ] = 3600.0
