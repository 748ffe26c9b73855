"""An AMQP client that isn't ours: Debian's python3-pika.

    amqp_client.py URL < REQUESTS > ANSWERS

Both are lists of JSON, one answer for each request:

    {"do": "declare", "exchange", "queue", "key"}       a durable topic exchange, and a durable queue that is bound to it
    {"do": "bind" or "unbind", "exchange", "queue", "key"}
    {"do": "publish", "exchange", "key", "body" or "size", "id"}    confirmed; an error where no queue takes it
    {"do": "take", "queue"}                             all that the queue has, acknowledged
"""

import json
import sys

import pika

PERSISTENT = 2


def declare(channel, request):
    channel.exchange_declare(request["exchange"], "topic", durable=True)
    channel.queue_declare(request["queue"], durable=True)
    bind(channel, request)


def bind(channel, request):
    channel.queue_bind(request["queue"], request["exchange"], request["key"])


def unbind(channel, request):
    channel.queue_unbind(request["queue"], request["exchange"], request["key"])


def publish(channel, request):
    body = request["body"].encode() if "body" in request else b"x" * request["size"]
    properties = pika.BasicProperties(
        content_type="application/json", delivery_mode=PERSISTENT, message_id=request["id"]
    )
    channel.basic_publish(request["exchange"], request["key"], body, properties, mandatory=True)


def take(channel, request):
    taken = []
    while True:
        method, properties, body = channel.basic_get(request["queue"], auto_ack=True)
        if method is None:
            return taken
        taken.append({
            "key": method.routing_key,
            "id": properties.message_id,
            "contentType": properties.content_type,
            "persistent": properties.delivery_mode == PERSISTENT,
            "size": len(body),
            # A large body is none that a test reads.
            "body": body.decode(errors="replace") if len(body) < 1 << 20 else None,
        })


ACTIONS = {"declare": declare, "bind": bind, "unbind": unbind, "publish": publish, "take": take}

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.confirm_delivery()
json.dump([ACTIONS[request["do"]](channel, request) for request in json.load(sys.stdin)], sys.stdout)
connection.close()
