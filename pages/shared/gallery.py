"""A browser component to choose one of many examples: thousands of thumbnails, one picture to load;
or texts.

All thumbnails travel as one PNG (a sprite) and are cut out by the browser, so that 2,000 of them
cost one decode; what is out of sight is not laid out. Arrow keys move the choice.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from kdcore.errors import require
from kdcore.palette import TONES

LARGEST_GALLERY = 10_000


class Mark(NamedTuple):
    """A dot on a thumbnail: what it means, in a word, and the name of its colour in
    ``palette.TONES``.
    """

    text: str
    tone: str = "wrong"


_CSS = """
.box {
  box-sizing: border-box; width: 100%; overflow-y: auto; padding: 4px;
  display: grid; grid-template-columns: repeat(auto-fill, minmax(calc(var(--tile) + 12px), 1fr));
  gap: 4px; align-content: start; position: relative;
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
  font-family: var(--st-font); color: var(--st-text-color); scrollbar-width: thin;
}
.box:empty::after { content: attr(data-empty); padding: 1rem; opacity: 0.7; grid-column: 1 / -1; }
button {
  all: unset; box-sizing: border-box; position: relative; padding: 5px 2px 2px; text-align: center; cursor: pointer;
  border-radius: 8px; min-width: 0; content-visibility: auto; contain-intrinsic-size: auto calc(var(--tile-height) + 28px);
}
button:hover { background: var(--st-secondary-background-color); }
button[aria-selected="true"] {
  background: var(--st-blue-background-color); box-shadow: inset 0 0 0 2px var(--st-primary-color);
}
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
.tile {
  display: block; width: var(--tile); height: var(--tile-height); margin: 0 auto; border-radius: 4px;
  background-repeat: no-repeat; image-rendering: pixelated;
}
.box[data-ink] .tile { outline: 1px solid var(--st-border-color-light); }
.box[data-ink="dark"] .tile { filter: invert(1); outline-color: #1c1c1c; }
.text {
  display: block; width: var(--tile); height: var(--tile-height); margin: 0 auto; padding: 4px 8px; border-radius: 6px;
  box-sizing: border-box; overflow: hidden; text-align: start; font-size: 14px; line-height: 20px;
  background: var(--st-secondary-background-color); overflow-wrap: anywhere;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2;
}
.caption {
  display: block; font-size: 12px; line-height: 1.35; padding-top: 3px; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap;
}
.mark {
  position: absolute; top: 1px; right: max(1px, calc(50% - var(--tile) / 2 - 5px)); width: 14px; height: 14px;
  border-radius: 50%; border: 2px solid var(--st-background-color); box-sizing: border-box;
}
.spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
"""

_HTML = '<div class="box" role="listbox" aria-orientation="horizontal"></div>'

_JS = r"""
const galleries = new WeakMap();

function dark(box) {
  const probe = document.createElement('span');
  probe.style.color = 'var(--st-background-color)';
  box.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return red * 0.2126 + green * 0.7152 + blue * 0.0722 < 128;
}

const element = (name, className, text = '') =>
  Object.assign(document.createElement(name), { className, textContent: text });

// A blob's address is short, so that a thousand tiles do not each carry a megabyte of style.
async function sheet(gallery, sprite) {
  const blob = await (await fetch(sprite)).blob();
  if (gallery.sprite !== sprite) return;
  URL.revokeObjectURL(gallery.address);
  gallery.address = URL.createObjectURL(blob);
  gallery.rule.textContent = `.tile { background-image: url(${gallery.address}); }`;
}

function thumbnail(data, at) {
  const { ids, captions, marks, columns, tile, texts } = data;
  const button = element('button', '');
  button.type = 'button';
  button.tabIndex = -1;
  button.setAttribute('role', 'option');
  button.dataset.at = at;
  const picture = element('span', texts ? 'text' : 'tile', texts ? texts[at] : '');
  if (texts) picture.dir = 'auto';
  else picture.style.backgroundPosition = `${-(at % columns) * tile[0]}px ${-Math.floor(at / columns) * tile[1]}px`;
  button.append(picture, element('span', 'caption', captions[at]));
  button.title = texts ? `${texts[at]} (${captions[at]})` : captions[at];
  if (marks[at]) {
    button.title += `, ${marks[at][0]}`;
    const dot = element('span', 'mark');
    dot.dataset.tone = marks[at][1];
    button.append(dot, element('span', 'spoken', `, ${marks[at][0]}`));
  }
  return button;
}

function build(gallery, data) {
  const { box } = gallery;
  const [width, height] = data.tile;
  box.style.setProperty('--tile', width + 'px');
  box.style.setProperty('--tile-height', height + 'px');
  const rows = Math.ceil(data.ids.length / data.columns);
  gallery.sizes.textContent = `.tile { background-size: ${data.columns * width}px ${rows * height}px; }`;
  const top = box.scrollTop;
  box.replaceChildren(...data.ids.map((_, at) => thumbnail(data, at)));
  box.scrollTop = top;
}

// Only this box scrolls: scrollIntoView would move the page as well.
function reveal(box, button) {
  const above = button.offsetTop - 4;
  const below = button.offsetTop + button.offsetHeight + 4 - box.clientHeight;
  if (box.scrollTop > above) box.scrollTop = above;
  else if (box.scrollTop < below) box.scrollTop = below;
}

function show(gallery, id) {
  const { box, data } = gallery;
  box.querySelectorAll('[aria-selected="true"]').forEach((old) => old.setAttribute('aria-selected', 'false'));
  box.querySelectorAll('[tabindex="0"]').forEach((old) => { old.tabIndex = -1; });
  const at = data.ids.indexOf(id);
  gallery.chosen = id;
  const button = box.children[Math.max(at, 0)];
  if (!button) return null;
  button.tabIndex = 0;
  if (at < 0) return null;
  button.setAttribute('aria-selected', 'true');
  return button;
}

function choose(gallery, at) {
  const button = show(gallery, gallery.data.ids[at]);
  reveal(gallery.box, button);
  button.focus({ preventScroll: true });
  // A held arrow key runs along the row; Python hears where it stopped.
  clearTimeout(gallery.timer);
  gallery.timer = setTimeout(() => gallery.tell('chosen', { id: gallery.chosen, turn: Date.now() }), 120);
}

function keyed(gallery, event) {
  const { box, data } = gallery;
  const across = getComputedStyle(box).gridTemplateColumns.split(' ').length;
  const page = across * Math.max(1, Math.floor(box.clientHeight / (box.children[0]?.offsetHeight || 80)));
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, PageUp: -page, PageDown: page };
  const last = data.ids.length - 1;
  const from = Number(event.target.dataset.at);
  let to = event.key === 'Home' ? 0 : event.key === 'End' ? last : from + steps[event.key];
  if (Number.isNaN(to)) return;
  event.preventDefault();
  if (event.key.startsWith('Page')) to = Math.min(Math.max(to, 0), last);
  if (to >= 0 && to <= last && to !== from) choose(gallery, to);
}

