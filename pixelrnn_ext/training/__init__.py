"""Trains, scores and samples the models on real images. Needs the packages of the ``train`` extra."""
