#!/usr/bin/env python3
"""Judges recordings (CSV) by the reference implementation: one line `name verdict at_request at_canary` a file.

usage: replay_ref.py SPLIT FILE...   (SPLIT: the canary's configured share in per cent, or `-`)

Blocks are made by the rule of docs/judge.md, written down here a second time on purpose: a block of requests closes at the first look, every
2 s from the first request on, at which both variants have finished one since the last block; labels likewise, apart; the rest is carried over.
"""
import csv
import math
import sys

from judge_ref import Judge, bucket_index

INTERVAL_MS = 2000.0


def read(path):
    requests, labels = [], []
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            at, canary = float(row["t_ms"]), row["variant"] == "canary"
            split = row.get("split") or None
            requests.append((at, canary, float(row["latency_ms"] or 0), row["ok"] == "1", split))
            if row["correct"]:
                known = float(row["label_t_ms"]) if row["label_t_ms"] else at
                labels.append((max(known, at), canary, row["correct"] == "0"))
    requests.sort(key=lambda r: r[0])
    labels.sort(key=lambda l: l[0])
    return requests, labels


def looks(requests, labels, split):
    """(block or None, requests so far, canary requests so far), look by look."""
    start = requests[0][0]
    number = lambda at: math.floor((at - start) / INTERVAL_MS)
    arm = lambda: {"n": 0, "err": 0, "hist": {}}
    open_, shares, lab = {True: arm(), False: arm()}, set(), {True: [0, 0], False: [0, 0]}
    i = j = seen = seen_c = 0
    while i < len(requests) or j < len(labels):
        now = min(number(r[0]) for r in (requests[i:i + 1] + labels[j:j + 1]))
        while i < len(requests) and number(requests[i][0]) <= now:
            _, canary, latency, ok, share = requests[i]
            one = open_[canary]
            one["n"] += 1
            if ok:
                bucket = bucket_index(latency)
                one["hist"][bucket] = one["hist"].get(bucket, 0) + 1
            else:
                one["err"] += 1
            shares.add(float(share) / 100.0 if share else split)
            seen += 1
            seen_c += canary
            i += 1
        while j < len(labels) and number(labels[j][0]) <= now:
            lab[labels[j][1]][0] += 1
            lab[labels[j][1]][1] += labels[j][2]
            j += 1
        block = {}
        if open_[True]["n"] and open_[False]["n"]:
            c, s = open_[True], open_[False]
            block.update(n_c=c["n"], n_s=s["n"], err_c=c["err"], err_s=s["err"], hist_c=c["hist"], hist_s=s["hist"], rho=None)
            if len(shares) == 1:
                block["rho"] = shares.pop()
            open_, shares = {True: arm(), False: arm()}, set()
        if lab[True][0] and lab[False][0]:
            block.update(lab_c=lab[True][0], wrong_c=lab[True][1], lab_s=lab[False][0], wrong_s=lab[False][1])
            lab = {True: [0, 0], False: [0, 0]}
        yield block, seen, seen_c


class Unchecked:
    """Stands in for the sample-ratio test in a block whose configured split is not known."""

    def update(self, *_):
        pass


def judge(path, split):
    trial, held, said, last = Judge(), None, "keep", (0, 0)
    srm = trial.srm
    for block, seen, canary in looks(*read(path), split):
        last = (seen, canary)
        if block:
            trial.srm = srm if block.get("rho") is not None else type("Kept", (Unchecked,), {"log_e": lambda self: srm.log_e()})()
            said = trial.update(block)
        if said in ("rollback", "promote"):
            return said, last
        held = (held or last) if said == "hold_srm" else None
    return said, held or last


if __name__ == "__main__":
    share = None if sys.argv[1] == "-" else float(sys.argv[1]) / 100.0
    for name in sys.argv[2:]:
        verdict, (at_request, at_canary) = judge(name, share)
        print(name.rsplit("/", 1)[-1].removesuffix(".csv"), verdict, at_request, at_canary, flush=True)
