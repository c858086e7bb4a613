"""The distiller, the training loop, its callbacks, and what is measured of a trained model."""
