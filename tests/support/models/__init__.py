"""Small models, mice and batches."""
