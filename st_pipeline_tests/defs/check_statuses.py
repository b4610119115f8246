"""The statuses of asset checks as the UI asks for them: over GraphQL, of definitions loaded in this process.

Here: the question and its answer. Not here: what is expected of it.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.schema import create_schema

QUERY = """
query Checks($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) { ... on AssetNode { assetChecksOrError { ... on AssetChecks { checks {
    name
    executionForLatestMaterialization { status evaluation { description severity partition } }
    partitionStatuses { ... on AssetCheckDefaultPartitionStatuses {
      succeededPartitions failedPartitions inProgressPartitions skippedPartitions executionFailedPartitions
    } }
  } } } } }
}"""
SCHEMA = create_schema()


@dataclass(slots=True)
class CheckStatuses:
    """What the UI shows of an asset's checks."""

    workspace: WorkspaceProcessContext

    def of(self, asset: dg.AssetKey) -> dict[str, dict[str, str]]:
        """By check: the status of each tenant that has one."""
        return {
            check["name"]: {
                tenant: field.removesuffix("Partitions")
                for field, tenants in check["partitionStatuses"].items()
                for tenant in tenants
            }
            for check in self._checks(asset)
            if check["partitionStatuses"] is not None
        }

    def failed(self, asset: dg.AssetKey) -> set[tuple[str, str]]:
        """Pairs of check and tenant that are not shown as succeeded."""
        statuses = self.of(asset).items()
        return {(check, tenant) for check, of in statuses for tenant, status in of.items() if status != "succeeded"}

    def unpartitioned(self, asset: dg.AssetKey) -> dict[str, str | None]:
        """By check without partitions: its status, as the list of checks shows it."""
        found = {}
        for check in self._checks(asset):
            execution = check["executionForLatestMaterialization"]
            if check["partitionStatuses"] is None:
                found[check["name"]] = None if execution is None else execution["status"]
        return found

    def latest(self, asset: dg.AssetKey, name: str) -> dict[str, str | None]:
        """The newest evaluation of a check."""
        (check,) = [one for one in self._checks(asset) if one["name"] == name]
        return check["executionForLatestMaterialization"]["evaluation"]

    def _checks(self, asset: dg.AssetKey) -> list[dict]:
        with self.workspace.create_request_context() as context:
            asked = SCHEMA.execute_async(QUERY, variables={"path": asset.path}, context_value=context)
            answer = asyncio.run(asked)
        assert not answer.errors, answer.errors
        return answer.data["assetNodeOrError"]["assetChecksOrError"].get("checks", [])


@contextmanager
def statuses_in(instance: dg.DagsterInstance, module: str) -> Iterator[CheckStatuses]:
    """Of the definitions in this module."""
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=module)
    origin = InProcessCodeLocationOrigin(target, location_name="st_pipeline")
    with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace:
        yield CheckStatuses(workspace)
