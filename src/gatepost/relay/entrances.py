"""The ways into one relay: its listeners, and the doors of the filtering server.

Called by `relay.process` with the sockets the master has bound. A relay without doors imports nothing of them.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gatepost.config.schema import Config
from gatepost.control.channel import Setup, Taught
from gatepost.model.ids import QueueIds
from gatepost.relay.intake import Intake
from gatepost.relay.listener import Listeners
from gatepost.relay.pipeline import Pipeline, clock_ms
from gatepost.relay.preview import KeptMail

if TYPE_CHECKING:
    from gatepost.service.doors import Doors


class Entrances:
    """All entrances of one relay."""

    def __init__(
        self,
        *,
        intake: Intake,
        pipeline: Pipeline,
        ids: QueueIds,
        kept: KeptMail,
        teach: Callable[[Taught], bool],
        report: Callable[[str, str], None],
    ) -> None:
        """`teach` hands a lesson to the master; `report(level, text)` logs."""
        self._intake = intake
        self._pipeline = pipeline
        self._ids = ids
        self._kept = kept
        self._teach = teach
        self._report = report
        self._listeners = Listeners(intake)
        self._doors: Doors | None = None

    async def open(self, config: Config, setup: Setup, descriptors: Sequence[int]) -> None:
        """Accept at the sockets that came with `setup`, and at no others."""
        count = len(setup.listeners)
        at_listeners = [(config.listeners[i], fd) for i, fd in zip(setup.listeners, descriptors[:count], strict=True)]
        at_doors = list(zip(config.doors, descriptors[count:], strict=True)) if setup.doors else []
        await self._listeners.open(at_listeners)
        if at_doors or self._doors is not None:
            self._take_doors().open(config, at_doors)

    def _take_doors(self) -> "Doors":
        if self._doors is None:
            from gatepost.service.desk_judge import Desk  # noqa: PLC0415 - a relay without doors does not pay for them
            from gatepost.service.doors import Doors  # noqa: PLC0415
            from gatepost.service.teaching import Teaching  # noqa: PLC0415

            desk = Desk(
                ids=self._ids,
                clock_ms=clock_ms,
                inspection=self._pipeline.inspection,
                own_mark=self._pipeline.own_mark,
                enter=self._pipeline.spool.enter,
                conclude=self._intake.turn_away,
                report=self._report,
            )
            learn = Teaching(self._kept.lesson_of, self._teach).learn
            self._doors = Doors(desk, self._report, learn, self._pipeline.version)
        return self._doors

    def status(self) -> list[dict[str, Any]]:
        """Return what the status shows of the doors."""
        return [msgspec.to_builtins(each) for each in self._doors.status()] if self._doors is not None else []

    async def stop(self, grace_s: float) -> None:
        """Close all, and let what is under way come to an end for at most `grace_s`."""
        await self._listeners.stop(grace_s)
        if self._doors is not None:
            await self._doors.stop(grace_s)
