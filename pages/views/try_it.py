"""The Try it page: draw a digit or drop a picture, and ask teacher, student and baseline at
once.
"""

from pages.shared.session import store
from pages.try_it import view as try_it

try_it.draw(store())
