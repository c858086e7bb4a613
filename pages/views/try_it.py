"""The Try it page: draw a digit or drop a picture, and ask teacher, student and baseline at once."""

from pages.components import try_it
from pages.components.session import store

try_it.draw(store())
