"""Kinds of data: how raw examples become what a model sees, and how an example is shown."""
