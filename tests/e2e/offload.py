"""Switches checksum completion of a device: offload.py DEVICE on|off."""

import ctypes
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17

device, state = sys.argv[1], sys.argv[2] == "on"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, state))
    request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
    fcntl.ioctl(handle, SIOCETHTOOL, request)
