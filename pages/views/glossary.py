"""The Glossary page: what the words mean."""

from pages.glossary import view as glossary_view

glossary_view.draw()
