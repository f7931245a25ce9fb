"""Models to and from files and scikit-learn objects.

docs/model-files.md says what can be moved, and how far numbers move when it is.
"""
