"""The Temperature page: what T does to a trained teacher's answers. Its state is in the address."""

from pages.components import temperature_view
from pages.components.session import engine, store

engine()
temperature_view.draw(store())
