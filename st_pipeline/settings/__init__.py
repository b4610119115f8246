"""Every setting of st-pipeline: its name, unit, default and reason.

Here: the values and their checks, a module for each subject and a class for each group. Not here: what is done with
them, nor what differs by tenant (tenants/). Read from the environment (`ST_PIPELINE_<NAME>`, and `DATABASE_URL`), then
from `.env` in the working folder. `docs/settings.md` is generated from this room; a test fails when the two differ.
"""

from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from st_pipeline.errors import ConfigurationError
from st_pipeline.settings.engine import Credentials, Engine
from st_pipeline.settings.schedules import Schedules
from st_pipeline.settings.servicetitan import ENVIRONMENTS, Api, Client, Environment
from st_pipeline.settings.storage import Logs, Places, Retention
from st_pipeline.settings.trust import Alerts, Checks, Reconciliation
from st_pipeline.settings.web import Web

__all__ = ["ENVIRONMENTS", "Environment", "Settings", "load_settings", "variable_name"]


class Settings(
    Places,
    Api,
    Client,
    Engine,
    Credentials,
    Schedules,
    Checks,
    Alerts,
    Reconciliation,
    Web,
    Retention,
    Logs,
    BaseSettings,
):
    """All settings: the groups in the order of docs/settings.md, each one's docstring its title and a note.

    Raises pydantic's ValidationError on an invalid value; `load_settings` turns it into one line.
    """

    model_config = SettingsConfigDict(
        env_prefix="ST_PIPELINE_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        env_ignore_empty=True,
        frozen=True,
        populate_by_name=True,
    )


def variable_name(field: str) -> str:
    """The environment variable of a setting: `rate_limit` is `ST_PIPELINE_RATE_LIMIT`."""
    return "DATABASE_URL" if field.lower() == "database_url" else f"ST_PIPELINE_{field.upper()}"


def load_settings(**overrides: Any) -> Settings:
    """Read the settings now; `overrides` by field win. Raises ConfigurationError naming each wrong variable."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        wrong = "; ".join(f"{variable_name(str(e['loc'][0]))}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigurationError(
            f"cannot read the settings: {wrong}. Fix this in the environment or .env; see docs/settings.md"
        ) from None
