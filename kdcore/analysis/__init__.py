"""What can be said of trained models, from what the store holds: NumPy, no Keras."""
