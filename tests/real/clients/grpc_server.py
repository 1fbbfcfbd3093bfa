"""A gRPC server on a free port, which is printed: every kind of call over plain bytes. usage: grpc_server.py [down]

What each does is its name; a line is printed for every call that was cancelled. `down`: Echo fails before its first byte, and
ModelInfer after its head.
"""

import sys
import threading
from concurrent import futures

import grpc


def echo(request, context):
    if "down" in sys.argv:
        context.abort(grpc.StatusCode.UNAVAILABLE, "down")
    sent = {key: value for key, value in context.invocation_metadata()}
    end = [("x-end", "1"), ("x-end-bin", b"\x00\xff\x01")]
    if "x-data-bin" in sent:
        end.append(("x-again-bin", sent["x-data-bin"]))
    end.append(("x-deadline", "yes" if context.time_remaining() is not None and context.time_remaining() < 1000 else "no"))
    context.set_trailing_metadata(end)
    context.send_initial_metadata([("x-begin", "1")])
    return request


def fail(request, context):
    context.abort(getattr(grpc.StatusCode, request.decode()), "as you say: ä%")


def infer(request, context):
    """Its head is out before it is known how the call ends."""
    context.send_initial_metadata([("x-begin", "1")])
    if "down" in sys.argv:
        context.abort(grpc.StatusCode.UNAVAILABLE, "down")
    return request


def late(request, context):
    """An error after a message: its status is in the trailers."""
    yield b"one"
    context.abort(getattr(grpc.StatusCode, request.decode()), "late")


def hang(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(20)
    print("cancelled", flush=True)
    return b""


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def total(requests, context):
    return str(sum(int(one) for one in requests)).encode()


def talk(requests, context):
    for one in requests:
        yield b"re: " + one


unary, server_side = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
handlers = {
    "Echo": unary(echo),
    "Fail": unary(fail),
    "Hang": unary(hang),
    "Late": server_side(late),
    "Count": server_side(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", handlers)])
infer_only = {"ModelInfer": unary(infer)}
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("inference.GRPCInferenceService", infer_only)])
print("port", server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
# Until whoever started us ends.
sys.stdin.read()
server.stop(None)
