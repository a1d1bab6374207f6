"""The bundle: a fitted predictor in files that run no code on load, checked before any of it is used.

It lies between the room that makes it (tuning) and the room that uses it (serve): both read its models and
intervals through the same few functions, so a figure on the page is the figure that was tested.
"""
