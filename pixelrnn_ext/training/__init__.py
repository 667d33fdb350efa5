"""Training, scoring and sampling of the models on real images; needs the packages of the ``train`` extra.

The commands of cli/ -> loop.py (the training) -> batches.py (what a step is trained on) -> data.py (the images) ->
seeds.py, and loop.py -> gallery.py (the pictures that it leaves) -> output.py (where it writes: the lock, what is
there) -> journal.py, tensorboard.py, curve.py, checkpoint.py -> files.py; settings.py says how to train; evaluation.py,
drawing.py, grid.py and checkpoint.py (``load_model``) serve both the training and the other commands, animation.py and
gif.py those that draw, summary.py the one that says what a training did; progress.py has the bars.
"""
