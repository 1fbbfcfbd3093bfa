"""The real llama.cpp server on a free port, which is printed. usage: llama_server.py MODEL"""

import socket
import sys
import time

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    params.port = free.getsockname()[1]
params.n_ctx = 65536
params.n_parallel = 2
params.warmup = False
params.cpuparams.n_threads = 1
params.endpoint_metrics = True
params.endpoint_slots = True
params.model_alias = {"tiny"}
server = xllamacpp.Server(params)
print("port", params.port, flush=True)
# Until whoever started us ends.
sys.stdin.read()
