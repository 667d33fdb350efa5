"""Training, scoring and sampling of the models on real images; needs the packages of the ``train`` extra."""
