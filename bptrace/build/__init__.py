"""From a validated spec to the graph: layers or expressions, loss, backward pass, update."""
