"""Names that do not exist: their password is checked against something, at the cost of any other."""

import asyncio

from gatepost.master.passwords import Passwords, _build_stand_in
from gatepost.relay.passwords import hasher, verify


def test_what_stands_in_costs_what_a_hash_costs_and_fits_nothing() -> None:
    real, stand_in = hasher().hash("secret"), _build_stand_in()
    assert stand_in.split("$")[:4] == real.split("$")[:4], "kind, version and cost"
    assert len(stand_in) == len(real)
    assert not verify(stand_in, "secret")
    assert _build_stand_in() != stand_in


def test_nobody_of_that_name_signs_in() -> None:
    assert not asyncio.run(Passwords().check(None, "nobody", "secret", "192.0.2.1"))
