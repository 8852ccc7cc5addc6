"""What a batch is made into before the step: mixed films, and targets of a teacher."""
