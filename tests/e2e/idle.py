"""Connections that say nothing for a while: idle.py ADDRESS PORT COUNT GAP_S IDLE_S PATH.

Each asks for PATH by HTTP when it has been idle for IDLE_S; prints how many were answered.
"""

import socket
import sys
import threading
import time

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
gap, idle, path = float(sys.argv[4]), float(sys.argv[5]), sys.argv[6]
answered = []


def converse():
    with socket.create_connection((address, port), timeout=20) as connection:
        time.sleep(idle)
        connection.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as reply:
            if reply.readline().startswith(b"HTTP/1.1 200"):
                answered.append(1)


threads = []
for _ in range(count):
    threads.append(threading.Thread(target=converse))
    threads[-1].start()
    time.sleep(gap)
for thread in threads:
    thread.join()
print(len(answered))