function create(box) {
  const gallery = { box, rule: element('style', ''), sizes: element('style', ''), tones: element('style', '') };
  box.after(gallery.rule, gallery.sizes, gallery.tones);
  box.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button) choose(gallery, Number(button.dataset.at));
  });
  box.addEventListener('keydown', (event) => { if (event.target.dataset.at) keyed(gallery, event); });
  return gallery;
}

export default function ({ data, parentElement, setStateValue }) {
  const box = parentElement.querySelector('.box');
  const gallery = galleries.get(box) ?? create(box);
  galleries.set(box, gallery);
  gallery.tell = setStateValue;

  const isDark = dark(box);
  box.setAttribute('aria-label', data.label);
  box.dataset.empty = data.empty;
  box.style.height = data.height + 'px';
  if (data.ink) box.dataset.ink = isDark ? 'light' : 'dark'; else delete box.dataset.ink;
  gallery.tones.textContent = Object.entries(data.tones).map(([name, [light, night]]) =>
    `.mark[data-tone="${name}"] { background: ${isDark ? night : light}; }`).join('\n');

  if (gallery.sprite !== data.sprite) { gallery.sprite = data.sprite; if (data.sprite) sheet(gallery, data.sprite); }
  const contents = JSON.stringify([data.ids, data.captions, data.marks, data.tile, data.columns, data.texts]);
  const changed = gallery.contents !== contents;
  gallery.contents = contents;
  gallery.data = data;
  if (changed) build(gallery, data);
  // Python's choice counts when it is a new one; between, the visitor's does.
  const told = gallery.told !== data.selected;
  gallery.told = data.selected;
  if (told || changed) {
    const button = show(gallery, told ? data.selected : gallery.chosen);
    if (button && told) requestAnimationFrame(() => reveal(box, button));
  }
  return () => setTimeout(() => { if (!box.isConnected) URL.revokeObjectURL(gallery.address); });
}
"""

_component = st.components.v2.component("kd_gallery", html=_HTML, css=_CSS, js=_JS)


def gallery(
    images: NDArray,
    *,
    captions: Sequence[str],
    key: str,
    selected: int | None = None,
    ids: Sequence[int] | None = None,
    marks: Sequence[Mark | None] | None = None,
    height: int = 320,
    label: str = "Images",
    empty: str = "No images to show",
) -> int | None:
    """Show examples in a box that scrolls, and return the id of the chosen one; None when none is
    chosen.

    Args:
        images: uint8 [n, h, w] or [n, h, w, c] with 1 or 3 channels, in the order to show; or n
            texts, which are shown as what they are, never as HTML.
        captions: n short texts.
        key: unique in the app; the choice survives reruns under it.
        selected: id to choose at first. A later change to it overrules the visitor's choice; a
            constant does not, and spares sending the images again.
        ids: n distinct numbers to answer with; by default the positions. With ids the choice
            survives another order.
        marks: n marks or None each.
        height: of the box, in pixels.
        label: what the images are, for screen readers.
        empty: what to say when there are none.

    Single-channel images are taken as light ink on a dark ground, and shown as dark ink on light
    pages. Raises ConfigError where the lengths or the images' type do not fit.
    """
    count = len(images)
    require(count <= LARGEST_GALLERY, "images", f"at most {LARGEST_GALLERY}", count)
    written = images.dtype.kind == "U"
    fits = written or images.dtype == np.uint8
    require(fits, "images", "of type uint8, or texts", str(images.dtype))
    require(len(captions) == count, "captions", f"{count} long", len(captions))
    require(ids is None or len(set(ids)) == count, "ids", f"{count} distinct numbers", ids)
    require(marks is None or len(marks) == count, "marks", f"{count} long", len(marks or ()))
    numbers = list(range(count)) if ids is None else [int(number) for number in ids]
    dots = [mark and [mark.text, mark.tone] for mark in (marks or [None] * count)]
    shown = _TEXTS if written else _pictures(images)

    memory = st.session_state.setdefault(f"{key}.memory", _Memory(selected))
    result = _component(
        key=key,
        data={
            **shown,
            "texts": images.tolist() if written else None,
            "columns": _columns(count),
            "ids": numbers,
            "captions": list(captions),
            "marks": dots,
            "tones": {
                name: [TONES[name].light, TONES[name].dark]
                for name in {mark[1] for mark in dots if mark}
            },
            "selected": memory.for_browser(selected, st.session_state.get(key)),
            "height": height,
            "label": label,
            "empty": empty,
        },
        height=height,
        on_chosen_change=lambda: None,
    )
    memory.hear(result.chosen)
    return memory.chosen if memory.chosen in numbers else None


# What stands for pictures where there are none; a tile holds two lines.
_TEXTS: dict[str, Any] = {"sprite": "", "tile": [168, 48], "ink": False}


def tile_height(images: NDArray) -> int:
    """Return the height of an example of a gallery, in pixels, with its caption."""
    size = _TEXTS if images.dtype.kind == "U" else _pictures(images[:1])
    return int(size["tile"][1]) + 34


def _pictures(images: NDArray[np.uint8]) -> dict[str, Any]:
    """Return what the browser is told of pictures: all of them as one, and the size of each."""
    pixels = images[..., None] if images.ndim == 3 else images
    zoom = max(1, round(48 / max(pixels.shape[2], 1)))
    return {
        "sprite": _sprite(pixels.tobytes(), pixels.shape) if len(images) else "",
        "tile": [pixels.shape[2] * zoom, pixels.shape[1] * zoom],
        "ink": pixels.shape[3] == 1,
    }


class _Memory:
    """Whose choice counts: the visitor's, until the caller passes another ``selected``.

    The browser does the same.
    """

    def __init__(self, selected: int | None) -> None:
        self.selected = self.told = self.chosen = selected
        self.heard: dict[str, Any] | None = None

    def for_browser(self, selected: int | None, state: Any) -> int | None:
        """Return what the browser is told to choose: always the same, unless the caller or a new
        page changed it.
        """
        if selected != self.selected:
            self.selected = self.told = self.chosen = selected
        elif self.heard is not None and not (state and state.get("chosen")):
            self.heard, self.told = (
                None,
                self.chosen,
            )  # the visitor left the page and came back: a new component
        return self.told

    def hear(self, answer: dict[str, Any] | None) -> None:
        """Take note of the visitor's latest choice.

        Its turn tells it from an old one that was overruled since.
        """
        if answer is not None and answer != self.heard:
            self.heard, self.chosen = answer, answer["id"]


def _columns(count: int) -> int:
    """A square-ish sprite stays within what browsers decode: 2,000 pictures of 28 pixels make 1,260
    by 1,260.
    """
    return max(1, int(np.ceil(np.sqrt(count))))


@functools.lru_cache(maxsize=8)
def _sprite(raw: bytes, shape: tuple[int, int, int, int]) -> str:
    """Lay the images out in rows of ``_columns`` and return the PNG as a data address."""
    count, height, width, channels = shape
    columns = _columns(count)
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    cells[:count] = np.frombuffer(raw, np.uint8).reshape(shape)
    sheet = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    file = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(file, "png", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
