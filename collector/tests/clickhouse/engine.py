#!/usr/bin/env python3
"""The engine of a current ClickHouse behind as much of its HTTP interface as the collector uses.

engine.py FOLDER PORT: FOLDER takes its data; it listens on loopback. One statement at a time.
"""

import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

from chdb import session

FOLDER, PORT = sys.argv[1], int(sys.argv[2])
ENGINE = session.Session(FOLDER)
ONE = threading.Lock()
# Of the parameters of an address, those that are settings of a statement.
SETTINGS = {"insert_deduplicate", "insert_deduplication_token", "insert_quorum"}


def run(sql, parameters, body):
    """What a statement answers, as bytes."""
    if not sql:
        sql, _, form = body.decode().rpartition(" FORMAT ")
        answer = ENGINE.query(sql, form) if sql else ENGINE.query(form, "TabSeparated")
        return answer.bytes() or b""
    with tempfile.NamedTemporaryFile(dir=FOLDER, delete=False) as rows:
        rows.write(body)
    given = [f"{name} = '{values[0]}'" for name, values in parameters.items() if name in SETTINGS]
    settings = f" SETTINGS {', '.join(given)}" if given else ""
    head, form = sql.rsplit(" FORMAT ", 1)
    try:
        ENGINE.query(f"{head} FROM INFILE '{rows.name}' COMPRESSION 'none'{settings} FORMAT {form}")
    finally:
        os.unlink(rows.name)
    return b""


class Handler(BaseHTTPRequestHandler):
    """POST of a statement, or of rows with the statement in the address."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        parameters = parse_qs(urlparse(self.path).query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            with ONE:
                answer = run(parameters.get("query", [""])[0], parameters, body)
            status = 200
        except Exception as error:  # whatever the engine refuses is told to the client
            status, answer = 500, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
