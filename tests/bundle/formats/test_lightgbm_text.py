"""The structure of LightGBM's text is checked before the library reads it: each number below crashed it, or made it loop."""

from __future__ import annotations

import re
from collections.abc import Callable

import lightgbm
import numpy as np
import pytest

from stargaze.bundle.formats import lightgbm_text
from stargaze.bundle.formats.lightgbm_model import LightgbmModel, load_lightgbm
from stargaze.bundle.formats.lightgbm_text import check_lightgbm_text
from stargaze.bundle.manifest import BadBundleError

RANDOM = np.random.default_rng(0)
ROWS = np.column_stack([RANDOM.integers(0, 80, 400), RANDOM.normal(size=(400, 2))])
TARGET = ROWS[:, 0] % 3 + ROWS[:, 1] ** 2


@pytest.fixture(scope="module")
def text() -> str:
    """A model whose trees split by numbers and by category sets."""
    parameters = {"verbose": -1, "num_threads": 1, "num_leaves": 6, "min_data_per_group": 5, "cat_smooth": 1}
    return train(parameters, TARGET)


def train(parameters: dict[str, object], target: np.ndarray) -> str:
    data = lightgbm.Dataset(ROWS, target, categorical_feature=[0])
    return str(lightgbm.train(parameters, data, 4).model_to_string())


def change_tree(text: str, change: Callable[[str], str], number: int = 1) -> bytes:
    """Change one tree; the sizes of the trees are written again, so that only the change itself is wrong."""
    head, *trees = re.split(r"(?=Tree=\d+\n)", text.partition("end of trees")[0])
    changed = change(trees[number])
    assert changed != trees[number]
    trees[number] = changed
    sizes = " ".join(str(len(tree)) for tree in trees)
    head = re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", head)
    return (head + "".join(trees) + "end of trees" + text.partition("end of trees")[2]).encode()


def change_value(key: str, position: int, value: object) -> Callable[[str], str]:
    """Return a function that replaces one number of one line of a tree."""

    def change(tree: str) -> str:
        found = re.search(rf"^{key}=(.*)$", tree, re.MULTILINE)
        assert found is not None
        words = found[1].split(" ")
        words[position] = str(value)
        return tree[: found.start(1)] + " ".join(words) + tree[found.end(1) :]

    return change


