"""Predicts from machine code the cycles that a kernel needs for a line (row or anti-diagonal)."""
