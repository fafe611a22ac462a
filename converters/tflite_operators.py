"""Plain TensorFlow forms of the ONNX operators whose layout onnx2tf would guess; only for its environment.

onnx2tf turns NCHW into NHWC as it goes. For operators that broadcast, reduce, reshape or slice it compares shapes to
find out which layout an operand has, and guesses wrong where a channel count equals a height, as in LPN's first stage.
The graphs of :mod:`converters.tflite_graph` leave nothing to guess: every map is 4-D NCHW, every other operand a
constant. Convolutions, activations, pooling, padding, resizing and concatenation stay onnx2tf's own.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import onnx_graphsurgeon
import tensorflow as tf

NHWC = (0, 3, 1, 2)
"""Where the axes of NCHW go."""

Operator = Callable[..., Any]
"""Takes the ONNX node and its operands: NHWC tensors and NumPy constants."""


def install() -> None:
    """Have onnx2tf use the operators below in place of its own."""
    for name, operator in OPERATORS.items():
        import_module(f"onnx2tf.ops.{name}").make_node = _node_maker(operator)  # type: ignore[attr-defined]


def _node_maker(operator: Operator) -> Callable[..., None]:
    """What onnx2tf calls for a node: computes its output and enters it into the table of tensors."""

    def make_node(*, graph_node: Any, tf_layers_dict: dict[str, dict[str, Any]], **_: Any) -> None:
        output = graph_node.outputs[0]
        operands = [_operand(variable, tf_layers_dict) for variable in graph_node.inputs]
        tf_layers_dict[output.name] = {
            "optype": graph_node.op,
            "shape": output.shape,
            "dtype": output.dtype,
            "nhwc": True,
            "tf_node": operator(graph_node, *operands),
        }

    return make_node


def _operand(variable: Any, tensors: dict[str, dict[str, Any]]) -> Any:
    """An input of a node: a tensor, or a constant, which if it is a map is turned to NHWC."""
    if isinstance(variable, onnx_graphsurgeon.Constant):
        constant = variable.values
    elif variable.inputs and variable.inputs[0].op == "Constant":
        constant = variable.inputs[0].attrs["value"].values
    else:
        return tensors[variable.name]["tf_node"]
    return constant.transpose(0, 2, 3, 1) if constant.ndim == 4 else constant


def _binary(function: Callable[[Any, Any], Any]) -> Operator:
    return lambda _, left, right: function(left, right)


def _reduction(function: Callable[..., Any]) -> Operator:
    def reduce(node: Any, x: Any, axes: Any = None) -> Any:
        axes = node.attrs["axes"] if axes is None else axes
        return function(x, [NHWC[axis] for axis in axes], keepdims=True)

    return reduce


def _reshape(node: Any, x: Any, _: Any) -> Any:
    """Right where the pixels or the channels are one, in the input as in the output."""
    count, channels, height, width = node.outputs[0].shape
    return tf.reshape(x, [count, height, width, channels])


def _softmax(node: Any, x: Any) -> Any:
    assert node.attrs["axis"] == 1, "only a softmax over the channels is used"
    return tf.nn.softmax(x, axis=-1)


def _l2_normalized(_: Any, x: Any) -> Any:
    return x * tf.math.rsqrt(tf.reduce_sum(tf.square(x), axis=-1, keepdims=True))


def _slice(_: Any, x: Any, starts: Any, stops: Any, axes: Any, steps: Any = (1,)) -> Any:
    assert set(map(int, steps)) == {1}, "nothing is skipped"
    index = [slice(None)] * 4
    for start, stop, axis in zip(starts, stops, axes):
        index[NHWC[axis]] = slice(int(start), int(stop))
    return x[tuple(index)]


OPERATORS: dict[str, Operator] = {
    "Add": _binary(tf.add),
    "Sub": _binary(tf.subtract),
    "Mul": _binary(tf.multiply),
    "ReduceMean": _reduction(tf.reduce_mean),
    "ReduceSum": _reduction(tf.reduce_sum),
    "Reshape": _reshape,
    "Softmax": _softmax,
    "LpNormalization": _l2_normalized,
    "Slice": _slice,
}
