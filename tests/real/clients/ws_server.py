"""A WebSocket server on a free port, which is printed: echoes, closes as it is told, refuses some. usage: ws_server.py"""

import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve


def talk(connection):
    try:
        for message in connection:
            if isinstance(message, str) and message.startswith("close "):
                _, code, reason = message.split(" ", 2)
                connection.close(int(code), reason)
            elif message == "ping me":
                connection.send("pong came" if connection.ping().wait(10) else "no pong")
            else:
                connection.send(message)
    except ConnectionClosed:
        pass
    print("closed", connection.close_code, flush=True)


def first(connection, request):
    if request.path.endswith("/deny"):
        return connection.respond(403, "not you\n")
    if request.path.endswith("/plain"):
        return connection.respond(200, "no change\n")
    return None


with serve(talk, "127.0.0.1", 0, process_request=first, max_size=None, subprotocols=["chat"]) as server:
    print("port", server.socket.getsockname()[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Until whoever started us ends.
    sys.stdin.read()
