"""Reading the movie back: the film that best explains what a population answered.

Gradients of a twin, or of several, with respect to the film (Bauer, Margrie & Clopath
2026, eLife 105081), and how like the shown film the result is.
"""
