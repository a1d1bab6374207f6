"""Labs hold programs for other environments than that of the tests."""

collect_ignore_glob = ["*/inside/*"]
