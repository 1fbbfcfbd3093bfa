#!/usr/bin/env python3
"""Judges the recordings that say who answered, who asked and when the first token came, by the reference implementation.

usage: modes_ref.py JUDGE_REF STREAMS > tests/vectors/replay_modes.json
  JUDGE_REF  the reference implementation: tests/real/judge/judge_ref.py
  STREAMS    the directory with noisy-pod.csv, one-user.csv and first-token.csv: config/streams

The reference has the tests; it knows neither windows nor users. Those are written down here a second time on purpose, by the rules of
docs/judge.md: with sums over all outcomes where the judge has recurrences.
"""
import csv
import importlib.util
import json
import math
import sys

INTERVAL_MS, WINDOW_LOOKS = 2000.0, 5
WARM, SAMPLES = 200, 50


def load(path):
    spec = importlib.util.spec_from_file_location("judge_ref", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ref = load(sys.argv[1])


# ---------------------------------------------------------------- windows of endpoints
def cap_of(expected):
    return max(1.0, math.ceil(3.0 * expected))


def level(canary, stable):
    """The load to which units are brought: the smallest that has half of what is usual in the variant with less."""
    usual = lambda loads: sorted(n for n in loads if n > 0)[len([n for n in loads if n > 0]) // 2]
    least = math.ceil(min(usual(canary), usual(stable)) / 2)
    return min(n for n in canary + stable if n >= least)


def thinned(events, n, m, cap):
    """E min(X, cap), X of m drawn without replacement from n with `events` among them."""
    if m >= n:
        return min(events, cap)
    if events > n - m or cap > 64 or events > 512:
        return min(events * m / n, cap)
    ways = math.comb(n, m)
    chance = lambda k: math.comb(events, k) * math.comb(n - events, m - k) / ways
    return sum(min(k, cap) * chance(k) for k in range(min(events, m) + 1))


def capped_mean(expected, cap):
    """E min(X, cap), X Poisson."""
    if cap > expected + 12.0 * math.sqrt(expected + 1.0) or expected > 600.0:
        return min(expected, cap)
    chance = lambda k: math.exp(k * math.log(expected) - expected - math.lgamma(k + 1)) if expected > 0 else float(k == 0)
    beyond = lambda h: 1.0 - math.fsum(chance(k) for k in range(h + 1))
    return math.fsum(max(0.0, beyond(h)) for h in range(int(cap)))


def take_units(test, canary, stable, edge):
    """Units instead of requests, for either test of rates; `edge` in their terms."""
    test.r, test.d = edge
    step = lambda R: ref.cluster_log_increment(canary, stable, test.r, test.d, R)
    if isinstance(test, ref.RateRollback):
        test.mix.update([step(R) for R in test.grid])
        if test.ns >= test.min_stable:
            test.log_learnt += step(test.learnt_R())
    else:
        test.log_plug += step(test.plug_R())
        test.log_equal += step(test.equal_R())
        test.log_w = [w + step(R) for w, R in zip(test.log_w, test.grid)]
    test.A += sum(canary)
    test.B += sum(stable)
    test.nc += len(canary)
    test.ns += len(stable)


class Past:
    """Stable's past latency."""

    def __init__(self):
        self.ref, self.n = {}, 0.0

    def learn(self, hist):
        self.ref = {i: w * ref.REF_DECAY for i, w in self.ref.items()}
        for i, n in hist.items():
            self.ref[i] = self.ref.get(i, 0.0) + n
        self.n = self.n * ref.REF_DECAY + sum(hist.values())

    def above(self, limit):
        return (sum(w for i, w in self.ref.items() if i > limit) + 0.5) / (self.n + 1.0)


class ByEndpoints:
    PROMOTE = [(0.5, 4), (0.9, 4), (0.99, 6)]
    TAILS = [0.9, 0.99]

    def __init__(self):
        self.rollback, self.promote = ref.RateRollback(), ref.RatePromote()
        self.promote_requests = ref.RatePromote(1.25, 0.002)
        self.n = self.failed = 0
        self.ranks = ref.StartMixture(len(ref.WILCOXON_FRACTIONS))
        self.tails = [ref.RateRollback(1.0, 0.0, ref.RR_UP) for _ in self.TAILS]
        self.units = [ref.BernoulliPromote(1.0, 0.0) for _ in self.PROMOTE]
        self.requests = [ref.BernoulliPromote(1.0, 0.0) for _ in self.PROMOTE]
        self.past, self.window_warm, self.warm = Past(), False, False

    def take(self, block, window):
        was_warm = self.warm
        if block:
            (c, s), self.warm = block["arms"], block["before"] >= WARM
            self.promote_requests.update(c["err"], s["err"], c["n"], s["n"])
            if self.warm and self.past.n >= 200 and c["hist"] and s["hist"]:
                cdf = ref.ref_cdf(self.past.ref)
                for (q, shift), test in zip(self.PROMOTE, self.requests):
                    at = ref.tail_threshold(cdf, q)
                    A, B = (sum(n for i, n in h.items() if i > limit) for h, limit in ((c["hist"], at + shift), (s["hist"], at)))
                    hoped = (self.past.above(at + shift), self.past.above(at))
                    test.update(A, B, sum(c["hist"].values()), sum(s["hist"].values()), equal=hoped)
        if window:
            self.errors_of(*window)
            self.latency_of(*window, was_warm)

    def errors_of(self, canary, stable):
        m = level([u["n"] for u in canary], [u["n"] for u in stable])
        if self.n > 0:
            p = (self.failed + 0.5) / (self.n + 1.0)
            for test, (r, d) in ((self.rollback, (1.0, 0.0005)), (self.promote, (1.25, 0.002))):
                most = cap_of(m * (r * p + d))
                if test is self.rollback:
                    margin = m * d / most
                else:
                    mean = lambda rate: capped_mean(m * rate, most) / most
                    margin = max(0.0, mean(r * p + d) - r * mean(p))
                u = lambda units: [ref.unit_fraction(thinned(x["err"], x["n"], m, most), most) for x in units if x["n"] >= m]
                take_units(test, u(canary), u(stable), (r, margin))
        self.n += sum(u["n"] for u in stable)
        self.failed += sum(u["err"] for u in stable)

    def latency_of(self, canary, stable, was_warm):
        began_warm, self.window_warm = self.window_warm, was_warm
        total = lambda u: sum(u["hist"].values())
        if began_warm and self.past.n >= 200:
            m = level([total(u) for u in canary], [total(u) for u in stable])
            canary_, stable_ = ([u for u in units if total(u) >= m] for units in (canary, stable))
            cdf = ref.ref_cdf(self.past.ref)
            score = lambda u, shift: ref.unit_score(
                sum(n * ref.mid_rank_score(cdf, i - shift) for i, n in u["hist"].items()) / total(u), m)
            c, s = [score(u, 1) for u in canary_], [score(u, 0) for u in stable_]
            rho, steps = len(c) / (len(c) + len(s)), []
            for fraction in ref.WILCOXON_FRACTIONS:
                bet = fraction * min(rho, 1.0 - rho)
                steps.append(sum(math.log(1.0 + bet * x / rho) for x in c) + sum(math.log(1.0 - bet * x / (1.0 - rho)) for x in s))
            self.ranks.update(steps)

            def beyond(at, shift, most):
                of = lambda u, limit: thinned(sum(n for i, n in u["hist"].items() if i > limit), total(u), m, most) / most
                return [of(u, at + shift) for u in canary_], [of(u, at) for u in stable_]

            most_of = lambda above: min(cap_of(m * above), max(m, 1))
            for q, test in zip(self.TAILS, self.tails):
                take_units(test, *beyond(ref.tail_threshold(cdf, q), 1, most_of(1.0 - q)), (1.0, 0.0))
            for (q, shift), test in zip(self.PROMOTE, self.units):
                at = ref.tail_threshold(cdf, q)
                most = most_of(self.past.above(at))
                c, s = beyond(at, shift, most)
                mean = lambda share: capped_mean(m * share, most) / most
                test.update(sum(c), sum(s), len(c), len(s), equal=(mean(self.past.above(at + shift)), mean(self.past.above(at))))
        hist = {}
        for u in stable:
            for i, n in u["hist"].items():
                hist[i] = hist.get(i, 0) + n
        self.past.learn(hist)

    def log_e(self):
        ranks = ref.logsumexp(self.ranks.log_e()) - math.log(len(ref.WILCOXON_FRACTIONS))
        against = ref.logsumexp([math.log(0.4) + ranks] + [math.log(0.3) + t.log_e() for t in self.tails])
        return {
            "errors": [self.rollback.log_e(), min(self.promote.log_e(), self.promote_requests.log_e())],
            "latency": [against, min(t.log_e() for t in self.units + self.requests)],
        }


# ---------------------------------------------------------------- requests: users' first failures, first tokens
class ByRequests:
    def __init__(self, users):
        self.users, self.known = users, set()
        self.rollback, self.promote = ref.RateRollback(1.0, 0.0005), ref.RatePromote(1.25, 0.002)
        self.promote_requests = ref.RatePromote(1.25, 0.002)
        self.against, self.pro = ref.LatencyRollback(), [ref.LatencyPromote(q, shift) for q, shift in ByEndpoints.PROMOTE]

    def first(self, users):
        fresh = [user for user in users if user not in self.known]
        self.known.update(fresh)
        return len(set(fresh))

    def take(self, block, _):
        if not block:
            return
        c, s = block["arms"]
        self.promote_requests.update(c["err"], s["err"], c["n"], s["n"])
        if self.users:
            # Whom a first failure befalls is drawn with the configured share.
            B, A, every, share = self.first(s["users"]), self.first(c["users"]), c["n"] + s["n"], block["rho"]
            counts = (A, B, every * share, every * (1.0 - share))
        else:
            counts = (c["err"], s["err"], c["n"], s["n"])
        self.rollback.update(*counts)
        self.promote.update(*counts)
        for test in [self.against] + self.pro:
            test.update(c["hist"] if block["before"] >= WARM else {}, s["hist"])

    def log_e(self):
        pro = min(self.promote.log_e(), self.promote_requests.log_e()) if self.users else self.promote.log_e()
        return {"errors": [self.rollback.log_e(), pro], "latency": [self.against.log_e(), min(t.log_e() for t in self.pro)]}


# ---------------------------------------------------------------- a recording
def judge(path):
    with open(path, newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["t_ms"]))
    start = float(rows[0]["t_ms"])
    number = lambda at: math.floor((at - start) / INTERVAL_MS)
    labels = sorted(
        ((max(float(r["label_t_ms"] or r["t_ms"]), float(r["t_ms"])), r["variant"] == "canary", r["correct"] == "0") for r in rows if r["correct"]),
        key=lambda label: label[0])
    endpoints, users = "endpoint" in rows[0], "user" in rows[0]
    tests, srm = ByEndpoints() if endpoints else ByRequests(users), ref.Srm()
    accuracy = ref.BernoulliRollback(1.0, 0.002), ref.BernoulliPromote(1.0, 0.02)
    arm = lambda: {"n": 0, "err": 0, "hist": {}, "users": []}
    open_, lab, units = [arm(), arm()], [[0, 0], [0, 0]], [{}, {}]
    shares, seen, seen_c, judged_c, i, j, ends = set(), 0, 0, 0, 0, 0, WINDOW_LOOKS
    said = "keep"
    while i < len(rows) or j < len(labels):
        now = min(number(at) for at in [float(r["t_ms"]) for r in rows[i:i + 1]] + [l[0] for l in labels[j:j + 1]])
        # What comes later closes the windows that ended before: none of the recordings has such a gap while both answer.
        assert not endpoints or i >= len(rows) or now + 1 <= ends
        while i < len(rows) and number(float(rows[i]["t_ms"])) <= now:
            row, which = rows[i], int(rows[i]["variant"] != "canary")
            for one in [open_[which]] + ([units[which].setdefault(row["endpoint"], arm())] if endpoints else []):
                one["n"] += 1
                if row["ok"] == "1":
                    bucket = ref.bucket_index(float(row.get("first_token_ms") or row["latency_ms"]))
                    one["hist"][bucket] = one["hist"].get(bucket, 0) + 1
                else:
                    one["err"] += 1
                    one["users"].append(row.get("user"))
            shares.add(float(row["split"]) / 100.0)
            seen, seen_c, i = seen + 1, seen_c + (which == 0), i + 1
        while j < len(labels) and number(labels[j][0]) <= now:
            which = int(not labels[j][1])
            lab[which] = [lab[which][0] + 1, lab[which][1] + labels[j][2]]
            j += 1
        block = window = None
        if open_[0]["n"] and open_[1]["n"]:
            block = {"arms": open_, "before": judged_c, "rho": shares.pop() if len(shares) == 1 else None}
            srm.update(open_[0]["n"], open_[1]["n"], block["rho"])
            judged_c += open_[0]["n"]
            open_, shares = [arm(), arm()], set()
        if endpoints and ends <= now + 1:
            if units[0] and units[1]:
                window = [list(of.values()) for of in units]
            units, ends = [{}, {}], now + 1 + WINDOW_LOOKS
        tests.take(block, window)
        if lab[0][0] and lab[1][0]:
            for test in accuracy:
                test.update(lab[0][1], lab[1][1], lab[0][0], lab[1][0])
            lab = [[0, 0], [0, 0]]
        signals = {**tests.log_e(), "accuracy": [test.log_e() for test in accuracy]}
        weights = {"errors": 0.4, "latency": 0.3, "accuracy": 0.3}
        together = ref.logsumexp([math.log(weights[of]) + log_e for of, (log_e, _) in signals.items()])
        held = srm.log_e() >= math.log(1000.0) and not users
        if judged_c >= SAMPLES and together >= math.log(100.0):
            said = "rollback"
        elif judged_c >= SAMPLES and not held and together < math.log(10.0) and all(pro >= math.log(20.0) for _, pro in signals.values()):
            said = "promote"
        if said != "keep":
            break
    return {"verdict": said, "at_request": seen, "at_canary": seen_c, "log_e_rollback": together, "signals": signals}


if __name__ == "__main__":
    names = ["noisy-pod", "one-user", "first-token"]
    cases = [{"name": name, **judge(f"{sys.argv[2]}/{name}.csv")} for name in names]
    about = "recordings with endpoints, users and first tokens: the verdict, when, and log e-values [against, for] then"
    again = "tests/real/judge/modes_ref.py tests/real/judge/judge_ref.py config/streams > tests/vectors/replay_modes.json"
    print(json.dumps({"description": about, "again": again, "tolerance": "abs(a-b) <= 1e-9 * max(1, abs(b))", "cases": cases}, indent=1))
