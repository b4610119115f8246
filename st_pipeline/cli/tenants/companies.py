"""`st-pipeline companies`: the companies of the platform.

Here: the commands. Not here: storing companies (tenants/).
"""

import click

from st_pipeline.cli.json_option import json_option


@click.group()
def companies() -> None:
    """The companies whose data is synced."""


@companies.command("add")
@click.argument("slug")
@click.option("--name", required=True, help="The company's name.")
@click.option("--intacct-id", help="The company's id downstream: column `tenant` of the streams.")
@click.option("--trade", help="The company's trade, like plumbing or hvac.")
def add(slug: str, name: str, intacct_id: str | None, trade: str | None) -> None:
    """Add a company. SLUG is its name in every command, like acme-plumbing, and never changes.

    Safe to repeat: the same values change nothing.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.audit import Entry, audit_failures
    from st_pipeline.tenants.companies import add_company, check_slug

    check_slug(slug)
    doing = f"add company {slug}"
    details = {"company": slug, "name": name, "intacct_id": intacct_id, "trade": trade}
    entry = Entry("companies.add", None, details={**details})
    with (
        open_database() as (_, engine),
        audit_failures(engine, doing, entry),
        transaction(engine, doing) as connection,
    ):
        added = add_company(connection, slug, name=name, intacct_id=intacct_id, trade=trade)
        if added:
            entry.write(connection, "done")
    click.echo(f"company {slug} added" if added else f"company {slug} exists with these values; nothing changed")


@companies.command("update")
@click.argument("slug")
@click.option("--name", help="A new name.")
@click.option("--intacct-id", help="A new id downstream.")
@click.option("--trade", help="A new trade.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether its tenants are synced.")
def update(slug: str, name: str | None, intacct_id: str | None, trade: str | None, enabled: bool | None) -> None:
    """Change the given values of a company; the others stay."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.audit import Entry, audit_failures
    from st_pipeline.tenants.companies import check_slug, update_company

    check_slug(slug)
    doing = f"update company {slug}"
    given = {"name": name, "intacct_id": intacct_id, "trade": trade, "enabled": enabled}
    entry = Entry(
        "companies.update", None, details={"company": slug, **{f: v for f, v in given.items() if v is not None}}
    )
    with (
        open_database() as (_, engine),
        audit_failures(engine, doing, entry),
        transaction(engine, doing) as connection,
    ):
        changed = update_company(connection, slug, name=name, intacct_id=intacct_id, trade=trade, enabled=enabled)
        if changed:
            entry.write(connection, "done")
    click.echo(f"company {slug} updated" if changed else f"company {slug}: nothing changed")


@companies.command("remove")
@click.argument("slug")
def remove(slug: str) -> None:
    """Remove a company that has no credentials any more; the audit trail stays."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.tenants.audit import Entry, audited
    from st_pipeline.tenants.companies import check_slug, remove_company

    check_slug(slug)
    doing = f"remove company {slug}"
    with (
        open_database() as (_, engine),
        audited(engine, doing, Entry("companies.remove", None, details={"company": slug})) as connection,
    ):
        remove_company(connection, slug)
    click.echo(f"company {slug} removed")


@companies.command("list")
@json_option()
def list_(as_json: bool) -> None:
    """Show all companies."""
    from dataclasses import asdict

    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json, print_table
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.companies import list_companies

    with open_database() as (_, engine), transaction(engine, "list the companies") as connection:
        found = list_companies(connection)
    if as_json:
        print_json([asdict(company) for company in found])
    elif found:
        rows = [(c.slug, c.name, c.intacct_id, c.trade, c.enabled) for c in found]
        print_table(("company", "name", "Intacct id", "trade", "enabled"), rows)
    else:
        click.echo("no company yet: add one with `st-pipeline companies add`")
