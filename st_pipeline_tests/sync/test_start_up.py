import subprocess
import sys

from st_pipeline_tests.acme import Acme

# Each costs 0.06 to 0.6 CPU seconds to import, and only a row to check, a migration or the embedded server needs it.
HEAVY = {"pandas", "pandera", "pyarrow", "numpy", "alembic", "dagster", "st_pipeline.embedded_postgres.embedded"}
PROGRAM = f"""
import sys
from st_pipeline import SyncConfiguration, synchronize_data
result = synchronize_data("acme", SyncConfiguration(incremental_only=True))
assert result.success, result.errors
print(result.counts.changed, sorted({HEAVY!r} & set(sys.modules)))
"""


def test_a_sync_that_finds_nothing_imports_neither_pandas_nor_pyarrow(synced_acme: Acme):
    acme = synced_acme
    assert acme.sync().success  # builds what the first one left to the streams

    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=acme.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "0 []"
