"""What the tests of ``transport`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.transport.servers import Counting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[Counting]:
    """A server that plays whatever a test gives it."""
    async with Counting() as running:
        yield running
