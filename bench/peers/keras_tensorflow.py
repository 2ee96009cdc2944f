"""Keras' Adagrad over TensorFlow on the CPU. Protocol: common.py.

Variants: eager (keras.optimizers.Adagrad called eagerly), function (the same inside tf.function), kernel
(TensorFlow's own ResourceApplyAdagradV2 and ResourceSparseApplyAdagradV2, which Keras no longer calls).
This file is not called keras.py, since Python would then import it in place of Keras.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import common  # noqa: E402

import keras  # noqa: E402


def uniform(*shape):
    return np.random.default_rng(1).random(shape, dtype=np.float32) - np.float32(0.5)


def adagrad(case):
    return keras.optimizers.Adagrad(
        learning_rate=common.LEARNING_RATE,
        initial_accumulator_value=common.INITIAL_ACCUMULATOR,
        epsilon=common.EPSILON,
        use_ema=case == "ema",
        ema_momentum=common.EMA_MOMENTUM,
        global_clipnorm=common.GLOBAL_CLIPNORM if case == "clip" else None,
    )


class Keras:
    """Dense or sparse, through the public optimizer."""

    def __init__(self, request):
        self.sparse = request["case"] == "sparse"
        self.case = request["case"]
        if self.sparse:
            rows, dim = request["rows"], request["dim"]
            self.indices = common.read_indices(request["indexFile"])
            self.values = uniform(len(self.indices), dim)
            self.variables = [keras.Variable(uniform(rows, dim), trainable=True)]
            self.gradients = [
                tf.IndexedSlices(tf.constant(self.values), tf.constant(self.indices), tf.constant([rows, dim]))
            ]
        else:
            count = request.get("variables", 1)
            start, gradient = uniform(request["elements"]), uniform(request["elements"])[::-1].copy()
            self.variables = [keras.Variable(start, trainable=True) for _ in range(count)]
            self.gradients = [tf.constant(gradient) for _ in range(count)]
        self.optimizer = adagrad(request["case"])
        self.optimizer.build(self.variables)
        pairs = list(zip(self.gradients, self.variables))
        if request["variant"] == "function":
            compiled = tf.function(lambda: self.optimizer.apply_gradients(pairs), jit_compile=False)
            self.step = lambda: (compiled(), self.update_averages())
        else:
            self.step = lambda: (self.optimizer.apply_gradients(pairs), self.update_averages())

    def update_averages(self):
        """Keras 3 averages inside apply(); nothing is left to do."""

    def check(self):
        if self.case in ("clip", "ema"):
            self.step()
            return None
        variable, accumulator = self.variables[-1].value, self.optimizer._accumulators[-1].value
        if self.sparse:
            at = np.unique(self.indices[common.sample_positions(len(self.indices), 32)])
            gradient = np.stack([self.values[self.indices == row].sum(axis=0) for row in at])
            squares = np.stack([(self.values[self.indices == row] ** 2).sum(axis=0) for row in at])
        else:
            at = common.sample_positions(int(variable.shape[0]))
            gradient = self.gradients[-1].numpy()[at]
            squares = gradient * gradient
        read = lambda tensor: tf.gather(tensor, at).numpy()  # noqa: E731
        before, sums = read(variable), read(accumulator)
        self.step()
        after = read(variable)
        epsilon = np.float32(common.EPSILON)
        rate = np.float32(common.LEARNING_RATE)
        per_slice = before - rate * gradient / np.sqrt(sums + squares + epsilon)
        # Keras versions differ in whether duplicates are merged before they are squared: either is right.
        merged = before - rate * gradient / np.sqrt(sums + gradient * gradient + epsilon)
        wrong = common.close("weights", after, per_slice)
        return wrong if common.close("weights", after, merged) else None


class Kernel:
    """TensorFlow's fused kernels, called directly inside tf.function."""

    def __init__(self, request):
        self.sparse = request["case"] == "sparse"
        if request["case"] not in ("dense", "sparse", "many"):
            raise ValueError("TensorFlow has no kernel for this case")
        scalars = dict(lr=common.LEARNING_RATE, epsilon=common.EPSILON, update_slots=True)
        if self.sparse:
            shape = (request["rows"], request["dim"])
            self.indices = common.read_indices(request["indexFile"])
            self.values = uniform(len(self.indices), shape[1])
            count = 1
        else:
            shape = (request["elements"],)
            self.values = uniform(*shape)[::-1].copy()
            count = request.get("variables", 1)
        self.weights = [tf.Variable(uniform(*shape)) for _ in range(count)]
        self.sums = [tf.Variable(tf.fill(shape, common.INITIAL_ACCUMULATOR)) for _ in range(count)]
        gradients = [tf.constant(self.values) for _ in range(count)]
        indices = tf.constant(self.indices) if self.sparse else None

        def apply():
            for weight, total, gradient in zip(self.weights, self.sums, gradients):
                if self.sparse:
                    # The kernel applies every slice on its own; Keras sums duplicates before it calls it.
                    tf.raw_ops.ResourceSparseApplyAdagradV2(
                        var=weight.handle, accum=total.handle, grad=gradient, indices=indices, **scalars
                    )
                else:
                    tf.raw_ops.ResourceApplyAdagradV2(
                        var=weight.handle, accum=total.handle, grad=gradient, **scalars
                    )

        self.step = tf.function(apply, jit_compile=False)

    def check(self):
        weight, total = self.weights[-1], self.sums[-1]
        if self.sparse:
            rows, counts = np.unique(self.indices, return_counts=True)
            at = rows[counts == 1][:32]
            gradient = np.stack([self.values[self.indices == row][0] for row in at])
        else:
            at = common.sample_positions(int(weight.shape[0]))
            gradient = self.values[at]
        read = lambda tensor: tf.gather(tensor, at).numpy()  # noqa: E731
        before, sums = read(weight), read(total)
        self.step()
        expected = common.expected_step(before, sums, gradient, epsilon_inside=False)
        return common.close("weights", read(weight), expected)


def build(request):
    return Kernel(request) if request["variant"] == "kernel" else Keras(request)


if __name__ == "__main__":
    threads = common.threads_argument()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    common.serve("Keras", f"{keras.__version__} (TensorFlow {tf.__version__})", threads, build)
