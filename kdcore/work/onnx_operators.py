"""TensorFlow operations that tf2onnx does not know, as it wants to be told of them.

Importing the module is enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx import utils
from tf2onnx.handler import tf_op


@tf_op("Erfc")
class Erfc:
    """``erfc(x) = 1 - erf(x)``, which GELU is made of."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_given: Any) -> None:
        """Put the two operations that ONNX has in place of the one that it has not."""
        shapes, dtypes = node.output_shapes, node.output_dtypes
        kind = utils.map_onnx_to_numpy_type(ctx.get_dtype(node.input[0]))
        ctx.remove_node(node.name)
        one = ctx.make_const(utils.make_name(node.name), np.array(1, kind))
        erf = ctx.make_node("Erf", [node.input[0]], shapes=shapes, dtypes=dtypes)
        ctx.make_node(
            "Sub",
            [one.output[0], erf.output[0]],
            outputs=node.output,
            name=node.name,
            shapes=shapes,
            dtypes=dtypes,
        )
