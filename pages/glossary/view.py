"""The Glossary page: every term in alphabetical order, each with an address of its own."""

from __future__ import annotations

import streamlit as st

from kdcore.errors import ConfigError
from kdcore.glossary import TERMS, Term, find, matching
from pages.shared.session import as_text

_CSS = """<style>
.st-key-glossary_terms { max-width: 46rem; }
.st-key-glossary_terms h3 { font-size: 1.15rem; padding: 0.4rem 0 0; scroll-margin-top: 5rem; }
.st-key-glossary_terms [data-testid="stHeading"] [data-testid="stMarkdownContainer"] { margin-bottom: 0; }
.st-key-glossary_asked { background: color-mix(in srgb, var(--st-primary-color, #2563eb) 8%, transparent); }
</style>"""

# Entries above it may come later and move it: it is scrolled to for a while, or until the visitor
# does something.
_JS = """
export default function ({ data }) {
  const terms = (window.kdLabTerms ??= {});
  if (terms.wentTo === data.term) return;
  terms.wentTo = data.term;
  let left = 20;
  const going = setInterval(() => {
    document.querySelector('.st-key-glossary_asked')?.scrollIntoView({ block: 'center' });
    if (--left < 0) clearInterval(going);
  }, 100);
  for (const kind of ['wheel', 'touchstart', 'keydown', 'pointerdown']) {
    window.addEventListener(kind, () => clearInterval(going), { once: true, passive: true });
  }
}
"""

_scroll = st.components.v2.component("kd_glossary_scroll", html="<span></span>", js=_JS)


def draw() -> None:
    """Draw what the filter leaves, and what the address asks for."""
    st.html(_CSS)
    st.title("What the words mean", anchor=False)
    st.markdown(
        "Two sentences each. Where a word is underlined with dots on another page, they appear when you point at it, "
        "reach it with the Tab key, or tap it."
    )
    asked = _asked()
    text = st.text_input(
        "Find",
        key="glossary_text",
        placeholder="softmax, seed, interval …",
        icon=":material/search:",
        width=320,
        help="Shows the terms that contain every word, in their name or what is said of them.",
    )
    found = matching(text)
    st.caption(
        f"{len(TERMS)} terms" if len(found) == len(TERMS) else f"{len(found)} of {len(TERMS)} terms"
    )
    if not found:
        st.markdown("No term has these words. Try one of them alone, or a part of it.")
    with st.container(key="glossary_terms"):
        for term in found:
            _entry(term, asked=term == asked)
    if asked in found:
        _scroll(key="glossary_scroll", data={"term": asked.slug}, height=1)


def _asked() -> Term | None:
    """Return the term that the address asks for; says so where it is not explained."""
    word = st.query_params.get("term")
    if word is None:
        return None
    try:
        return find(word)
    except ConfigError as error:
        st.warning(as_text(str(error)), icon=":material/link_off:")
        return None


def _entry(term: Term, *, asked: bool) -> None:
    with st.container(border=asked, key="glossary_asked" if asked else None, gap="xxsmall"):
        st.subheader(term.title, anchor=term.slug)
        if term.also:
            st.caption(f"also: {as_text(', '.join(term.also))}")
        st.markdown(as_text(term.says))
        if term.equation:
            st.markdown(f"${term.equation}$")
