"""Starting runs in a running Dagster, and waiting for them.

Here: the calls over GraphQL that the UI itself makes. Not here: what a run does, and who wants it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from dagster import DagsterRunStatus

from st_pipeline.errors import ConfigurationError, PipelineError
from st_pipeline.records import Mode

LOCATION = "st_pipeline"
REPOSITORY = "__repository__"
ENDED = {DagsterRunStatus.SUCCESS.value, DagsterRunStatus.FAILURE.value, DagsterRunStatus.CANCELED.value}
TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.5

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
STATUS = """
query Status($ids: [String]!) {
  runsOrError(filter: {runIds: $ids}) { ... on Runs { results { runId status } } }
}"""
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on PythonError { message } }
} } } }"""


class RunningDagster:
    """A Dagster webserver on this machine, spoken to over GraphQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        # On this machine: a proxy the environment names is not for it. No connection is kept, so none is left open.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False, limits=limits)

    def is_up(self) -> bool:
        """Does a Dagster webserver answer?"""
        try:
            return self._http.get("/server_info").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def has_loaded(self) -> bool:
        """Has it loaded our definitions? Raises ConfigurationError when they do not load."""
        entries = self._ask(LOCATIONS, {})["workspaceOrError"].get("locationEntries", [])
        for entry in entries:
            loaded = entry["locationOrLoadError"] or {}
            if entry["name"] == LOCATION and loaded.get("__typename") == "PythonError":
                raise ConfigurationError(f"Dagster cannot load our definitions: {loaded['message'].splitlines()[0]}")
            if entry["name"] == LOCATION and entry["loadStatus"] == "LOADED" and loaded:
                return True
        return False

    def launch_sync(self, mode: Mode, first: str, last: str | None = None) -> str:
        """Queue a sync of one tenant, or of the partitions from `first` to `last`. Returns the run's id."""
        tags = {"dagster/partition": first}
        if last is not None and last != first:
            tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        params = {
            "selector": {
                "repositoryLocationName": LOCATION,
                "repositoryName": REPOSITORY,
                "jobName": "full_sync" if mode is Mode.FULL else "incremental_sync",
            },
            "runConfigData": {"ops": {"sync_tenants": {"config": {"mode": str(mode)}}}},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self._ask(LAUNCH, {"params": params})["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            reasons = answer.get("message") or "; ".join(error["message"] for error in answer.get("errors", []))
            raise PipelineError(f"Dagster did not start the {mode} sync of {first}: {reasons or answer['__typename']}")
        run_id: str = answer["run"]["runId"]
        return run_id

    def statuses(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Status by run id."""
        found = self._ask(STATUS, {"ids": list(run_ids)})["runsOrError"]["results"]
        return {run["runId"]: run["status"] for run in found}

    def wait(
        self, run_ids: Sequence[str], timeout_seconds: float, while_waiting: Callable[[dict[str, str]], None]
    ) -> dict[str, str]:
        """Wait until all have ended and return their statuses. Raises PipelineError after `timeout_seconds`."""
        give_up_at = time.monotonic() + timeout_seconds
        while True:
            statuses = self.statuses(run_ids)
            while_waiting(statuses)
            if statuses and all(status in ENDED for status in statuses.values()):
                return statuses
            if time.monotonic() > give_up_at:
                raise PipelineError(f"runs still going after {timeout_seconds:g} s; see {self.url}/runs")
            time.sleep(POLL_SECONDS)

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = self._http.post("/graphql", json={"query": query, "variables": variables}).json()
        except httpx.TransportError as error:
            raise PipelineError(f"Dagster at {self.url} does not answer ({type(error).__name__})") from error
        if "errors" in answer:
            raise PipelineError(f"Dagster at {self.url} refuses the request: {answer['errors'][0]['message']}")
        data: dict[str, Any] = answer["data"]
        return data
