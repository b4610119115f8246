"""SQL's comments on tables, views and columns, brought to what the code says of them: BI tools show them.

Here: comparing and setting. Not here: the texts, which are the specs' (entities/, streams/); the comments of our own
tables, which migrations set.
"""

from collections.abc import Mapping

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

# By table or view, then by column; under the empty name the comment on the table or view itself.
Comments = Mapping[str, Mapping[str, str]]
# Only what we may comment on: a role that does not own the tables can still run `migrate` when there is nothing to do.
# What the database does not have (yet, or at an older version) is skipped.
DIFFERENT = text("""
    SELECT c.relname, string_agg(
        CASE WHEN wanted.column_name = '' THEN
            format('COMMENT ON %s %I IS %L', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.relname,
                   wanted.comment)
        ELSE format('COMMENT ON COLUMN %I.%I IS %L', c.relname, a.attname, wanted.comment) END, '; ')
    FROM unnest(CAST(:tables AS text[]), CAST(:columns AS text[]), CAST(:comments AS text[]))
         AS wanted (table_name, column_name, comment)
    JOIN pg_class c ON c.relname = wanted.table_name AND c.relnamespace = CAST(current_schema() AS regnamespace)
         AND c.relkind IN ('r', 'p', 'v') AND pg_has_role(c.relowner, 'USAGE')
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = wanted.column_name AND NOT a.attisdropped
    LEFT JOIN pg_description d ON d.objoid = c.oid AND d.classoid = CAST('pg_class' AS regclass)
         AND d.objsubid = coalesce(a.attnum, 0)
    WHERE (wanted.column_name = '' OR a.attnum > 0) AND d.description IS DISTINCT FROM wanted.comment
    GROUP BY c.relname
    ORDER BY c.relname
""")


def set_comments(connection: Connection, wanted: Comments) -> list[str]:
    """Set those that differ, each table's in a transaction. Returns the tables and views that were commented on.

    One query when nothing differs. A table that stays in use, as by VACUUM, is left for the next time: a comment must
    not make a migration fail.
    """
    flat = [(table, column, comment) for table, columns in wanted.items() for column, comment in columns.items()]
    tables, columns, comments = zip(*flat, strict=True) if flat else ((), (), ())
    bound = {"tables": list(tables), "columns": list(columns), "comments": list(comments)}
    different = connection.execute(DIFFERENT, bound).all()
    connection.commit()
    return [table for table, statements in different if _is_set(connection, statements)]


def _is_set(connection: Connection, statements: str) -> bool:
    try:
        # A comment may contain a percent sign, which is no parameter.
        connection.exec_driver_sql(statements, execution_options={"no_parameters": True})
    except OperationalError as error:
        if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise
        connection.rollback()
        return False
    connection.commit()
    return True
