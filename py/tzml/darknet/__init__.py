"""Darknet's and DarkneTZ's text files: networks (.cfg) and data sets (.data, .dataset), for hosts and devices."""
