"""The Alpha page: true labels against the teacher. Its state is in the address."""

from pages.alpha import view as alpha_view
from pages.shared.session import engine, store

engine()
alpha_view.draw(store())
