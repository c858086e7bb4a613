"""A browser component that keeps a page's state in the address bar, so that the address can be shared.

``st.query_params`` adds an entry to the browser's history at every change: after a walk along a slider, Back would
walk it again. This replaces the present entry instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

_JS = """
export default function ({ data }) {
  const address = new URL(window.location.href);
  if (!address.pathname.replace(/\\/$/, '').endsWith(data.page)) return;  // the visitor has left the page
  const kept = [...address.searchParams].filter(([name]) => name.startsWith('embed'));  // Streamlit's own
  address.search = new URLSearchParams([...kept, ...Object.entries(data.parameters)]).toString();
  if (address.href !== window.location.href) window.history.replaceState(window.history.state, '', address);
}
"""

_component = st.components.v2.component("kd_address", html="<span></span>", js=_JS)


def show_in_address(parameters: Mapping[str, str], *, page: str, key: str) -> None:
    """Make ``parameters`` the query of the address bar; ``page`` is the path of the page, such as "/temperature"."""
    _component(key=key, data={"parameters": dict(parameters), "page": page}, height=1)
