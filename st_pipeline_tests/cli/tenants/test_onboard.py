"""Many companies from one file: every mistake at once, all or nothing, and safe to repeat."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.tenants import planted
from st_pipeline_tests.tenants.planted import CLIENT_ID, CLIENT_SECRET

HEADER = "slug,name,intacct_id,trade,environment,tenant_id,client_id,secret"
GOOD = f"acme,Acme,INT-1,plumbing,production,1001,{CLIENT_ID},env:ACME_SECRET"


@pytest.fixture
def sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`sheet(line, …)`: a file of these lines below the header, its secrets in a variable and in a file."""
    monkeypatch.setenv("ACME_SECRET", CLIENT_SECRET)
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "beta"
    secret.write_text(CLIENT_SECRET + "\n")
    secret.chmod(0o600)

    def write(*lines: str, header: str = HEADER, ending: str = "\n", encoding: str = "utf-8") -> str:
        path = tmp_path / "companies.csv"
        path.write_bytes((ending.join([header, *lines]) + ending).encode(encoding))
        return str(path)

    return write


def counts(engine: Engine) -> tuple[int, ...]:
    with engine.connect() as connection:
        sql = "SELECT (SELECT count(*) FROM companies), (SELECT count(*) FROM servicetitan_credentials)"
        return tuple(connection.execute(text(sql)).one())


def problems(said: Any) -> dict[int, list[str]]:
    """Messages by line, from standard error."""
    found: dict[int, list[str]] = {}
    for line in said.err.splitlines()[1:]:
        number, _, message = line.removeprefix("line ").partition(": ")
        found.setdefault(int(number), []).append(message)
    return found


