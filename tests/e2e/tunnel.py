"""One end of a tunnel: tunnel.py DEVICE PEER carries the device's packets in UDP to the peer."""

import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN = 1
IFF_NO_PI = 0x1000
PORT = 4000

device, peer = sys.argv[1], sys.argv[2]
tunnel = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tunnel, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
carrier = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
carrier.bind(("0.0.0.0", PORT))
print("ready", flush=True)
while True:
    readable, _, _ = select.select([tunnel, carrier], [], [])
    if tunnel in readable:
        carrier.sendto(os.read(tunnel, 65535), (peer, PORT))
    if carrier in readable:
        packet = carrier.recv(65535)
        try:
            os.write(tunnel, packet)
        except OSError:
            pass  # The device is not up yet.
