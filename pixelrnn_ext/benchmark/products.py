from typing import NamedTuple

# How often each mode multiplies. The backward pass computes the gradients of the inputs, and of the weights.
_PASSES = {"forward": 1, "backward": 2, "forward+backward": 3}


class Products(NamedTuple):
    """The matrix products of a layer or recurrence, (cells, inputs) by (inputs, outputs) in each direction.

    ``inputs`` counts the values that a cell multiplies by weights: the hidden states of its neighbours, also of those
    outside the image, and its input channels if the layer computes the input-to-state product.
    """

    cells: int
    inputs: int
    outputs: int
    directions: int = 1

    def multiply_adds(self, mode: str) -> int:
        """Counts the multiply-adds of the products. The equations of the cell do not count."""
        return _PASSES[mode] * self.directions * self.cells * self.inputs * self.outputs
