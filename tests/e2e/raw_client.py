"""TCP handshakes by hand, each with its own options on the handshake ACK.

Usage: raw_client.py LOCAL REMOTE PORT [late|twice|last] HEX...    (IPv4; needs CAP_NET_RAW)

The kernel does not know these connections and would reset them: whoever starts this drops its
RST segments. For each HEX (the options' bytes, padded here to words) one line is printed:
"ok" when the server took the connection and acknowledged 24 bytes of data, else what went wrong.
With "late" the options come on a second handshake ACK, with "twice" on both, with "last" on one
that arrives after the data.
"""

import random
import socket
import struct
import sys
import time

SYN, FIN, RST, PSH, ACK = 2, 1, 4, 8, 16
# A request of the labs' own server: no bytes up, none down, stay open.
REQUEST = b"WBLh" + bytes(20)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Connection:
    def __init__(self, raw, local, remote, port):
        self.raw, self.remote, self.port = raw, remote, port
        self.addresses = socket.inet_aton(local) + socket.inet_aton(remote)
        self.own_port = random.randrange(20000, 60000)
        self.sequence = random.randrange(1 << 32)
        self.acknowledged = 0

    def send(self, flags, options=b"", payload=b""):
        options += b"\1" * (-len(options) % 4)
        words = 5 + len(options) // 4
        header = struct.pack(
            "!HHIIBBHHH",
            self.own_port, self.port, self.sequence % (1 << 32), self.acknowledged,
            words << 4, flags, 60000, 0, 0,
        )
        segment = header + options + payload
        pseudo = self.addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment))
        total = checksum(pseudo + segment)
        segment = segment[:16] + struct.pack("!H", total) + segment[18:]
        self.raw.sendto(segment, (self.remote, 0))

    def receive(self, accept, seconds=2.0):
        """The next segment of this connection for which accept() holds, or None."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.raw.settimeout(max(end - time.monotonic(), 0.01))
            try:
                packet = self.raw.recv(65535)
            except socket.timeout:
                return None
            segment = packet[(packet[0] & 15) * 4:]
            source, target, sequence, acknowledged = struct.unpack("!HHII", segment[:12])
            if source == self.port and target == self.own_port:
                found = (segment[13], sequence, acknowledged)
                if accept(*found):
                    return found
        return None

    def run(self, options, when=""):
        self.send(SYN, b"\2\4\5\xb4")
        answer = self.receive(lambda flags, _, __: flags & (SYN | RST))
        if not answer or answer[0] & RST:
            return "no SYN-ACK: %r" % (answer,)
        self.sequence += 1
        self.acknowledged = (answer[1] + 1) % (1 << 32)
        self.send(ACK, b"" if when in ("late", "last") else options)
        if when in ("late", "twice"):
            self.send(ACK, options)
        self.send(ACK | PSH, b"", REQUEST)
        if when == "last":
            self.send(ACK, options)
        self.sequence += len(REQUEST)
        wanted = self.sequence % (1 << 32)
        answer = self.receive(lambda flags, _, ack: flags & RST or ack == wanted)
        if not answer or answer[0] & RST:
            return "data not acknowledged: %r" % (answer,)
        self.send(ACK | FIN)
        self.sequence += 1
        answer = self.receive(lambda flags, _, __: flags & (FIN | RST))
        if not answer or answer[0] & RST:
            return "no FIN: %r" % (answer,)
        self.acknowledged = (answer[1] + 1) % (1 << 32)
        self.send(ACK)
        return "ok"


def main():
    local, remote, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    raw.bind((local, 0))
    words = sys.argv[4:]
    when = words.pop(0) if words[0] in ("late", "twice", "last") else ""
    for options in words:
        connection = Connection(raw, local, remote, port)
        print(connection.run(bytes.fromhex(options), when), flush=True)


main()
