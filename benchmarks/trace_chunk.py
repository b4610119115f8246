"""The way of one chunk through the code: which files a changed record passes in an incremental poll.

Here: one customer changes at the simulator, the poll of that entity is traced, and each hop between files is printed,
with what happens while the chunk's transaction is open. Not here: what it costs (sync.py).

A hop is a call from a function in one file to a function in another, counted once for each pair of functions. A return
is a hop into a file that was entered before. One poll comes before the traced one, so that statements which are made
once for each entity are there. Exit code 1: a request, a decoder or a rule ran while any transaction of the poll's was
open, or there are more than MOST_HOPS between BEGIN and COMMIT of the chunk.

    make trace-chunk
"""

import logging
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
from ours import settings_of
from place import made_place
from sqlalchemy import Engine, event, make_url

import st_pipeline
from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.tenant import TenantSync

ROOT = Path(st_pipeline.__file__).parent
FORBIDDEN = ("servicetitan/", "validation/")  # while a transaction is open
MOST_HOPS = 20
WRITE = "postgres/write_chunk.py:write_chunk"
VALUES = ("protocol.py", "entities/")  # a property of a value is no room that is entered


@dataclass
class Trace:
    """The hops in their order: from, to, and whether the chunk's transaction was open.

    `wrong`: files of FORBIDDEN that the poll's own thread entered while any of its transactions was open.
    """

    hops: list[tuple[str, str, bool]] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    in_transaction: bool = False
    is_writing: bool = False
    _thread: int = field(default_factory=threading.get_ident)
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _names: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        """What sys.setprofile calls."""
        if event != "call" or (callee := self._file(frame)) is None:
            return
        caller = frame.f_back
        while caller is not None and self._file(caller) is None:
            caller = caller.f_back  # through a library: SQLAlchemy calls us back, contextlib enters our generators
        function = f"{callee}:{frame.f_code.co_qualname}"
        is_mine = threading.get_ident() == self._thread
        self.functions.add(function)
        self.is_writing |= function == WRITE
        if is_mine and self.in_transaction and callee.startswith(FORBIDDEN):
            self.wrong.add(callee)
        if caller is None or (before := self._file(caller)) == callee or before is None:
            return
        edge = (f"{before}:{caller.f_code.co_qualname}", function)
        if edge not in self._seen:
            self._seen.add(edge)
            self.hops.append((before, callee, is_mine and self.is_writing and self.in_transaction))

    def _file(self, frame: FrameType) -> str | None:
        name = frame.f_code.co_filename
        if name not in self._names:
            path = Path(name)
            self._names[name] = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else None
        return self._names[name]

    def report(self) -> int:
        """Print the hops and their counts. Returns the exit code."""
        entered: Counter[str] = Counter()
        returns, crossings = 0, 0
        for before, after, is_open in self.hops:
            returns += entered[after] > 0
            crossings += Path(before).parent != Path(after).parent
            entered[after] += 1
            print(f"{'  │ ' if is_open else '    '}{before:36} -> {after}")
        inside = [after for _before, after, is_open in self.hops if is_open]
        files = {file for before, after, _ in self.hops for file in (before, after)}
        again = {file: times for file, times in Counter(inside).items() if times > 1}
        rooms = [file for file in inside if not file.startswith(VALUES)]
        all_rooms = [after for _before, after, _ in self.hops if not after.startswith(VALUES)]
        print(
            f"\n{len(self.functions)} functions in {len(files)} files; {len(self.hops)} hops between files "
            f"({len(all_rooms)} into other files than values), {crossings} between folders, "
            f"{returns} returns into a file entered before"
        )
        print(f"between BEGIN and COMMIT (│): {len(inside)} hops, {len(rooms)} of them into other files than values; "
              f"entered more than once: {again or 'none'}")  # fmt: skip
        if self.wrong:
            print(f"a request, a decoder or a rule ran while a transaction was open: {', '.join(sorted(self.wrong))}")
        return 1 if self.wrong or len(inside) > MOST_HOPS else 0


def main() -> int:
    """Load a small tenant, change one customer, trace the poll of customers."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    trace = Trace()
    with made_place(20) as place:
        job = place.job("trace", full_data=True)
        settings, engine = settings_of(job), open_engine(make_url(job.database_url).set(drivername=DRIVER))
        with TenantSync(engine, settings, "bench", SyncConfiguration()) as sync:
            assert all(outcome.error is None for outcome in sync.entities())
        poll = SyncConfiguration(only=("customers",), sync_type="scheduled")
        place.tenant.advance(changed={"customers": 1})
        with TenantSync(engine, settings, "bench", poll) as sync:
            assert all(outcome.error is None for outcome in sync.entities())
        place.tenant.advance(changed={"customers": 1})
        with TenantSync(engine, settings, "bench", poll) as sync:
            outcomes = sync.entities()  # what comes after customers is not begun
            _watch_transactions(engine, trace)
            threading.setprofile(trace)
            sys.setprofile(trace)
            try:
                outcome = next(outcomes)
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
        assert outcome.result.counts.updated == 1, outcome.result.counts
        engine.dispose()
    return trace.report()


def _watch_transactions(engine: Engine, trace: Trace) -> None:
    def begun(_connection: Any) -> None:
        trace.in_transaction = True

    def ended(_connection: Any) -> None:
        trace.in_transaction = trace.is_writing = False

    event.listen(engine, "begin", begun)
    event.listen(engine, "commit", ended)
    event.listen(engine, "rollback", ended)


if __name__ == "__main__":
    sys.exit(main())
