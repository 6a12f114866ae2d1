"""Build the folder of a study from models and images: stimuli, sessions and the form."""
