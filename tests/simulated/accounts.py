"""Records of accounts and READMEs in the format of GitHub's REST API, with generated values."""

from __future__ import annotations

from typing import Any

from tests.simulated.population import OWNER_URLS, format_time

SINCE = 1_300_000_000
NUMBERS = ("public_gists", "public_repos", "following")
ORGANIZATION_URLS = (
    "repos_url",
    "events_url",
    "hooks_url",
    "issues_url",
    "members_url",
    "public_members_url",
    "avatar_url",
)


def account(login: str, number: int = 1, kind: str = "User") -> dict[str, Any]:
    """Return the short record of an account."""
    url = f"https://api.github.com/users/{login}"
    return {
        "login": login,
        "id": number,
        "node_id": f"MDQ6VXNlcjE{number}",
        "gravatar_id": "",
        **{name: f"{url}/{name}" for name in OWNER_URLS},
        "url": url,
        "type": kind,
        "site_admin": False,
    }


def user(login: str) -> dict[str, Any]:
    """Return the full record of a user."""
    unknown = dict.fromkeys(("bio", "blog", "company", "email", "hireable", "location", "name"))
    return {**account(login), **unknown, **dict.fromkeys(NUMBERS, 3), "followers": len(login), **_dates()}


def organization(login: str) -> dict[str, Any]:
    """Return the full record of an organization."""
    url = f"https://api.github.com/orgs/{login}"
    return {
        **{name: f"{url}/{name}" for name in ORGANIZATION_URLS},
        "login": login,
        "url": url,
        "id": 1,
        "node_id": "MDQ6VXNlcjE1",
        "description": None,
        "html_url": f"https://github.com/{login}",
        "has_organization_projects": True,
        "has_repository_projects": True,
        **dict.fromkeys(NUMBERS, 3),
        "followers": len(login),
        "type": "Organization",
        "archived_at": None,
        **_dates(),
    }


def readme(name: str, size: int) -> dict[str, Any]:
    """Return the record of a README."""
    url = f"https://api.github.com/repos/{name}/contents/README.md"
    return {
        "type": "file",
        "encoding": "base64",
        "size": size,
        "name": "README.md",
        "path": "README.md",
        "content": "aGk=",
        "sha": "3d21ec53a331a6f037a91c368710b99387d012c1",
        "url": url,
        "git_url": url,
        "html_url": url,
        "download_url": url,
        "_links": {"git": url, "self": url, "html": url},
    }


def _dates() -> dict[str, str]:
    return {"created_at": format_time(SINCE), "updated_at": format_time(SINCE + 5_000_000)}
