"""The process itself: starting, the demo, the command line, stopping."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from st_pipeline.simulator.commands import simulator
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline.simulator.demo import demo_companies
from st_pipeline_tests.simulator.independent_client import IndependentClient

SERVE = [sys.executable, "-m", "st_pipeline.simulator", "serve", "--port", "0", "--integration-port", "0"]


@contextmanager
def served(*options: str) -> Iterator[tuple[subprocess.Popen[str], SimulatorControl]]:
    """A simulator of the test's own."""
    with subprocess.Popen([*SERVE, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            words = dict(word.split("=") for word in process.stdout.readline().split()[1:])
            with SimulatorControl(words["production"], words["integration"]) as control:
                yield process, control
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_quickly_and_ends_cleanly_on_a_signal(number: signal.Signals):
    began = time.monotonic()
    with served() as (process, control):
        assert time.monotonic() - began < 5  # a second on an idle machine
        assert control.health()["tenants"] == 0
        process.send_signal(number)
        assert process.wait(5) == 0


def test_a_taken_port_is_one_clear_line_and_exit_code_two():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*SERVE[:5], port, *SERVE[6:]], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert port in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize("content", [None, "{", '[{"tenant_id": 1}]'])
def test_a_bad_companies_file_is_one_clear_line_and_exit_code_two(tmp_path: Path, content: str | None):
    file = tmp_path / "companies.json"
    if content is not None:
        file.write_text(content)
    done = subprocess.run([*SERVE, "--companies", file], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "companies.json" in done.stderr


def test_companies_come_from_a_file_and_move_when_live(tmp_path: Path):
    company = {
        "tenant_id": 7,
        "client_id": "cid.f",
        "client_secret": "cs.f",
        "app_key": "ak1.f",
        "customers": 40,
        "invoices": 40,
    }
    file = tmp_path / "companies.json"
    file.write_text(json.dumps([company]))
    with served("--companies", str(file), "--live", "--live-seconds", "0.2") as (_, control):
        tenant = SimulatedTenant(control, 7, "production", "cid.f", "cs.f", "ak1.f")
        assert IndependentClient(tenant).log_in().list("customers").json()["data"]
        before = tenant.truth()
        deadline = time.monotonic() + 20
        while tenant.truth() == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert tenant.truth() != before


def test_the_demo_is_three_companies_one_of_them_also_in_integration():
    specs = demo_companies()
    assert {spec.name for spec in specs} == {"Birch & Sons Heating", "Acme Plumbing", "Summit Air"}
    assert [spec.name for spec in specs if spec.environment == "integration"] == ["Acme Plumbing"]
    assert len({spec.client_id for spec in specs}) == len({(s.environment, s.tenant_id) for s in specs}) == 4
    assert all(
        s.client_id.startswith("cid.") and s.client_secret.startswith("cs.") and s.app_key.startswith("ak1.")
        for s in specs
    )


def run(control: SimulatorControl, *arguments: str) -> str:
    command, *rest = arguments
    group = [command, rest.pop(0)] if command == "faults" else [command]
    result = CliRunner().invoke(simulator, [*group, "--url", control.production_url, *rest], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_steer_a_running_simulator(small: Callable[..., IndependentClient]):
    client = small()
    tenant, number = client.tenant, str(client.tenant.tenant_id)
    assert number in run(tenant.control, "tenants")
    listed = json.loads(run(tenant.control, "tenants", "--json"))
    assert tenant.client_secret in {one["client_secret"] for one in listed}
    assert len(json.loads(run(tenant.control, "advance", number, "--created", "2"))["customers"]["created"]) == 2
    assert json.loads(run(tenant.control, "truth", number)) == tenant.truth()
    run(tenant.control, "faults", "set", number, '[{"kind": "status", "status": 500}]')
    assert client.list("customers").status_code == 500
    run(tenant.control, "faults", "clear", number)
    assert client.list("customers").status_code == 200
    assert "revoked 1" in run(tenant.control, "revoke-tokens", number)
    assert client.list("customers").status_code == 401


def test_a_command_without_a_simulator_is_one_clear_line_and_exit_code_two():
    result = CliRunner().invoke(simulator, ["tenants", "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1


def test_the_plugin_and_the_commands_load_nothing_heavy():
    """Pytest loads the plugin in every project that has the package installed."""
    code = (
        "import sys, st_pipeline.simulator.pytest_plugin, st_pipeline.simulator.commands;"
        "heavy = {'pandas', 'dagster', 'httpx', 'uvicorn', 'pyarrow', 'sqlalchemy', 'msgspec'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
