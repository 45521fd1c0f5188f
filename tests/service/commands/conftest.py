"""One real service, in a process of its own, for all tests of commands that talk to one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.client import Client
from service.commands.child import Child, serving
from tests.service.running import model_folder


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """The service; a test takes machines that no other test has."""
    with serving(tmp_path_factory.mktemp("live"), model_folder(), 0) as child:
        yield child


@pytest.fixture
def client(live: Child) -> Iterator[Client]:
    """A connection to it."""
    found = Client(live.url)
    yield found
    found.close()
