"""Generated repositories as arrays: stars are distributed as on GitHub, other values are correlated with them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import numpy as np

NOW = 1_780_000_000
"""Start of the simulated clock [s since 1970]."""
FIRST = 1_204_000_000
LANGUAGES = ("Python", "JavaScript", "TypeScript", "Go", "Rust", "C++", "Java", None)
LICENSES = (("mit", "MIT License", "MIT"), ("apache-2.0", "Apache License 2.0", "Apache-2.0"), None)
TOPICS = ("cli", "machine-learning", "web", "parser", "game", "awesome")
_LINKS = (
    *("archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare", "contents"),
    *("contributors", "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks"),
    *("issue_comment", "issue_events", "issues", "keys", "labels", "languages", "merges", "milestones"),
    *("notifications", "pulls", "releases", "stargazers", "statuses", "subscribers", "subscription", "tags", "teams"),
    "trees",
)
_OWNER_LINKS = (
    *("avatar", "html", "followers", "following", "gists", "starred", "subscriptions", "organizations", "repos"),
    *("events", "received_events"),
)
URLS = [f"{name}_url" for name in _LINKS]
OWNER_URLS = [f"{name}_url" for name in _OWNER_LINKS]


class Population:
    """Arrays of shape (n_repositories,), most starred first; records are built on request."""

    def __init__(self, count: int, min_stars: int, seed: int) -> None:
        random = np.random.default_rng([seed, 7])
        stars = np.minimum(np.floor(min_stars * random.random(count) ** (-1 / 1.1)), 450_000).astype(np.int64)
        self.stars = np.sort(stars)[::-1].copy()
        self.tie = random.random(count)
        self.id = (random.permutation(count) * 37 + 1000).astype(np.int64)
        self.row_by_id = {int(number): row for row, number in enumerate(self.id)}
        self.created = (FIRST + (NOW - FIRST) * random.beta(2, 1.4, count)).astype(np.int64)
        self.pushed = NOW - ((NOW - self.created) * random.random(count) ** 3).astype(np.int64)
        self.forks = (self.stars * random.lognormal(-1.8, 0.7, count)).astype(np.int64)
        self.issues = (self.stars**0.6 * random.lognormal(0, 0.8, count)).astype(np.int64)
        self.commits = np.minimum(random.lognormal(5.7, 1.7, count), 1_300_000).astype(np.int64)
        more = np.random.default_rng([seed, 10])
        self.contributors = np.ceil(self.stars**0.45 * more.lognormal(-0.5, 0.5, count)).astype(np.int64)
        self.subscribers = np.ceil(self.stars**0.8 * more.lognormal(-1.5, 0.4, count)).astype(np.int64)
        self.owner = np.floor(count * random.random(count) ** 2 / 2).astype(np.int64)
        self.language = random.integers(0, len(LANGUAGES), count)
        self.exists = np.ones(count, dtype=bool)
        self.private = np.zeros(count, dtype=bool)
        """Repositories that only their owner's token can read: for others they do not exist."""
        self.heavy = np.zeros(count, dtype=bool)
        """Repositories whose commits and users GitHub cannot count within its timeout."""
        self.refusing: set[int] = set()
        """Numbers of owners: organizations that hide their members."""
        self.renamed: dict[str, int] = {}
        """The row of each former name."""
        self.moved: set[int] = set()

    def __len__(self) -> int:
        """Return the number of repositories, including deleted ones."""
        return len(self.id)

    def login(self, row: int) -> str:
        """Return the owner's login."""
        return f"owner{self.owner[row]}"

    def name(self, row: int) -> str:
        """Return ``owner/name``."""
        return f"{self.login(row)}/{'new' if row in self.moved else ''}name{self.id[row]}"

    def find(self, name: str) -> int | None:
        """Return the row of a current or former name."""
        known = self.renamed.get(name.lower())
        digits = name.rpartition("name")[2]
        row = self.row_by_id.get(int(digits)) if known is None and digits.isdigit() else known
        if row is None or (known is None and self.name(row).lower() != name.lower()):
            return None
        return row if self.exists[row] else None

    def rename(self, row: int) -> None:
        """Rename a repository; its old name redirects to it."""
        self.renamed[self.name(row).lower()] = row
        self.moved.add(row)

    def is_organization(self, row: int) -> bool:
        """Return whether the owner is an organization."""
        return bool(self.owner[row] % 4 == 0)

    def assign_faults(self, heavy: float, refusing: float, seed: int) -> None:
        """Make a share of the repositories too heavy to count, and let a share of the organizations refuse."""
        random = np.random.default_rng([seed, 8])
        self.heavy = random.random(len(self)) < heavy
        organizations = np.unique(self.owner[self.owner % 4 == 0])
        self.refusing = set(organizations[random.random(len(organizations)) < refusing].tolist())

    def hides_members(self, row: int) -> bool:
        """Return whether the owner is an organization that hides its members."""
        return self.is_organization(row) and int(self.owner[row]) in self.refusing

    def record(self, row: int) -> dict[str, Any]:
        """Return the record of the REST search."""
        name, number = self.name(row), int(self.id[row])
        url = f"https://api.github.com/repos/{name}"
        license_ = LICENSES[number % 3]
        owner = int(self.owner[row]) + 1
        kind = "Organization" if self.is_organization(row) else "User"
        return {
            "id": number,
            "node_id": node_id(number),
            "name": name.partition("/")[2],
            "full_name": name,
            "private": bool(self.private[row]),
            "owner": {
                "login": self.login(row),
                "id": owner,
                "node_id": f"MDQ6VXNlcjE{owner}",
                "gravatar_id": "",
                **{key: f"https://api.github.com/users/{self.login(row)}/{key}" for key in OWNER_URLS},
                "url": f"https://api.github.com/users/{self.login(row)}",
                "type": kind,
                "site_admin": False,
            },
            "html_url": f"https://github.com/{name}",
            "description": f"A thing for {TOPICS[number % 6]}, number {number}" if number % 9 else None,
            "fork": False,
            "url": url,
            **{key: f"{url}/{key}" for key in URLS},
            "git_url": f"git:github.com/{name}.git",
            "ssh_url": f"git@github.com:{name}.git",
            "clone_url": f"https://github.com/{name}.git",
            "svn_url": f"https://github.com/{name}",
            "mirror_url": None,
            "homepage": f"https://name{number}.example" if number % 3 else None,
            "created_at": format_time(self.created[row]),
            "updated_at": format_time(max(self.pushed[row], self.created[row] + 1)),
            "pushed_at": format_time(self.pushed[row]),
            "size": int(self.commits[row]) * 3,
            "stargazers_count": int(self.stars[row]),
            "watchers_count": int(self.stars[row]),
            "language": LANGUAGES[self.language[row]],
            **dict.fromkeys(("has_issues", "has_downloads", "has_wiki", "allow_forking"), True),
            **{key: bool(number % 5 == 0) for key in ("has_pages", "has_projects", "has_discussions")},
            **dict.fromkeys(("archived", "disabled", "is_template", "web_commit_signoff_required"), False),
            "forks_count": int(self.forks[row]),
            "open_issues_count": int(self.issues[row]),
            "license": None
            if license_ is None
            else {
                "key": license_[0],
                "name": license_[1],
                "spdx_id": license_[2],
                "node_id": "MDc6TGljZW5zZTEz",
                "url": f"https://api.github.com/licenses/{license_[0]}",
            },
            "topics": [TOPICS[number % 6]],
            "visibility": "private" if self.private[row] else "public",
            "forks": int(self.forks[row]),
            "open_issues": int(self.issues[row]),
            "watchers": int(self.stars[row]),
            "default_branch": "main",
            "permissions": {"admin": False, "maintain": False, "push": False, "triage": False, "pull": True},
            "score": 1.0,
        }


def node_id(number: int) -> str:
    """Return the node id of a number, as GitHub does: MessagePack of [0, number]."""
    packed = b"\x92\x00\xce" + number.to_bytes(4, "big")
    return "R_" + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def parse_node_id(node: str) -> int:
    """Return the number of a node id."""
    text = node.removeprefix("R_")
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[3:], "big")


def format_time(second: int | np.integer[Any]) -> str:
    """Return a time in GitHub's format."""
    return f"{datetime.fromtimestamp(int(second), tz=UTC):%Y-%m-%dT%H:%M:%SZ}"
