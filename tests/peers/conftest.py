"""Programs of others that the gateway is tried with. One that is absent skips its test with a word, and fails in CI."""

import os
import shutil

import pytest


def program(name: str) -> str:
    """Return the path of a program of the system."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/postfix/sbin")
    if path is None:
        message = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def root_program(name: str) -> str:
    """Return the path of a program that insists on being started by root."""
    path = program(name)
    if os.geteuid() != 0:
        pytest.skip(f"an instance of {name} of our own can only be started by root")
    return path


@pytest.fixture
def swaks() -> str:
    return program("swaks")


@pytest.fixture
def smtp_source() -> str:
    return program("smtp-source")


@pytest.fixture
def smtp_sink() -> str:
    return program("smtp-sink")


@pytest.fixture
def postfix() -> str:
    return root_program("postfix")
