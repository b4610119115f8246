"""Comments of our own tables in the words of the documentation; those of entities and streams are in the specs."""

from alembic import op

revision = "0029"
down_revision = "0028"

UP = """
COMMENT ON VIEW tenants IS 'A credential with its company, without secrets; partition_key is the tenant''s name '
    'everywhere.';
COMMENT ON COLUMN servicetitan_credentials.expires_on IS 'The last day on which the keys are valid, where it was '
    'stated.';
COMMENT ON COLUMN servicetitan_credentials.expiry_warned_at IS 'When the log last warned of that day: once a day.';
COMMENT ON COLUMN servicetitan_credentials.retry_at IS 'From when a suspended one is tried again. Null: once it was '
    'tested.';
COMMENT ON TABLE purges IS 'Removed credentials whose rows are deleted in batches; a killed purge continues.';
COMMENT ON COLUMN purges.credential_id IS 'No foreign key: the credential is removed. Its id is never used again.';

COMMENT ON TABLE servicetitan_sync_logs IS 'One row a sync of one tenant: kind, status, figures, message.';
COMMENT ON TABLE sync_log_entities IS 'One entity within a sync.';
COMMENT ON VIEW sync_log_entity_figures IS 'An entity of a sync in the log, in the columns of sync_figures_entities.';
COMMENT ON VIEW sync_history_entities IS 'Every sync of every entity there was: each one in the log, then sums by '
    'hour, then by day. No row counts in another.';
COMMENT ON TABLE sync_cursors IS 'How far an entity of a tenant has been read, and when it was last polled.';
COMMENT ON COLUMN sync_cursors.newest_modified_on IS 'The newest modification time read, as ServiceTitan wrote it: '
    'parsed, it would be rounded, and rows could be missed.';
COMMENT ON COLUMN sync_cursors.full_started_at IS 'When the full sync that is not finished began; the next one '
    'continues it. Null: none.';
COMMENT ON COLUMN sync_cursors.full_spec_version IS 'Version of the columns that this full sync writes.';
COMMENT ON COLUMN sync_cursors.full_rewrites IS 'Does this full sync write unchanged rows, too?';
COMMENT ON COLUMN sync_cursors.last_polled_at IS 'The last poll, whether or not anything had changed.';
COMMENT ON COLUMN sync_cursors.complete_through IS 'When the last read that reached its end began: every change before '
    'then is in the table.';
COMMENT ON TABLE seen_ids IS 'Ids that the list has shown in a full sync that is not finished; empty afterwards.';
COMMENT ON TABLE stream_pending IS 'Stream records to build again: a chunk adds their keys in its own transaction, and '
    'the one that writes the records deletes them.';
COMMENT ON TABLE stream_owners IS 'The Intacct id and trade under which a tenant''s stream records are kept. Without a '
    'row, or where the company''s differ, the next sync builds every record again.';

COMMENT ON COLUMN tenant_schedules.paused_at IS 'Since when schedules skip it. Null: they do not. A person''s sync '
    'still works.';
COMMENT ON COLUMN tenant_schedules.poll_minutes IS 'Polled once in this many minutes, counted from midnight UTC. Null: '
    'with every tick.';
COMMENT ON TABLE sync_stops IS 'Syncs that were asked to end; every chunk reads it in the statement that extends its '
    'lease.';
COMMENT ON TABLE tenant_polls IS 'When each tenant is polled next. No index may be on a column that polls update.';
COMMENT ON COLUMN tenant_polls.claimed_until IS 'Until when no other worker claims it. That of a worker that died '
    'passes.';
COMMENT ON COLUMN tenant_polls.hourly_at IS 'When the lists without a feed were last polled.';
COMMENT ON COLUMN night_plan.claimed_until IS 'Until when no other run claims it. That of a run that died passes.';
COMMENT ON COLUMN night_plan.place IS 'Its place in the order of the night: first what the last night did not finish, '
    'then the large ones.';
COMMENT ON COLUMN night_plan.done IS 'Entities that need not be read again tonight.';
COMMENT ON COLUMN field_drift.records IS 'Written records that showed it. Unknown keys are searched for in one of '
    'fifty records only.';
COMMENT ON COLUMN poll_figures.gap_seconds IS 'The sum of the times from one poll in which every feed answered to the '
    'next: the tables were never older.';
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Nothing: the comments say what the older ones said."""
