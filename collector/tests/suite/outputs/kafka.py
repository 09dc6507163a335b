"""A broker that speaks Kafka's protocol (librdkafka's mock cluster), and whoever consumes from it.

Says the brokers' addresses first; for each line on standard input, everything that is in all topics.
"""

import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

cluster = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 2})
brokers = cluster.list_topics(timeout=30).brokers.values()
brokers = [f"{broker.host}:{broker.port}" for broker in brokers]
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
