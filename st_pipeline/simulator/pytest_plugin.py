"""Pytest fixtures: a simulator in a process of its own, and a fresh tenant for each test.

Here: starting and ending the process. Not here: tests. Importing this module loads only the standard library and
pytest; httpx is imported by the first test that uses a fixture.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl

_START = (sys.executable, "-m", "st_pipeline.simulator", "serve", "--port", "0", "--integration-port", "0")
_READY = re.compile(r"ready production=(\S+) integration=(\S+)")
_STOP_SECONDS = 10


@pytest.fixture(scope="session")
def servicetitan_simulator() -> "Iterator[SimulatorControl]":
    """An empty simulator on free ports: `production_url`, `integration_url` and the control methods."""
    from st_pipeline.simulator.control import SimulatorControl

    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(_START, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603 - ours
        try:
            line = next(iter(process.stdout or ()), "")
            ready = _READY.match(line)
            if ready is None:
                raise RuntimeError(f"the simulator did not start; its output: {line.strip() or 'nothing'}")
            with SimulatorControl(ready[1], ready[2]) as control:
                yield control
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture
def servicetitan_tenant(servicetitan_simulator: "SimulatorControl") -> "Iterator[Callable[..., SimulatedTenant]]":
    """A factory of tenants, each with its own number and keys: `servicetitan_tenant(customers=30, invoices=100)`.

    Keywords as for `SimulatorControl.create_tenant`. The tenants are removed after the test.
    """
    made: list[SimulatedTenant] = []

    def make(environment: str = "production", **spec: Any) -> "SimulatedTenant":
        tenant = servicetitan_simulator.create_tenant(environment=environment, **spec)
        made.append(tenant)
        return tenant

    yield make
    for tenant in made:
        tenant.remove()
