"""Every number that streams of predictions are judged by, and twins asked for them."""
