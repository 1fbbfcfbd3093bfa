"""The real gRPC client: makes the calls that are named, says what is wrong. usage: grpc_client.py ADDRESS CALL..."""

import sys
import threading
import time

import grpc

LIMIT = 20


def method(channel, kind, name):
    return getattr(channel, kind)(f"/test.Test/{name}", lambda x: x, lambda x: x)


def error_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("no error")


def echo(channel):
    """Unary: head, message, trailing metadata, text and bytes."""
    sent = [("x-data-bin", bytes(range(256))), ("x-text", "hello")]
    reply, call = method(channel, "unary_unary", "Echo").with_call(b"x" * 100_000, metadata=sent, timeout=LIMIT)
    assert reply == b"x" * 100_000
    assert dict(call.initial_metadata())["x-begin"] == "1", call.initial_metadata()
    end = dict(call.trailing_metadata())
    assert end["x-end"] == "1" and end["x-end-bin"] == b"\x00\xff\x01" and end["x-again-bin"] == bytes(range(256)), end
    assert end["x-deadline"] == "yes", end
    assert call.code() == grpc.StatusCode.OK


def statuses(channel):
    """Errors before the first message and after it keep their code and their text."""
    for code in ["INTERNAL", "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE"]:
        error = error_of(lambda: method(channel, "unary_unary", "Fail")(code.encode(), timeout=LIMIT))
        assert (error.code().name, error.details()) == (code, "as you say: ä%"), error
        messages = []
        stream = method(channel, "unary_stream", "Late")(code.encode(), timeout=LIMIT)
        error = error_of(lambda: messages.extend(message for message in iter_into(stream, messages)))
        assert messages == [b"one"] and (error.code().name, error.details()) == (code, "late"), (messages, error)


def iter_into(stream, messages):
    for message in stream:
        messages.append(message)
    return []


def streams(channel):
    """All three kinds of streams; a conversation goes back and forth."""
    got = list(method(channel, "unary_stream", "Count")(b"2000", timeout=LIMIT))
    assert got == [str(n).encode() for n in range(2000)], len(got)
    total = method(channel, "stream_unary", "Total")((str(n).encode() for n in range(500)), timeout=LIMIT)
    assert total == str(sum(range(500))).encode(), total
    turn = threading.Semaphore(1)

    def questions():
        for number in range(20):
            # Only after the answer to the one before.
            assert turn.acquire(timeout=LIMIT)
            yield str(number).encode()

    answers = []
    for answer in method(channel, "stream_stream", "Talk")(questions(), timeout=LIMIT):
        answers.append(answer)
        turn.release()
    assert answers == [f"re: {n}".encode() for n in range(20)], answers


def deadline(channel):
    error = error_of(lambda: method(channel, "unary_unary", "Hang")(b"", timeout=0.5))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error


def cancel(channel):
    call = method(channel, "unary_unary", "Hang").future(b"", timeout=LIMIT)
    # Something else on the same connection is answered meanwhile, so the call is under way.
    echo(channel)
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED


def unavailable(channel):
    """Nobody is there: the proxy says so in gRPC's words."""
    error = error_of(lambda: method(channel, "unary_unary", "Echo")(b"", timeout=LIMIT))
    assert error.code() == grpc.StatusCode.UNAVAILABLE and "model server cannot be reached" in error.details(), error


def saved(channel):
    """What fails at the canary is answered by stable."""
    for _ in range(20):
        echo(channel)


def inferred(channel):
    """Answers that are read for their prediction arrive whole, the small ones and those that are too large for it."""
    infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", lambda x: x, lambda x: x)
    for number in range(20):
        sent = b"xx" * 10 ** (number % 6)
        reply, call = infer.with_call(sent, timeout=LIMIT)
        assert reply == sent and dict(call.initial_metadata())["x-begin"] == "1", (len(reply), call.initial_metadata())


def mlserver(channel):
    """The real model server's own service."""
    from mlserver.grpc import dataplane_pb2 as messages
    from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

    stub = GRPCInferenceServiceStub(channel)
    assert stub.ServerReady(messages.ServerReadyRequest(), timeout=LIMIT).ready
    contents = messages.InferTensorContents(fp64_contents=[0.0] * 64)
    tensor = messages.ModelInferRequest.InferInputTensor(name="pixels", datatype="FP64", shape=[1, 64], contents=contents)
    request = messages.ModelInferRequest(model_name="digits", inputs=[tensor])
    for _ in range(50):
        reply, call = stub.ModelInfer.with_call(request, timeout=LIMIT)
        assert len(reply.outputs[0].contents.int64_contents) == 1, reply
        assert any(key.startswith("ce-") for key, _ in call.trailing_metadata()), call.trailing_metadata()
    request.model_name = "nobody"
    error = error_of(lambda: stub.ModelInfer(request, timeout=LIMIT))
    assert error.code() == grpc.StatusCode.NOT_FOUND and "nobody" in error.details(), error


def labels(channel):
    """Digits that were held out of the training: prints what each is, what the model says, and the ticket of the answer."""
    from mlserver.grpc import dataplane_pb2 as messages
    from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

    stub = GRPCInferenceServiceStub(channel)
    with open("target/real/mlserver/models/held-out.csv") as rows:
        for row in [next(rows) for _ in range(100)]:
            *pixels, digit = map(float, row.split(","))
            contents = messages.InferTensorContents(fp64_contents=[pixel / 16 for pixel in pixels])
            tensor = messages.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[1, 64], contents=contents)
            request = messages.ModelInferRequest(model_name="digits", inputs=[tensor])
            reply, call = stub.ModelInfer.with_call(request, timeout=LIMIT)
            said = reply.outputs[0].contents.int64_contents[0]
            print("label", int(digit), said, dict(call.initial_metadata())["x-coalmine-ticket"])


def mlstream(channel):
    """The real model server's stream: each word comes when it was made, not with the last one."""
    from mlserver.grpc import dataplane_pb2 as messages
    from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

    contents = messages.InferTensorContents(bytes_contents=[b"hello"])
    tensor = messages.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1], contents=contents)
    request = messages.ModelInferRequest(model_name="tok", inputs=[tensor])
    begin, words, times = time.monotonic(), [], []
    for reply in GRPCInferenceServiceStub(channel).ModelStreamInfer(iter([request]), timeout=LIMIT):
        words.append(reply.outputs[0].contents.bytes_contents[0])
        times.append(time.monotonic() - begin)
    assert words == [f"word-{number}".encode() for number in range(20)], words
    assert times[-1] - times[0] > 0.15, f"held back: {times}"


with grpc.insecure_channel(sys.argv[1]) as channel:
    for name in sys.argv[2:]:
        globals()[name](channel)
        print("ok", name, flush=True)
