"""The reference models, one package a family."""
