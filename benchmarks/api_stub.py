"""A source of many small tenants that costs next to nothing: the same records for each, from memory.

Run by the benchmarks of polls in a process of its own. Here: enough of ServiceTitan's API for polls and small full
syncs, a latency, changes by command. Not here: what the simulator is for: faithful errors, filters, faults.

A tenant's feeds answer from a token of the form `g<generation>`. `POST /control/advance` begins the next generation:
in every tenant whose number's last digit is below `changing_tenths`, each record whose turn it is (1 in 100) has been
modified. Feeds repeat the records of the last generation, as ServiceTitan's do with `includeRecentChanges`.
"""

import asyncio
import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import click

TOKEN_SECONDS = 900
TENANT = re.compile(r"/tenant/(\d+)/")
TOKEN = json.dumps({"access_token": "stub", "expires_in": TOKEN_SECONDS, "token_type": "Bearer"}).encode()
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
TURNS = 100  # a record is modified in every hundredth generation
EMPTY_LIST = b'{"page":1,"pageSize":5000,"hasMore":false,"totalCount":0,"data":[]}'

Records = list[dict[str, Any]]


class Source:
    """The records of every tenant, and how often they were changed."""

    def __init__(self, records: Mapping[str, Records], changing_tenths: int, *, repeats: bool) -> None:
        self.records, self.changing_tenths, self.repeats = records, changing_tenths, repeats
        self.generation = 0
        self.requests: dict[str, int] = {}
        self.sent_bytes = 0
        self._cache: dict[tuple[str, int, bool], bytes] = {}

    def answer(self, target: str) -> bytes:
        """The body for a GET of this target."""
        url = urlsplit(target)
        found = TENANT.search(url.path)
        if found is None:
            return b"{}"
        is_feed = "/export/" in url.path
        kind = "feed" if is_feed else "list"
        self.requests[kind] = self.requests.get(kind, 0) + 1
        path = TENANT.sub("/tenant/{tenant}/", url.path)
        changes = int(found.group(1)) % 10 < self.changing_tenths
        return self._feed(path, url.query, changes=changes) if is_feed else self._list(path, url.query, changes=changes)

    def _feed(self, path: str, query: str, *, changes: bool) -> bytes:
        start = parse_qs(query).get("from", [""])[0]
        since = int(start[1:]) if start.startswith("g") else -1
        key = (path, since, changes)
        if key not in self._cache:
            shown = self._shown(path, changes=changes)
            if since >= 0:
                low = max(since - self.repeats, 0)
                shown = [(last, one) for last, one in shown if last > low]
            body = {"hasMore": False, "continueFrom": f"g{self.generation}", "data": [one for _, one in shown]}
            self._cache[key] = json.dumps(body, separators=(",", ":")).encode()
        return self._cache[key]

    def _list(self, path: str, query: str, *, changes: bool) -> bytes:
        asked = parse_qs(query)
        if "modifiedOnOrAfter" in asked or int(asked.get("page", ["1"])[0]) > 1:
            return EMPTY_LIST
        shown = [one for _, one in self._shown(path, changes=changes)]
        if "ids" in asked:
            wanted = set(map(int, asked["ids"][0].split(",")))
            shown = [one for one in shown if one["id"] in wanted]
        body = {"page": 1, "pageSize": 5000, "hasMore": False, "totalCount": len(shown), "data": shown}
        return json.dumps(body, separators=(",", ":")).encode()

    def _shown(self, path: str, *, changes: bool) -> list[tuple[int, dict[str, Any]]]:
        """The records as they are now, each with the generation in which it was last modified, 0 for never."""
        found = []
        for index, one in enumerate(self.records.get(path, [])):
            last = max(0, self.generation - (self.generation - index) % TURNS) if changes else 0
            when = (BEGINNING + timedelta(minutes=5 * last)).strftime("%Y-%m-%dT%H:%M:%SZ")
            found.append((last, {**one, "modifiedOn": when} if last else one))
        return found

    def control(self, path: str, query: str) -> bytes:
        """A command of the benchmark."""
        if path.endswith("/advance"):
            self.generation += int(parse_qs(query).get("by", ["1"])[0])
            self._cache.clear()
        figures = {"requests": self.requests, "bytes": self.sent_bytes, "cpu_seconds": time.process_time()}
        return json.dumps({**figures, "generation": self.generation}).encode()


class Connection(asyncio.Protocol):
    """One client: requests come one after the other, bodies of requests are read over."""

    def __init__(self, source: Source, latency_seconds: float) -> None:
        self._source, self._latency_seconds = source, latency_seconds
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].decode("latin-1")
            length = re.search(r"(?i)content-length: (\d+)", head)
            whole = end + 4 + (int(length.group(1)) if length else 0)
            if len(self._held) < whole:
                return
            self._held = self._held[whole:]
            method, target, _ = head.split(" ", 2)
            self._later(method, target)

    def _later(self, method: str, target: str) -> None:
        url = urlsplit(target)
        if url.path.startswith("/control/"):
            self._send(self._source.control(url.path, url.query))
            return
        if method == "POST":
            self._source.requests["token"] = self._source.requests.get("token", 0) + 1
        answer: Callable[[], bytes] = (lambda: TOKEN) if method == "POST" else (lambda: self._source.answer(target))
        if self._latency_seconds:
            asyncio.get_running_loop().call_later(self._latency_seconds, lambda: self._send(answer()))
        else:
            self._send(answer())

    def _send(self, body: bytes) -> None:
        self._source.sent_bytes += len(body)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        if not self._transport.is_closing():
            self._transport.write(head.encode() + body)


@click.command()
@click.argument("records", type=click.Path(exists=True, path_type=Path))
@click.option("--latency-ms", default=0.0, help="Of every response.")
@click.option("--changing-tenths", default=0, help="How many tenths of the tenants change with each generation.")
@click.option("--repeats/--no-repeats", default=True, help="Whether feeds repeat the last generation's records.")
@click.option("--certificate", type=click.Path(exists=True), help="A file with certificate and key: serve TLS.")
def serve(records: Path, latency_ms: float, changing_tenths: int, certificate: str | None, *, repeats: bool) -> None:
    """Serve RECORDS (a JSON object: path to records) on a free port of this machine, and print the port."""
    source = Source(json.loads(records.read_text()), changing_tenths, repeats=repeats)
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Connection(source, latency_ms / 1000), "127.0.0.1", 0, ssl=context, backlog=1024
        )
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    serve()
