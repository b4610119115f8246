"""Schedules with days, hours and holidays to leave out; switches; addresses of the API that are paused for all."""

from alembic import op

revision = "0023"
down_revision = "0022"

UP = """
ALTER TABLE tenant_schedules
    ADD COLUMN poll_cron text,
    ADD COLUMN skip_days smallint[] CHECK (skip_days <@ ARRAY[1, 2, 3, 4, 5, 6, 7]::smallint[]),
    ADD COLUMN skip_from time,
    ADD COLUMN skip_until time,
    ADD COLUMN skip_holidays text,
    ADD COLUMN entities_off text[],
    ADD CONSTRAINT one_kind_of_schedule CHECK (poll_minutes IS NULL OR poll_cron IS NULL),
    ADD CONSTRAINT hours_have_two_ends CHECK ((skip_from IS NULL) = (skip_until IS NULL) AND skip_from <> skip_until);
COMMENT ON COLUMN tenant_schedules.poll_cron IS 'When it is polled, as a cron expression in ST_PIPELINE_TIME_ZONE.';
COMMENT ON COLUMN tenant_schedules.skip_days IS 'Days of the week without polls, 1 (Monday) to 7.';
COMMENT ON COLUMN tenant_schedules.skip_from IS 'Hours without polls, in ST_PIPELINE_TIME_ZONE; may pass midnight.';
COMMENT ON COLUMN tenant_schedules.skip_holidays IS 'Holidays without polls: a country, US, or a part of it, US-TX.';
COMMENT ON COLUMN tenant_schedules.entities_off IS 'Entities that schedules do not sync for this tenant.';

CREATE TABLE switches (
    scope text NOT NULL CHECK (scope IN ('everything', 'environment', 'company', 'entity')),
    name text NOT NULL,
    off_since timestamptz NOT NULL DEFAULT now(),
    because text,
    PRIMARY KEY (scope, name),
    CONSTRAINT everything_has_no_name CHECK ((scope = 'everything') = (name = ''))
);
COMMENT ON TABLE switches IS 'What is switched off. Schedules read it whenever they are about to begin work.';

CREATE TABLE api_pauses (
    environment text PRIMARY KEY CHECK (environment IN ('production', 'integration')),
    paused_until timestamptz NOT NULL,
    pauses smallint NOT NULL,
    reason text NOT NULL
);
COMMENT ON TABLE api_pauses IS 'APIs that gave several tenants no usable answer: nobody is polled there until then.';
COMMENT ON COLUMN api_pauses.pauses IS 'Pauses in a row: each is longer than the last.';
"""

DOWN = """
DROP TABLE api_pauses;
DROP TABLE switches;
ALTER TABLE tenant_schedules
    DROP COLUMN entities_off, DROP COLUMN skip_holidays, DROP COLUMN skip_until, DROP COLUMN skip_from,
    DROP COLUMN skip_days, DROP COLUMN poll_cron;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
