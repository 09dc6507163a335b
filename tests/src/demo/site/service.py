"""A service of the demo: answers after it has asked those that it needs, or asks by itself."""

import argparse
import http.client
import http.server
import itertools
import os
import socket
import struct
import time

options = argparse.ArgumentParser()
options.add_argument('--port', type=int)
options.add_argument('--every', type=float, help='seconds between requests of its own')
options.add_argument('--broken', help='while this file is there, every third connection is reset')
options.add_argument('places', nargs='*', help='whom it asks, address:port')
options = options.parse_args()


def ask(place):
    """Whether a place answers well, on a connection of its own."""
    connection = http.client.HTTPConnection(place, timeout=3)
    try:
        connection.request('GET', '/')
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    numbers = itertools.count(1)

    def do_GET(self):
        if options.broken and os.path.exists(options.broken) and next(self.numbers) % 3 == 0:
            # Closing sends a reset now.
            linger = struct.pack('ii', 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return
        answers = [ask(place) for place in options.places]
        body = b'ok\n' * 1000
        self.send_response(200 if all(answers) else 502)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def shutdown_request(self, request):
        # The original ends its direction before it closes, and would so send no reset.
        self.close_request(request)


if options.port:
    Server(('0.0.0.0', options.port), Handler).serve_forever()
while options.every:
    time.sleep(options.every)
    for place in options.places:
        ask(place)
