"""Keras and TensorFlow files."""
