"""The run backend for when Dagster is running: its webserver, over GraphQL.

Here: the GraphQL calls, which are those that the UI makes. Importing this does not import Dagster. Not here: what a run
does, and who asks for it.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from st_pipeline.errors import ConfigurationError, DagsterSilent, PipelineError
from st_pipeline.protocol import Mode
from st_pipeline.runs.backend import Phase, RunState
from st_pipeline.runs.run_request import RunRequest
from st_pipeline.runs.tags import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

LOCATION = "st_pipeline"
REPOSITORY = "__repository__"
SELECTOR = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY}
ENDED = {"SUCCESS": Phase.SUCCEEDED, "FAILURE": Phase.FAILED, "CANCELED": Phase.FAILED}
BEGUN = {"STARTED", "CANCELING"}
TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.5
QUEUE = "QUEUED_RUN_COORDINATOR"
HEARTBEAT_SECONDS = 90  # the daemon's heartbeat comes every 30 s

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
  runsOrError(filter: {runIds: $ids}) { ... on Runs { results { runId status tags { key value } } } }
}"""
ACTIVE = """
{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]}) {
    ... on Runs { results { tags { key value } } }
} }"""
OF_REQUEST = """
query OfRequest($tags: [ExecutionTag!]!) {
  runsOrError(filter: {tags: $tags}) { ... on Runs { results { runId } } }
}"""
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on PythonError { message } }
} } } }"""
HEARTBEATS = "{ instance { daemonHealth { allDaemonStatuses { daemonType lastHeartbeatTime } } } }"
INSTANCE = "{ instance { info } }"
ADD_PARTITION = """
mutation Add($selector: RepositorySelector!, $key: String!) {
  addDynamicPartition(repositorySelector: $selector, partitionsDefName: "tenants", partitionKey: $key) { __typename }
}"""
TERMINATE = "mutation End($id: String!) { terminateRun(runId: $id) { __typename } }"


class RunningDagster:
    """A Dagster webserver on this machine."""

    def __init__(self, url: str) -> None:
        self.url = url
        # It is on this machine, so a proxy of the environment is ignored. No idle connection is kept, none stays open.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False, limits=limits)
        self._started: set[str] = set()
        self._unanswered: set[tuple[str, str]] = set()

    @property
    def name(self) -> str:
        """For people."""
        return f"the Dagster at {self.url}"

    def is_up(self) -> bool:
        """Whether a Dagster webserver answers."""
        try:
            return self._http.get("/server_info").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def has_loaded(self) -> bool:
        """Whether it has loaded our definitions. Raises ConfigurationError when they do not load."""
        entries = self._ask(LOCATIONS, {})["workspaceOrError"].get("locationEntries", [])
        for entry in entries:
            loaded = entry["locationOrLoadError"] or {}
            if entry["name"] == LOCATION and loaded.get("__typename") == "PythonError":
                raise ConfigurationError(f"Dagster cannot load our definitions: {loaded['message'].splitlines()[0]}")
            if entry["name"] == LOCATION and entry["loadStatus"] == "LOADED" and loaded:
                return True
        return False

    def belongs_to(self, home: Path) -> bool:
        """Whether it is the Dagster of the project in that folder: another checkout's may listen on the same port."""
        info: str = self._ask(INSTANCE, {})["instance"]["info"] or ""
        return f"base_dir: {home}\n" in info

    def takes_from_its_queue(self) -> bool:
        """Whether a daemon starts what is queued, by its heartbeat."""
        beats = self._ask(HEARTBEATS, {})["instance"]["daemonHealth"]["allDaemonStatuses"]
        last = next((beat["lastHeartbeatTime"] for beat in beats if beat["daemonType"] == QUEUE), None)
        return last is not None and time.time() - last < HEARTBEAT_SECONDS

    def launch_sync(self, mode: Mode, first: str, last: str | None = None) -> str:
        """Queue a sync of one tenant, or of the partitions from `first` to `last`. Returns the run's id."""
        request = RunRequest(first, str(uuid.uuid4()), options={"mode": str(mode)})
        if last is None or last == first:
            return self._launch(request, request.tags)
        return self._launch(request, {RANGE_START_TAG: first, RANGE_END_TAG: last})

    def start(self, request: RunRequest) -> str:
        """Queue a run. Its partition is added first: the sensor that does so runs only every 30 s.

        After DagsterSilent it may be called again: a run that was queued although no answer came is not queued twice.
        """
        asked = (request.request_id, request.tenant)
        run_id = self._run_of(request) if asked in self._unanswered else None
        if run_id is None:
            self._unanswered.add(asked)
            self._ask(ADD_PARTITION, {"selector": SELECTOR, "key": request.tenant})
            run_id = self._launch(request, request.tags)
        self._unanswered.discard(asked)
        self._started.add(run_id)
        return run_id

    def _run_of(self, request: RunRequest) -> str | None:
        """The run that was queued for the request although no answer came."""
        tags = [{"key": key, "value": value} for key, value in request.tags.items()]
        runs = self._ask(OF_REQUEST, {"tags": tags})["runsOrError"]["results"]
        return next((run["runId"] for run in runs if run["runId"] not in self._started), None)

    def _launch(self, request: RunRequest, tags: Mapping[str, str]) -> str:
        chosen = {"assetSelection": [{"path": ["servicetitan", entity]} for entity in request.entities]}
        params = {
            "selector": {**SELECTOR, "jobName": request.job, **(chosen if request.entities else {})},
            "runConfigData": request.run_config,
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self._ask(LAUNCH, {"params": params})["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            reasons = answer.get("message") or "; ".join(error["message"] for error in answer.get("errors", []))
            mode = request.options.get("mode", Mode.INCREMENTAL)
            raise PipelineError(
                f"Dagster did not start the {mode} sync of {request.tenant}: {reasons or answer['__typename']}"
            )
        run_id: str = answer["run"]["runId"]
        return run_id

    def statuses(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Dagster's status by run id."""
        return {run["runId"]: run["status"] for run in self._runs(run_ids)}

    def states(self, run_ids: list[str]) -> dict[str, RunState]:
        """The states of these runs."""
        found = {}
        for run in self._runs(run_ids):
            active = Phase.RUNNING if run["status"] in BEGUN else Phase.WAITING
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            message = "ended in the Dagster UI, or by a second Ctrl-C" if run["status"] == "CANCELED" else None
            found[run["runId"]] = RunState(ENDED.get(run["status"], active), tags, message)
        return found

    def _runs(self, run_ids: Sequence[str]) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self._ask(STATUS, {"ids": list(run_ids)})["runsOrError"]["results"]
        return runs

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
                raise PipelineError(f"runs still active after {timeout_seconds:g} s; see {self.url}/runs")
            time.sleep(POLL_SECONDS)

    def end_now(self, run_id: str) -> None:
        """End a run: take it out of the queue, or interrupt it."""
        self._ask(TERMINATE, {"id": run_id})

    def queued_tenants(self) -> set[str]:
        """Tenants that already have a run of their own, queued or running."""
        runs = self._ask(ACTIVE, {})["runsOrError"]["results"]
        return {tag["value"] for run in runs for tag in run["tags"] if tag["key"] == PARTITION_TAG}

    def close(self) -> None:
        """Close the client."""
        self._http.close()

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = self._http.post("/graphql", json={"query": query, "variables": variables}).json()
        except (httpx.TransportError, ValueError) as error:
            raise DagsterSilent(f"Dagster at {self.url} does not answer ({type(error).__name__})") from error
        if "errors" in answer:
            raise PipelineError(f"Dagster at {self.url} refuses the request: {answer['errors'][0]['message']}")
        data: dict[str, Any] = answer["data"]
        return data
