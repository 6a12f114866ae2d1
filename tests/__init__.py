"""A package of this name: another distribution installs its own tests as ``tests``."""
