"""Gives tagged segments to loaded packet filters: tagged.py DEVICE OUT IN OPTION TAGS...

OUT and IN are program ids, OPTION is a valid option in hex, TAGS is like 88a8:7,8100:5 or "none".
For each TAGS, with the next SYN-ACK that leaves the device:
- the segment that the filter waits for goes through OUT with these tags in its frame, and the copy
  that then leaves the device must be right in every field;
- a copy with OPTION and these tags goes through IN, which must take it off.
Prints "ready", then a line for each TAGS: "ok", or what is wrong.
"""

import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

ACK, SYN = 0x10, 0x02
TIMESTAMP = bytes([1, 1, 8, 10]) + bytes(8)


def sum16(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def parse(frame):
    """Tags, addresses, IP header and TCP segment of a frame; None for anything else."""
    at, tags = 12, []
    kind = struct.unpack("!H", frame[at:at + 2])[0]
    while kind in (0x8100, 0x88A8):
        tags.append((kind, struct.unpack("!H", frame[at + 2:at + 4])[0]))
        at += 4
        kind = struct.unpack("!H", frame[at:at + 2])[0]
    at += 2
    if kind == 0x0800 and frame[at + 9] == 6:
        total = struct.unpack("!H", frame[at + 2:at + 4])[0]
        return tags, frame[at + 12:at + 20], frame[at:at + 20], frame[at + 20:at + total]
    if kind == 0x86DD and frame[at + 6] == 6:
        total = struct.unpack("!H", frame[at + 4:at + 6])[0]
        return tags, frame[at + 8:at + 40], frame[at:at + 40], frame[at + 40:at + 40 + total]
    return None


def build(frame, tags, segment, turn):
    """A frame like `frame`, or one in return, with these tags and this segment."""
    _, addresses, header, _ = parse(frame)
    half = len(addresses) // 2
    if turn:
        addresses = addresses[half:] + addresses[:half]
    pseudo = addresses + struct.pack("!HH", 6, len(segment))
    segment = segment[:16] + struct.pack("!H", ~sum16(pseudo + segment) & 0xFFFF) + segment[18:]
    if half == 4:
        header = header[:2] + struct.pack("!H", 20 + len(segment)) + header[4:10] + b"\0\0"
        header += addresses
        header = header[:10] + struct.pack("!H", ~sum16(header) & 0xFFFF) + header[12:]
        kind = b"\x08\x00"
    else:
        header = header[:4] + struct.pack("!H", len(segment)) + header[6:8] + addresses
        kind = b"\x86\xdd"
    tagging = b"".join(struct.pack("!HH", *tag) for tag in tags)
    return frame[:12] + tagging + kind + header + segment


def tcp(source, target, seq, ack, options=b"", payload=b""):
    words = 5 + len(options) // 4
    head = struct.pack("!HHIIBBHHH", source, target, seq, ack, words << 4, ACK, 500, 0, 0)
    return head + options + payload


def run(program, frame, index):
    """What the program returns for a frame on the device."""
    with tempfile.TemporaryDirectory() as folder:
        data, context = os.path.join(folder, "data"), os.path.join(folder, "context")
        with open(data, "wb") as file:
            file.write(frame)
        with open(context, "wb") as file:
            file.write(struct.pack("=40xI148x", index))  # struct __sk_buff, ifindex
        said = subprocess.run(
            ["bpftool", "prog", "run", "id", program, "data_in", data, "ctx_in", context],
            check=True, capture_output=True, text=True,
        ).stdout
    return int(said.split("Return value: ")[1].split(",")[0].split()[0])


def wait(sniffer, accept, seconds=10.0):
    """The next frame for which accept() holds, or None."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sniffer.settimeout(max(end - time.monotonic(), 0.01))
        try:
            frame = sniffer.recv(65535)
        except socket.timeout:
            return None
        found = parse(frame)
        if found and accept(*found):
            return frame
    return None


def judge(frame, tags, expected):
    """What is wrong with a copy."""
    _, addresses, header, segment = parse(frame)
    length = (segment[12] >> 4) * 4
    wrong = []
    if parse(frame)[0] != tags:
        wrong.append("tags")
    if length != len(segment) or length != len(TIMESTAMP) + 36:
        wrong.append("length %d of %d" % (length, len(segment)))
    if segment[:12] != expected[:12] or segment[14:16] != expected[14:16]:
        wrong.append("ports, numbers or window")
    if segment[13] != ACK:
        wrong.append("flags")
    if segment[20:32] != TIMESTAMP or segment[32:34] != bytes([253, 16]):
        wrong.append("options")
    pseudo = addresses + struct.pack("!HH", 6, len(segment))
    if sum16(pseudo + segment) != 0xFFFF:
        wrong.append("TCP checksum")
    if len(header) == 20 and sum16(header) != 0xFFFF:
        wrong.append("IP checksum")
    return ", ".join(wrong)


def main():
    device, out, arriving, option = sys.argv[1:5]
    index = socket.if_nametoindex(device)
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sniffer.bind((device, 0))
    print("ready", flush=True)
    for text in sys.argv[5:]:
        tags = [] if text == "none" else [
            (int(kind, 16), int(number)) for kind, number in (t.split(":") for t in text.split(","))
        ]
        syn_ack = wait(sniffer, lambda *f: f[3][13] == SYN | ACK)
        segment = parse(syn_ack)[3]
        source, target, seq, ack = struct.unpack("!HHII", segment[:12])
        seq = (seq + 1) % (1 << 32)
        expected = tcp(source, target, seq, ack, TIMESTAMP, b"x" * 100)
        # Again until the client's own ACK has made it a connection that waits for this segment.
        for _ in range(20):
            said = run(out, build(syn_ack, tags, expected, False), index)
            frame = wait(
                sniffer,
                lambda *f: f[3][:8] == expected[:8] and not f[3][13] & SYN and len(f[3]) == 48,
                0.5,
            )
            if frame:
                break
        wrong = judge(frame, tags, expected) if frame else "no copy"
        if said != 0xFFFFFFFF:
            wrong += " writer returned %d" % said
        copy = tcp(target, source, ack, seq, TIMESTAMP + bytes.fromhex(option))
        said = run(arriving, build(syn_ack, tags, copy, True), index)
        if said != 2:
            wrong += " reader returned %d" % said
        print(wrong.strip() or "ok", flush=True)


main()
