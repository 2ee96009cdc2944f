"""The protocol and the timing loop that both Python peers share.

A peer is a process that reads one JSON request a line from stdin and answers each with one JSON line on
stdout. `main.mjs` sends the requests; by hand:

    echo '{"case": "dense", "variant": "fused", "elements": 4194304}' | python pytorch.py --threads 2

A case is an object with `step()` and `check()`; the last one is kept, so that a second request for it goes
on where the first one stopped.
"""

import argparse
import gc
import json
import sys
import time

import numpy as np

# The same numbers as bench/lib/hyper.mjs.
LEARNING_RATE = 0.01
INITIAL_ACCUMULATOR = 0.1
EPSILON = 1e-7
EMA_MOMENTUM = 0.99
GLOBAL_CLIPNORM = 1.0

SAMPLE_NS = 2_000_000  # one sample lasts about this long: short steps are timed in batches


def threads_argument():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args().threads


def read_indices(path):
    """Row indices as bench/lib/indices.mjs wrote them: little-endian int32, without a header."""
    return np.fromfile(path, dtype="<i4")


def sample_positions(length, count=512):
    """Positions of the elements that are checked: the ends and an even spread between them."""
    return np.unique(np.linspace(0, length - 1, min(length, count)).astype(np.int64))


def expected_step(weight, accumulator, gradient, epsilon_inside):
    """One dense Adagrad step in float32, with epsilon where the framework has it."""
    rate, epsilon = np.float32(LEARNING_RATE), np.float32(EPSILON)
    accumulator = accumulator + gradient * gradient
    root = np.sqrt(accumulator + epsilon) if epsilon_inside else np.sqrt(accumulator) + epsilon
    return weight - rate * gradient / root


def close(name, got, expected):
    """None, or what is wrong."""
    if np.allclose(got, expected, rtol=1e-5, atol=1e-6):
        return None
    return f"{name}: result differs from the reference by {np.abs(got - expected).max()}"


def measure(step, seconds, least=5):
    """Durations of one step in ns: warm-up, then samples until the time is over."""
    begin = time.perf_counter_ns()
    step()
    once = time.perf_counter_ns() - begin
    warm_until = time.perf_counter_ns() + int(seconds * 0.15e9)
    while time.perf_counter_ns() < warm_until:
        begin = time.perf_counter_ns()
        step()
        once = min(once, time.perf_counter_ns() - begin)
    batch = max(1, SAMPLE_NS // max(once, 1))
    samples = []
    until = time.perf_counter_ns() + int(seconds * 1e9)
    while len(samples) < least or time.perf_counter_ns() < until:
        begin = time.perf_counter_ns()
        for _ in range(batch):
            step()
        samples.append((time.perf_counter_ns() - begin) / batch)
        if len(samples) >= 2 and time.perf_counter_ns() > until + int(seconds * 2e9):
            break  # a very slow step: two samples have to do
    return samples


def reply(record):
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def serve(peer, version, threads, build):
    """Answers requests until stdin ends. `build(request)` gives a case or raises."""
    reply({"ready": True, "peer": peer, "version": version, "threads": threads})
    key, case = None, None
    for line in sys.stdin:
        if not line.strip():
            continue
        request = json.loads(line)
        seconds = request.pop("seconds", 0.5)
        try:
            if request.get("case") == "drop":
                key, case = None, None
                gc.collect()
                reply({"dropped": True})
                continue
            if request != key:
                key, case = None, None
                gc.collect()
                case = build(request)
                wrong = case.check()
                if wrong:
                    raise ArithmeticError(wrong)
                key = request
            gc.collect()
            gc.disable()
            samples = measure(case.step, seconds)
            gc.enable()
            p10, median, p90 = np.percentile(samples, [10, 50, 90])
            units = request.get("slices") or request["elements"] * request.get("variables", 1)
            reply(
                {
                    "peer": f"{peer} {request['variant']}",
                    "version": version,
                    "case": request["case"],
                    "threads": threads,
                    "unit": "slice" if request.get("slices") else "element",
                    "nsPerUnit": median / units,
                    "usPerStep": median / 1e3,
                    "p10": p10 / 1e3,
                    "p90": p90 / 1e3,
                    "samples": samples,
                }
            )
        except Exception as error:  # the benchmark goes on with the other cases
            key, case = None, None
            reply({"error": f"{type(error).__name__}: {error}"[:500]})
