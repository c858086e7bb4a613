"""The one way to put a chart on a page: a browser component around ``Plotly.react``.

``st.plotly_chart`` builds a new chart at every update, and with it goes the visitor's zoom. This
component keeps its DOM node for as long as it is on the page: updates do not flicker, and zoom and
hidden traces survive them. It works offline: the chart library is the installed plotly package's
own, served by Streamlit's static file serving.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
import streamlit as st
from plotly.offline import get_plotlyjs, get_plotlyjs_version
from streamlit.runtime.scriptrunner import get_script_run_ctx

from kdcore.palette import NEUTRALS, TONES, dark_variants

Click = dict[str, Any]


class Card(NamedTuple):
    """A few words above a chart that belong to it: a title, what matters, and a note below.

    ``tone`` names a colour of ``palette.TONES``.
    """

    title: str
    value: str
    note: str
    tone: str


class Drawing(NamedTuple):
    """A figure ready to be sent: its JSON, and its height in pixels."""

    json: str
    height: int


def drawing(figure: go.Figure) -> Drawing:
    """Return a figure as it is sent to browsers."""
    return Drawing(
        figure.to_json(validate=False, remove_uids=False), int(figure.layout.height or 320)
    )


_CSS = """
.kd-chart { display: flex; flex-direction: column; position: relative; width: 100%; min-width: 0; }
.kd-chart-title { font-weight: 600; font-size: 0.95rem; line-height: 1.3; padding: 0 0 0.3rem 0.1rem; }
.kd-chart-subtitle { font-size: 0.82rem; line-height: 1.3; opacity: 0.7; padding: 0 0 0.3rem 0.1rem; }
.kd-chart-title:empty, .kd-chart-subtitle:empty, .kd-chart-legend:empty { display: none; }
.kd-chart-legend { display: flex; flex-wrap: wrap; gap: 0 0.35rem; padding-bottom: 0.15rem; }
.kd-chart-legend button {
  all: unset; display: inline-flex; align-items: center; gap: 0.35rem; padding: 0.1rem 0.35rem 0.1rem 0.1rem; cursor: pointer;
  border-radius: 0.4rem; font-size: 0.8rem; line-height: 1.5; color: var(--st-text-color);
}
.kd-chart-legend button:hover { background: var(--st-secondary-background-color); }
.kd-chart-legend button:focus-visible { outline: 2px solid var(--st-primary-color); }
.kd-chart-legend button[aria-pressed="false"] { opacity: 0.45; text-decoration: line-through; }
.kd-chart-cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 0.6rem; padding-bottom: 0.9rem; }
.kd-chart-cards:empty { display: none; }
.kd-chart-card {
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius); padding: 0.6rem 0.8rem; min-width: 0;
  border-top: 3px solid var(--tone);
}
.kd-chart-card-title { font-size: 0.85rem; opacity: 0.8; }
.kd-chart-card-value { font-size: 1.7rem; font-weight: 600; line-height: 1.25; overflow-wrap: anywhere; }
.kd-chart-card-note { font-size: 0.82rem; opacity: 0.75; }
.kd-chart-plot { flex: 1 1 auto; min-height: 0; min-width: 0; position: relative; }
.kd-chart-plot .modebar-group { background: transparent !important; }
/* Plotly's halo around the hover line is white on every page. */
.kd-chart-plot .spikeline[stroke="rgb(255, 255, 255)"] { display: none; }
.kd-chart-values { position: absolute; right: 0.4rem; top: 0.2rem; z-index: 2; font-size: 0.8rem; }
.kd-chart-values:not(:focus-visible) { width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.kd-chart-table {
  position: absolute; inset: 0; z-index: 3; overflow: auto; background: var(--st-background-color); font-size: 0.82rem;
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius); padding: 0 0.6rem 0.5rem;
}
.kd-chart-table[hidden] { display: none; }
.kd-chart-table header { position: sticky; top: 0; display: flex; justify-content: space-between; padding: 0.35rem 0; background: inherit; }
.kd-chart-table table { border-collapse: collapse; margin-bottom: 0.8rem; font-variant-numeric: tabular-nums; }
.kd-chart-table caption { text-align: left; font-weight: 600; padding: 0.2rem 0; }
.kd-chart-table th, .kd-chart-table td { padding: 0.1rem 1rem 0.1rem 0; text-align: left; border-bottom: 1px solid var(--st-border-color); }
.kd-chart-error { opacity: 1; color: var(--st-red-text-color); }
"""

_HTML = """
<div class="kd-chart">
  <div class="kd-chart-cards"></div>
  <div class="kd-chart-title" aria-hidden="true"></div>
  <div class="kd-chart-subtitle" aria-hidden="true"></div>
  <div class="kd-chart-legend" role="group" aria-label="Show or hide"></div>
  <button type="button" class="kd-chart-values" aria-expanded="false">Values as a table</button>
  <div class="kd-chart-plot" role="img"></div>
  <div class="kd-chart-table" role="region" tabindex="-1" hidden></div>
