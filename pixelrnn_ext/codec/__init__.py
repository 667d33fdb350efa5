"""Images to bytes and back, without loss, by a model's probabilities.

container.py is the file.
"""
