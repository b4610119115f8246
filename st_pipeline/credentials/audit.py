"""Who did what to a company or a credential, and how it ended.

Here: writing rows of `audit_log`. Not here: deciding what deserves one. Rows hold no secret: `details` takes plain
values only, and a masked secret fails to serialise instead of being written.
"""

import contextlib
import getpass
import json
import os
import socket
from collections.abc import Mapping
from typing import Literal

from sqlalchemy import Connection, text

Result = Literal["done", "refused", "failed"]
Plain = str | int | float | bool | None

INSERT = text("""
    INSERT INTO audit_log (actor, origin, action, tenant, credential_id, result, details)
    VALUES (:actor, :origin, :action, :tenant, :credential_id, :result, CAST(:details AS jsonb))
""")


def record(
    connection: Connection,
    action: str,
    *,
    tenant: str | None,
    credential_id: int | None,
    result: Result,
    details: Mapping[str, Plain] | None = None,
) -> None:
    """One row, in the caller's transaction. `action` is dotted (`credentials.add`). Raises TypeError on a SecretStr."""
    connection.execute(
        INSERT,
        {
            "actor": actor(),
            "origin": socket.gethostname(),
            "action": action,
            "tenant": tenant,
            "credential_id": credential_id,
            "result": result,
            "details": json.dumps(dict(details or {}), allow_nan=False),
        },
    )


def actor() -> str:
    """The user of the operating system: of the process, not of the `USER` variable, which anybody can set."""
    with contextlib.suppress(ImportError, KeyError, AttributeError):  # Windows has no pwd; a container may have no name
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    try:
        return f"uid {os.geteuid()}"
    except AttributeError:
        return getpass.getuser()