</div>
"""

_JS = r"""
const charts = new WeakMap();

// Once a page, however many charts; after a failure the next update tries again.
function loadPlotly(file) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  window.kdPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = new URL('./app/static/' + file, document.baseURI).href;
    script.onload = () => window.Plotly ? resolve(window.Plotly) : reject(new Error('no Plotly in ' + script.src));
    script.onerror = () => reject(new Error('cannot load ' + script.src));
    document.head.append(script);
  }).catch((error) => { window.kdPlotly = undefined; throw error; });
  return window.kdPlotly;
}

// Any CSS colour as numbers, by asking the browser.
function rgb(root, css) {
  const probe = document.createElement('span');
  probe.style.color = css;
  root.append(probe);
  const numbers = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return numbers.slice(0, 3);
}

const blend = (over, under, share) =>
  `rgb(${over.map((value, i) => Math.round(value * share + under[i] * (1 - share))).join(',')})`;

function theme(root) {
  const text = rgb(root, 'var(--st-text-color)');
  const page = rgb(root, 'var(--st-background-color)');
  const dark = page[0] * 0.2126 + page[1] * 0.7152 + page[2] * 0.0722 < 128;
  return {
    dark,
    font: getComputedStyle(root).getPropertyValue('--st-font') || getComputedStyle(root).fontFamily,
    neutrals: {
      ink: blend(text, page, 1), muted: blend(text, page, 0.68), grid: blend(text, page, 0.13), surface: blend(page, page, 1),
    },
  };
}

function themed(chart) {
  const { figure, dark, neutrals } = chart.data;
  const look = theme(chart.root);
  const swaps = Object.entries(neutrals).map(([name, tone]) => [tone, look.neutrals[name]]);
  if (look.dark) swaps.push(...Object.entries(dark));
  const result = JSON.parse(swaps.reduce((text, [from, to]) => text.replaceAll(from, to), figure));
  // Plotly takes the node of an empty text away and never gives it back: a label that comes and goes would stay away.
  for (const trace of result.data) {
    if (trace.mode?.includes('text') && Array.isArray(trace.text)) trace.text = trace.text.map((text) => text || '\u00a0');
  }
  result.layout.font = { ...result.layout.font, family: look.font };
  chart.neutrals = look.neutrals;
  chart.root.dataset.theme = look.dark ? 'dark' : 'light';
  return result;
}

// What Plotly would draw, as text alone: a parsed document that is never shown runs nothing.
const plain = (text) =>
  new DOMParser().parseFromString((text ?? '').replace(/<br\s*\/?>/g, ' '), 'text/html').body.textContent;
const groupOf = (trace) => trace.legendgroup || trace.uid || trace.name;

// Title and legend are the page's own text: they wrap on a narrow screen, and the keyboard reaches them.
function lift(chart, figure) {
  const { data, layout } = figure;
  chart.title.textContent = plain(layout.title?.text);
  chart.subtitle.textContent = plain(layout.title?.subtitle?.text);
  if (layout.title?.text) layout.margin = { ...layout.margin, t: 10 };
  delete layout.title;
  const entries = data.filter((trace) => trace.showlegend !== false && trace.name)
    .sort((one, other) => (one.legendrank ?? 1000) - (other.legendrank ?? 1000));
  const wanted = layout.showlegend ?? entries.length > 1;
  legend(chart, wanted ? entries : []);
  layout.showlegend = false;
  for (const trace of data) if (chart.hidden.has(groupOf(trace))) trace.visible = 'legendonly';
}

function legend(chart, entries) {
  const contents = entries.map((trace) => ({ group: groupOf(trace), name: plain(trace.name), ...swatch(trace) }));
  // Left alone while it says the same, so that the keyboard's focus stays where it is.
  const written = JSON.stringify(contents);
  if (chart.legendWritten !== written) {
    chart.legendWritten = written;
    chart.legend.replaceChildren(...contents.map((entry) => legendEntry(chart, entry)));
  }
  for (const button of chart.legend.children) button.setAttribute('aria-pressed', !chart.hidden.has(button.dataset.group));
}

