"""Which addresses a secret may be sent to.

Here: the check, before anything is sent. Not here: the addresses themselves (settings.py), sending (exchange.py).
"""

import ipaddress

import httpx

from st_pipeline.errors import ConfigurationError
from st_pipeline.servicetitan.tenant_authentication import TenantAccess


def check_api_address(access: TenantAccess) -> str:
    """The scheme of the API address. Raises ConfigurationError that names the setting."""
    return _check(access, "API", access.api_url)


def check_token_address(access: TenantAccess) -> str:
    """The scheme of the token address. Raises ConfigurationError that names the setting."""
    return _check(access, "token", access.auth_url)


def _check(access: TenantAccess, name: str, address: str) -> str:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL()
    what = f"tenant {access.tenant}: the {name} address of the {access.environment} environment"
    setting = f"ST_PIPELINE_{access.environment.upper()}_{'API' if name == 'API' else 'AUTH'}_URL"
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(f"{what} is not a valid http or https address; correct {setting}")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ConfigurationError(
            f"{what} begins with http:// and {url.host} is not this machine: keys and records would travel "
            f"unencrypted, so nothing was sent; write https:// in {setting}"
        )
    return url.scheme


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
