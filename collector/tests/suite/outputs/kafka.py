"""A broker that speaks Kafka's protocol (librdkafka's mock cluster), and whoever consumes from it.

Says the brokers' addresses first; for each line on standard input, everything that is in all topics.
With a directory, the brokers are in a network namespace of their own and TLS stands before each, at
the address that it has there: with server.crt and server.key, for clients that ca.crt vouches for.
"""

import asyncio
import ctypes
import json
import os
import socket
import ssl
import subprocess
import sys
import threading

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

CLONE_NEWNET = 0x40000000


def namespace(call, arguments):
    """Moves this thread, and those that it starts from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), call)


def this_namespace():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def before(listeners, directory):
    """Takes TLS off what comes to each listener; its broker has the same port over here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/server.crt", f"{directory}/server.key")
    context.load_verify_locations(f"{directory}/ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve():
        for listener in listeners:
            port = listener.getsockname()[1]

            async def accepted(reader, writer, port=port):
                broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(pump(reader, broker_writer), pump(broker_reader, writer))

            await asyncio.start_server(accepted, sock=listener, ssl=context)
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()


if len(sys.argv) > 1:
    outside = this_namespace()
    namespace("unshare", [CLONE_NEWNET])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
cluster = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 2})
brokers = cluster.list_topics(timeout=30).brokers.values()
brokers = [f"{broker.host}:{broker.port}" for broker in brokers]
if len(sys.argv) > 1:
    inside = this_namespace()
    namespace("setns", [outside, CLONE_NEWNET])
    ports = [int(broker.rsplit(":", 1)[1]) for broker in brokers]
    listeners = [socket.create_server(("127.0.0.1", port)) for port in ports]
    namespace("setns", [inside, CLONE_NEWNET])
    before(listeners, sys.argv[1])
print(json.dumps(brokers), flush=True)
consumer = Consumer(
    {
        "bootstrap.servers": ",".join(brokers),
        "group.id": "trial",
        "enable.partition.eof": True,
        "enable.auto.commit": False,
    }
)
for _ in sys.stdin:
    topics = consumer.list_topics(timeout=30).topics
    places = [
        TopicPartition(topic.topic, number, OFFSET_BEGINNING)
        for topic in topics.values()
        for number in topic.partitions
    ]
    consumer.assign(places)
    left = {(place.topic, place.partition) for place in places}
    records = []
    while left:
        message = consumer.poll(30)
        if message is None:
            break
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            left.discard((message.topic(), message.partition()))
            continue
        records.append(
            {
                "topic": message.topic(),
                "partition": message.partition(),
                "key": message.key().decode(),
                "headers": {name: value.decode() for name, value in message.headers()},
                "value": json.loads(message.value()),
            }
        )
    print(json.dumps(records), flush=True)
