"""The Compare page: two to six models side by side. Its state is in the address."""

from pages.compare import view as compare_view
from pages.shared.session import engine, store

engine()
compare_view.draw(store())
