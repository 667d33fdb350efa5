"""How fast the kernels are here: cases and their providers, how these are checked and timed, and the short table.

``python -m pixelrnn_ext bench`` runs the cases of diagonal.py; in a checkout, benchmarks/ has more of them, and what is
required. Needs torch alone.
"""
