"""The real WebSocket client. usage: ws_client.py URL"""

import sys

from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

url = sys.argv[1]
with connect(url + "/ws", max_size=None, subprotocols=["chat"]) as ws:
    assert ws.subprotocol == "chat", ws.subprotocol
    assert ws.response.headers["x-coalmine-variant"] == "v1", ws.response.headers
    for message in ["hello", "ä" * 1000, b"\x00\xff" * 10, b"x" * 3_000_000, ""]:
        ws.send(message)
        assert ws.recv(10) == message, len(message)
    for number in range(500):
        ws.send(str(number))
    assert [ws.recv(10) for _ in range(500)] == [str(number) for number in range(500)]
    assert ws.ping().wait(10), "no pong"
    ws.send("ping me")
    assert ws.recv(10) == "pong came"
    ws.send("close 4001 as told")
    try:
        ws.recv(10)
        raise AssertionError("still open")
    except ConnectionClosedError as end:
        assert (end.rcvd.code, end.rcvd.reason) == (4001, "as told"), end
with connect(url + "/ws", subprotocols=["chat"]) as ws:
    ws.close(4002, "bye")
for path, status, text in [("/deny", 403, b"not you\n"), ("/plain", 200, b"no change\n")]:
    try:
        connect(url + path, subprotocols=["chat"])
        raise AssertionError("taken")
    except InvalidStatus as refused:
        assert (refused.response.status_code, refused.response.body) == (status, text), refused
print("ok", flush=True)
