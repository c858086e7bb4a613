"""Terms where they stand: underlined with dots, and explained to the pointer and the keyboard.

What is marked in a text, as ``[[softmax]]`` or ``[[softened answers|soft target]]``, becomes a link
to its entry on the Glossary page. Its two sentences are the link's title, which screen readers say,
and which :func:`explain_terms` shows in its place.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdcore.glossary import Term, replace_marks

ADDRESS = "glossary?term="

_CSS = """
[data-testid="stLayoutWrapper"]:has(> .st-key-terms), .st-key-terms { position: absolute; height: 0; }
body a[href][href^="glossary?term="] {
  color: inherit; text-decoration: underline dotted; text-decoration-color: color-mix(in srgb, currentColor 65%, transparent);
  text-decoration-thickness: 1.5px; text-underline-offset: 0.2em; cursor: help;
}
body a[href][href^="glossary?term="]:hover { text-decoration-color: currentColor; }
body a[href][href^="glossary?term="]:focus-visible {
  outline: 2px solid var(--st-primary-color); outline-offset: 2px; border-radius: 0.2rem;
}
.kd-term { position: fixed; inset: auto; margin: 0; padding: 0.6rem 0.8rem; box-sizing: border-box;
  width: max-content; max-width: min(24rem, calc(100vw - 1rem)); max-height: calc(100vh - 1rem); overflow: auto;
  color: var(--st-text-color); background: var(--st-background-color); border: 1px solid color-mix(in srgb, var(--st-text-color) 35%, transparent);
  border-radius: var(--st-base-radius); box-shadow: 0 4px 16px rgb(0 0 0 / 25%);
  font: 400 0.875rem/1.5 var(--st-font); text-align: left; white-space: normal;
}
.kd-term strong { display: block; font-weight: 600; }
.kd-term small { display: block; margin-top: 0.3rem; font-size: 0.75rem; opacity: 0.8; }
.kd-term .touched, .kd-term.touch .pressed { display: none; }
.kd-term.touch .touched { display: inline; }
"""

_HTML = """
<div class="kd-term" id="kd-term" role="tooltip" popover="manual">
  <strong></strong><span></span>
  <small aria-hidden="true"><span class="pressed">Click or Enter</span><span class="touched">Tap again</span>: the glossary</small>
</div>
"""

# Links are looked at when they are pointed at, whenever Streamlit has drawn them. While a term is
# shown, its link has no title: browsers would show that as well.
_JS = r"""
const terms = (window.kdLabTerms ??= {});
const MILLISECONDS_TO_REACH_IT = 200;

const termAt = (target) => target?.closest?.('a[href^="glossary?term="]');

function place() {
  const { tip, link } = terms;
  if (!link) return;
  if (!link.isConnected || !tip.isConnected) { hide(); return; }
  const lines = [...link.getClientRects()];
  const line = lines.find(({ top, bottom }) => terms.y >= top && terms.y <= bottom) ?? lines[0];
  if (!line || line.bottom < 0 || line.top > window.innerHeight) { hide(); return; }
  const { width, height } = tip.getBoundingClientRect();
  const right = document.documentElement.clientWidth - width - 8;
  const below = line.bottom + 6 + height <= window.innerHeight || line.top < height + 6;
  tip.style.left = `${Math.max(8, Math.min(line.left, right))}px`;
  tip.style.top = `${Math.max(8, below ? Math.min(line.bottom + 6, window.innerHeight - height - 8) : line.top - height - 6)}px`;
  requestAnimationFrame(place);
}

function show(link, y) {
  clearTimeout(terms.leaving);
  if (terms.link === link) return;
  hide();
  const { tip } = terms;
  if (!tip?.isConnected || !link.title) return;
  const [name, ...says] = link.title.split(': ');
  tip.querySelector('strong').textContent = name;
  tip.querySelector('strong + span').textContent = says.join(': ');
  tip.classList.toggle('touch', Boolean(terms.touch));
  Object.assign(terms, { link, y, title: link.title });
  link.removeAttribute('title');
  link.setAttribute('aria-describedby', 'kd-term');
  tip.showPopover();
  place();
}

function hide() {
  clearTimeout(terms.leaving);
  const { link, tip, title } = terms;
  terms.link = undefined;
  if (!link) return;
  if (!link.title) link.title = title;
  link.removeAttribute('aria-describedby');
  if (tip.isConnected) tip.hidePopover();
}

function leave() {
  clearTimeout(terms.leaving);
  terms.leaving = setTimeout(hide, MILLISECONDS_TO_REACH_IT);
}

function listen() {
  document.addEventListener('pointerover', ({ target, clientY, pointerType }) => {
    if (pointerType === 'touch') return;
    const link = termAt(target);
    if (link) { terms.touch = false; show(link, clientY); }
    else if (terms.tip?.contains(target)) clearTimeout(terms.leaving);
    else if (terms.link && terms.link !== document.activeElement) leave();
  });
  document.documentElement.addEventListener('pointerleave', () => { if (terms.link !== document.activeElement) hide(); });
  document.addEventListener('focusin', ({ target }) => {
    const link = termAt(target);
    if (link?.matches(':focus-visible')) { terms.touch = false; show(link); }
    else if (!link && terms.link) hide();
  });
  document.addEventListener('focusout', ({ target }) => { if (target === terms.link) hide(); });
  document.addEventListener('pointerdown', ({ target, pointerType }) => {
    terms.touch = pointerType === 'touch';
    terms.wasShown = terms.link;
    if (!termAt(target) && !terms.tip?.contains(target)) hide();
  });
  // A finger cannot hover: the first tap explains, the next one goes to the glossary.
  document.addEventListener('click', (event) => {
    const link = termAt(event.target);
    if (!link || !terms.touch || terms.wasShown === link) return;
    event.preventDefault();
    show(link, event.clientY);
  }, true);
  document.addEventListener('keydown', ({ key }) => { if (key === 'Escape') hide(); }, true);
}

export default function ({ parentElement }) {
  if (!terms.listening) listen();
  terms.listening = true;
  const tip = parentElement.querySelector('.kd-term');
  if (tip === terms.tip) return;
  terms.tip = tip;
  // A pointer that came to rest on a term before this was drawn does not come over it once more.
  const link = document.querySelector('a[href^="glossary?term="]:hover');
  if (link && !terms.touch) show(link);
}
"""

_component = st.components.v2.component(
    "kd_terms", html=_HTML, css=_CSS, js=_JS, isolate_styles=False
)


def explain_terms() -> None:
    """Explain every marked term of the page that is pointed at or has the focus; to be called once
    a page.
    """
    _component(key="terms", height=1)


def with_terms(text: str) -> str:
    """Return Markdown with its marked terms as links: for captions, help and boxes.

    What comes from a visitor must be escaped in it, with :func:`pages.shared.session.as_text`.
    Raises ConfigError for a marked term that is not in the glossary.
    """
    return replace_marks(text, _link)


def prose(text: str, **options: Any) -> None:
    """Draw Markdown with its marked terms explained; ``options`` are those of ``st.markdown``."""
    st.markdown(with_terms(text), **options)


def _link(words: str, term: Term) -> str:
    title = f"{term.title}: {term.says}".replace("\\", "\\\\").replace('"', '\\"')
    return f'[{words}]({ADDRESS}{term.slug} "{title}")'
