"""The form in which the metrics of a repository are entered: its fields, in order of their value for the estimate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stargaze.features.ingest.user_input import FORM_FIELDS, expand_counts
from stargaze.features.matrix import CATALOG
from stargaze.features.schema import FIELD_BY_NAME, Field
from stargaze.serve.prediction.labels import field_label

USUAL_ORDER = ("created_at", "language", "contributors", "commits", "releases", "forks", "subscribers")
"""The first fields if the bundle does not say which matter most."""
VISIBLE_SHARE = 0.95
"""The visible fields have at least this share of the importance; the others are folded away."""
FEWEST_VISIBLE, MOST_VISIBLE = 6, 14
YES_OR_NO = (("", "unknown"), ("1", "yes"), ("0", "no"))
CLOSED_CATEGORIES = frozenset({"owner_type"})
"""Categories without other values than those of the model; of others the known values are suggestions."""
CONTROLS = {"count": "number", "date": "date", "flag": "select"}
"""HTML controls by the kind of a field; all other kinds are text inputs."""
SHOWN = {"number": re.compile(r"\d+"), "date": re.compile(r"\d{4}-\d{2}-\d{2}")}
"""What such a control can show; browsers drop anything else."""
BULLET = re.compile(r"[-*•–—·]|\d+[.)]")
"""What precedes a name in a list."""
COPIED = (
    (re.compile(r"!\[[^\]]*\]\([^)\s]*\)"), " "),  # a picture in Markdown
    (re.compile(r"\[[^\]]*\]\(([^)\s]+)\)"), r" \1 "),  # a link in Markdown
    (re.compile(r"^[$\s]*(?:git|gh repo) clone(?: --?\w\S*)*(?= )", re.MULTILINE), " "),
    (re.compile(r"(?<=[\w.-])[ \t]+/[ \t]+(?=[\w.-])"), "/"),  # the heading of GitHub's page
)
"""Patterns of what people copy, and their replacement."""


@dataclass(frozen=True)
class FormField:
    """One field: its label and help, its control, and the values to choose from or to suggest."""

    name: str
    label: str
    help: str
    control: str
    options: tuple[tuple[str, str], ...] = ()
    """Value and text of each option of a select."""
    suggestions: tuple[str, ...] = ()

    def control_for(self, value: str) -> str:
        """Return the control that can show the value: a number or date field would drop what is neither."""
        pattern = SHOWN.get(self.control)
        return self.control if not value or pattern is None or pattern.fullmatch(value) else "text"


def source_fields(features: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Return the fields from which features (policy → names) are computed; any other field changes no estimate.

    Own columns are none of them: they cannot be entered.

    >>> sorted(source_fields({"all": ["forks", "fork_rate"]}))
    ['created_at', 'fetched_at', 'forks']
    """
    used = (CATALOG[name] for names in features.values() for name in names if name in CATALOG)
    return frozenset(field for feature in used for field in feature.source)


def form_fields(
    used: frozenset[str], importance: Mapping[str, float], vocabularies: Mapping[str, Sequence[str]]
) -> tuple[list[FormField], list[FormField]]:
    """Return the fields that are visible and those that are folded away, most important first.

    ``used`` are the fields of the model's features and ``importance`` their shares; the name is always visible.
    """
    offered = [field.name for field in FORM_FIELDS if field.name in used and field.name != "full_name"]
    order = [name for name in (importance or USUAL_ORDER) if name in offered]
    order += [name for name in offered if name not in order]
    visible = ["full_name", *order[: _count_visible([importance.get(name, 0.0) for name in order])]]
    rest = [name for name in order if name not in visible]
    visible_fields, folded_fields = (
        [_form_field(FIELD_BY_NAME[name], vocabularies.get(name, ())) for name in names] for names in (visible, rest)
    )
    return visible_fields, folded_fields


def _count_visible(shares: Sequence[float]) -> int:
    total, reached = sum(shares), 0.0
    for count, share in enumerate(shares, start=1):
        reached += share
        if count >= FEWEST_VISIBLE and reached >= VISIBLE_SHARE * total:
            return min(count, MOST_VISIBLE)
    return min(len(shares), MOST_VISIBLE)


def _form_field(field: Field, vocabulary: Sequence[str]) -> FormField:
    unit = f" [{field.unit}]" if field.unit not in ("", "UTC") else ""
    label = field_label(field)
    help_text = "" if field.meaning in (field.name, label.lower(), "owner/name") else field.meaning + unit
    if field.name in CLOSED_CATEGORIES and vocabulary:
        options = (("", "unknown"), *((value, value) for value in vocabulary))
        return FormField(field.name, label, help_text, "select", options)
    control = CONTROLS.get(field.kind, "text")
    options = YES_OR_NO if field.kind == "flag" else ()
    return FormField(field.name, label, help_text, control, options, tuple(sorted(vocabulary, key=str.casefold)))


def form_figures(form: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that were filled in; an empty field is unknown."""
    names = [field.name for field in FORM_FIELDS]
    return expand_counts({name: form[name].strip() for name in names if form.get(name, "").strip()})


def split_names(text: str) -> list[str]:
    """Split entered names at line breaks, blanks, commas, semicolons and the bars of a table.

    Bullets and numbers of a list, the texts of Markdown links, and commands that clone are left out.

    >>> split_names("- a/b, c/d * https://github.com/e/f 3. g/h")
    ['a/b', 'c/d', 'https://github.com/e/f', 'g/h']
    >>> split_names("[![x](y.svg)](https://github.com/a/b) | c / d"), split_names("gh repo clone e/f")
    (['https://github.com/a/b', 'c/d'], ['e/f'])
    """
    for pattern, replacement in COPIED:
        text = pattern.sub(replacement, text)
    return [part for part in re.split(r"[\s,;|]+", text) if part and not BULLET.fullmatch(part)]
