"""Which films are one film, and of which type they are."""
