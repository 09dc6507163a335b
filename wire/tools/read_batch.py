#!/usr/bin/env python3
"""Reads batches with standard tools, pyarrow and zstandard, as FORMAT.md says.

Prints a JSON object for each row, its table first.

    pip install pyarrow zstandard
    wire/tools/read_batch.py wire/golden/2/interval.bin
"""

import ipaddress
import json
import pathlib
import struct
import sys
import zlib

import pyarrow
import zstandard

PAIRS = {"labels": ("key", "value"), "counts": ("name", "value")}
DICTIONARIES = pathlib.Path(__file__).resolve().parent.parent / "dictionaries"


def unpack(data):
    """Step 1: the head, and the Arrow streams behind it."""
    magic, form, _, tables, dictionary, raw, _ = struct.unpack_from("<4sBBBBII", data)
    if (magic, form) != (b"WYBL", 2) or zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise ValueError("not a batch of format 2")
    fields = zip(("host", "boot", "sequence", "start_ms", "end_ms"), struct.unpack_from("<16s16sQQQ", data, 16))
    known = zstandard.ZstdCompressionDict((DICTIONARIES / f"{dictionary}.dictionary").read_bytes())
    frames = zstandard.ZstdDecompressor(dict_data=known).stream_reader(
        data[72 + 5 * tables:-4], read_across_frames=True)
    return dict(fields), frames.read(raw) if raw else b""


def streams(raw):
    """Step 2: each table, by what its metadata says."""
    source = pyarrow.BufferReader(raw)
    while source.tell() < len(raw):
        table = pyarrow.ipc.open_stream(source).read_all()
        yield table.schema.metadata[b"waybill"].decode(), table


def columns(table):
    """Step 3: the parts of a number add up, each shifted by what its name says."""
    out = {}
    for name, values in zip(table.column_names, table.columns):
        name, _, shift = name.partition("<<")
        values = values.to_pylist()
        out[name] = [a + (b << int(shift)) for a, b in zip(out[name], values)] if shift else values
    return out


def cut(lengths, items):
    """Step 4: what lies one after the other, as a list for each row."""
    items = iter(items)
    return [[next(items) for _ in range(length)] for length in lengths]


def values(column, main, items, head):
    """Step 5: one column as its description means it."""
    name, kind = column["name"], str(column["type"])
    if kind == "address":
        return [str(ipaddress.IPv6Address(high << 64 | low)) for high, low in zip(main[name + ".high"], main[name + ".low"])]
    if kind == "histogram":
        counts = zip(main[name + ".first"], cut(main[name + ".length"], items.get("count", [])))
        return [[pair for pair in enumerate(of_row, first) if pair[1]] for first, of_row in counts]
    if kind in PAIRS:
        return cut(main[name + ".length"], zip(*(items.get(part, []) for part in PAIRS[kind])))
    if name + ".before_end" in main:
        end = head["end_ms"] * {"ms": 1, "us": 1000}[column["unit"]]
        return [(end - before) % 2**64 for before in main[name + ".before_end"]]
    return main[name]


def main(path):
    """Prints the rows of a batch."""
    head, raw = unpack(pathlib.Path(path).read_bytes())
    found = dict(streams(raw))
    for label in [label for label in found if label.startswith("{")]:
        about, table = json.loads(label), columns(found[label])
        rows = {"table": [about["name"]] * found[label].num_rows}
        for column in about["columns"]:
            items = found.get(f"{about['name']}.{column['name']}")
            rows[column["name"]] = values(column, table, columns(items) if items else {}, head)
            if column["type"] == "histogram":
                rows[column["name"] + ".sum"] = table[column["name"] + ".sum"]
        for row in zip(*rows.values()):
            print(json.dumps(dict(zip(rows, row))))


if __name__ == "__main__":
    main(sys.argv[1])
