#!/usr/bin/env python3
"""Reads sealed batches with standard tools: zstandard and pyarrow.

An independent reader, written from FORMAT.md alone; it prints one JSON object per row.

    pip install pyarrow zstandard
    wire/tools/read_batch.py wire/golden/interval.bin
"""

import ipaddress
import json
import math
import pathlib
import struct
import sys
import zlib

import pyarrow
import zstandard

DICTIONARIES = pathlib.Path(__file__).resolve().parent.parent / "dictionaries"
MASK = (1 << 64) - 1
FAMILIES = ["edge", "sighting", "process", "host", "event", "nat"]
ABSENT = ["bytes_sent", "bytes_received", "segments_sent", "segments_received", "retransmits",
          "out_of_order", "zero_windows", "connect_latency", "rtt"]
KEPT = ["Sampled", "Abnormal", "LongLived", "First"]
KINDS = ["Failed", "Refused", "ResetLocal", "ResetRemote", "Retransmits", "TimedOut"]


def open_envelope(data):
    """Head and tables of a batch."""
    if zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise ValueError("checksum does not match")
    magic, form, major, minor, counts, dictionary, raw, length = struct.unpack_from("<4sBBBBIII", data)
    if (magic, form, major) != (b"WYBL", 1, 1):
        raise ValueError("not a batch that this reader knows")
    host, boot, sequence, start_ms, end_ms = struct.unpack_from("<16s16sQQQ", data, 20)
    rows = [struct.unpack_from("<BI", data, 76 + 5 * i) for i in range(counts)]
    frames = data[76 + 5 * counts : -4]
    if len(frames) != length:
        raise ValueError("length does not match")
    content = (DICTIONARIES / f"{dictionary}.dictionary").read_bytes()
    unpack = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(content))
    stream = unpack.stream_reader(frames, read_across_frames=True).read(raw) if frames else b""
    if len(stream) != raw:
        raise ValueError("decompressed length does not match")
    head = {"minor": minor, "host": host.hex(), "boot": boot.hex(), "sequence": sequence,
            "start_ms": start_ms, "end_ms": end_ms,
            "rows": {FAMILIES[f]: n for f, n in rows if f < len(FAMILIES)}}
    return head, read_tables(stream)


def read_tables(stream):
    """One Arrow table per stream, by name."""
    tables = {}
    source = pyarrow.BufferReader(stream)
    while source.tell() < len(stream):
        reader = pyarrow.ipc.open_stream(source)
        table = reader.read_all()
        tables[table.schema.metadata[b"waybill"].decode()] = table
    return tables


def bits(value):
    return min(value, MASK).bit_length()


def unzigzag(code):
    return (code >> 1) ^ -(code & 1)


class Columns:
    """Tokens of one table, in the order in which their bits were written."""

    def __init__(self, tables, name):
        self.table = tables.get(name)
        self.rows = self.table.num_rows if self.table else 0
        strings = {}
        if "bits" in tables:
            names = tables["bits"]["table"].to_pylist()
            strings = dict(zip(names, tables["bits"]["bits"].to_pylist()))
        self.string = int.from_bytes(strings.get(name, b""), "little")
        self.place = 0

    def take(self, count):
        value = (self.string >> self.place) & ((1 << count) - 1)
        self.place += count
        return value

    def texts(self, name):
        return self.table[name].to_pylist() if self.table else []

    def numbers(self, name, expect, half=None):
        """`expect(row, values before)` is ('least', base), ('about', base, noise) or ('bits', n)."""
        values = []
        for row, byte in enumerate(self.table[name].to_pylist() if self.table else []):
            token = byte if half is None else byte >> 4 if half == "high" else byte & 15
            if half and token == 15:
                token += self.take(7)
            values.append(self.number(token, *expect(row, values)))
        return values

    def number(self, token, how, base=0, noise=0):
        if how == "bits":
            length = base + unzigzag(token)
            return (1 << (length - 1) | self.take(length - 1)) if length else 0
        if token < 8:
            code = token << noise | self.take(noise)
        else:
            length = token - 8 + 4 + noise
            code = 1 << (length - 1) | self.take(length - 1)
        return (base + (code if how == "least" else unzigzag(code))) & MASK


