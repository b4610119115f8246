"""Settings of Dagster's UI.

Here: where it listens, under which names browsers reach it. Not here: the gate itself (web/).
"""

import re
from typing import Annotated

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import NoDecode

from st_pipeline.settings.names import split_names


class Web(BaseModel):
    """The UI."""

    dagster_host: str = Field(default="127.0.0.1", description="Address the UI listens on. It has no login.")
    dagster_port: int = Field(default=3000, ge=1, le=65535, description="Port of the UI.")
    dagster_host_names: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Further names under which browsers reach the UI, comma-separated and without ports: those of a "
        "proxy in front of it. A request under any other name is refused, except `localhost`, the loopback addresses "
        "and `ST_PIPELINE_DAGSTER_HOST`.",
    )

    @field_validator("dagster_host_names", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return split_names(value)

    @field_validator("dagster_host_names")
    @classmethod
    def _names_only(cls, value: frozenset[str]) -> frozenset[str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9._-]+|\[?[0-9a-fA-F:.]+\]?", name):
                raise ValueError(f"{name!r} is not a host name: write dagster.example.com, without http:// and port")
        return value
