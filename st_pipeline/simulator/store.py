"""A tenant's records, kept as the bytes that are served.

Here: rows, their two orders (by id for lists, by change for feeds), versions for caching. Not here: HTTP, filters, the
meaning of a record.
"""

import hashlib
from bisect import bisect_right
from typing import Any

import msgspec

from st_pipeline.simulator.clock import to_text, to_ticks

_encoder = msgspec.json.Encoder(decimal_format="number")


class _Head(msgspec.Struct):
    """The few keys that the server reads. Of any type: a test may insert a record that breaks the contract."""

    id: Any = None
    active: Any = True
    createdOn: Any = None  # noqa: N815 - the record's own key
    modifiedOn: Any = None  # noqa: N815


_head = msgspec.json.Decoder(_Head)


class Row:
    """One record. `key` is its id, or a negative number where the record has none.

    Times in ticks: `created` and `modified` as in the record, `edited` like `modified` but without accounting changes,
    `changed` when the feed got it. `deleted` rows are only in feeds. `made` rows came from a generator and were not
    edited by hand: the simulator makes up changes and other records only from these.
    """

    __slots__ = ("_checksum", "active", "body", "changed", "created", "deleted", "edited", "key", "made", "modified")

    def __init__(self, key: int, body: bytes, created: int, modified: int, changed: int, active: bool) -> None:
        self.key, self.body, self.active, self.deleted, self.made = key, body, active, False, True
        self.created, self.modified, self.edited, self.changed = created, modified, modified, changed
        self._checksum: int | None = None

    @property
    def checksum(self) -> int:
        """The first 8 hex digits of the body's MD5 as a number; computed when first needed."""
        if self._checksum is None:
            self._checksum = int.from_bytes(hashlib.md5(self.body, usedforsecurity=False).digest()[:4], "big")
        return self._checksum

    def forget_checksum(self) -> None:
        """Compute the checksum again, as the body has changed."""
        self._checksum = None

    def as_dict(self) -> dict[str, Any]:
        """The record, decoded. Raises msgspec.DecodeError when a test inserted something else."""
        return msgspec.json.decode(self.body, type=dict[str, Any])


def encode(record: dict[str, Any]) -> bytes:
    """The record's JSON; Decimals as numbers with all their digits."""
    return _encoder.encode(record)


class EntityStore:
    """All rows of one entity, live and deleted."""

    def __init__(self, export_only_active: bool, tells_time: bool = True) -> None:
        self.rows: dict[int, Row] = {}
        self.version = 0
        self._export_only_active, self._tells_time = export_only_active, tells_time
        self._without_id = 0
        self._keys: list[int] = []
        self._live: tuple[int, list[Row]] = (-1, [])
        self._changes: tuple[int, list[Row], list[tuple[int, int]]] = (-1, [], [])

    def add(self, record: dict[str, Any], times: tuple[int, int] | None = None) -> Row:
        """Put a well-formed record, in the feed at its `modifiedOn`. `times`: created and modified, if known."""
        created, modified = times or (_ticks(record.get("createdOn")), _ticks(record.get("modifiedOn")))
        return self._put(
            Row(record["id"], encode(record), created, modified, modified, record.get("active") is not False)
        )

    def add_verbatim(self, body: bytes, changed: int) -> Row:
        """Put exactly these bytes; a record without a whole-number id gets a key of its own."""
        try:
            head = _head.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            head = _Head()
        key = head.id
        if type(key) is not int or not -(2**63) < key < 2**63:
            self._without_id -= 1
            key = self._without_id
        row = Row(key, body, _ticks(head.createdOn), _ticks(head.modifiedOn), changed, head.active is not False)
        row.made = False
        return self._put(row)

    def rewrite(self, row: Row, changes: dict[str, Any], now: int | None, accounting: bool = False) -> None:
        """Change keys of a record in place.

        `now` becomes its `modifiedOn` and its place in the feed. None leaves both, so only a full sync sees the change.
        Raises msgspec.DecodeError when the body is not a record.
        """
        record = row.as_dict()
        record.update(changes)
        if now is not None:
            if self._tells_time or "modifiedOn" in record:
                record["modifiedOn"] = to_text(now)
            row.modified = row.changed = now
            row.edited = row.edited if accounting else now
        row.body, row.active = encode(record), record.get("active") is not False
        row.forget_checksum()
        self.version += 1

    def _put(self, row: Row) -> Row:
        old = self.rows.get(row.key)
        if old is None:
            self._keys.append(row.key)
        self.rows[row.key] = row
        self.version += 1
        return row

    def set_deleted(self, row: Row, deleted: bool) -> None:
        """Remove a row from lists, or put it back."""
        row.deleted = deleted
        self.version += 1

    def drop(self, key: int) -> None:
        """Remove a row from lists and feed; ServiceTitan keeps deleted records in the feed."""
        del self.rows[key]
        self._keys.remove(key)
        self.version += 1

    def key_at(self, position: int) -> int:
        """The key of the n-th row ever added: for picking at random without copying the keys."""
        return self._keys[position]

    def __len__(self) -> int:
        return len(self._keys)

    def live(self) -> list[Row]:
        """The rows that lists show, by id. Do not change this list: it is shared."""
        if self._live[0] != self.version:
            self._live = (self.version, [self.rows[key] for key in sorted(self.rows) if not self.rows[key].deleted])
        return self._live[1]

    def since(self, after: tuple[int, int], before: int) -> tuple[list[Row], int, int]:
        """All rows by change, the index of the first after `after`, and of the first that changed after `before`."""
        if self._changes[0] != self.version:
            rows = sorted(self.rows.values(), key=lambda row: (row.changed, row.key))
            self._changes = (self.version, rows, [(row.changed, row.key) for row in rows])
        _, rows, positions = self._changes
        return rows, bisect_right(positions, after), bisect_right(positions, (before, 2**63))

    def list_form(self, row: Row) -> bytes:
        """The record as lists show it: without `active` when only the feed has it."""
        if not self._export_only_active:
            return row.body
        for tail in (b',"active":true}', b',"active":false}'):
            if row.body.endswith(tail):
                return row.body[: -len(tail)] + b"}"
        try:
            record = row.as_dict()
        except msgspec.DecodeError:
            return row.body
        return (
            encode({key: value for key, value in record.items() if key != "active"}) if "active" in record else row.body
        )


def _ticks(value: object) -> int:
    try:
        return to_ticks(value) if isinstance(value, str) else 0
    except ValueError:
        return 0
