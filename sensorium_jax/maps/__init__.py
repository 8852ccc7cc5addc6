"""What responses say of stimuli without a model: moments, linear models, fields."""
