"""Dagster's UI behind the gate, served until a signal ends it.

Here: Dagster's webserver app behind our gate, and uvicorn. Not here: the gate's rules (`gate`), the daemon and the code
server (`__main__`).
"""

from collections.abc import Collection
from pathlib import Path

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.types import ASGIApp

from st_pipeline.web.gate import Gate

# The defaults of `dagster-webserver`: a statement may take 15 s, a connection lives for an hour at most.
STATEMENT_TIMEOUT_MILLISECONDS = 15_000
POOL_RECYCLE_SECONDS = 3_600
POOL_MAX_OVERFLOW = 20
ASSET_POLL_MILLISECONDS = 2_000
# How long Ctrl-C waits for the requests of open pages.
SHUTDOWN_SECONDS = 5


def open_workspace(instance: DagsterInstance, workspace_file: Path, *, read_only: bool) -> WorkspaceProcessContext:
    """Load the code that the workspace file names, as a context manager: what the UI shows and launches."""
    instance.optimize_for_webserver(STATEMENT_TIMEOUT_MILLISECONDS, POOL_RECYCLE_SECONDS, POOL_MAX_OVERFLOW)
    target = WorkspaceFileTarget([str(workspace_file)])
    return WorkspaceProcessContext(
        instance, target, version=__version__, read_only=read_only, code_server_log_level="WARNING"
    )


def gated_app(workspace: WorkspaceProcessContext, host_names: Collection[str]) -> ASGIApp:
    """Dagster's whole UI, its GraphQL and its websockets behind the gate."""
    webserver: DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext] = DagsterWebserver(
        workspace, live_data_poll_rate=ASSET_POLL_MILLISECONDS
    )
    return Gate(webserver.create_asgi_app(), host_names)


def make_server(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """A server that is not running yet; its `run()` serves until SIGINT or SIGTERM."""
    configuration = uvicorn.Config(
        app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_SECONDS, server_header=False
    )
    return uvicorn.Server(configuration)
