"""Where values and weights lie while a model runs."""
