"""The Temperature page: what T does to a trained teacher's answers. Its state is in the address."""

from pages.shared.session import engine, store
from pages.temperature import view as temperature_view

engine()
temperature_view.draw(store())
