"""Trains, scores and samples the models on real images. Needs the packages of the ``train`` extra.

A training reads images (data.py, folder.py; stored_data.py when it resumes), picks the images of each step (batches.py)
and runs the steps (loop.py, settings.py, optimiser.py, evaluation.py). It writes checkpoints (checkpoint.py), a log
(journal.py) and pictures (gallery.py) to a folder that it locks (output.py). Other commands load a model from a
checkpoint, and draw images (drawing.py, grid.py, animation.py).
"""
