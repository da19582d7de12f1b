"""What `start` and `restart` say of a gateway in service."""

from typing import Any

import pytest

from gatepost.cli.run import describe_service

FILTER = {"name": "filter", "kind": "filter", "address": "tcp:127.0.0.1:2277"}
MILTER = {"name": "milter", "kind": "milter", "address": "unix:/run/gatepost/milter"}


@pytest.mark.parametrize(
    ("listeners", "doors", "lines"),
    [
        (["127.0.0.1:25", "[::1]:25"], [], ["in service, pid 7, mail at 127.0.0.1:25, [::1]:25"]),
        (
            [],
            [FILTER, MILTER],
            [
                "in service, pid 7",
                "door filter: filter at tcp:127.0.0.1:2277",
                "door milter: milter at unix:/run/gatepost/milter",
            ],
        ),
        (
            ["0.0.0.0:25"],
            [FILTER],
            ["in service, pid 7, mail at 0.0.0.0:25", "door filter: filter at tcp:127.0.0.1:2277"],
        ),
        ([], [], ["in service, pid 7, at no port: neither a listener nor a door is configured"]),
    ],
)
def test_where_a_gateway_is_to_be_found(listeners: list[str], doors: list[dict[str, Any]], lines: list[str]) -> None:
    assert describe_service({"pid": 7, "listeners": listeners, "doors": doors}) == lines
