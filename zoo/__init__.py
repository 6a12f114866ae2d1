"""The included models, one package per family."""