function legendEntry(chart, { group, name, drawing, line, fill }) {
  const button = document.createElement('button');
  button.type = 'button';
  button.dataset.group = group;
  button.innerHTML = `<svg width="22" height="12" aria-hidden="true">${drawing}</svg>`;
  button.firstChild.style.setProperty('stroke', line);
  button.firstChild.style.setProperty('fill', fill);
  button.append(name);
  button.onclick = () => {
    if (!chart.hidden.delete(group)) chart.hidden.add(group);
    draw(chart);
  };
  return button;
}

const SHAPES = {
  circle: '<circle cx="11" cy="6" r="3.5" stroke="none"/>',
  square: '<rect x="8" y="3" width="6" height="6" stroke="none"/>',
  diamond: '<path d="M11 1.8 15.2 6 11 10.2 6.8 6Z" stroke="none"/>',
};

const DASHES = { dot: '2 2', dashdot: '5 2 2 2', longdash: '9 3', longdashdot: '9 2 2 2' };

function swatch({ type, line = {}, marker = {}, mode = '' }) {
  const tone = [line.color, marker.color].find((value) => typeof value === 'string') ?? 'currentColor';
  if (type === 'bar') {
    const edge = marker.line?.width ? marker.line.color : 'none';
    return { drawing: '<rect x="5" y="1" width="12" height="10" rx="1"/>', line: edge, fill: tone };
  }
  const dash = line.dash && line.dash !== 'solid' ? ` stroke-dasharray="${DASHES[line.dash] ?? '5 3'}"` : '';
  const rule = mode.includes('lines') ? `<path d="M0 6H22" stroke-width="${Number(line.width) || 2}"${dash}/>` : '';
  const [shape, open] = (marker.symbol ?? 'circle').split('-');
  const filled = SHAPES[shape] ?? SHAPES.circle;
  const dot = !mode.includes('markers') ? '' : open ? filled.replace('stroke="none"', 'fill="none" stroke-width="1.6"') : filled;
  return { drawing: rule + dot, line: tone, fill: tone };
}

// Built of text alone: names of classes are data.
function cards(chart, entries) {
  const dark = chart.root.dataset.theme === 'dark';
  chart.cards.replaceChildren(...entries.map((entry) => {
    const card = document.createElement('div');
    card.className = 'kd-chart-card';
    card.style.setProperty('--tone', entry.tone[dark ? 1 : 0]);
    card.append(...['title', 'value', 'note'].map((part) => {
      const line = document.createElement('div');
      line.className = `kd-chart-card-${part}`;
      line.textContent = entry[part];
      return line;
    }));
    return card;
  }));
}

function draw(chart) {
  const { plot, root, Plotly } = chart;
  // In a closed tab or expander there is nothing to measure; the resize observer comes back here. Where nobody looks, a
  // drawing is work for nothing; visibilitychange comes back.
  chart.stale = !Plotly || !root.isConnected || plot.clientWidth === 0 || document.hidden;
  if (chart.stale) return;
  const figure = themed(chart);
  const { data, layout } = figure;
  lift(chart, figure);
  delete layout.height;
  Object.assign(layout, { autosize: true, uirevision: 'kept', width: undefined });
  const fixed = Object.entries(layout).every(([name, axis]) => !/^[xy]axis/.test(name) || axis.fixedrange);
  const finger = matchMedia('(pointer: coarse)').matches;
  // A finger on the chart scrolls the page, and leaves the toolbar in sight: it has a row of its own.
  if (fixed || finger) layout.dragmode = false;
  if (finger) layout.margin = { ...layout.margin, t: Math.max(layout.margin?.t ?? 0, TOOLBAR_HEIGHT) };
  plot.setAttribute('aria-label', chart.data.description);
  // The very same button each time: Plotly takes another function for a new configuration, and starts afresh.
  chart.save ??= [
    { name: 'values', title: 'Values as a table', icon: ROWS, click: () => showTable(chart, true) },
    saveButton(chart, 'png', 'Download as PNG'), saveButton(chart, 'svg', 'Download as SVG'),
    saveButton(chart, 'pdf', 'Print, or save as PDF: 170 mm, two columns of a paper', 170),
    saveButton(chart, 'pdf', 'Print, or save as PDF: 85 mm, one column', 85),
  ];
  Plotly.react(plot, data, layout, {
    displaylogo: false, displayModeBar: 'hover', doubleClick: 'reset+autosize', responsive: false,
    modeBarButtons: [[...(fixed ? [] : ['zoom2d', 'pan2d', 'resetScale2d']), ...chart.save]],
  });
  if (!chart.table.hidden) fillTable(chart);
  if (!chart.listening) plot.on('plotly_click', (event) => report(chart, event));
  chart.listening = true;
  cards(chart, chart.data.cards);
}

