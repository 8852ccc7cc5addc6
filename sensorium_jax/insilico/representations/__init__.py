"""What a population, or the core of a model, says of stimuli, and how alike two are."""
