"""Formulas as data: a small closed algebra, its evaluator and its writers."""