def replace(old: str, new: str) -> Callable[[str], str]:
    return lambda tree: re.sub(old, new, tree, count=1, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "parameters",
    [
        {"num_leaves": 31, "min_data_in_leaf": 1},
        {"objective": "regression_l1"},
        {"bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.5},
        {"data_sample_strategy": "goss"},
        {"max_cat_to_onehot": 100},
        {"extra_trees": True},
    ],
)
def test_what_lightgbm_writes_is_accepted_and_predicts_the_same(parameters: dict[str, object]) -> None:
    written = train({"verbose": -1, "num_threads": 1, **parameters}, TARGET).encode()

    checked = LightgbmModel(check_lightgbm_text(written))

    whole = LightgbmModel(written)
    assert np.array_equal(checked.predict(ROWS), whole.predict(ROWS))
    assert np.array_equal(checked.contributions(ROWS[:20]), whole.contributions(ROWS[:20]))


def test_a_constant_model_is_accepted() -> None:
    written = train({"verbose": -1}, np.ones(len(ROWS)))

    assert load_lightgbm(written.encode()).contributions(ROWS[:1]).tolist() == [[0.0, 0.0, 0.0, 1.0]]


TREES: dict[str, Callable[[str], str]] = {
    "a leaf out of range": change_value("right_child", -1, -37),
    "a node out of range": change_value("left_child", 0, 99),
    "a loop": change_value("left_child", 0, 0),
    "a node with two parents": lambda tree: change_value("right_child", 0, 1)(change_value("left_child", 0, 1)(tree)),
    "a leaf with two parents": change_value("right_child", -1, -1),
    "a feature out of range": change_value("split_feature", 0, 3),
    "a negative feature": change_value("split_feature", 0, -1),
    "an unknown decision bit": change_value("decision_type", 0, 16),
    "a missing type that does not exist": change_value("decision_type", 0, 12),
    "a leaf without rows": change_value("leaf_count", 0, 0),
    "counts that do not add up": change_value("internal_count", 0, 7),
    "an infinite leaf": change_value("leaf_value", 0, "inf"),
    "a leaf beyond every float": change_value("leaf_value", 0, "1e+999"),
    "a leaf that is no number": change_value("leaf_value", 0, "nan"),
    "predictions beyond every count": change_value("leaf_value", 0, "1e+300"),
    "a threshold that is no number": change_value("threshold", 0, "nan"),
    "a leaf too few": replace(r"^(leaf_value=\S+) \S+", r"\1"),
    "a leaf too many": replace(r"^leaf_value=", "leaf_value=0 "),
    "two spaces": replace(r"^leaf_value=(\S+) ", r"leaf_value=\1  "),
    "a tab": replace(r"^leaf_value=(\S+) ", "leaf_value=\\1\t"),
    "two numbers in one": replace(r"^leaf_value=(\S+) ", r"leaf_value=0.1.2 "),
    "a leading zero": change_value("leaf_count", 0, "0030"),
    "an underscore": change_value("leaf_count", 0, "3_0"),
    "a wrong number of leaves": replace(r"num_leaves=\d+", "num_leaves=2000000000"),
    "no leaves": replace(r"num_leaves=\d+", "num_leaves=0"),
    "a negative number of leaves": replace(r"num_leaves=\d+", "num_leaves=-1"),
    "a wrong number of sets": replace(r"num_cat=\d+", "num_cat=70"),
    "sets without splits": replace(r"num_cat=\d+", "num_cat=0"),
    "borders that fall": replace(r"^cat_boundaries=0 \d+", "cat_boundaries=0 0"),
    "borders beyond the sets": replace(r"^cat_boundaries=(.*?)\d+$", r"cat_boundaries=\g<1>4000"),
    "a set out of range": replace(r"^cat_threshold=\d+", "cat_threshold=4294967296"),
    "another set": lambda tree: re.sub(
        r"^threshold=.*$", lambda m: re.sub(r"\b0\b", "9", m[0]), tree, flags=re.MULTILINE
    ),
    "a linear tree": replace("is_linear=0", "is_linear=1"),
    "an unknown key": replace(r"^shrinkage", "extra=1\nshrinkage"),
    "a key twice": replace(r"^shrinkage", "is_linear=0\nshrinkage"),
    "a missing key": replace(r"^leaf_count=.*?\n", ""),
    "another number": replace("Tree=1", "Tree=2"),
    "a carriage return": replace(r"$", "\r"),
    "a zero byte": replace(r"^shrinkage=", "shrinkage=\0"),
}


@pytest.mark.parametrize("name", TREES)
def test_an_invalid_tree_is_refused(text: str, name: str) -> None:
    with pytest.raises(BadBundleError, match=r"not a LightGBM model: (tree \d|its pred|\w+ contains)"):
        load_lightgbm(change_tree(text, TREES[name]))


HEADERS = {
    "another version": ("version=v4", "version=v3"),
    "two classes": ("num_class=1", "num_class=2"),
    "more trees per round": ("num_tree_per_iteration=1", "num_tree_per_iteration=2"),
    "no trees per round": ("num_tree_per_iteration=1", "num_tree_per_iteration=0"),
    "another label": ("label_index=0", "label_index=-5"),
    "features without names": ("max_feature_idx=2", "max_feature_idx=99999"),
    "no features": ("max_feature_idx=2", "max_feature_idx=-1"),
    "squared outputs": ("objective=regression", "objective=regression sqrt"),
    "another objective": ("objective=regression", "objective=poisson"),
    "averaged outputs": ("objective=regression\n", "objective=regression\naverage_output\n"),
    "monotone constraints": ("feature_infos", "monotone_constraints=1 1 1\nfeature_infos"),
    "no sizes": ("tree_sizes", "tree_siz"),
    "another size": ("tree_sizes=", "tree_sizes=1"),
    "a tree less": (r"tree_sizes=\d+ ", "tree_sizes="),
    "a large size": ("tree_sizes=", "tree_sizes=99999999999999999999 "),
    "an unknown section": (r"\nfeature_importances", "\nparser:\nx\nend of parser\n\nfeature_importances"),
    "category names": ("pandas_categorical:null", 'pandas_categorical:[["a"]]'),
    "bytes at the end": (r"\Z", "x"),
    "a byte order mark": (r"\A", "\ufeff"),
    "nothing": (r"(?s)\A.*\Z", ""),
}


@pytest.mark.parametrize("name", HEADERS)
def test_an_invalid_header_or_trailer_is_refused(text: str, name: str) -> None:
    changed = re.sub(HEADERS[name][0], HEADERS[name][1], text, count=1)
    assert changed != text

    with pytest.raises(BadBundleError, match="not a LightGBM model"):
        load_lightgbm(changed.encode())


def chain(levels: int) -> bytes:
    """Return a model of one tree whose leaves hang on one long path."""
    n = levels
    lines = [
        ("num_leaves", n + 1),
        ("num_cat", 0),
        *(
            (name, " ".join([value] * n))
            for name, value in (("split_feature", "0"), ("split_gain", "1"), ("threshold", "0.5"))
        ),
        ("decision_type", " ".join(["2"] * n)),
        ("left_child", " ".join(str(-1 - i) for i in range(n))),
        ("right_child", " ".join([*(str(i) for i in range(1, n)), str(-1 - n)])),
        *((name, " ".join(["1"] * (n + 1))) for name in ("leaf_value", "leaf_weight", "leaf_count")),
        *((name, " ".join(["1"] * n)) for name in ("internal_value", "internal_weight")),
        ("internal_count", " ".join(str(n + 1 - i) for i in range(n))),
        ("is_linear", 0),
        ("shrinkage", 1),
    ]
    tree = "Tree=0\n" + "".join(f"{name}={value}\n" for name, value in lines) + "\n\n"
    head = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\nobjective=regression\n"
    head += f"feature_names=a\nfeature_infos=[0:1]\ntree_sizes={len(tree)}\n\n"
    return (head + tree + "end of trees\n\nfeature_importances:\n").encode()


def test_a_path_that_would_exhaust_the_stack_is_refused() -> None:
    deepest = load_lightgbm(chain(lightgbm_text.MAX_DEPTH))

    assert deepest.contributions(np.ones((1, 1))).sum() == pytest.approx(1.0)
    for levels in (lightgbm_text.MAX_DEPTH + 1, 100_000):
        with pytest.raises(BadBundleError, match="levels"):
            load_lightgbm(chain(levels))


def test_trees_whose_contributions_would_take_too_long_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightgbm_text, "MAX_WORK", 50)

    with pytest.raises(BadBundleError, match="too deep"):
        load_lightgbm(text.encode())
