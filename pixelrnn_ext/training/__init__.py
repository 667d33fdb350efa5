"""Training, scoring and sampling of the models on real images; needs the packages of the ``train`` extra.

commands.py -> loop.py (the training) -> batches.py (what a step is trained on) -> data.py (the images) -> seeds.py;
evaluation.py, drawing.py, grid.py and checkpoint.py (``load_model``) serve both the training and the other commands.
"""
