"""PyTorch's torch.optim.Adagrad on the CPU. Variants: fused, foreach, sparse, ema, gather. Protocol: common.py."""

import numpy as np
import torch

import common

torch.manual_seed(1)


def adagrad(parameters, variant):
    return torch.optim.Adagrad(
        parameters,
        lr=common.LEARNING_RATE,
        initial_accumulator_value=common.INITIAL_ACCUMULATOR,
        eps=common.EPSILON,
        fused=True if variant == "fused" else None,
        foreach=True if variant == "foreach" else None,
    )


class Dense:
    """`variables` parameters of `elements` each, with EMA or a global clip norm where the case says so."""

    def __init__(self, request):
        count = request.get("variables", 1)
        self.parameters = [torch.nn.Parameter(torch.rand(request["elements"]) - 0.5) for _ in range(count)]
        for parameter in self.parameters:
            parameter.grad = torch.rand_like(parameter) - 0.5
        self.optimizer = adagrad(self.parameters, request["variant"])
        self.clip = request["case"] == "clip"
        self.averages = None
        if request["case"] == "ema":
            # What torch.optim.swa_utils.get_ema_multi_avg_fn runs, without AveragedModel around it.
            self.averages = [parameter.detach().clone() for parameter in self.parameters]
            self.details = [parameter.detach() for parameter in self.parameters]

    def step(self):
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, common.GLOBAL_CLIPNORM, foreach=True)
        self.optimizer.step()
        if self.averages is not None:
            torch._foreach_lerp_(self.averages, self.details, 1 - common.EMA_MOMENTUM)

    def check(self):
        parameter = self.parameters[-1]
        at = common.sample_positions(parameter.numel())
        read = lambda tensor: tensor.detach().numpy()[at].copy()  # noqa: E731
        if self.clip:
            # Clip once before: the gradients then have the bound's norm, and the next clip keeps them.
            torch.nn.utils.clip_grad_norm_(self.parameters, common.GLOBAL_CLIPNORM, foreach=True)
        before = read(parameter)
        accumulator = read(self.optimizer.state[parameter]["sum"])
        gradient = read(parameter.grad)
        average = read(self.averages[-1]) if self.averages is not None else None
        self.step()
        expected = common.expected_step(before, accumulator, gradient, epsilon_inside=False)
        wrong = common.close("weights", read(parameter), expected)
        if wrong is None and average is not None:
            m = np.float32(common.EMA_MOMENTUM)
            wrong = common.close("average", read(self.averages[-1]), m * average + (1 - m) * expected)
        return wrong


class Sparse:
    """A table with an uncoalesced COO gradient, as nn.Embedding(sparse=True) leaves it."""

    def __init__(self, request):
        rows, dim = request["rows"], request["dim"]
        self.indices = common.read_indices(request["indexFile"]).astype(np.int64)
        self.values = torch.rand(len(self.indices), dim) - 0.5
        self.table = torch.nn.Parameter(torch.rand(rows, dim) - 0.5)
        self.table.grad = torch.sparse_coo_tensor(
            torch.from_numpy(self.indices).unsqueeze(0), self.values, (rows, dim), is_coalesced=False
        )
        self.optimizer = adagrad([self.table], "sparse")

    def step(self):
        self.optimizer.step()

    def check(self):
        picked = np.unique(self.indices[common.sample_positions(len(self.indices), 32)])
        values = self.values.numpy()
        gradient = np.stack([values[self.indices == row].sum(axis=0) for row in picked])
        read = lambda tensor: tensor.detach().numpy()[picked].copy()  # noqa: E731
        before, accumulator = read(self.table), read(self.optimizer.state[self.table]["sum"])
        self.step()
        expected = common.expected_step(before, accumulator, gradient, epsilon_inside=False)
        return common.close("rows", read(self.table), expected)


class Lists:
    """Row lists and blocks of gradients, one after the other, as bench/lib/lists.mjs made them."""

    def __init__(self, request):
        self.dim, self.count = request["dim"], request["lists"]
        rows = common.read_indices(request["indexFile"]).astype(np.int64).reshape(self.count, request["slices"])
        self.rows = list(torch.from_numpy(rows))
        self.blocks = [torch.rand(request["slices"], self.dim) - 0.5 for _ in range(request["blocks"])]
        self.at = 0

    def next(self):
        self.at = (self.at + 1) % self.count
        return self.at

    def block(self, at):
        return self.blocks[at % len(self.blocks)]


class Table:
    """Sparse steps that name other rows each time; "ema" also moves the average of the whole table."""

    def __init__(self, request):
        shape = (request["rows"], request["dim"])
        self.lists = Lists(request)
        self.table = torch.nn.Parameter(torch.rand(shape) - 0.5)
        self.gradients = [
            torch.sparse_coo_tensor(rows.unsqueeze(0), self.lists.block(at), shape, is_coalesced=False)
            for at, rows in enumerate(self.lists.rows)
        ]
        self.optimizer = adagrad([self.table], "sparse")
        self.weights = self.table.detach()
        self.average = self.weights.clone() if request["variant"] == "ema" else None

    def step(self):
        self.table.grad = self.gradients[self.lists.next()]
        self.optimizer.step()
        if self.average is not None:
            self.average.lerp_(self.weights, 1 - common.EMA_MOMENTUM)

    def check(self):
        at = (self.lists.at + 1) % self.lists.count
        rows, values = self.lists.rows[at].numpy(), self.lists.block(at).numpy()
        picked = np.unique(rows[common.sample_positions(len(rows), 32)])
        gradient = np.stack([values[rows == row].sum(axis=0) for row in picked])
        read = lambda tensor: tensor.detach().numpy()[picked].copy()  # noqa: E731
        before, accumulator = read(self.table), read(self.optimizer.state[self.table]["sum"])
        average = read(self.average) if self.average is not None else None
        self.step()
        expected = common.expected_step(before, accumulator, gradient, epsilon_inside=False)
        wrong = common.close("rows", read(self.table), expected)
        if wrong is None and average is not None:
            m = np.float32(common.EMA_MOMENTUM)
            wrong = common.close("average", read(self.average), m * average + (1 - m) * expected)
        return wrong


class Gather:
    """A yardstick, not an update: rows of a table copied into one block after the other by index_select."""

    def __init__(self, request):
        self.lists = Lists(request)
        self.table = torch.rand(request["rows"], request["dim"])

    def step(self):
        at = self.lists.next()
        torch.index_select(self.table, 0, self.lists.rows[at], out=self.lists.block(at))

    def check(self):
        self.step()
        at = self.lists.at
        return common.close("rows", self.lists.block(at).numpy(), self.table.numpy()[self.lists.rows[at].numpy()])


def build(request):
    if request["case"] == "table":
        return Gather(request) if request["variant"] == "gather" else Table(request)
    return Sparse(request) if request["case"] == "sparse" else Dense(request)


if __name__ == "__main__":
    threads = common.threads_argument()
    torch.set_num_threads(threads)
    version = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"
    common.serve("PyTorch", version, threads, build)
