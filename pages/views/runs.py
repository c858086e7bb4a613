"""The Runs page: all experiments: find, name, delete and take away."""

from pages.runs import view as runs_view
from pages.shared.session import engine, store

engine()
runs_view.draw(store())
