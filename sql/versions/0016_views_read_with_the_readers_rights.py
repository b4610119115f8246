"""Views read with the rights of who asks, not of their owner: so a role's rights, and later its row policies, count."""

from alembic import op

revision = "0016"
down_revision = "0015"

VIEWS = (
    "tenants",
    "last_complete_through",
    "st_custom_field_values",
    "drift",
    "report_invoices",
    "report_customers",
    "report_open_estimates",
    "report_jobs",
)


def upgrade() -> None:
    """Apply."""
    for view in VIEWS:
        op.get_bind().exec_driver_sql(f"ALTER VIEW {view} SET (security_invoker = true)")


def downgrade() -> None:
    """Undo."""
    for view in VIEWS:
        op.get_bind().exec_driver_sql(f"ALTER VIEW {view} RESET (security_invoker)")
