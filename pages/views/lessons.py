"""The Lessons page: ten ideas, each predicted and then trained for real."""

from pages.lessons import view as lessons_view
from pages.shared.session import engine, store

engine()
lessons_view.draw(store())
