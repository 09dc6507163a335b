"""Accepts connections and hands them on to another process, which uses them.

hand_on.py HOW PORT
  pass   by SCM_RIGHTS, and stays
  leave  the same, and ends with its listener after the first one
  fork   to a child of its own, and closes its own descriptor
"""

import os
import signal
import socket
import sys
import threading


def call(name):
    """Names this process, as programs do that are several."""
    with open("/proc/self/comm", "w") as comm:
        comm.write(name)


def use(connection):
    while connection.recv(65536):
        pass
    connection.close()


def listen(port):
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    listener.listen(16)
    print("listening", flush=True)
    return listener


def pass_on(port, way, once):
    call("acceptor")
    listener = listen(port)
    while True:
        connection, _ = listener.accept()
        socket.send_fds(way, [b"x"], [connection.fileno()])
        connection.close()
        if once:
            os._exit(0)


def take(way):
    call("helper")
    while True:
        _, descriptors, _, _ = socket.recv_fds(way, 1, 1)
        for descriptor in descriptors:
            connection = socket.socket(fileno=descriptor)
            threading.Thread(target=use, args=(connection,)).start()
        if not descriptors:
            signal.pause()


def fork_on(port):
    call("acceptor")
    listener = listen(port)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            call("helper")
            use(connection)
            os._exit(0)
        connection.close()


def main():
    how, port = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if how == "fork":
        fork_on(port)
    ours, theirs = socket.socketpair()
    # The other process is the child's parent, so that it is there when the child has ended.
    if os.fork() == 0:
        theirs.close()
        pass_on(port, ours, how == "leave")
    ours.close()
    take(theirs)


main()
