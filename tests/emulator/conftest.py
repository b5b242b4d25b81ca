"""The emulator most tests use: tasks end at once, time is virtual."""

from collections.abc import AsyncIterator

import pytest

from emulator.rig import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """An emulator whose tasks end as soon as their pictures are made."""
    async with Rig() as rig:
        yield rig
