"""`python -m st_pipeline.web`: the UI, and with `--with-daemon` a whole Dagster, until Ctrl-C or SIGTERM.

Here: the processes, started and ended together, as `dagster dev` does, but with our web server: Dagster's own offers no
place for the gate. Not here: the server itself (`server`).
"""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import uvicorn
from dagster import DagsterInstance
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient

from st_pipeline.logs import configure_logs
from st_pipeline.settings import load_settings
from st_pipeline.web.code_server import watch
from st_pipeline.web.server import gated_app, make_server, open_workspace

DAEMON_STOP_SECONDS = 60


@click.command()
@click.option("-w", "--workspace", default="workspace.yaml", type=click.Path(path_type=Path))
@click.option("-h", "--host", required=True)
@click.option("-p", "--port", required=True, type=int)
@click.option("--read-only", is_flag=True)
@click.option("--with-daemon", is_flag=True, help="Also run the daemon, and a code server that both use.")
def serve(workspace: Path, host: str, port: int, read_only: bool, with_daemon: bool) -> None:
    """Serve until a signal arrives. Exits with 1 when the daemon or the code server ends by itself."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # by default it would end us, but not the daemon
    settings = load_settings()
    configure_logs(settings)
    names = {settings.dagster_host, host, *settings.dagster_host_names}
    daemon, stopped, lost = None, threading.Event(), threading.Event()
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        instance = stack.enter_context(DagsterInstance.get())
        if with_daemon:
            workspace, code_servers = stack.enter_context(_shared_code_server(instance, workspace))
            stack.callback(stopped.set)
            daemon = stack.enter_context(_daemon(workspace))
        context = stack.enter_context(open_workspace(instance, workspace, read_only=read_only))
        server = make_server(gated_app(context, names), host, port)
        if daemon is not None:
            threading.Thread(target=_end_with, args=(daemon, server), daemon=True).start()
            for one in code_servers:
                watch(one, stopped, lambda: _end_as(lost, server))
        server.run()
        if lost.is_set():
            click.echo(
                "the code server ended and does not start again: read its lines above, then start again", err=True
            )
            sys.exit(1)
        if daemon is not None and daemon.poll() is not None:
            click.echo(
                f"the Dagster daemon ended by itself with exit code {daemon.returncode}: read its lines above, then "
                "start again",
                err=True,
            )
            sys.exit(1)


@contextlib.contextmanager
def _shared_code_server(instance: DagsterInstance, workspace: Path) -> Iterator[tuple[Path, list[DagsterGrpcClient]]]:
    """A workspace file that names one code server for the UI and the daemon: our code is imported once, not twice.

    With it, its client.
    """
    target = WorkspaceFileTarget([str(workspace)])
    with (
        ProxyServerManager(instance, target, code_server_log_level="WARNING") as servers,
        tempfile.TemporaryDirectory() as folder,
    ):
        shared = Path(folder) / "workspace.yaml"
        specs = list(servers.get_code_server_specs())
        shared.write_text(json.dumps({"load_from": specs}))  # JSON is YAML, too
        keys = ("port", "socket", "host")
        yield (
            shared,
            [DagsterGrpcClient(**{k: v for k, v in spec["grpc_server"].items() if k in keys}) for spec in specs],
        )


@contextlib.contextmanager
def _daemon(workspace: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """The daemon: schedules, sensors and the queue. It is interrupted at the end, and killed if it does not stop."""
    program = str(Path(sys.executable).with_name("dagster-daemon"))
    process = subprocess.Popen([program, "run", "-w", str(workspace), "--log-level", "warning"])  # noqa: S603 - ours
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(DAEMON_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_as(reason: threading.Event, server: uvicorn.Server) -> None:
    reason.set()
    server.should_exit = True


def _end_with(daemon: "subprocess.Popen[bytes]", server: uvicorn.Server) -> None:
    daemon.wait()
    server.should_exit = True


if __name__ == "__main__":
    serve()
