"""The Compare page: two to six models side by side. Its state is in the address."""

from pages.components import compare_view
from pages.components.session import engine, store

engine()
compare_view.draw(store())
