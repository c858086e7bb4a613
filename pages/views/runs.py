"""The Runs page: all experiments, found again, named, thrown away and taken along."""

from pages.components import runs_view
from pages.components.session import engine, store

engine()
runs_view.draw(store())
