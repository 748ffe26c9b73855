"""An EIM that isn't ours: its own namespace and words, users by address, and events in XML without any number.

    eim.py HOST PORT DOMAIN SECRET AMQP_URL|xmpp [twice|lost|STATE_FILE]

It is a component (XEP-0114) that answers IQs, and publishes each change of a room to RabbitMQ by Debian's python3-pika;
with "xmpp" it sends it in a message to the gateway through which somebody entered the room last, and to no other.
It knows no sockets, no seats and nobody's presence. Each line of its output is the element of an IQ that it doesn't know.
The last argument is what goes wrong with the events: each comes twice, or each second one not at all. Or it is a file, in
which the rooms are kept over a restart.
"""

import hashlib
import os
import pickle
import socket
import sys
import time
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import pika

HOST, PORT, DOMAIN, SECRET, URL = sys.argv[1:6]
FAULT = sys.argv[6] if len(sys.argv) > 6 else ""
USERS = DOMAIN.split(".", 1)[1]
NS = "urn:meet:rooms"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class Refused(Exception):
    """A condition, and this EIM's own word for it."""


class Room:
    def __init__(self, name, owner, password, lobby):
        self.id, self.name, self.owner = f"r{len(ROOMS) + 1}", name, owner
        self.password = password or str(10_000_000 + len(ROOMS))
        self.open, self.locked, self.lobby, self.stage = True, False, lobby, None
        self.occupants, self.knocking, self.lines, self.gateway = {}, {}, [], None

    def xml(self, element="room", inside=""):
        attributes = {
            "id": self.id, "title": self.name, "open": "yes" if self.open else "no", "owner": address(self.owner),
            "locked": flag(self.locked), "lobby": flag(self.lobby), "password": self.password,
        }
        return tag(element, attributes, inside)


ROOMS, VISITORS, POLLS = {}, {}, []


def flag(value):
    return "true" if value else "false"


def address(user):
    return f"{user}@{USERS}"


def tag(name, attributes, inside=""):
    shown = "".join(f" {key}={quoteattr(str(value))}" for key, value in attributes.items() if value is not None)
    return f"<{name}{shown}>{inside}</{name}>"


def occupant(member, element="occupant"):
    shown = {key: value for key, value in member.items() if key != "user"}
    return tag(element, {"jid": address(member["user"]), **shown})


def line(said):
    return tag("line", {"id": said["id"], "by": address(said["by"]), "at": said["at"]}, escape(said["text"]))


class Broker:
    """The exchange; or, without one, the room's gateway."""

    def __init__(self):
        self.count, self.channel = 0, None
        if URL == "xmpp":
            return
        parameters = pika.URLParameters(URL)
        parameters.heartbeat = 0
        self.channel = pika.BlockingConnection(parameters).channel()
        self.channel.exchange_declare("eim.conference", "topic", durable=True)

    def publish(self, room, kind, by, inside, **more):
        at = f"{time.time():.3f}"
        attributes = {"xmlns": NS, "room": room.id, "kind": kind, "at": at, "by": address(by) if by else None, **more}
        body = tag("news", attributes, inside)
        self.count += 1
        if FAULT == "lost" and self.count % 2 == 0:
            return
        self.send(room, body)
        if FAULT == "twice":
            self.send(room, body)

    def serve(self):
        if self.channel:
            self.channel.connection.process_data_events(0)

    def send(self, room, body, what="news"):
        if not self.channel:
            LINK.sendall(tag("message", {"from": DOMAIN, "to": room.gateway, "type": "headline"}, body).encode())
            return
        self.channel.basic_publish("eim.conference", f"meet.{room.id}.{what}", body.encode())


def room_of(asked):
    room = ROOMS.get(asked.get("room"))
    if room is None:
        raise Refused("item-not-found", "no-room")
    return room


def seated(room, user):
    if user not in room.occupants:
        raise Refused("forbidden", "not-in-room")
    return room.occupants[user]


def owned(room, user):
    if room.owner != user:
        raise Refused("forbidden", "not-owner")


def open_room(asked, user):
    room = Room(asked.get("name"), user, asked.get("password"), asked.get("lobby") == "true")
    ROOMS[room.id], room.gateway = room, GATEWAY
    return room.xml()


