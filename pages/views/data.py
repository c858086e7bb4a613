"""The Data page: add data of your own.

``?job=<id>`` shows a check or what was stored, ``?dataset=<name@digest>`` a dataset.
"""

from pages.data import view as data_view
from pages.shared.session import engine, store

engine()
data_view.draw(store())
