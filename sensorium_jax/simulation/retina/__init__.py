"""A retina in a dish: ganglion cells that pool rectified subunits and adapt."""
