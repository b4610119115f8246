"""Which addresses a secret may be sent to.

Here: the check before anything is sent. Not here: the addresses themselves (settings), sending requests.
"""

import ipaddress

import httpx

from st_pipeline.errors import ConfigurationError
from st_pipeline.servicetitan.tenant_authentication import TenantAuthentication


def check_api_address(authentication: TenantAuthentication) -> str:
    """Check the API address and return its scheme. Raises ConfigurationError that names the setting."""
    return _check(authentication, "API", authentication.api_url)


def check_token_address(authentication: TenantAuthentication) -> str:
    """Check the token address and return its scheme. Raises ConfigurationError that names the setting."""
    return _check(authentication, "token", authentication.auth_url)


def _check(authentication: TenantAuthentication, name: str, address: str) -> str:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL()
    what = f"tenant {authentication.tenant}: the {name} address of the {authentication.environment} environment"
    setting = f"ST_PIPELINE_{authentication.environment.upper()}_{'API' if name == 'API' else 'AUTH'}_URL"
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(f"{what} is not a valid http or https address; correct {setting}")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ConfigurationError(
            f"{what} begins with http:// and {url.host} is not this machine: keys and records would be sent "
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
