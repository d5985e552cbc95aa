"""Studies of traces: what the gradient meets on its way, and how several runs differ. Numbers only, no pages."""
