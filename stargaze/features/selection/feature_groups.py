"""Groups of features, and the features that ``features.exclude`` and ``features.include`` name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from stargaze.config import FeaturesSection
from stargaze.errors import ConfigError, did_you_mean
from stargaze.features.matrix import Catalog
from stargaze.features.registry import Feature

TEXTS = frozenset(
    {"full_name", "description", "topics", "readme", "description_length", "readme_length", "topic_count"}
)
"""Fields of the texts that the maintainer writes, and their lengths."""
KINDS = ("text", "topics", "owner", "dates", "activity", "popularity", "own")
"""The kinds of information."""
WILDCARDS = "*?["
EXCLUDED = "excluded by features.exclude"
USELESS = ("constant", "missing in 100%")
"""Beginnings of reasons against a feature that is harmless, but without information."""


def feature_groups(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Return the members of each group that has any: kinds of information, then features that are shuffled together.

    Examples
    --------
    >>> from stargaze.features.matrix import CATALOG
    >>> feature_groups(CATALOG)["topics"]
    ('topic_count', 'topics_length', 'topics_stars', 'topics_stars_max')
    """
    groups: dict[str, list[str]] = {name: [] for name in KINDS}
    own = {column.name for column in catalog.own_columns}
    for name, feature in catalog.items():
        for group in ["own"] if name in own else _kinds_of(feature):
            groups[group].append(name)
        if feature.group:
            groups.setdefault(feature.group, []).append(name)
    return {group: tuple(names) for group, names in groups.items() if names}


def _kinds_of(feature: Feature) -> list[str]:
    is_owner = feature.name.startswith("owner_") or any(field.startswith("owner_") for field in feature.source)
    belongs = {
        "text": not is_owner and TEXTS.issuperset(feature.source),
        "topics": feature.name.startswith("topic"),
        "owner": is_owner,
        "dates": any(field.endswith("_at") for field in feature.fields),
        "activity": feature.policy == "activity",
        "popularity": feature.policy == "all",
    }
    return [group for group, is_member in belongs.items() if is_member]


def named_features(names: Sequence[str], catalog: Catalog, key: str) -> dict[str, str]:
    """Return the features that names, groups and patterns mean, each with the first text that means it.

    Raise ConfigError, which begins with the ``key`` of the config, if a text means none.

    Examples
    --------
    >>> from stargaze.features.matrix import CATALOG
    >>> list(named_features(["age", "push_*"], CATALOG, "features.exclude"))
    ['age', 'push_age', 'push_after_release']
    """
    groups = feature_groups(catalog)
    found: dict[str, str] = {}
    for text in names:
        members = [text] if text in catalog else groups.get(text) or _match(text, catalog)
        if not members:
            known = f"stargaze features lists them; groups: {', '.join(groups)}"
            hint = did_you_mean(text, [*catalog, *groups], known, cutoff=0.6)
            raise ConfigError(f"{key}: {text!r} is no feature, no group and no pattern of features", hint=hint)
        for name in members:
            found.setdefault(name, text)
    return found


def _match(pattern: str, catalog: Catalog) -> list[str]:
    if not any(character in pattern for character in WILDCARDS):
        return []
    return [name for name in catalog if fnmatchcase(name, pattern)]


@dataclass(frozen=True)
class RequestedFeatures:
    """Features that the config excludes, each with the reason, and those that it includes, as far as possible or by name."""

    excluded: dict[str, str]
    included: frozenset[str]
    by_name: tuple[str, ...]

    def check(self, reasons: Mapping[str, str]) -> None:
        """Raise ConfigError if a feature that is included by name must not be used, or cannot be computed."""
        for name in self.by_name:
            reason = reasons.get(name, "")
            if reason and not reason.startswith(USELESS):
                hint = f"remove {name} from features.include"
                raise ConfigError(f"features.include: {name} cannot be selected: {reason}", hint=hint)


def requested_features(section: FeaturesSection, catalog: Catalog) -> RequestedFeatures:
    """Return what ``features.exclude`` and ``features.include`` mean; a name takes precedence over a group or a pattern.

    Raise ConfigError for a text that means no feature, and for a feature that is named equally in both.
    """
    excluded = named_features(section.exclude, catalog, "features.exclude")
    included = named_features(section.include, catalog, "features.include")
    for name in sorted(excluded.keys() & included.keys()):
        excludes_it, includes_it = excluded[name] == name, included[name] == name
        if excludes_it == includes_it:
            message = f"features.include: {name} is also in features.exclude"
            raise ConfigError(message, hint="remove it from one of them")
        del (included if excludes_it else excluded)[name]
    return RequestedFeatures(
        {name: EXCLUDED if text == name else f'{EXCLUDED}, as "{text}"' for name, text in excluded.items()},
        frozenset(included),
        tuple(name for name, text in included.items() if text == name),
    )
