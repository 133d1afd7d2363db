"""An Athena on loopback that says what it is told to say, and notes what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ScriptedAthena:
    """What it says.

    Attributes
    ----------
    states : list of dict
        The ``QueryExecution`` of each look, over what is the same in all; the last one stays.
        A query that is stopped is CANCELLED.
    columns : list of dict
        The result's ``ColumnInfo``.
    pages : list of list
        The result's texts, by page, row and column.
    refusal : str or None
        The error code that a query is refused with.
    asked : list of tuple
        The actions and their requests, in order.
    """

    states: list[dict[str, Any]] = field(default_factory=lambda: [state("SUCCEEDED")])
    columns: list[dict[str, Any]] = field(default_factory=list)
    pages: list[list[list[str | None]]] = field(default_factory=lambda: [[]])
    refusal: str | None = None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    endpoint: str = ""

    def environment(self) -> dict[str, str]:
        """Return the variables that point AWS clients to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def queries(self) -> list[dict[str, Any]]:
        """Return the queries that it was asked to start."""
        return [request for action, request in self.asked if action == "StartQueryExecution"]

    def answer(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return what it says to a request."""
        if action == "StartQueryExecution":
            return {"QueryExecutionId": "number"}
        if action == "StopQueryExecution":
            self.states = [state("CANCELLED")]
            return {}
        if action == "GetQueryExecution":
            said = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            return {"QueryExecution": {"QueryExecutionId": "number", **said}}
        place = int(request.get("NextToken", 0))
        following = {"NextToken": str(place + 1)} if place + 1 < len(self.pages) else {}
        rows = [
            {"Data": [{} if text is None else {"VarCharValue": text} for text in row]}
            for row in self.pages[place]
        ]
        described = {"Rows": rows, "ResultSetMetadata": {"ColumnInfo": self.columns}}
        return {"ResultSet": described, **following}


def state(name: str, scanned: int = 0, reason: str = "", output: str = "") -> dict[str, Any]:
    """Return a query's state as Athena says it."""
    return {
        "Status": {"State": name, **({"StateChangeReason": reason} if reason else {})},
        "Statistics": {"DataScannedInBytes": scanned},
        "StatementType": "DML",
        "ResultConfiguration": {"OutputLocation": output},
    }


@contextmanager
def serve_athena(athena: ScriptedAthena) -> Iterator[ScriptedAthena]:
    """Serve it on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as in tests/faultproxy.py

        def do_POST(self) -> None:
            action = self.headers["X-Amz-Target"].split(".")[1]
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            athena.asked.append((action, request))
            if athena.refusal:
                self._say(400, {"__type": athena.refusal, "Message": "no"})
            else:
                self._say(200, athena.answer(action, request))

        def _say(self, status: int, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    athena.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield athena
    finally:
        server.shutdown()
        server.server_close()
