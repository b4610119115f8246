"""Ports that other programs may use.

Here: the check before a server is started on a port. Not here: any server.
"""

import socket

from st_pipeline.errors import ConfigurationError


def is_taken(host: str, port: int) -> bool:
    """Whether another program listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def refuse_taken_port(host: str, port: int, variable: str) -> None:
    """Raise ConfigurationError when the port is taken; it names the setting that chooses another."""
    if is_taken(host, port):
        raise ConfigurationError(f"port {port} on {host} is taken: end the program that uses it, or set {variable}")
