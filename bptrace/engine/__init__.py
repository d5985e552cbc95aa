"""Numbers for a graph: generated Python for hand-sized networks, NumPy for others, exact or as on paper."""
