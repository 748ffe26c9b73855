"""A client for Python: it logs in, makes an account, sends an IQ and reads its answer, then opens the event socket and
makes a conference, whose first event comes over that socket.

Start a gateway that knows the client, in a folder of its own:

    CONFGATE_AUTH__CLIENTS='[{"id":"hr","secret":"a long random text","scopes":["user.create","conference.create"]}]' cargo run --release

Then, in the same folder (`websockets` is on PyPI, and Debian's python3-websockets):

    python3 examples/client.py
"""

import asyncio
import itertools
import json
import os
import ssl
import urllib.request

import websockets

BASE = os.environ.get("BASE", "https://127.0.0.1:9092/gzbwclient")
# The gateway's own certificate, as it made it; verification stays on.
TRUST = ssl.create_default_context(cafile=os.environ.get("CERTIFICATE", "certs/cert.pem"))
IQ = (
    '<iq to="jeprivacy.ips3000" type="get" id="01">'
    '<jeExtension xmlns="je:x:client:config"><getMainTabs/></jeExtension></iq>'
)

ids = itertools.count(1)


class Refused(Exception):
    pass


def call(method, params, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = json.dumps({"jsonrpc": "2.0", "id": next(ids), "method": method, "params": params}).encode()
    request = urllib.request.Request(f"{BASE}/jsonrpc", body, headers)
    with urllib.request.urlopen(request, context=TRUST) as reply:
        reply = json.load(reply)
    if "error" in reply:
        raise Refused(f"{method}: {reply['error']['message']} ({reply['error']['data']['key']})")
    return reply["result"]


async def follow(token):
    """The event socket: JSON-RPC both ways. The token goes into the subprotocol, never into the address."""
    address = BASE.replace("https", "wss") + "/websck"
    async with websockets.connect(address, ssl=TRUST, subprotocols=["confgate", f"bearer.{token}"]) as socket:
        async for text in socket:
            message = json.loads(text)
            params = message.get("params")
            if message.get("method") == "hello":
                print(f"connected to {params['node']}")
                await socket.send(json.dumps({"id": 1, "method": "conference.create", "params": {"name": "Weekly"}}))
            if message.get("method") == "conference.event":
                print(f"event {params['seq']}: {params['type']} {params['data']['confName']}")
                return


# 1. A program logs in with its own secret, and gets a token.
login = {"grantType": "client_credentials", "clientId": "hr", "clientSecret": "a long random text"}
session = call("auth.http.login", login)
print(f"logged in as {session['userId']}")

# 2. An account at the EIM.
account = call("org.user.createUser", {"name": "张三", "password": "a first password"}, session["accessToken"])
print(f"created {account['userId']}: {account['name']}")

# 3. Any IQ that the EIM understands; an error of the EIM's is an answer, too.
print("answered", call("org.user.processIQ", {"reqXml": IQ}, session["accessToken"])["xml"])

# 4. Events.
asyncio.run(follow(session["accessToken"]))
