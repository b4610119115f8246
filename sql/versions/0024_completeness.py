"""Completeness follows the tenant's polls: a poll that found nothing writes one row a tenant, and no cursor."""

from alembic import op

revision = "0024"
down_revision = "0023"

UP = """
ALTER TABLE stream_owners ADD COLUMN version integer, ADD COLUMN sources text[];
COMMENT ON COLUMN stream_owners.version IS 'The version of the mapping that its records were made with.';
COMMENT ON COLUMN stream_owners.sources IS 'The entities that its records are made of.';
UPDATE stream_owners SET version = 1, sources = CASE stream
    WHEN 'members_stream' THEN ARRAY['customers', 'customer_contacts', 'membership_types', 'memberships']
    WHEN 'invoices_stream' THEN ARRAY['invoices', 'customers'] END;

ALTER TABLE sync_cursors DROP COLUMN last_reported_at;

CREATE FUNCTION moved_by_polls(moment timestamptz, feed_token text, polled_at timestamptz, hourly_at timestamptz)
RETURNS timestamptz LANGUAGE sql IMMUTABLE
RETURN CASE WHEN moment IS NOT NULL
    THEN greatest(moment, CASE WHEN feed_token IS NULL THEN hourly_at ELSE polled_at END) END;
COMMENT ON FUNCTION moved_by_polls IS 'A time of a cursor, or that of the last poll in which all feeds (or, of an '
    'entity without a feed token, all lists) answered, if that is later. Null stays null: never read to its end.';

CREATE VIEW completeness WITH (security_invoker = true) AS
SELECT c.credential_id, c.entity,
    CASE WHEN o.stream IS NULL
        THEN moved_by_polls(c.complete_through, c.continue_from, p.polled_at, p.hourly_at)
        WHEN c.complete_through IS NOT NULL THEN greatest(c.complete_through, (
            SELECT CASE WHEN count(s.complete_through) = cardinality(o.sources)
                THEN min(moved_by_polls(s.complete_through, s.continue_from, p.polled_at, p.hourly_at)) END
            FROM sync_cursors s WHERE s.credential_id = c.credential_id AND s.entity = ANY(o.sources)
            AND NOT EXISTS (
                SELECT FROM stream_pending w WHERE w.credential_id = c.credential_id AND w.stream = c.entity)
        )) END AS complete_through,
    CASE WHEN o.stream IS NULL
        THEN moved_by_polls(c.last_polled_at, c.continue_from, p.polled_at, p.hourly_at)
        ELSE greatest(c.last_polled_at, p.polled_at) END AS last_polled_at
FROM sync_cursors c
LEFT JOIN tenant_polls p ON p.credential_id = c.credential_id
LEFT JOIN stream_owners o ON o.credential_id = c.credential_id AND o.stream = c.entity;
COMMENT ON VIEW completeness IS 'Up to when each entity and stream is known complete, and when it was last polled: by '
    'its own cursor, or by a poll of the tenant that found nothing. A stream is as complete as its sources, once '
    'nothing waits to be built.';

CREATE OR REPLACE VIEW last_complete_through WITH (security_invoker = true) AS
SELECT t.partition_key AS tenant, t.company, t.environment, c.entity,
       m.complete_through AS last_complete_through, c.last_full_at, m.last_polled_at, c.last_failed_at,
       (SELECT count(*) FROM sync_rejects r WHERE r.credential_id = c.credential_id AND r.entity = c.entity
        AND r.dismissed_at IS NULL) AS open_rejects,
       (SELECT count(*) FROM stream_pending p WHERE p.credential_id = c.credential_id AND p.stream = c.entity)
           AS pending
FROM sync_cursors c JOIN tenants t ON t.credential_id = c.credential_id
JOIN completeness m ON m.credential_id = c.credential_id AND m.entity = c.entity;

CREATE OR REPLACE VIEW tenants WITH (security_invoker = true) AS
SELECT c.id AS credential_id,
       co.slug || CASE c.environment WHEN 'production' THEN '' ELSE '@' || c.environment END AS partition_key,
       co.slug AS company, co.name AS company_name, co.intacct_id, co.trade, c.environment, c.tenant_id,
       c.connection_status, c.connection_message, c.last_tested_at,
       greatest(c.last_sync_at, p.polled_at) AS last_sync_at,
       co.enabled AND c.enabled AS enabled
FROM servicetitan_credentials c JOIN companies co ON co.id = c.company_id
LEFT JOIN tenant_polls p ON p.credential_id = c.id;
"""

DOWN = """
CREATE OR REPLACE VIEW tenants WITH (security_invoker = true) AS
SELECT c.id AS credential_id,
       co.slug || CASE c.environment WHEN 'production' THEN '' ELSE '@' || c.environment END AS partition_key,
       co.slug AS company, co.name AS company_name, co.intacct_id, co.trade, c.environment, c.tenant_id,
       c.connection_status, c.connection_message, c.last_tested_at, c.last_sync_at,
       co.enabled AND c.enabled AS enabled
FROM servicetitan_credentials c JOIN companies co ON co.id = c.company_id;
CREATE OR REPLACE VIEW last_complete_through WITH (security_invoker = true) AS
SELECT t.partition_key AS tenant, t.company, t.environment, c.entity,
       c.complete_through AS last_complete_through, c.last_full_at, c.last_polled_at, c.last_failed_at,
       (SELECT count(*) FROM sync_rejects r WHERE r.credential_id = c.credential_id AND r.entity = c.entity
        AND r.dismissed_at IS NULL) AS open_rejects,
       (SELECT count(*) FROM stream_pending p WHERE p.credential_id = c.credential_id AND p.stream = c.entity)
           AS pending
FROM sync_cursors c JOIN tenants t ON t.credential_id = c.credential_id;
DROP VIEW completeness;
DROP FUNCTION moved_by_polls;
ALTER TABLE sync_cursors ADD COLUMN last_reported_at timestamptz;
ALTER TABLE stream_owners DROP COLUMN version, DROP COLUMN sources;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
