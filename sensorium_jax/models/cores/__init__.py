"""Cores: from video to feature maps, shared by all mice."""
