"""Clients whose handshake's ACK waits for their first data: eager.py ADDRESS PORT COUNT."""

import socket
import sys

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
for _ in range(count):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        # On a client the option means what it needs here: no ACK without data.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        client.connect((address, port))
        client.sendall(b"GET / HTTP/1.0\r\nX: " + b"x" * 20000 + b"\r\n\r\n")
        while client.recv(65536):
            pass
print("ok")
