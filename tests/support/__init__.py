"""What tests share: recordings, models, twins, originals, processes."""