// The picture stands alone, so it has its title, legend and background again; on paper, which is white, a paper's own
// words below it are the title.
const saveButton = (chart, format, title, millimetres = 170) => ({
  name: `save-${format}-${millimetres}`, title, icon: iconOf(chart, format, millimetres),
  click: () => save(chart, format, millimetres),
});

const iconOf = ({ Plotly }, format, millimetres) => ({
  png: Plotly.Icons.camera, svg: Plotly.Icons.disk, pdf: millimetres > 100 ? PRINTER : SMALL_PRINTER,
}[format]);

async function save(chart, format, millimetres) {
  const onPaper = format === 'pdf';
  const { data, layout } = onPaper ? JSON.parse(chart.data.figure) : themed(chart);
  const size = { width: PIXELS_PER_MILLIMETRE * millimetres, height: 300 + (layout.height ?? 320) / 2 };
  layout.margin.t = 100;
  Object.assign(layout, { ...size, autosize: false, paper_bgcolor: onPaper ? 'white' : chart.neutrals.surface });
  if (onPaper) {
    delete layout.title;
    layout.font = { ...layout.font, family: SYSTEM_FONTS };
    layout.margin.t = millimetres > 100 ? 40 : 70;
    size.height = layout.height = layout.height - 60;
  }
  if (format === 'png') {
    chart.Plotly.downloadImage({ data, layout }, { ...size, format, scale: 2, filename: 'kd-lab' });
    return;
  }
  const url = await chart.Plotly.toImage({ data, layout }, { ...size, format: 'svg' });
  const text = decodeURIComponent(url.slice(url.indexOf(',') + 1));
  if (onPaper) print(text, size, millimetres);
  else download(text.replace('>', `><style>${await fontFaces(layout.font.family)}</style>`));
}

function download(svg) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([svg], { type: 'image/svg+xml' }));
  link.download = 'kd-lab.svg';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// The browser's own printing makes a PDF of vectors. Its fonts are those of the system: of the page's, a variable one, it
// would make Type 3, which journals refuse.
function print(svg, { width, height }, millimetres) {
  const frame = document.createElement('iframe');
  frame.style.cssText = 'position: fixed; width: 0; height: 0; border: 0;';
  frame.title = 'The chart to print';
  frame.onload = () => {
    frame.contentWindow.onafterprint = () => frame.remove();
    frame.contentWindow.print();
  };
  const page = `size: ${millimetres}mm ${Math.ceil(millimetres * height / width) + 1}mm; margin: 0`;
  frame.srcdoc = `<style>@page { ${page} } body { margin: 0 } svg { display: block; width: ${millimetres}mm; height: auto }</style>`
    + svg.replace('<svg ', `<svg viewBox="0 0 ${width} ${height}" `);
  document.body.append(frame);
}

