"""Campaigns: many runs from one small Python file, each a workdir that resumes."""
