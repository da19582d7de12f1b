"""Signal handlers that cannot be set end the start with their own code."""

import asyncio
from pathlib import Path

import pytest

from gatepost.master.exit_code import ExitCode, StartError
from gatepost.master.fork_server import ForkServer
from gatepost.master.process import Master
from gatepost.master.supervisor import Supervision


@pytest.mark.feature("F-MGMT-08")
def test_signal_handlers_that_cannot_be_set() -> None:
    async def take() -> None:
        def refuse(*_: object) -> None:
            raise RuntimeError("signal 15 cannot be caught")

        asyncio.get_running_loop().add_signal_handler = refuse  # type: ignore[assignment,method-assign]
        Master(Path("/nowhere"), (), Supervision(), ForkServer(None, 0))._take_signals()

    with pytest.raises(StartError, match="cannot be caught") as caught:
        asyncio.run(take())
    assert caught.value.code == ExitCode.SIGNALS
