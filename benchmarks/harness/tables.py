"""The package's tables, for those who may have to print one where it cannot be imported."""

from . import alone

grid = alone.module("benchmark/tables.py").grid
