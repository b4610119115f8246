"""docs/python.md: what a program can import from st_pipeline, made from the signatures and docstrings.

Here: the page's text. Not here: writing it (documentation.py).
"""

import dataclasses
import inspect
import re
from typing import Any

import st_pipeline
from st_pipeline import errors

INTRODUCTION = """\
# From a program

Made from the code by `python -m st_pipeline.tools.documentation`; do not edit it here. Everything on this page is
imported from `st_pipeline`. A program needs neither Dagster nor a running service; it finds the database, the keys and
the addresses as the commands do, in [settings](settings.md).

```python
from st_pipeline import AuthError, PipelineError, SyncConfiguration, synchronize_data

try:
    result = synchronize_data("acme-plumbing", SyncConfiguration(data_type="invoices"))
except PipelineError as error:  # the sync could not begin: an unknown tenant, no database, another run
    raise SystemExit(str(error)) from error
for outcome in result.outcomes:
    print(outcome.entity, outcome.result.counts.processed, outcome.message or "done")
refused = [outcome.entity for outcome in result.outcomes if isinstance(outcome.error, AuthError)]
```

**What raises, and what does not.** A sync that cannot begin raises. An entity that fails does not: its error is in its
outcome as an object, and `result.success` is false. No message holds a secret or a record.

**Log lines** go to standard error, at `ST_PIPELINE_LOG_LEVEL` and above. A program that has configured structlog keeps
its own configuration.
"""


def python_page() -> str:
    """The page."""
    named = {name: getattr(st_pipeline, name) for name in st_pipeline.__all__ if not hasattr(errors, name)}
    functions = "".join(_function(name, one) for name, one in named.items() if inspect.isfunction(one))
    values = "".join(_value(name, one) for name, one in named.items() if dataclasses.is_dataclass(one))
    tree = (inspect.getdoc(errors) or "").split("\n\n")[1]
    return f"{INTRODUCTION}\n## Functions\n{functions}\n## Values\n{values}\n## Errors\n\n```text\n{tree}\n```\n"


def _function(name: str, function: Any) -> str:
    signature = _short(str(inspect.signature(function)))
    return f"\n### {name}\n\n```text\n{name}{signature}\n```\n\n{inspect.getdoc(function)}\n"


def _value(name: str, value: Any) -> str:
    rows = []
    for one in dataclasses.fields(value):
        default = f" = {one.default!r}" if one.default is not dataclasses.MISSING else ""
        rows.append((f"{one.name}{default}", _short(inspect.formatannotation(one.type))))
    for attribute, one in vars(value).items():
        if isinstance(one, property):
            rows.append((attribute, (inspect.getdoc(one) or "").split("\n")[0]))
    table = "".join("| `{}` | {} |\n".format(cell, what.replace("|", "\\|")) for cell, what in rows)
    return f"\n### {name}\n\n{inspect.getdoc(value)}\n\n| Field | Type or meaning |\n|---|---|\n{table}"


def _short(annotation: str) -> str:
    """Names of types without their modules."""
    return re.sub(r"\b(?:\w+\.)+(?=[A-Z])", "", annotation)