def rooms(asked, user):
    return "".join(r.xml() for r in ROOMS.values() if r.open and (r.owner == user or user in r.occupants))


def about(asked, user):
    return room_of(asked).xml()


def find_room(asked, user):
    found = [room for room in ROOMS.values() if room.password == asked.get("password")]
    if not found:
        raise Refused("item-not-found", "no-room")
    return found[0].xml()


def enter(asked, user):
    room = room_of(asked)
    if not room.open:
        raise Refused("gone", "closed")
    member, room.gateway = room.occupants.get(user) or room.knocking.get(user), GATEWAY
    if member is None:
        if room.locked and user != room.owner:
            raise Refused("forbidden", "room-locked")
        rank = "owner" if user == room.owner else "visitor" if user in VISITORS else "resident"
        name = asked.get("name") or VISITORS.get(user) or user.capitalize()
        since = int(time.time() * 1000)
        member = {"user": user, "nick": name, "rank": rank, "mic": "closed", "cam": "off", "hand": "false", "since": since}
        if room.lobby and user != room.owner:
            member["here"] = "waiting"
            room.knocking[user] = member
            BROKER.publish(room, "knock", user, occupant(member))
        else:
            room.occupants[user] = member
            BROKER.publish(room, "enter", user, occupant(member))
    return room.xml() + occupant(member)


def let_in(room, user, by):
    member = room.knocking.pop(user, None)
    if member is None:
        raise Refused("item-not-found", "not-in-room")
    del member["here"]
    member["since"] = int(time.time() * 1000)
    room.occupants[user] = member
    BROKER.publish(room, "enter", by, occupant(member))


def leave(room, user, by, why):
    knocked = room.knocking.pop(user, None)
    if knocked:
        BROKER.publish(room, "turn-away", by, occupant(knocked), why=why)
    member = room.occupants.pop(user, None)
    if member:
        BROKER.publish(room, "exit", by, occupant(member), why=why)


def exit_room(asked, user):
    leave(room_of(asked), user, user, "went")
    return ""


def occupants(asked, user):
    return "".join(map(occupant, room_of(asked).occupants.values()))


def state(asked, user):
    room = room_of(asked)
    knocking = "".join(occupant(member, "knocking-occupant") for member in room.knocking.values())
    inside = "".join(map(occupant, room.occupants.values())) + knocking + "".join(map(line, room.lines))
    return room.xml() + inside


def act(asked, user):
    room, what, whom = room_of(asked), asked.get("action"), asked.get("who")
    me = seated(room, user)
    own = {"muteSelf": ("mic", "closed"), "openCamera": ("cam", "on"), "closeCamera": ("cam", "off"),
           "raiseHand": ("hand", "true"), "lowerHand": ("hand", "false"), "unmuteSelf": ("mic", "open")}
    if what in own:
        if what == "unmuteSelf" and me["mic"] == "silenced":
            raise Refused("forbidden", "silenced")
        me[own[what][0]] = own[what][1]
        if what == "unmuteSelf":
            me.pop("invited", None)
        BROKER.publish(room, "change", user, occupant(me))
        return ""
    owned(room, user)
    if what in ("mute", "unmute"):
        them = seated(room, whom)
        them["mic"] = "silenced" if what == "mute" else "closed"
        if what == "unmute":
            them["invited"] = "true"
        BROKER.publish(room, "change", user, occupant(them))
    elif what == "kick":
        leave(room, whom, user, "thrown-out")
    elif what == "admit":
        let_in(room, whom, user)
    elif what == "deny":
        leave(room, whom, user, "thrown-out")
    elif what in ("lock", "unlock"):
        room.locked = what == "lock"
        BROKER.publish(room, "room", user, room.xml())
    elif what == "end":
        close_room(asked, user)
    else:
        raise Refused("feature-not-implemented", "unknown")
    return ""


def say(asked, user):
    room = room_of(asked)
    seated(room, user)
    said = {"id": f"{room.id}-{len(room.lines)}", "by": user, "at": int(time.time() * 1000), "text": asked.text or ""}
    room.lines.append(said)
    BROKER.publish(room, "said", user, line(said))
    return tag("line", {"id": said["id"], "at": said["at"]})


