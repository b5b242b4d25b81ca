"""A faulty upstream for the tests of this folder; after each, nothing was paid for twice."""

from collections.abc import Callable, Iterator

import pytest

from contract.benches import PLACES, Bench, fitting_picture, run_bench


@pytest.fixture(scope="module", params=PLACES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A service with all the time that a busy machine may need."""
    yield from run_bench(request.param, tmp_path_factory.mktemp("faulty"), 400.0)


@pytest.fixture(scope="module", params=PLACES)
def running_impatient(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A service that gives up soon, for tasks that never end."""
    yield from run_bench(request.param, tmp_path_factory.mktemp("impatient"), 12.0)


@pytest.fixture
def bench(running: Bench) -> Iterator[Bench]:
    """A patient service with a clean record; one request it accepted never pays twice."""
    yield running.clean()
    assert running.created <= running.asked


@pytest.fixture
def impatient(running_impatient: Bench) -> Iterator[Bench]:
    """An impatient one, likewise."""
    yield running_impatient.clean()
    assert running_impatient.created <= running_impatient.asked


@pytest.fixture(scope="session")
def picture(data_url: Callable[..., str]) -> str:
    """A picture that fits every model as it is, as a data URL."""
    return data_url(fitting_picture())