def test_companies_are_added_tested_and_safe_to_repeat(
    command: Command,
    engine: Engine,
    servicetitan_simulator: SimulatorControl,
    servicetitan_tenant: Callable[..., SimulatedTenant],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    for environment in ("PRODUCTION", "INTEGRATION"):
        url = getattr(servicetitan_simulator, f"{environment.lower()}_url")
        monkeypatch.setenv(f"ST_PIPELINE_{environment}_API_URL", url)
        monkeypatch.setenv(f"ST_PIPELINE_{environment}_AUTH_URL", f"{url}/connect/token")
    monkeypatch.setenv("ST_PIPELINE_APP_KEY", "ak1.shared")
    acme, beta = (servicetitan_tenant(app_key="ak1.shared") for _ in range(2))
    tried = servicetitan_tenant(environment="integration", app_key="ak1.shared")
    monkeypatch.setenv("ACME", acme.client_secret)
    monkeypatch.setenv("TRIED", tried.client_secret)
    (tmp_path / "beta").write_text(beta.client_secret)
    (tmp_path / "beta").chmod(0o644)
    lines = [
        HEADER,
        f"acme,Acme,INT-1,plumbing,,{acme.tenant_id},{acme.client_id},env:ACME",
        f'beta,"Beta, Heating & Air",INT-2,,production,{beta.tenant_id},{beta.client_id},file:beta',
        "",
        f"acme,Acme,INT-1,plumbing,integration,{tried.tenant_id},{tried.client_id},env:TRIED",
    ]
    file = tmp_path / "companies.csv"
    file.write_text("\n".join(lines))
    dry = command("onboard", str(file), "--dry-run")
    assert (dry.code, counts(engine)) == (0, (0, 0)), dry.err
    assert dry.out.endswith("would be added: 3, unchanged: 0; nothing was written\n")
    assert "line 3: other users of this machine can read its secret's file" in dry.err
    said = command("onboard", str(file))
    assert said.code == 0, said.all
    assert said.out.splitlines()[-1] == "added: 3, unchanged: 0"
    assert said.out.count(" complete") == 3
    assert max(map(len, said.out.splitlines())) <= 80
    assert counts(engine) == (2, 3)
    again = command("onboard", str(file), "--json", "--no-test")
    assert again.json == {
        "written": True,
        "problems": [],
        "lines": [
            {"line": line, "tenant": tenant, "company": "unchanged", "credentials": "unchanged", "test": None}
            for line, tenant in ((2, "acme"), (3, "beta"), (5, "acme@integration"))
        ],
    }
    beta.change(client_secret="cs.another")
    later = command("onboard", str(file), "--json")
    assert later.code == 1
    assert [line["test"]["verdict"] for line in later.json["lines"]] == [
        "complete", "wrong client id or secret", "complete",
    ]  # fmt: skip
    people = command("onboard", str(file))
    assert (people.code, "beta: ServiceTitan does not know this client id" in people.words) == (1, True)
    with engine.connect() as connection:
        trail = connection.execute(
            text("SELECT action, tenant, details ->> 'outcome' FROM audit_log "
                 "WHERE action LIKE '%.add' ORDER BY id LIMIT 5")
        ).all()  # fmt: skip
    assert [tuple(row) for row in trail] == [
        ("companies.add", None, None), ("credentials.add", "acme", "added"), ("companies.add", None, None),
        ("credentials.add", "beta", "added"), ("credentials.add", "acme@integration", "added"),
    ]  # fmt: skip
    secrets = tuple(s for one in (acme, beta, tried) for s in (one.client_id, one.client_secret))
    planted.assert_nothing_planted(engine, *(one.all for one in (dry, said, again, later, people)), secrets=secrets)


def test_every_mistake_is_shown_at_once_with_its_line(command: Command, engine: Engine, sheet: Callable[..., str]):
    file = sheet(
        GOOD,
        f"Beta!,Beta,INT-2,,staging,x,{CLIENT_ID},env:MISSING",
        "gamma,,,,,,,",
        f"delta,Delta,,,,1004,{CLIENT_ID},{CLIENT_SECRET}",
        f"delta,Delta,,,integration,1005,{CLIENT_ID},env:MISSING",
        f"delta,Delta,,,,1006,{CLIENT_ID},file:secrets/missing",
        f"delta,Delta,,,,1007,{CLIENT_ID},env:ACME_SECRET,surplus",
        f"acme,Other,INT-9,,production,1008,{CLIENT_ID},env:ACME_SECRET",
        f"eta,Eta,INT-1,,,1001,{CLIENT_ID},env:ACME_SECRET",
        f"theta,Theta,,,,0,{CLIENT_ID} x,file:secrets/beta",
        f"iota,Iota\t,,,,{2**63},{CLIENT_ID},file:secrets/beta",
    )
    said = command("onboard", file)
    assert (said.code, said.out, counts(engine)) == (2, "", (0, 0))
    found = problems(said)
    assert (
        said.err.splitlines()[0] == f"Error: {file}: {sum(map(len, found.values()))} mistakes, so nothing was written"
    )
    expected = {
        3: [
            "slug is not valid",
            "environment is not valid",
            "tenant_id is not a positive number",
            "secret: the variable",
        ],
        4: ["name, tenant_id, client_id, secret are empty"],
        5: ["secret is not valid"],
        6: ["secret: the variable that it names is not set"],
        7: ["cannot read the file that secret names: No such file"],
        8: ["9 values, but the header has 8 columns"],
        9: ["tenant acme is in line 2 already", "name, intacct_id or trade differs from line 2"],
        10: ["tenant_id is the same as in line 2", "intacct_id is the same as in line 2, which is another company's"],
        11: ["tenant_id is not a positive number", "the client_id has blanks"],
        12: ["tenant_id is not a positive number"],
    }
    for line, messages in expected.items():
        for message in messages:
            assert [told for told in found[line] if told.startswith(message)], (line, message, found[line])
    assert sorted(found) == sorted(expected)
    with engine.connect() as connection:
        refused = connection.execute(text("SELECT action, result, details FROM audit_log")).all()
    assert [(action, result) for action, result, _ in refused] == [("onboard", "refused")]
    assert not [secret for secret in planted.PLANTED if secret in said.all + str(refused)]
    machines = command("onboard", file, "--json", "--dry-run")
    assert machines.code == 2
    assert machines.json["written"] is False
    assert {problem["line"] for problem in machines.json["problems"]} == set(expected)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("file:{outside}/key", "outside the CSV's folder"),
        ("file:../outside/key", "outside the CSV's folder"),
        ("file:~/key", "outside the CSV's folder"),
        ("file:link", "outside the CSV's folder"),
        ("file:.env", "is hidden"),
        ("file:.st-pipeline/password", "is hidden"),
        ("file:link-to-env", "is hidden"),
        ("env:DATABASE_URL", "is a setting; use another variable"),
        ("env:ST_PIPELINE_ENCRYPTION_KEYS", "is a setting; use another variable"),
        ("env:st_pipeline_app_key", "is a setting; use another variable"),
        ("env:DAGSTER_HOME", "is a setting; use another variable"),
        ("env:PGPASSWORD", "is a setting; use another variable"),
    ],
)
def test_a_secret_comes_from_the_files_own_folder_and_never_from_the_products_settings(
    command: Command,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: str,
    reason: str,
):
    """The test of the credentials sends it out: whoever wrote the CSV could have any key of the machine sent."""
    folder, outside = tmp_path / "sheet", tmp_path / "outside"
    for place in (folder / ".st-pipeline", outside):
        place.mkdir(parents=True)
    for file in (folder / ".env", folder / ".st-pipeline" / "password", outside / "key"):
        file.write_text(CLIENT_SECRET)
    (folder / "link").symlink_to(outside / "key")
    (folder / "link-to-env").symlink_to(folder / ".env")
    monkeypatch.setenv("HOME", str(outside))
    for name in ("DAGSTER_HOME", "PGPASSWORD", "st_pipeline_app_key"):
        monkeypatch.setenv(name, CLIENT_SECRET)
    sheet = folder / "companies.csv"
    sheet.write_text(f"{HEADER}\nacme,Acme,,,,1001,{CLIENT_ID},{reference.format(outside=outside)}\n")
    said = command("onboard", str(sheet), "--no-test")
    assert (said.code, counts(engine)) == (2, (0, 0))
    assert reason in problems(said)[2][0]


