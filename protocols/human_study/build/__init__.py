"""From models and images to the folder of a study: stimuli, sessions and the form."""