// The rules of the page for a font, with the font in them: files that leave must not depend on what is installed.
async function fontFaces(family) {
  const name = family.split(',')[0].replace(/["']/g, '').trim();
  const rules = [...document.styleSheets].flatMap((sheet) => {
    try { return [...sheet.cssRules]; } catch { return []; }  // of another origin
  });
  const faces = rules.filter((rule) => rule instanceof CSSFontFaceRule && rule.style.fontStyle !== 'italic'
    && rule.style.fontFamily.replace(/["']/g, '') === name);
  return (await Promise.all(faces.map(async (rule) => {
    const source = rule.style.getPropertyValue('src').match(/url\(["']?([^"')]+)/)?.[1];
    if (!source) return '';
    const data = await (await fetch(new URL(source, rule.parentStyleSheet.href ?? document.baseURI))).blob();
    const inside = await new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.readAsDataURL(data);
    });
    return `@font-face { font-family: "${name}"; font-weight: ${rule.style.fontWeight || 'normal'}; src: url(${inside}) }`;
  }))).join('');
}

// What a chart shows as numbers: screen readers read it, and everybody can select and copy it.
const ROWS = { width: 16, height: 16, path: 'M1 2h14v2H1zM1 7h14v2H1zM1 12h14v2H1z' };
const PRINTER = { width: 16, height: 16, path: 'M4 1h8v3H4zM1 5h14v7h-2V9H3v3H1zM4 10h8v5H4z' };
const SMALL_PRINTER = { width: 16, height: 16, path: 'M5 4h6v2H5zM3 7h10v4h-1V9H4v2H3zM5 10h6v3H5z' };
const PIXELS_PER_MILLIMETRE = 900 / 170;
const SYSTEM_FONTS = 'Arial, "Liberation Sans", Helvetica, sans-serif';
const MOST_ROWS = 400;
const TOOLBAR_HEIGHT = 34;
const asText = (value) => typeof value === 'number' ? String(Number(value.toPrecision(6))) : plain(String(value ?? '–'));

function showTable(chart, shown) {
  chart.table.hidden = !shown;
  chart.values.setAttribute('aria-expanded', shown);
  if (shown) fillTable(chart);
  (shown ? chart.table : chart.values).focus();
}

function fillTable(chart) {
  const { plot, table, data } = chart;
  const close = document.createElement('button');
  close.type = 'button';
  close.textContent = 'Close';
  close.onclick = () => showTable(chart, false);
  const header = document.createElement('header');
  header.append(data.description, close);
  table.setAttribute('aria-label', `Values of: ${data.description}`);
  const traces = plot._fullData.filter((trace) => trace.visible === true && (trace.y ?? trace.z ?? trace.x)?.length);
  table.replaceChildren(header, ...traces.map((trace) => tableOf(trace, plot._fullLayout)));
}

function tableOf(trace, layout) {
  const title = (axis, otherwise) => plain(layout[axis]?.title?.text) || otherwise;
  const place = (letter) => `${letter}axis${(trace[letter + 'axis'] ?? letter).slice(1)}`;
  const columns = [title(place('x'), 'x'), title(place('y'), 'y')];
  const grid = trace.z?.[0]?.length;
  const rows = grid
    ? [...trace.z].map((line, at) => [trace.y?.[at] ?? at, ...line])
    : Array.from({ length: (trace.y ?? trace.x).length }, (_, at) => [trace.x?.[at] ?? at, trace.y?.[at] ?? at]);
  const table = document.createElement('table');
  table.createCaption().textContent = plain(trace.name);
  const head = table.createTHead().insertRow();
  for (const name of grid ? [`${columns[1]} \ ${columns[0]}`, ...(trace.x ?? rows[0].slice(1).keys())] : columns) {
    const cell = document.createElement('th');
    cell.scope = 'col';
    cell.textContent = asText(name);
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows.slice(0, MOST_ROWS)) {
    const line = body.insertRow();
    for (const value of row) line.insertCell().textContent = asText(value);
  }
  if (rows.length > MOST_ROWS) body.insertRow().insertCell().textContent = `… and ${rows.length - MOST_ROWS} more`;
  return table;
}

// A unified hover carries a point of every curve: the one meant is the nearest.
function report(chart, { points, event }) {
  const top = chart.plot.getBoundingClientRect().top;
  const distance = ({ yaxis, y }) => yaxis ? Math.abs(yaxis._offset + yaxis.c2p(yaxis.d2c(y)) - (event.clientY - top)) : 0;
  const point = points.reduce((best, other) => distance(other) < distance(best) ? other : best);
  const answer = { curve: point.data.name ?? null, uid: point.data.uid ?? null, index: point.pointNumber };
  for (const name of ['x', 'y', 'z', 'text', 'customdata']) answer[name] = point[name] ?? null;
  chart.tell('clicked', answer);
}

function create(root) {
  const [cards, title, subtitle, legend, values, plot, table] = root.children;
  const chart = { root, cards, title, subtitle, legend, values, plot, table, hidden: new Set() };
  values.onclick = () => showTable(chart, table.hidden);
  table.onkeydown = (event) => { if (event.key === 'Escape') showTable(chart, false); };
  let size = '';
  chart.observer = new ResizeObserver(() => requestAnimationFrame(() => {
    const now = `${plot.clientWidth} ${plot.clientHeight}`;
    if (plot.clientWidth === 0) return;
    if (chart.stale) draw(chart); else if (plot.data && now !== size) chart.Plotly.Plots.resize(plot);
    size = now;
  }));
  chart.observer.observe(plot);
  chart.shown = () => { if (chart.stale) draw(chart); };
  document.addEventListener('visibilitychange', chart.shown);
  return chart;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector('.kd-chart');
  const chart = charts.get(root) ?? create(root);
  charts.set(root, chart);
  // What was sent last is shown last, in whichever order it arrives.
  const late = data.sent_at < (chart.data?.sent_at ?? 0);
  Object.assign(chart, { data: late ? chart.data : data, tell: setTriggerValue });
  root.style.height = data.cards.length ? 'auto' : data.height + 'px';
  chart.plot.style.minHeight = data.cards.length ? data.height + 'px' : '';
  if (!late) loadPlotly(data.plotly).then((Plotly) => {
    chart.subtitle.classList.remove('kd-chart-error');
    chart.Plotly = Plotly;
    if (!root.isConnected) return;
    // A tick that brings nothing new costs nothing.
    const seen = [data.figure, data.description, JSON.stringify([data.cards, theme(root)])].join();
    if (chart.stale || chart.seen !== seen) draw(chart);
    chart.seen = seen;
  }).catch((error) => {
    console.error(error);
    chart.subtitle.textContent = `The chart cannot be drawn: ${error.message}`;
    chart.subtitle.classList.add('kd-chart-error');
  });
  // Streamlit also calls this for a call that a newer one overtook: only a chart that left the page is taken apart.
  return () => setTimeout(() => {
    if (root.isConnected) return;
    chart.observer.disconnect();
    document.removeEventListener('visibilitychange', chart.shown);
    chart.Plotly?.purge(chart.plot);
  });
}
"""

_component = st.components.v2.component(
    "kd_live_chart", html=_HTML, css=_CSS, js=_JS, isolate_styles=False
)


def install_plotly_js(folder: Path | None = None) -> str:
    """Copy the installed plotly package's JavaScript to ``folder`` (default: ``static`` next to the
    app), once.

    Returns the file's name, which carries the version: a browser may keep it forever. Other
    processes never see half a file. Raises OSError where the folder cannot be written.
    """
    return _install(folder or _static_folder())


def _static_folder() -> Path:
    context = get_script_run_ctx(suppress_warning=True)
    # Streamlit serves the folder beside the script that it was started with, whichever page runs.
    script = (
        Path(context.main_script_path) if context else Path(__file__).parents[2] / "dashboard.py"
    )
    return script.resolve().parent / "static"


@functools.cache
def _install(folder: Path) -> str:
    name = f"plotly-{get_plotlyjs_version()}.min.js"
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(get_plotlyjs())
        os.chmod(draft, 0o644)
        os.replace(draft, folder / name)
    return name


def live_chart(
    figure: go.Figure | Drawing,
    *,
    key: str,
    description: str,
    height: int | None = None,
    on_click: Callable[[Click], None] | None = None,
    cards: Sequence[Card] = (),
) -> Click | None:
    """Draw ``figure``, live or finished, and return the point that was clicked just now, if any.

    Args:
        figure: built with light colours; the browser follows the visitor's theme. Or a drawing made
            of one before.
        key: unique in the app, and the same at every update: it is what keeps the chart's node,
            zoom and hidden traces.
        description: what the chart shows, for screen readers.
        height: in pixels; the figure's own by default.
        on_click: called with the click before the script reruns.
        cards: shown above the chart. They travel in the chart's own message, so that words and
            chart never speak of different moments.

    A click is a dict with curve, uid, index, x, y, z, text and customdata (None where the chart has
    none); it is returned in the one run that it causes, as a button's is.
    """

    def clicked() -> None:
        click = st.session_state[key].get("clicked")
        if on_click is not None and click is not None:
            on_click(click)

    sent = drawing(figure) if isinstance(figure, go.Figure) else figure
    pixels = height or sent.height
    result = _component(
        key=key,
        data={
            "figure": sent.json,
            "plotly": install_plotly_js(),
            "dark": dark_variants(),
            "neutrals": NEUTRALS,
            "description": description,
            "height": pixels,
            "cards": [
                card._asdict() | {"tone": [TONES[card.tone].light, TONES[card.tone].dark]}
                for card in cards
            ],
            # Only where the order matters: an unchanged message is not sent again.
            "sent_at": time.time() if cards else 0,
        },
        height="content" if cards else pixels,
        on_clicked_change=clicked,
    )
    return result.clicked
