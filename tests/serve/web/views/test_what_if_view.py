"""The controls of a what-if."""

from __future__ import annotations

from datetime import UTC, datetime

from stargaze.serve.web.views.what_if_view import what_if_controls, what_if_errors, what_if_view
from tests.serve.web.views.example_prediction import example_prediction

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_controls_show_the_present_values() -> None:
    controls = {control.field: control for control in what_if_controls(example_prediction(), {}, {})}

    assert {name: control.value for name, control in controls.items()} == {
        "readme_length": "3100", "license": "mit", "has_wiki": "", "latest_release_at": "2025-12-01",
    }  # fmt: skip
    assert dict(controls["license"].options) == {"none": "none", "mit": "mit", "apache-2.0": "apache-2.0"}
    assert controls["has_wiki"].options == (("", "unknown"), ("1", "yes"), ("0", "no"))


def test_entered_values_are_kept_beside_the_original_ones() -> None:
    entered = {"readme_length": "many", "license": "wtfpl", "has_wiki": "no"}
    controls = {c.field: c for c in what_if_controls(example_prediction(), entered, {"readme_length": "not a number"})}

    readme = controls["readme_length"]
    assert (readme.value, readme.original, readme.error) == ("many", "3100", "not a number")
    assert controls["license"].options[-1] == ("wtfpl", "wtfpl")
    assert controls["has_wiki"].value == "0"


def test_each_invalid_value_has_its_own_message() -> None:
    errors = what_if_errors({"readme_length": "many", "topic_count": "3", "latest_release_at": "soon"}, NOW)

    assert set(errors) == {"readme_length", "latest_release_at"}
    assert "many" in errors["readme_length"]


def test_a_what_if_shows_values_before_and_after() -> None:
    change = {"field": "license", "label": "license", "before": "unknown", "after": "mit"}
    what_if = {
        "expected_stars": 520.0,
        "interval_low": 70.0,
        "interval_high": 3_000.0,
        "factor": 1.21,
        "changes": [change],
        "out_of_range": [{"label": "license", "value": "foo", "low": "", "high": ""}],
    }

    view = what_if_view(example_prediction(what_if=what_if))

    assert view is not None
    assert (view.before, view.after, view.factor, view.interval) == ("430", "520 stars", "× 1.21", "70–3,000")
    assert view.changes == ("license: unknown → mit",)
    assert view.outside == "license: foo (not in the training data)"
    assert view.has_effect


def test_a_what_if_without_effect_is_no_change() -> None:
    what_if = {"expected_stars": 430.2, "interval_low": 61.0, "interval_high": 2_900.0, "factor": 1.0004, "changes": []}

    view = what_if_view(example_prediction(what_if=what_if))

    assert view is not None
    assert not view.has_effect


def test_messages_have_the_labels_of_the_page() -> None:
    errors = what_if_errors({"pushed_at": "2001-01-01"}, NOW)

    assert "pushed_at" not in errors["pushed_at"]
