"""The heartbeat: an address that is called while all is well, for a service that notices when the calls stop.

Here: the call. Not here: whether all is well (health.py), when it is called (tick.py).
"""

import httpx

from st_pipeline.settings import Settings

TIMEOUT_SECONDS = 5.0


def beat(settings: Settings) -> str | None:
    """Call the address. Returns None, or the kind of the error: the address holds a token."""
    assert settings.heartbeat_url is not None  # noqa: S101 - the caller asks
    try:
        response = httpx.get(settings.heartbeat_url.get_secret_value(), timeout=TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    return None if response.is_success else f"HTTP {response.status_code}"
