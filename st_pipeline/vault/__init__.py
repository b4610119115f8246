"""Encryption of what the database must not show.

Here: the keys and the format of an encrypted value. Not here: which tables hold such values (tenants/).
"""
