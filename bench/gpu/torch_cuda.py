"""PyTorch's Adagrad on a CUDA device. Reads one JSON request a line, answers one JSON line; times by CUDA events.

A request: {"case": "dense" | "ema" | "clip" | "many", "variant": "fused" | "foreach", "elements": n, "variables": n,
"samples": n}; or {"case": "sparse", "rows": n, "dim": n, "indices": [...], "samples": n}: an uncoalesced sparse gradient,
which the optimizer coalesces at every step. The answer: {"samples": [ns a step, ...]} or {"error": "..."}. The first line tells what runs.
"""

import json
import sys
import time


def answer(what):
    print(json.dumps(what), flush=True)


try:
    import torch
except ImportError as error:
    answer({"error": f"no torch: {error}"})
    sys.exit(0)

# "cpu" only to try this script where there is no device.
device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
if device == "cuda" and not torch.cuda.is_available():
    answer({"error": f"torch {torch.__version__} sees no CUDA device"})
    sys.exit(0)

MOMENTUM = 0.99


def sparse(request):
    rows, dim = request["rows"], request["dim"]
    indices = torch.tensor([request["indices"]], device=device)
    table = torch.full((rows, dim), 0.5, device=device, requires_grad=True)
    values = torch.full((indices.shape[1], dim), 0.01, device=device)
    table.grad = torch.sparse_coo_tensor(indices, values, (rows, dim))
    return torch.optim.Adagrad([table], lr=0.01, initial_accumulator_value=0.1, eps=1e-7).step


def build(request):
    if request["case"] == "sparse":
        return sparse(request)
    count = request.get("variables", 1)
    parameters = [torch.full((request["elements"],), 0.5, device=device, requires_grad=True) for _ in range(count)]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.01)
    variant = request["variant"]
    optimizer = torch.optim.Adagrad(
        parameters,
        lr=0.01,
        initial_accumulator_value=0.1,
        eps=1e-7,
        fused=True if variant == "fused" else None,
        foreach=True if variant == "foreach" else None,
    )
    averages = [parameter.detach().clone() for parameter in parameters] if request["case"] == "ema" else None
    details = [parameter.detach() for parameter in parameters]

    def step():
        if request["case"] == "clip":
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        if averages is not None:
            torch._foreach_lerp_(averages, details, 1 - MOMENTUM)

    return step


def timed(step, steps):
    """Nanoseconds a step."""
    if device == "cpu":
        begin = time.perf_counter_ns()
        for _ in range(steps):
            step()
        return (time.perf_counter_ns() - begin) / steps
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(steps):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e6 / steps


name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
answer({"version": f"PyTorch {torch.__version__} on {name}"})
for line in sys.stdin:
    request = json.loads(line)
    try:
        step = build(request)
        for _ in range(3):
            step()
        steps = max(1, min(200, int(2e6 / max(timed(step, 1), 5000))))
        answer({"samples": [timed(step, steps) for _ in range(request["samples"])]})
        del step
        if device == "cuda":
            torch.cuda.empty_cache()
    except Exception as error:  # noqa: BLE001: a variant that this version lacks is an answer, too
        answer({"error": str(error).split("\n")[0]})
