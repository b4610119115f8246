"""What a user who installs the wheel gets."""

import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def test_the_wheel_holds_the_migrations_and_the_data_files(tmp_path: Path):
    """An installed package has no sql/ beside it; a migration that is not packed is a table that is not there."""
    # What `pip wheel` would start: pip's own part of the time is the larger one.
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"st_pipeline/{path.relative_to(CHECKOUT)}" for path in (CHECKOUT / "sql").rglob("*.py")}
    wanted |= {"st_pipeline/py.typed", "st_pipeline/simulator/api_catalogue.json"}
    wanted |= {"st_pipeline/reconciliation/report.html.j2"}
    assert wanted <= packed
    assert not [name for name in packed if "tests" in name]
