"""One static graph for the forward pass, the backward pass and the update."""