def test_what_the_database_knows_otherwise_is_a_mistake_too(
    command: Command, engine: Engine, sheet: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    zeta = f"zeta,Zeta,INT-9,,,1009,{CLIENT_ID},file:secrets/beta"
    assert command("onboard", sheet(GOOD, zeta), "--no-test").code == 0
    monkeypatch.setenv("OTHER", "cs.planted-other")
    said = command(
        "onboard",
        sheet(
            GOOD.replace("env:ACME_SECRET", "env:OTHER"),
            f"beta,Beta,INT-9,,,1002,{CLIENT_ID},file:secrets/beta",
            f"gamma,Gamma,,,,1009,{CLIENT_ID},file:secrets/beta",
            f"acme,Acme,INT-1,plumbing,integration,1001,{CLIENT_ID},file:secrets/beta",
            f"zeta,Zita,,,integration,1009,{CLIENT_ID},file:secrets/beta",
        ),
        "--no-test",
    )
    assert (said.code, counts(engine)) == (2, (2, 2))
    found = problems(said)
    assert "tenant acme already has other credentials" in found[2][0]
    assert "Intacct id INT-9 belongs to company zeta" in found[3][0]
    assert "already belongs to another company" in found[4][0]
    assert "company zeta already exists with name 'Zeta'" in found[6][0]
    assert sorted(found) == [2, 3, 4, 6]


@pytest.mark.parametrize(
    "written",
    [
        {"ending": "\r\n", "encoding": "utf-8-sig"},
        {"header": HEADER.replace(",", ";")},
        {"header": " " + HEADER.upper().replace(",", " , ")},
    ],
    ids=["Excel", "semicolons", "blanks and capitals"],
)
def test_the_forms_in_which_spreadsheets_write_are_read(
    command: Command, engine: Engine, sheet: Callable[..., str], written: dict[str, str]
):
    delimiter = ";" if ";" in written.get("header", "") else ","
    line = GOOD.replace(",", delimiter) + ("" if delimiter == ";" else " ")
    said = command("onboard", sheet(line, delimiter * 7, "", **written), "--no-test", "--json")
    assert said.code == 0, said.err
    assert [(one["line"], one["tenant"]) for one in said.json["lines"]] == [(2, "acme")]
    assert counts(engine) == (1, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "lacks columns slug, name, tenant_id, client_id, secret"),
        (GOOD.encode(), "the first line lacks column"),
        (HEADER.encode(), "lists no company"),
        (f"{HEADER},slug\n".encode(), "a column appears twice"),
        (f"{HEADER},phone\n".encode(), "unknown column phone"),
        (f"{HEADER},{CLIENT_SECRET}\n".encode(), "unknown column (not shown)"),
        (HEADER.encode("utf-16"), "is not valid UTF-8 text"),
        (f'{HEADER}\n{GOOD}\n"acme'.encode(), "is not valid CSV from line 3 on"),
        (b"x" * (4 * 1024 * 1024 + 1), "is larger than 4 MB"),
        (None, "cannot read"),
    ],
    ids=str,
)
def test_what_is_no_such_file_is_refused_in_one_line(
    unconnected: Command, tmp_path: Path, content: bytes | None, reason: str
):
    file = tmp_path / "companies.csv"
    if content is not None:
        file.write_bytes(content)
    said = unconnected("onboard", str(file))
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert reason in said.err
    assert not [secret for secret in planted.PLANTED if secret in said.err]
