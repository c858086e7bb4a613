"""What visitors predict and answer in lessons is kept, each visitor's by itself."""

from __future__ import annotations

from kdcore.storage import lesson_progress
from kdcore.storage.store import Store


def test_what_is_predicted_stays_until_it_is_forgotten(store: Store) -> None:
    assert lesson_progress.progress_in(store, "alpha").prediction is None
    lesson_progress.note(store, "alpha", prediction=[1.0, 2.5])
    lesson_progress.note(store, "alpha", answer=3.0)
    again = lesson_progress.progress_in(Store(store.url), "alpha")
    assert (again.prediction, again.answer) == ([1.0, 2.5], 3.0)
    assert again.updated_at > 0
    assert set(lesson_progress.begun(store)) == {"alpha"}
    lesson_progress.forget(store, "alpha")
    assert lesson_progress.begun(store) == {}


def test_visitors_do_not_see_each_other(store: Store) -> None:
    for visitor, value in (("Ada", 1.0), ("Émile", 2.0)):
        lesson_progress.note(store, "alpha", visitor, prediction=value)
    lesson_progress.note(store, "alpha", "Noether", change="warm")
    assert lesson_progress.progress_in(store, "alpha", "Ada").prediction == 1.0
    assert lesson_progress.progress_in(store, "alpha").prediction is None
    assert lesson_progress.predictions_of(store, "alpha") == {"Ada": 1.0, "Émile": 2.0}