def lines(asked, user):
    return "".join(map(line, reversed(room_of(asked).lines)))


def open_poll(asked, user):
    room = room_of(asked)
    seated(room, user)
    POLLS.append(room.id)
    attributes = {"xmlns": NS, "room": room.id, "id": f"p{len(POLLS)}", "at": f"{time.time():.3f}", "by": address(user)}
    texts = "".join(tag(child.tag.rsplit("}", 1)[-1], {}, escape(child.text or "")) for child in asked)
    BROKER.send(room, tag("poll", attributes, texts), "poll")
    return tag("poll", {"id": attributes["id"]})


def close_room(asked, user):
    room = room_of(asked)
    owned(room, user)
    room.open = False
    room.occupants.clear()
    room.knocking.clear()
    BROKER.publish(room, "closed", user, room.xml())
    return ""


def make_visitor(asked, user):
    name = asked.get("userId") or f"v{len(VISITORS) + 1}"
    VISITORS[name] = asked.get("name")
    return tag("visitor", {"userId": name, "name": asked.get("name")})


def drop_visitor(asked, user):
    for room in ROOMS.values():
        leave(room, asked.get("userId"), None, "went")
    VISITORS.pop(asked.get("userId"), None)
    return ""


ANSWERS = {
    "open-room": open_room, "rooms": rooms, "room": about, "about": about, "find-room": find_room, "enter": enter,
    "exit": exit_room, "occupants": occupants, "state": state, "act": act, "say": say, "lines": lines,
    "open-poll": open_poll, "close-room": close_room, "make-visitor": make_visitor, "drop-visitor": drop_visitor,
}


def keep():
    """For the next process, where there is a file for it."""
    if KEPT:
        with open(KEPT + ".new", "wb") as file:
            pickle.dump((ROOMS, VISITORS, POLLS), file)
        os.replace(KEPT + ".new", KEPT)


def answer(iq):
    global GATEWAY
    GATEWAY = iq.get("from").split("/", 1)[0].rsplit("@", 1)[-1]
    asked = next(iter(iq), None)
    name = asked.tag.rsplit("}", 1)[-1] if asked is not None else ""
    user = iq.get("from").split("@", 1)[0].split("%", 1)[0]
    head = {"from": iq.get("to"), "to": iq.get("from"), "id": iq.get("id")}
    if name == "ping":
        return tag("iq", {**head, "type": "result"})
    try:
        if name not in ANSWERS or not asked.tag.startswith("{" + NS + "}"):
            print(name, flush=True)
            raise Refused("service-unavailable", "unknown")
        return tag("iq", {**head, "type": "result"}, tag(name, {"xmlns": NS}, ANSWERS[name](asked, user)))
    except Refused as refused:
        condition, word = refused.args
        inside = tag(condition, {"xmlns": STANZAS}) + tag(word, {"xmlns": "urn:meet:errors"})
        return tag("iq", {**head, "type": "error"}, tag("error", {"type": "cancel"}, inside))


KEPT = FAULT if "/" in FAULT else None
if KEPT and os.path.exists(KEPT):
    with open(KEPT, "rb") as file:
        ROOMS, VISITORS, POLLS = pickle.load(file)
GATEWAY = None
BROKER = Broker()
LINK = socket.create_connection((HOST, int(PORT)))
LINK.sendall(f"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{DOMAIN}'>".encode())
PARSER = ET.XMLPullParser(("start", "end"))
depth = 0
LINK.settimeout(0.05)
while True:
    try:
        data = LINK.recv(65536)
        if not data:
            sys.exit("the server has closed the stream")
        PARSER.feed(data)
    except socket.timeout:
        BROKER.serve()
        continue
    for event, element in PARSER.read_events():
        depth += 1 if event == "start" else -1
        if event == "start" and depth == 1:
            LINK.sendall(f"<handshake>{hashlib.sha1((element.get('id') + SECRET).encode()).hexdigest()}</handshake>".encode())
        elif event == "end" and depth == 1 and element.tag.endswith("}handshake"):
            print("ready", flush=True)
        elif event == "end" and depth == 1 and element.tag.endswith("}iq") and element.get("type") in ("get", "set"):
            told = answer(element)
            keep()
            LINK.sendall(told.encode())
    BROKER.serve()