def any_number(_row, _before):
    return ("least", 0)


def sorted_number(row, before):
    return ("least", before[row - 1] if row else 0)


def near_previous(row, before):
    return ("about", before[row - 1] if row else 0)


class Rate:
    """Expects a counter from another one by the rates of the row's groups so far."""

    def __init__(self, base, *groups):
        self.base, self.groups = base, groups
        self.sums = [{} for _ in groups]
        self.all = (0, 0)

    def value(self, row, before):
        add = lambda one, other: tuple(min(a + b, MASK) for a, b in zip(one, other))
        if row:
            pair = (before[row - 1], self.base[row - 1])
            for sums, group in zip(self.sums, self.groups):
                sums[group[row - 1]] = add(sums.get(group[row - 1], (0, 0)), pair)
            self.all = add(self.all, pair)
        pair = (0, 0)
        for sums, group in zip(self.sums, self.groups):
            pair = add(pair, sums.get(group[row], (0, 0)))
        counted, base = pair if pair[1] else self.all
        return min(self.base[row] * counted // base, MASK) if base else 0

    def root(self, row, before):
        value = self.value(row, before)
        return ("about", value, bits(value) // 2)

    def share(self, shift):
        def expect(row, before):
            value = self.value(row, before)
            return ("about", value, max(0, bits(value) - shift))
        return expect


def from_recency(codes):
    recent, values = [], []
    for code in codes:
        value = recent.pop(code) if code < len(recent) else code - len(recent)
        recent = [value, *recent][:64]
        values.append(value)
    return values


class Keys:
    """Networks and subjects."""

    def __init__(self, tables):
        table = Columns(tables, "network")
        high = table.numbers("high", sorted_number)
        low = table.numbers("low", sorted_number)
        self.networks = [h << 64 | l for h, l in zip(high, low)]
        table = Columns(tables, "subject")
        role = table.numbers("role", any_number)
        process = table.numbers("process_id", lambda row, before: (
            "least", before[row - 1] if row and role[row] == role[row - 1] else 0))
        network = table.numbers("local_network", near_previous)
        host = table.numbers("local_host", near_previous)
        netns = from_recency(table.numbers("netns", any_number))
        port = from_recency(table.numbers("port", any_number))
        self.subjects = list(zip(process, role, netns, network, host, port))

    def address(self, network, host):
        return ipaddress.IPv6Address(self.networks[network] | host)


def endpoint(address, port):
    if address.ipv4_mapped:
        return f"{address.ipv4_mapped}:{port}"
    return f"[{address}]:{port}"


class Ends:
    """Whose connection a row is."""

    def __init__(self, table, keys):
        self.keys = keys
        name = "subject_network"
        self.subject = subject = table.numbers(name, sorted_number, "high")
        same = lambda row: row and subject[row] == subject[row - 1]
        self.network = network = table.numbers(name, lambda row, before: (
            "least", before[row - 1] if same(row) else 0), "low")
        self.other = table.numbers("other_port", any_number)
        last = {}

        def host(row, before):
            if row:
                last[network[row - 1]] = before[row - 1]
                if same(row) and network[row] == network[row - 1]:
                    return ("least", before[row - 1])
            ipv4 = keys.networks[network[row]] >> 32 == 0xFFFF
            return ("least", 0) if ipv4 else ("about", last.get(network[row], 0))

        self.host = table.numbers("host", host)
        self.process = [keys.subjects[s][1::-1] for s in subject]

    def role(self, row):
        return self.keys.subjects[self.subject[row]][1]

    def row(self, row):
        process, role, netns, network, host, port = self.keys.subjects[self.subject[row]]
        local = self.keys.address(network, host)
        remote = self.keys.address(self.network[row], self.host[row])
        ports = (port, self.other[row]) if role else (self.other[row], port)
        return {"process_id": process, "role": ["Client", "Server"][role], "netns": netns,
                "local": endpoint(local, ports[0]), "remote": endpoint(remote, ports[1])}


def divide(one, other):
    """Division towards zero by a positive number."""
    return one // other if one >= 0 else -(-one // other)


class Histograms:
    """The histograms of one name, one per row."""

    def __init__(self, prefix):
        self.prefix, self.peak, self.totals = prefix, [], []

    def read_sides(self, table):
        wide = lambda row, _: ("about", bits(self.totals[row]) * 5 // 32)
        name = f"{self.prefix}_below_above"
        self.below = table.numbers(name, wide, "high")
        self.above = table.numbers(name, wide, "low")
        self.counts = [[0] * 32 for _ in self.totals]

    def sides(self):
        list_ = []
        for row, peak in enumerate(self.peak):
            for sign, steps, other in ((-1, self.below[row], self.above[row]),
                                       (1, self.above[row], self.below[row])):
                list_ += [(row, peak + sign * s, sign, s, steps, other) for s in range(1, steps + 1)]
        return sorted(list_, key=lambda side: (side[3], side[3] == side[4]))

    def falling(self, side):
        row, bucket, sign, step, steps, other = side
        inner = self.totals[row] if step == 1 else self.counts[row][bucket - sign]
        left = lambda s: (steps + 1) ** 2 - s * s
        value = (bits(inner) + 1) * left(step) // left(step - 1)
        value += max(0, steps - other) // 2 if step == 1 else 0
        return min(max(value, 1), 64)

    def put(self, side, code):
        self.counts[side[0]][side[1]] = (code + (side[3] == side[4])) & MASK

    def fill_peaks(self):
        for row, peak in enumerate(self.peak):
            self.counts[row][peak] = 0
            self.counts[row][peak] = (self.totals[row] - sum(self.counts[row])) & MASK

    def expected_sum(self, row, _before):
        counts, total, variance = self.counts[row], 0, 0
        for bucket, count in enumerate(counts):
            if count:
                before = counts[bucket - 1] if bucket else 0
                after = counts[bucket + 1] if bucket < 31 else 0
                lean = divide((after - before) * 64, 6 * (before + count + after))
                total += (count << bucket) * (96 + lean) // 64
                variance += count << (2 * bucket)
        base = min(total, MASK)
        variance = min(variance, (1 << 128) - 1)
        deviation = (variance // 12).bit_length() // 2
        return ("about", base, max(0, max(deviation, max(0, bits(base) - 8)) - 2))

    def row(self, row, sums):
        buckets = {str(i): n for i, n in enumerate(self.counts[row]) if n}
        return {"buckets": buckets, "sum_us": sums[row]}


def read_since(table):
    first, last = table.take(64), table.take(64)
    codes = table.numbers("since_ms", any_number)
    since = [(first + (c >> 1)) & MASK if c & 1 else (last - (c >> 1)) & MASK for c in codes]
    return since, last


def read_edges(tables, keys, minor):
    table = Columns(tables, "edge")
    if not table.rows:
        return
    ends = Ends(table, keys)
    groups = (ends.subject, ends.process)
    value = {}
    value["since_ms"], last = read_since(table)
    ages = [min(max(last - since, 0) + 1, MASK) for since in value["since_ms"]]
    rate = Rate(ages, *groups)
    opened = table.numbers("opened", lambda row, before: ("bits", bits(rate.value(row, before))))
    name = "bytes_sent_received"
    sent = table.numbers(name, Rate(opened, *groups).share(2), "high")
    means = [math.isqrt(o * s) for o, s in zip(opened, sent)]
    received = table.numbers(name, Rate(means, *groups).share(2), "low")
    effort = lambda there, back: [min(t // 1448 + b // 2896 + min(3 * o, MASK), MASK)
                                  for t, b, o in zip(there, back, opened)]
    out, back = effort(sent, received), effort(received, sent)
    segments = table.numbers("segments_sent", Rate(out, *groups).share(6))
    answers = [min(s * b // max(o, 1), MASK) for s, b, o in zip(segments, back, out)]
    answered = table.numbers("segments_received", Rate(answers, *groups).share(6))
    failed = table.numbers("failed_refused", Rate(opened, *groups).root, "high")
    value["refused"] = table.numbers("failed_refused", Rate(failed, *groups).root, "low")
    name = "reset_local_remote"
    value["reset_local"] = table.numbers(name, Rate(opened, *groups).root, "high")
    value["reset_remote"] = table.numbers(name, Rate(opened, *groups).root, "low")
    name = "retransmits_out_of_order"
    value["retransmits"] = table.numbers(name, Rate(segments, ends.network).root, "high")
    value["out_of_order"] = table.numbers(name, Rate(answered, ends.network).root, "low")
    value["zero_windows"] = table.numbers("zero_windows", Rate(opened, *groups).root)
    live = table.numbers("live", any_number)
    value.update(opened=opened, failed=failed, bytes_sent=sent, bytes_received=received,
                 segments_sent=segments, segments_received=answered,
                 closed=[(o - l) & MASK for o, l in zip(opened, live)])
    rtt, connect = read_histograms(tables, table, ends, opened, groups)
    rtt_sums = table.numbers("rtt_sum_us", rtt.expected_sum)
    connect_sums = table.numbers("connect_latency_sum_us", connect.expected_sum)
    absent = table.numbers("absent", near_previous) if minor >= 1 else [0] * table.rows
    for row in range(table.rows):
        numbers = {key: list_[row] for key, list_ in value.items()}
        edge = {**ends.row(row), **numbers, "rtt": rtt.row(row, rtt_sums),
                "connect_latency": connect.row(row, connect_sums)}
        # What a host cannot measure is not zero.
        edge.update((name, None) for bit, name in enumerate(ABSENT) if absent[row] >> bit & 1)
        yield edge


def read_histograms(tables, table, ends, opened, groups):
    rtt, connect = Histograms("rtt"), Histograms("connect_latency")
    extra = table.numbers("rtt_extra", Rate(opened, *groups).share(1))
    rtt.totals = [(o + e) & MASK for o, e in zip(opened, extra)]
    means = {}

    def near_mean(row, before):
        if not row:
            return ("about", 0)
        mean = means.setdefault(ends.network[row - 1], [0, 0])
        mean[0] += before[row - 1]
        mean[1] += 1
        total, count = means.get(ends.network[row], (0, 0))
        return ("about", (total + count // 2) // count if count else before[row - 1])

    rtt.peak = table.numbers("rtt_peak", near_mean)
    connect.peak = table.numbers("connect_latency_peak", lambda row, _: ("about", rtt.peak[row]))
    certain = [0 if ends.role(row) else opened[row] for row in range(table.rows)]
    extra = table.numbers("connect_latency_extra", lambda row, _: ("about", 0))
    connect.totals = [(c + e) & MASK for c, e in zip(certain, extra)]
    rtt.read_sides(table)
    connect.read_sides(table)
    sides, others = rtt.sides(), connect.sides()
    buckets = Columns(tables, "edge_bucket")

    def count(index, before):
        if 0 < index <= len(sides):
            rtt.put(sides[index - 1], before[index - 1])
        if index == len(sides):
            rtt.fill_peaks()
        if index < len(sides):
            return ("bits", rtt.falling(sides[index]))
        row, bucket = others[index - len(sides)][:2]
        scaled = rtt.counts[row][bucket] * connect.totals[row]
        scaled = scaled // rtt.totals[row] if rtt.totals[row] else 0
        return ("bits", max(bits(scaled), 1))

    codes = buckets.numbers("count", count)
    for histograms, list_, part in ((rtt, sides, codes[: len(sides)]),
                                    (connect, others, codes[len(sides) :])):
        for side, code in zip(list_, part):
            histograms.put(side, code)
        histograms.fill_peaks()
    return rtt, connect


def read_sightings(tables, keys, end_ms, minor):
    table = Columns(tables, "sighting")
    if not table.rows:
        return
    ends = Ends(table, keys)
    level = table.numbers("sample_level", near_previous)
    kept, part, age, token = (table.numbers(name, any_number)
                              for name in ("kept", "part", "start_us", "token"))
    life = table.numbers("life", any_number) if minor >= 2 else [0] * table.rows
    for row in range(table.rows):
        shift = level[row] % 64
        yield {**ends.row(row), "sample_level": level[row], "kept": KEPT[kept[row]],
               "life": ["Unknown", "Open", "Ended"][life[row]],
               "part": "Sequence" if part[row] == 4 else
                       ["Wrote", "Read"][part[row] & 1 ^ ends.role(row)],
               "answer": bool(part[row] & 2), "start_us": (end_ms * 1000 - age[row]) & MASK,
               "token": (token[row] << shift | token[row] >> (64 - shift)) & MASK}


def read_events(tables, keys, end_ms):
    table = Columns(tables, "event")
    if not table.rows:
        return
    ends = Ends(table, keys)
    names = ["kind", "errno", "time_us", "duration_us", "bytes_sent", "bytes_received",
             "retransmits", "token"]
    value = {name: table.numbers(name, any_number) for name in names}
    for row in range(table.rows):
        event = {name: value[name][row] for name in names}
        event["kind"] = KINDS[event["kind"]]
        event["time_us"] = (end_ms * 1000 - event["time_us"]) & MASK
        yield {**ends.row(row), **event}


def read_nats(tables, keys, end_ms):
    table = Columns(tables, "nat")
    if not table.rows:
        return
    names = ["netns", "dialled_port", "server_port"]
    names += [f"{end}_{part}" for end in ("dialled", "server", "source", "client")
              for part in ("network", "host")]
    value = {name: table.numbers(name, near_previous) for name in [*names, "since_ms"]}
    opened = table.numbers("opened", any_number)
    for row in range(table.rows):
        ip = lambda end: keys.address(value[f"{end}_network"][row], value[f"{end}_host"][row])
        plain = lambda address: str(address.ipv4_mapped or address)
        yield {"netns": value["netns"][row], "client": plain(ip("client")),
               "dialled": endpoint(ip("dialled"), value["dialled_port"][row]),
               "source": plain(ip("source")),
               "server": endpoint(ip("server"), value["server_port"][row]),
               "since_ms": (end_ms - value["since_ms"][row]) & MASK, "opened": opened[row]}


def lists(tables, name, rows):
    """Pairs of each row from a table of its own."""
    table = Columns(tables, name)
    found = [[] for _ in range(rows)]
    owners = table.numbers("row", sorted_number)
    if name == "host_counter":
        values = table.numbers("value", any_number)
        pairs = list(zip(table.texts("name"), values))
    else:
        pairs = list(zip(table.texts("key"), table.texts("value")))
    for owner, pair in zip(owners, pairs):
        found[owner].append(pair)
    return found


def read_processes(tables, end_ms):
    table = Columns(tables, "process")
    ids = table.numbers("process_id", sorted_number)
    tgids = table.numbers("tgid", any_number)
    ages = table.numbers("started_ms", any_number)
    texts = {name: table.texts(name)
             for name in ("comm", "exe", "cgroup", "container", "unit", "service")}
    tags = lists(tables, "process_tag", table.rows)
    for row in range(table.rows):
        yield {"process_id": ids[row], "tgid": tgids[row],
               "started_ms": (end_ms - ages[row]) & MASK,
               **{name: values[row] for name, values in texts.items()}, "tags": tags[row]}


def read_hosts(tables, end_ms):
    table = Columns(tables, "host")
    ages = table.numbers("started_ms", any_number)
    texts = {name: table.texts(name) for name in ("hostname", "kernel", "agent", "mode")}
    pairs = {"plan": "host_plan", "facts": "host_fact", "paths_off": "host_path_off",
             "counters": "host_counter"}
    pairs = {key: lists(tables, name, table.rows) for key, name in pairs.items()}
    for row in range(table.rows):
        yield {**{name: values[row] for name, values in texts.items()},
               **{name: values[row] for name, values in pairs.items()},
               "started_ms": (end_ms - ages[row]) & MASK}


def read_batch(data):
    """Head, and rows by family."""
    head, tables = open_envelope(data)
    keys, end_ms = Keys(tables), head["end_ms"]
    rows = {"edge": list(read_edges(tables, keys, head["minor"])),
            "sighting": list(read_sightings(tables, keys, end_ms, head["minor"])),
            "process": list(read_processes(tables, end_ms)),
            "host": list(read_hosts(tables, end_ms)),
            "event": list(read_events(tables, keys, end_ms)),
            "nat": list(read_nats(tables, keys, end_ms))}
    return head, rows


def main():
    for name in sys.argv[1:]:
        head, rows = read_batch(pathlib.Path(name).read_bytes())
        print(json.dumps(head))
        for family, list_ in rows.items():
            for row in list_:
                print(json.dumps({"family": family, **row}))


if __name__ == "__main__":
    main()
