"""The Runs page: all experiments, found again, named, thrown away and taken along."""

from pages.runs import view as runs_view
from pages.shared.session import engine, store

engine()
runs_view.draw(store())
