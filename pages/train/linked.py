"""Settings in the address of the Train page, so that a link fills the form: what a teacher sends to
a class.
"""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from kdcore.config.experiment import ExperimentConfig, all_settings, read_setting
from kdcore.config.sweep import value_text
from kdcore.errors import ConfigError
from pages.shared.forms import ConfigForm
from pages.shared.session import as_text

KEY = "train_linked"
MISSING = object()  # stands for a setting that a method or plan does not have


def fill(form: ConfigForm) -> None:
    """Fill the form with the settings that the address names, once; say what it refuses."""
    given = {name: text for name, text in st.query_params.items() if name in all_settings()}
    if not given:
        return
    if st.session_state.get(KEY) == given:
        return
    st.session_state[KEY] = given
    try:
        settings = {name: read_setting(name, text) for name, text in given.items()}
        config = ExperimentConfig(**settings)
    except ConfigError as error:
        st.warning(
            f"The address asks for what cannot be: {as_text(str(error))}. Here is the form as it was.",
            icon=":material/link_off:",
        )
        return
    form.fill(config.model_dump())


def address_of(config: ExperimentConfig) -> str:
    """Return the query of an address that fills the form with these settings."""
    usual = ExperimentConfig()
    # Whatever stands apart from a form that nobody touched; None is a value too.
    values = {
        name: (config.get(name, MISSING), usual.get(name, MISSING)) for name in all_settings()
    }
    return urlencode(
        {
            name: value_text(value)
            for name, (value, before) in values.items()
            if value is not MISSING and value != before
        }
    )


def draw(config: ExperimentConfig | None) -> None:
    """Offer a link to the settings in the form."""
    with st.popover(
        "Link", icon=":material/link:", help="An address that fills the form with these settings"
    ):
        if config is None:
            st.caption("Some settings are refused.")
            return
        base = (st.context.url or "").partition("?")[0]
        query = address_of(config)
        st.code(f"{base}?{query}" if query else base, language=None, wrap_lines=True)
        st.caption("Whoever opens it finds the form filled so.")
