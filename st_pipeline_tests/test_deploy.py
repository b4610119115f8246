"""The files of deploy/: each line of the crontab is a command of ours, each service starts a program that is there."""

import configparser
import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from st_pipeline.cli import cli
from st_pipeline_tests.documents import ROOT

DEPLOY = ROOT / "deploy"
CRON_LINE = re.compile(r"(?P<times>(?:[\d*/,-]+\s+){5})(?P<user>\S+)\s+cd (?P<folder>\S+) && (?P<command>.+)")
LINES = [
    line for line in (DEPLOY / "st-pipeline.cron").read_text().splitlines() if line and not re.match(r"#|\w+=", line)
]
UNITS = sorted(DEPLOY.glob("*.service"))


def test_there_are_lines_and_units():
    assert (len(LINES), len(UNITS)) == (5, 2)


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_crontab_is_a_command_with_options_that_exist(line: str):
    found = CRON_LINE.fullmatch(line)
    assert found is not None, line
    program, *arguments = shlex.split(found["command"].partition(" >> ")[0])
    assert program == ".venv/bin/st-pipeline"
    parse(arguments)


def parse(arguments: list[str]) -> None:
    """Let click read a command of ours; it refuses what it does not know."""
    context = click.Context(cli)
    command: click.Command | None = cli
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.get_command(context, name)
    assert command is not None, arguments
    command.make_context(command.name, arguments)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_service_starts_a_program_that_is_installed(unit: Path):
    settings = configparser.ConfigParser(strict=False)
    settings.optionxform = str  # type: ignore[assignment,method-assign]
    settings.read(unit)
    program, *arguments = shlex.split(settings["Service"]["ExecStart"])
    assert (Path(sys.executable).parent / Path(program).name).exists()
    assert Path(program).is_relative_to(settings["Service"]["WorkingDirectory"])
    if Path(program).name == "st-pipeline":
        parse(arguments)
    else:
        assert (ROOT / arguments[arguments.index("-w") + 1]).exists()


def test_no_service_serves_the_ui_without_the_gate():
    """Dagster's own webserver takes commands from any web page."""
    assert "dagster-webserver" not in "".join(unit.read_text() for unit in UNITS)
    assert "st-pipeline webserver" in (DEPLOY / "st-pipeline-webserver.service").read_text()


def test_every_log_of_the_crontab_is_rotated():
    written = {str(Path("/srv/st-pipeline") / line.partition(" >> ")[2]) for line in LINES}
    names, _, _ = (DEPLOY / "st-pipeline.logrotate").read_text().partition("{")
    assert {word for word in names.split() if word.startswith("/srv")} == written


def test_every_log_of_the_crontab_gets_an_object_a_line():
    assert [line for line in LINES if "--json-lines" not in line] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_service_has_limits_and_may_read_secrets_from_a_file_that_need_not_be_there(unit: Path):
    settings = configparser.ConfigParser(strict=False)
    settings.optionxform = str  # type: ignore[assignment,method-assign]
    settings.read(unit)
    service = settings["Service"]
    assert service["EnvironmentFile"].startswith("-/etc/")
    assert {"MemoryHigh", "MemoryMax", "TasksMax", "LimitNOFILE", "UMask"} <= set(service)


def test_the_proxy_asks_for_a_login_and_passes_on_what_the_gate_compares():
    proxy = (DEPLOY / "nginx.conf").read_text()
    assert proxy.count("{") == proxy.count("}")
    for line in ("auth_basic_user_file", "proxy_set_header Host $http_host;", "proxy_pass http://127.0.0.1:3000;"):
        assert line in proxy
