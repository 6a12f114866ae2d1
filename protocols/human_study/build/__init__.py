"""Building of a study's folder from models and images: stimuli, sessions and the form."""
