"""Stands between agents and a collector.

between.py proxy ADDRESS PORT USER:PASSWORD HEADS    tunnels by CONNECT; writes each head to a file
between.py balancer PORT CERT KEY COLLECTOR STATE    answers with the status that the file STATE
                                                     holds, or lets the collector answer
"""

import base64
import http.client
import http.server
import pathlib
import socket
import ssl
import sys
import threading

PAGE = b'<html>say "hello"\n</html>'


def pipe(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def tunnel(client, credential, heads):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = client.recv(1)
        if not data:
            return
        head += data
    with open(heads, "ab") as file:
        file.write(head)
    wanted = b"Proxy-Authorization: Basic " + base64.b64encode(credential.encode())
    if wanted not in head:
        client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                       b"Proxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
        client.close()
        return
    host, port = head.split()[1].decode().rsplit(":", 1)
    server = socket.create_connection((host, int(port)))
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    threading.Thread(target=pipe, args=(client, server), daemon=True).start()
    pipe(server, client)


def proxy(address, port, credential, heads):
    listener = socket.create_server((address, int(port)))
    print("listening", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=tunnel, args=(client, credential, heads), daemon=True).start()


def balancer(port, cert, key, collector, state):
    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            said = pathlib.Path(state).read_text().strip()
            if said != "open":
                status, answer = int(said), PAGE
                headers = {"location": "https://127.0.0.1:1/", "content-type": "text/html"}
            else:
                way = http.client.HTTPSConnection(collector, context=ssl._create_unverified_context())
                way.request("POST", self.path, body, dict(self.headers))
                got = way.getresponse()
                status, answer, headers = got.status, got.read(), dict(got.getheaders())
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            if status == 204:
                answer = b""
            else:
                self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = http.server.ThreadingHTTPServer(("0.0.0.0", int(port)), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("listening", flush=True)
    server.serve_forever()


{"proxy": proxy, "balancer": balancer}[sys.argv[1]](*sys.argv[2:])
